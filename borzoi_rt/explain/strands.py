"""A model that reads the reverse complement of every window and answers as if it had read the window.

Base p of a window of L bases is base L - 1 - p of its reverse complement, and row r is row 3 - r there; [s, e) is
[L - e, L - s), of bases as of bins. A track is answered by its strand pair.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..bundle.manifest import Geometry
from ..sequence import reverse_complement
from ..tracks import TrackTable
from ..types import ByteArray, DoubleArray, FloatArray, IndexArray
from .models import mirrored
from .objective import Bases, Linearised


class OtherStrand:
    """A session that answers for the other strand; what it is asked is what objectives ask.

    Parameters
    ----------
    session : object
        What predicts, or follows back, on the strand as it is.
    tracks : TrackTable
        All tracks of the model.
    """

    def __init__(self, session: Any, tracks: TrackTable) -> None:
        self._session, self._tracks = session, tracks

    @property
    def geometry(self) -> Geometry:
        """Window and output grid."""
        found: Geometry = self._session.geometry
        return found

    def run(self, windows: ByteArray, positions: IndexArray, *, n_fill: float, bins: Bases) -> FloatArray:
        """See :meth:`borzoi_rt.backends.protocols.Session.run`."""
        turned = np.stack([reverse_complement(window) for window in windows])
        found: FloatArray = self._session.run(turned, self._pairs(positions), n_fill=n_fill, bins=self._bins(bins))
        return found[..., ::-1]

    def coverage(self, window: FloatArray, positions: IndexArray, bins: Bases) -> FloatArray:
        """See :meth:`borzoi_rt.engine.gradient.GradientSession.coverage`."""
        found: FloatArray = self._session.coverage(_turned(window), self._pairs(positions), self._bins(bins))
        return found[:, ::-1]

    def pullback(
        self, window: FloatArray, positions: IndexArray, cotangent: DoubleArray, *, bins: Bases, bases: Bases
    ) -> DoubleArray:
        """See :meth:`borzoi_rt.engine.gradient.GradientSession.pullback`."""
        where: dict[str, Any] = {"bins": self._bins(bins), "bases": self._bases(bases)}
        found: DoubleArray = self._session.pullback(
            _turned(window), self._pairs(positions), _flipped(cotangent), **where
        )
        return found[::-1, ::-1]

    def linearised(
        self, window: FloatArray, positions: IndexArray, cotangent: DoubleArray, *, bins: Bases
    ) -> Linearised:
        """See :meth:`borzoi_rt.engine.gradient.GradientSession.linearised`."""
        effect: Callable[[Any, int, int], float] = self._session.linearised(
            _turned(window), self._pairs(positions), _flipped(cotangent), bins=self._bins(bins)
        )
        return lambda mutant, low, high: effect(_turned(mutant), *self._bases((low, high)))

    def multipliers(
        self,
        window: FloatArray,
        reference: FloatArray,
        positions: IndexArray,
        cotangent: DoubleArray,
        *,
        bins: Bases,
        bases: Bases,
    ) -> DoubleArray:
        """See :class:`borzoi_rt.explain.secants.Paired`."""
        where: dict[str, Any] = {"bins": self._bins(bins), "bases": self._bases(bases)}
        found: DoubleArray = self._session.multipliers(
            _turned(window), _turned(reference), self._pairs(positions), _flipped(cotangent), **where
        )
        return found[::-1, ::-1]

    def _pairs(self, positions: IndexArray) -> IndexArray:
        return self._tracks.positions_of(self._tracks.strand_pair[positions])

    def _bins(self, bins: Bases) -> Bases:
        return mirrored(bins, self.geometry.bins)

    def _bases(self, bases: Bases) -> Bases:
        return mirrored(bases, self.geometry.sequence_length_bp)


def _turned(window: Any) -> Any:
    return np.ascontiguousarray(window[::-1, ::-1])


def _flipped(cotangent: DoubleArray) -> DoubleArray:
    return np.ascontiguousarray(cotangent[:, ::-1])
