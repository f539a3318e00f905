"""Which training windows made a network say what it says, as far as its last layer tells.

g_i is the derivative of the training loss of window i, and q that of the *query*, by the weights of the last layer
(:mod:`borzoi_rt.examples.last_layer`). The query is a target of :mod:`borzoi_rt.explain.target`, or the loss of a
window. The influence of window i is what training on it does to the query:

``tracin``
    ``- sum over checkpoints k of rate_k <q_k, g_ik>``: a step of gradient descent on window i at each checkpoint
    (TracIn). With one checkpoint and rate 1, what such a step does to first order.
``influence``
    ``- <q, (H + d)^-1 g_i> / n``, H the mean of the Gauss-Newton matrices of the n windows: minus what leaving window
    i out of the training of the last layer would do, to first order (influence functions). d is ``damping`` times the
    mean of the diagonal of H.

The loss is the mean over all tracks of the model, as in training; only tracks of the query can matter. Windows are
read as they lie in the data: no shift, no reverse complement.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from ..bundle.opening import Bundle
from ..dataset import Data
from ..dataset.window import Window, onehot_of
from ..errors import InputError
from ..evaluation.losses import poisson_multinomial, poisson_multinomial_slope, position_weights
from ..evaluation.run import check_data
from ..explain.target import Target
from ..plain import check_types
from ..types import ByteArray, DoubleArray, FloatArray, IndexArray
from .last_layer import LastLayer, by_weights, curvature

METHODS = ("tracin", "influence")
CONTROLS = 99
_MOST_BYTES = 4 << 30  # of the matrices of ``influence``


@dataclass(frozen=True, slots=True, kw_only=True)
class InfluenceOptions:
    """How influence is measured.

    Parameters
    ----------
    method : str
        One of :data:`METHODS`.
    rates : tuple of float
        Learning rate of each checkpoint, of ``tracin``; 1 for each when empty.
    damping : float
        Of ``influence``.
    total_weight, weight_range, weight_exp : float
        Of the loss; those of training.
    seed : int
        Of the controls.

    Raises
    ------
    InputError
        If a value is not allowed, or is one of the other method.
    """

    method: str = "tracin"
    rates: tuple[float, ...] = ()
    damping: float = 0.01
    total_weight: float = 0.2
    weight_range: float = 1.0
    weight_exp: float = 4.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        if self.method not in METHODS:
            raise InputError(f"method {self.method!r} is unknown; allowed: {', '.join(METHODS)}")
        if self.rates and self.method != "tracin":
            raise InputError(f"rates are of tracin; leave them out of {self.method}")
        if not all(np.isfinite(rate) and rate > 0.0 for rate in self.rates):
            raise InputError(f"rates are {self.rates!r}; numbers above 0 are needed")
        if not (np.isfinite(self.damping) and self.damping > 0.0):
            raise InputError(f"damping is {self.damping!r}; a number above 0 is needed")


class Query(Protocol):
    """What is influenced."""

    @property
    def tracks(self) -> IndexArray:
        """Outputs of the head that it is made of."""

    def derivative(self, layer: LastLayer) -> tuple[float, DoubleArray]:
        """Return its value and its derivative by the rows of these tracks, float64 (tracks, channels + 1)."""


@dataclass(frozen=True)
class TargetQuery:
    """A target in a window, one-hot uint8 (4, length)."""

    target: Target
    window: ByteArray

    @property
    def tracks(self) -> IndexArray:
        """See :class:`Query`."""
        return self.target.positions

    def derivative(self, layer: LastLayer) -> tuple[float, DoubleArray]:
        """See :class:`Query`."""
        embedding, coverage = layer.read(self.window, self.tracks, self.target.bins)
        value, cotangent = self.target.cotangent(coverage)
        if not np.isfinite(value):
            raise InputError("the target has no finite value for this window")
        return value, by_weights(cotangent, coverage, embedding)


@dataclass(frozen=True)
class LossQuery:
    """The loss of a window of some data, mean over some tracks."""

    window: Window
    tracks: IndexArray
    options: InfluenceOptions

    def derivative(self, layer: LastLayer) -> tuple[float, DoubleArray]:
        """See :class:`Query`."""
        found = _of_window(layer, self.window, self.tracks, self.options)
        return float(found.losses.mean()), found.slope / len(self.tracks)


@dataclass(frozen=True, eq=False)
class Influences:
    """What each training window does to a query.

    Attributes
    ----------
    value : float
        The query; of several checkpoints the mean.
    influence : float64 ndarray of shape (windows,)
        Above 0 where training on the window raises the query.
    cosine : float64 ndarray of shape (windows,)
        The same of derivatives of length 1, between -1 and 1; of several checkpoints the mean. NaN where a derivative
        is 0.
    loss : float64 ndarray of shape (windows,)
        Of each window, mean over the tracks of the query and over checkpoints.
    chance : float64 ndarray of shape (windows,)
        ``(1 + k) / (1 + CONTROLS)``, k being how many of the controls have an influence at least as large in size. In
        a control the channels of the query are exchanged at random.
    """

    value: float
    influence: DoubleArray
    cosine: DoubleArray
    loss: DoubleArray
    chance: DoubleArray


@dataclass(frozen=True)
class _WindowSlope:
    losses: DoubleArray
    slope: DoubleArray
    coverage: FloatArray
    embedding: FloatArray
    target: DoubleArray


def _of_window(layer: LastLayer, window: Window, tracks: IndexArray, options: InfluenceOptions) -> _WindowSlope:
    """Return losses of tracks, and the derivative of each by the weights of its row."""
    target = window.target[tracks].astype(np.float64)
    if not np.isfinite(target).all():
        raise InputError("the window holds NaN or infinite targets in tracks of the query")
    bins = target.shape[1]
    embedding, coverage = layer.read(onehot_of(window.codes), tracks, (0, bins))
    weights = position_weights(bins, options.weight_range, options.weight_exp)
    losses = poisson_multinomial(coverage, target, total_weight=options.total_weight, weights=weights)
    cotangent = poisson_multinomial_slope(coverage, target, total_weight=options.total_weight, weights=weights)
    return _WindowSlope(losses, by_weights(cotangent, coverage, embedding), coverage, embedding, target)


@dataclass
class _Sums:
    """What is added up over checkpoints."""

    influence: DoubleArray
    cosine: DoubleArray
    loss: DoubleArray
    controls: DoubleArray
    values: list[float] = field(default_factory=list)


def influences(
    bundles: Sequence[Bundle],
    data: Data,
    split: str,
    query: Callable[[Bundle], Query],
    *,
    options: InfluenceOptions | None = None,
    opened: Callable[[Bundle], LastLayer] = LastLayer,
    progress: Callable[[int], None] | None = None,
) -> Influences:
    """Measure what every window of a split does to a query.

    Parameters
    ----------
    bundles : sequence of Bundle
        Checkpoints of one training run, each as a bundle; one for ``influence``.
    data : Data
        What was trained on; with the window, grid and tracks of the model.
    split : str
        ``train``, as a rule.
    query : callable
        Makes the query for a bundle.
    options : InfluenceOptions, optional
    opened : callable, optional
        Opens the last layer of a bundle.
    progress : callable, optional
        Called with the number of windows done, of all checkpoints together.

    Raises
    ------
    InputError
        If data and models do not belong together, or the numbers of rates and checkpoints differ.
    """
    options = options or InfluenceOptions()
    rates = options.rates or (1.0,) * len(bundles)
    if len(rates) != len(bundles) or not bundles:
        raise InputError(f"{len(rates)} rates for {len(bundles)} checkpoints; give one for each")
    if options.method == "influence" and len(bundles) > 1:
        raise InputError(
            f"influence is of one checkpoint, the last; {len(bundles)} were given. Take tracin for several"
        )
    windows = data.split(split)
    count = len(windows)
    sums = _Sums(np.zeros(count), np.zeros(count), np.zeros(count), np.zeros((count, CONTROLS)))
    for number, (bundle, rate) in enumerate(zip(bundles, rates, strict=True)):
        check_data(data, bundle.geometry, bundle.tracks)
        asked = query(bundle)
        with opened(bundle) as layer:

            def told(done: int, before: int = number * count) -> None:
                if progress is not None:
                    progress(before + done)

            _add(sums, layer, split, windows.in_order(), asked, len(bundle.tracks), rate, options, told)
    larger = np.abs(sums.controls) >= np.abs(sums.influence)[:, None]
    return Influences(
        value=float(np.mean(sums.values)),
        influence=sums.influence,
        cosine=sums.cosine / len(bundles),
        loss=sums.loss / len(bundles),
        chance=(1.0 + larger.sum(axis=1)) / (1.0 + CONTROLS),
    )


def _add(
    sums: _Sums,
    layer: LastLayer,
    split: str,
    windows: Iterator[Window],
    query: Query,
    all_tracks: int,
    rate: float,
    options: InfluenceOptions,
    progress: Callable[[int], None],
) -> None:
    """Add what one checkpoint says."""
    value, slope = query.derivative(layer)
    sums.values.append(value)
    count, tracks = len(sums.influence), query.tracks
    with tempfile.TemporaryDirectory() as folder:
        # On disk: the derivatives of all windows do not fit into memory.
        held = np.memmap(Path(folder) / "slopes", dtype=np.float32, mode="w+", shape=(count, *slope.shape))
        total: DoubleArray | None = None
        for number, window in enumerate(windows):
            if not np.isfinite(window.target[tracks]).all():
                raise InputError(f"window {number} of split {split!r} holds NaN or infinite targets")
            found = _of_window(layer, window, tracks, options)
            held[number] = found.slope
            sums.loss[number] += found.losses.mean()
            if options.method == "influence":
                total = _added(total, found, options)
            progress(number + 1)
        # What the query becomes of a step against a window's derivative. The loss is the mean over all tracks; the
        # inverse of a matrix that is divided by as many takes that back.
        toward = slope / all_tracks if total is None else solved(total / count, slope, options.damping) / count
        rng = np.random.default_rng(options.seed)
        orders = np.stack([rng.permutation(slope.shape[1]) for _ in range(CONTROLS)])
        channels = np.arange(slope.shape[1])
        for number in range(count):
            own = held[number].astype(np.float64)
            pairs = toward.T @ own  # every channel of the query with every channel of the window
            sums.influence[number] -= rate * np.trace(pairs)
            sums.controls[number] -= rate * pairs[orders, channels].sum(axis=1)
            size = float(np.linalg.norm(toward) * np.linalg.norm(own))
            sums.cosine[number] -= np.trace(pairs) / size if size else np.nan


def _added(total: DoubleArray | None, found: _WindowSlope, options: InfluenceOptions) -> DoubleArray:
    tracks, bins = found.coverage.shape
    channels = found.embedding.shape[1] + 1
    if total is None:
        if tracks * channels**2 * 8 > _MOST_BYTES:
            raise InputError(
                f"influence of {tracks} tracks needs {tracks * channels**2 * 8 / 2**30:.0f} GiB for their matrices; "
                "name fewer tracks, or take tracin"
            )
        total = np.zeros((tracks, channels, channels))
    weights = position_weights(bins, options.weight_range, options.weight_exp)
    for track in range(tracks):
        total[track] += curvature(
            found.target[track], found.coverage[track], found.embedding, weights, options.total_weight
        )
    return total


def solved(matrices: DoubleArray, slope: DoubleArray, damping: float) -> DoubleArray:
    """Return ``(H + d)^-1 q`` of every track, d being ``damping`` times the mean of the diagonal of its H.

    Parameters
    ----------
    matrices : float64 ndarray of shape (tracks, channels, channels)
    slope : float64 ndarray of shape (tracks, channels)
    damping : float

    Raises
    ------
    InputError
        If a matrix is 0: the track was nowhere above 0.
    """
    found = np.empty_like(slope)
    for track, matrix in enumerate(matrices):
        ridge = damping * float(np.trace(matrix)) / len(matrix)
        if ridge <= 0.0:
            raise InputError("a track of the query is 0 in all windows of the data: nothing trained it; leave it out")
        found[track] = np.linalg.solve(matrix + ridge * np.eye(len(matrix)), slope[track])
    return found
