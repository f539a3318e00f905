"""A target of a model as an objective: what the methods explain."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable

import numpy as np

from ..backends.protocols import Session
from ..engine.gradient import GradientSession
from ..errors import InputError
from ..sequence import reverse_complement
from ..tracks import TrackTable
from ..types import ByteArray, DoubleArray, FloatArray, IndexArray
from .objective import Bases, Linearised
from .target import Target


class KnownValues:
    """Values of a model's targets that were computed before: parts of a row share that of the window as it is.

    Equal windows give equal bits, so that nothing depends on what is remembered.
    """

    def __init__(self, most: int = 4096) -> None:
        self._most = most
        self._held: OrderedDict[bytes, float] = OrderedDict()

    def get(self, key: bytes, make: Callable[[], float]) -> float:
        """Return a value, computed where it is not known."""
        if key not in self._held:
            self._held[key] = make()
            if len(self._held) > self._most:
                self._held.popitem(last=False)
        self._held.move_to_end(key)
        return self._held[key]

    def clear(self) -> None:
        """Forget all."""
        self._held.clear()


class ModelObjective:
    """A target by whole or incremental passes; for methods that need values alone.

    Parameters
    ----------
    session : Session
        What predicts.
    target : Target
        What is made of the prediction.
    tracks : TrackTable
        All tracks of the model.
    rc : bool
        Average the window with its reverse complement, in squashed space, the other strand's tracks read there.
    n_fill : float
        Value of the four rows of an unknown base.
    known : KnownValues, optional
        Of this session.

    Raises
    ------
    InputError
        If ``rc`` needs a track that the table lacks.
    """

    def __init__(
        self,
        session: Session,
        target: Target,
        tracks: TrackTable,
        *,
        rc: bool = False,
        n_fill: float = 0.0,
        known: KnownValues | None = None,
    ) -> None:
        self._session, self._target = session, target
        self._known = KnownValues(1) if known is None else known
        grouped = [(odds.name, len(odds.top), len(odds.bottom)) for odds in target.odds]
        said = repr((target.to_json(), rc, n_fill, grouped))
        self._key = hashlib.blake2b(said.encode("utf-8", "surrogateescape"))
        for part in (target.positions, *target.rows, *target.columns):
            self._key.update(np.array([len(part), *part], dtype=np.int64).data)
        self._rc, self._n_fill = rc, n_fill
        self._opposite = tracks.positions_of(tracks.strand_pair[target.positions]) if rc else target.positions

    @property
    def length(self) -> int:
        """Bases of the window."""
        return self._session.geometry.sequence_length_bp

    def values(self, sequences: ByteArray) -> DoubleArray:
        """See :meth:`borzoi_rt.explain.objective.Objective.values`."""
        return np.array([self._value(window) for window in sequences])

    def _value(self, window: ByteArray) -> float:
        key = self._key.copy()
        key.update(np.ascontiguousarray(window).data)
        return self._known.get(key.digest(), lambda: finite(self._target.value(self._predicted(window))))

    def _predicted(self, window: ByteArray) -> FloatArray:
        target, run = self._target, self._session.run
        forward: FloatArray = run(window[None], target.positions, n_fill=self._n_fill, bins=target.bins)[0]
        if not self._rc:
            return forward
        bins = mirrored(target.bins, self._session.geometry.bins)
        backward = run(reverse_complement(window)[None], self._opposite, n_fill=self._n_fill, bins=bins)[0]
        return mean_of_strands(forward, backward)


class GradientObjective:
    """A target by the gradient graphs; parameters as those of :class:`ModelObjective`.

    Windows may be mixtures of bases. The derivative is that by the input of the network, in which an unknown base is
    already coded.
    """

    def __init__(
        self, session: GradientSession, target: Target, tracks: TrackTable, *, rc: bool = False, n_fill: float = 0.0
    ) -> None:
        self._session, self._target = session, target
        self._rc, self._n_fill = rc, n_fill
        self._opposite: IndexArray = (
            tracks.positions_of(tracks.strand_pair[target.positions]) if rc else target.positions
        )

    @property
    def length(self) -> int:
        """Bases of the window."""
        return self._session.geometry.sequence_length_bp

    def values(self, sequences: ByteArray) -> DoubleArray:
        """See :meth:`borzoi_rt.explain.objective.Objective.values`."""
        found = [self._target.value(self._predicted(self._coded(window.astype(np.float64)))) for window in sequences]
        return np.array([finite(value) for value in found])

    def slope(self, window: DoubleArray, bases: Bases) -> tuple[float, DoubleArray]:
        """See :meth:`borzoi_rt.explain.objective.Differentiable.slope`."""
        x, target = self._coded(window), self._target
        value, cotangent = target.cotangent(self._predicted(x))
        finite(value)
        if not self._rc:
            return value, self._session.pullback(x, target.positions, cotangent, bins=target.bins, bases=bases)
        half = 0.5 * cotangent
        found = self._session.pullback(x, target.positions, half, bins=target.bins, bases=bases)
        # Base p of the window is base L - 1 - p of its reverse complement, its row r is row 3 - r there.
        backward = self._session.pullback(
            np.ascontiguousarray(x[::-1, ::-1]),
            self._opposite,
            half[:, ::-1],
            bins=mirrored(target.bins, self._session.geometry.bins),
            bases=mirrored(bases, self.length),
        )
        return value, found + backward[::-1, ::-1]

    def linearised(self, window: ByteArray) -> Linearised:
        """See :meth:`borzoi_rt.explain.objective.Linearisable.linearised`."""
        x, target = self._coded(window.astype(np.float64)), self._target
        _, cotangent = target.cotangent(self._predicted(x))
        share = 0.5 * cotangent if self._rc else cotangent
        forward = self._session.linearised(x, target.positions, share, bins=target.bins)
        if not self._rc:
            return lambda mutant, low, high: forward(self._coded(mutant.astype(np.float64)), low, high)
        bins = mirrored(target.bins, self._session.geometry.bins)
        turned = np.ascontiguousarray(x[::-1, ::-1])
        backward = self._session.linearised(turned, self._opposite, share[:, ::-1], bins=bins)

        def effect(mutant: ByteArray, low: int, high: int) -> float:
            held = self._coded(mutant.astype(np.float64))
            other = np.ascontiguousarray(held[::-1, ::-1])
            return forward(held, low, high) + backward(other, *mirrored((low, high), self.length))

        return effect

    def _predicted(self, x: FloatArray) -> FloatArray:
        forward = self._session.coverage(x, self._target.positions, self._target.bins)
        if not self._rc:
            return forward
        bins = mirrored(self._target.bins, self._session.geometry.bins)
        turned = np.ascontiguousarray(x[::-1, ::-1])
        return mean_of_strands(forward, self._session.coverage(turned, self._opposite, bins))

    def _coded(self, window: DoubleArray) -> FloatArray:
        return coded(window, self._n_fill)


def coded(window: DoubleArray, n_fill: float) -> FloatArray:
    """Return the input of the network for a window or a mixture, (4, length), unknown bases being coded."""
    filled: FloatArray = (window + n_fill * (1.0 - window.sum(axis=0, keepdims=True))).astype(np.float32)
    return filled


def mean_of_strands(forward: FloatArray, backward: FloatArray) -> FloatArray:
    """Average both strands in squashed space, as scores do."""
    found: FloatArray = (forward + backward[:, ::-1]) * np.float32(0.5)
    return found


def mirrored(span: tuple[int, int], length: int) -> tuple[int, int]:
    """Return where [start, end) lies in the reverse: ``[length - end, length - start)``."""
    return length - span[1], length - span[0]


def finite(value: float) -> float:
    """Return the value of a target.

    Raises
    ------
    InputError
        If there is none.
    """
    if not np.isfinite(value):
        raise InputError(
            "the target has no finite value for this window: its formula has none for such coverage, as the logarithm "
            "of a number below 0"
        )
    return value
