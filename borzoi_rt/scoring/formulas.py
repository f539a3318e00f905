"""The formulas of window statistics, in float64, of coverage R of the reference and A of the alternate allele.

Arrays are (pairs, tracks, bins) and every formula takes the bins away; log2p(x) = log2(x + 1). A formula is what it is:
the square root of negative coverage and the divergence of a profile without coverage are NaN, a bin that only one
profile reaches makes the divergence infinite. Nothing replaces such a value; see
:func:`borzoi_rt.scoring.statistics.undefined_scores`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeGuard

import numpy as np

from ..backends.protocols import BinSums
from ..types import DoubleArray

_SCALES: dict[str, Callable[[DoubleArray], DoubleArray]] = {
    "identity": lambda x: x,
    "log2p": lambda x: np.log2(x + 1.0),
    "sqrt": lambda x: np.sqrt(x),
    "log1p": lambda x: np.log1p(x),
}
_ROW = {"identity": 0, "log2p": 1, "sqrt": 2}  # of the arrays of BinSums
_LFC_PSEUDO = 1e-3


@dataclass
class Coverage:
    """R and A of a block of tracks in float64, with their transforms computed once.

    Attributes
    ----------
    ref, alt : float64 ndarray of shape (pairs, tracks, bins)
    pseudo : dict of str to float64 ndarray of shape (pairs, tracks, 1)
        Pseudo-count of profiles on a scale where it is not that of these bins.
    """

    ref: DoubleArray
    alt: DoubleArray
    pseudo: dict[str, DoubleArray] = field(default_factory=dict)
    _held: dict[str, tuple[DoubleArray, DoubleArray]] = field(default_factory=dict)

    def scaled(self, scale: str) -> tuple[DoubleArray, DoubleArray]:
        """Return f(R) and f(A)."""
        if scale not in self._held:
            function = _SCALES[scale]
            self._held[scale] = (function(self.ref), function(self.alt))
        return self._held[scale]

    def profiles(self, scale: str) -> tuple[DoubleArray, DoubleArray]:
        """Return P and Q: the shares that bins have of f(R) + ps and of f(A) + ps."""
        ref, alt = self.scaled(scale)
        pseudo = self.pseudo[scale] if scale in self.pseudo else quartile(ref)
        p, q = ref + pseudo, alt + pseudo
        return p / p.sum(-1, keepdims=True), q / q.sum(-1, keepdims=True)


def scaled(values: DoubleArray, scale: str) -> DoubleArray:
    """Return coverage on a scale."""
    return _SCALES[scale](values)


def quartile(values: DoubleArray) -> DoubleArray:
    """Return the 25th percentile over bins, (pairs, tracks, 1)."""
    return np.asarray(np.percentile(values, 25, axis=-1, keepdims=True))


@dataclass(frozen=True, slots=True)
class Difference:
    """sum f(A) - sum f(R)."""

    scale: str = "identity"
    binwise = False
    squares = False
    signed = True

    def __call__(self, coverage: Coverage) -> DoubleArray:
        """Return the statistic, (pairs, tracks)."""
        ref, alt = coverage.scaled(self.scale)
        return np.asarray(alt.sum(-1) - ref.sum(-1))

    def of_sums(self, sums: BinSums) -> DoubleArray:
        """Return the same from sums over bins, (tracks,)."""
        row = _ROW[self.scale]
        return np.asarray(sums.alt[row] - sums.ref[row])


@dataclass(frozen=True, slots=True)
class LogTotal:
    """log2p(sum A) - log2p(sum R)."""

    binwise = False
    squares = False
    signed = True

    def __call__(self, coverage: Coverage) -> DoubleArray:
        """Return the statistic, (pairs, tracks)."""
        return np.asarray(np.log2(coverage.alt.sum(-1) + 1.0) - np.log2(coverage.ref.sum(-1) + 1.0))

    def of_sums(self, sums: BinSums) -> DoubleArray:
        """Return the same from sums over bins, (tracks,)."""
        return np.asarray(np.log2(sums.alt[0] + 1.0) - np.log2(sums.ref[0] + 1.0))


@dataclass(frozen=True, slots=True)
class Extreme:
    """A - R at the first bin where its size is largest."""

    binwise = True
    squares = False
    signed = True

    def __call__(self, coverage: Coverage) -> DoubleArray:
        """Return the statistic, (pairs, tracks)."""
        difference = coverage.alt - coverage.ref
        widest = np.abs(difference).argmax(-1)[..., None]
        return np.asarray(np.take_along_axis(difference, widest, -1)[..., 0])

    def of_sums(self, sums: BinSums) -> DoubleArray:
        """Return the same from sums over bins, (tracks,)."""
        return sums.extreme


@dataclass(frozen=True, slots=True)
class Distance:
    """L1 or L2 norm of f(A) - f(R) over bins."""

    order: int
    scale: str = "identity"
    binwise = True
    signed = False

    @property
    def squares(self) -> bool:
        """Whether strands join by the root of the sum of squares."""
        return self.order == 2

    def __call__(self, coverage: Coverage) -> DoubleArray:
        """Return the statistic, (pairs, tracks)."""
        ref, alt = coverage.scaled(self.scale)
        difference = alt - ref
        if self.order == 1:
            return np.asarray(np.abs(difference).sum(-1))
        return np.asarray(np.sqrt(np.square(difference).sum(-1)))

    def of_sums(self, sums: BinSums) -> DoubleArray:
        """Return the same from sums over bins, (tracks,)."""
        row = _ROW[self.scale]
        return np.asarray(sums.absolute[row] if self.order == 1 else np.sqrt(sums.square[row]))


@dataclass(frozen=True, slots=True)
class Divergence:
    """Half of the symmetrised Kullback-Leibler divergence of the profiles P of f(R) and Q of f(A).

    A bin that neither profile reaches adds nothing (0 ln(0 / 0) = 0, as in the reference); one that only one of them
    reaches makes it infinite; it is NaN where a profile has no coverage at all, for 0 / 0 is no profile.
    """

    scale: str = "identity"
    binwise = True
    squares = False
    signed = False

    def __call__(self, coverage: Coverage) -> DoubleArray:
        """Return the statistic, (pairs, tracks)."""
        p, q = coverage.profiles(self.scale)
        terms = np.where(p == q, 0.0, (p - q) * (np.log(p) - np.log(q)))
        return np.asarray(0.5 * terms.sum(-1))


@dataclass(frozen=True, slots=True)
class Profile:
    """Norm of P - Q, the profiles of :class:`Divergence`: L1, L2, or the largest bin (order 0).

    With ``direction`` it is Q - P at the first bin where its size is largest: what it is there of, more or less.
    """

    order: int
    direction: bool = False
    scale = "identity"
    binwise = True

    @property
    def squares(self) -> bool:
        """Whether strands join by the root of the sum of squares."""
        return self.order == 2

    @property
    def signed(self) -> bool:
        """Whether a gain and a loss differ in sign."""
        return self.direction

    def __call__(self, coverage: Coverage) -> DoubleArray:
        """Return the statistic, (pairs, tracks)."""
        p, q = coverage.profiles(self.scale)
        difference = q - p
        if self.order == 1:
            return np.asarray(np.abs(difference).sum(-1))
        if self.order == 2:
            return np.asarray(np.sqrt(np.square(difference).sum(-1)))
        widest = np.abs(difference).argmax(-1)[..., None]
        found = np.take_along_axis(difference, widest, -1)[..., 0]
        return np.asarray(found if self.direction else np.abs(found))


@dataclass(frozen=True, slots=True)
class MeanDifference:
    """mean A - mean R."""

    binwise = False
    squares = False
    signed = True

    def __call__(self, coverage: Coverage) -> DoubleArray:
        """Return the statistic, (pairs, tracks)."""
        return np.asarray(coverage.alt.mean(-1) - coverage.ref.mean(-1))


@dataclass(frozen=True, slots=True)
class LogMean:
    """ln(mean A + 0.001) - ln(mean R + 0.001)."""

    binwise = False
    squares = False
    signed = True

    def __call__(self, coverage: Coverage) -> DoubleArray:
        """Return the statistic, (pairs, tracks)."""
        alt, ref = coverage.alt.mean(-1), coverage.ref.mean(-1)
        return np.asarray(np.log(alt + _LFC_PSEUDO) - np.log(ref + _LFC_PSEUDO))


@dataclass(frozen=True, slots=True)
class Stronger:
    """The larger of sum A and sum R, or of their means: no change, but what there is to change."""

    mean: bool = False
    binwise = False
    squares = False
    signed = False

    def __call__(self, coverage: Coverage) -> DoubleArray:
        """Return the statistic, (pairs, tracks)."""
        if self.mean:
            return np.asarray(np.maximum(coverage.alt.mean(-1), coverage.ref.mean(-1)))
        return np.asarray(np.maximum(coverage.alt.sum(-1), coverage.ref.sum(-1)))


@dataclass(frozen=True, slots=True)
class SiteSplit:
    """A score of several sites of a gene, see :mod:`borzoi_rt.scoring.splits`: its size, or it, signed."""

    direction: bool = False
    internal: bool = False
    layout: str = "near"
    rule: str = "ratio"
    region: str = "pas"

    @property
    def of_tracks(self) -> bool:
        """Whether a mean over tracks is part of it, so that it depends on which tracks there are."""
        return self.rule in ("ratio", "share")

    binwise = True
    squares = False

    @property
    def signed(self) -> bool:
        """Whether a gain and a loss differ in sign."""
        return self.direction


@dataclass(frozen=True, slots=True)
class Widest:
    """Largest |A - R| of a bin."""

    binwise = True
    squares = False
    signed = False

    def __call__(self, coverage: Coverage) -> DoubleArray:
        """Return the statistic, (pairs, tracks)."""
        return np.asarray(np.abs(coverage.alt - coverage.ref).max(-1))


Statistic = (
    Difference | LogTotal | Extreme | Distance | Divergence | Profile | MeanDifference | LogMean | Stronger | Widest
)

Summed = Difference | LogTotal | Extreme | Distance


def is_sum(statistic: Statistic) -> TypeGuard[Summed]:
    """Tell whether a statistic can be made of the sums over bins that graphs give."""
    return isinstance(statistic, Summed) and getattr(statistic, "scale", "identity") in _ROW
