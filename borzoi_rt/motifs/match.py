"""Which motif of a file a stretch of DNA is, with the chance that random DNA matches it as well.

A motif is laid over the stretch at every offset and on both strands, as a scan does, and not cut to it as where two
matrices are compared (TOMTOM): the bases beside the stretch are known, and a stretch of a few strong bases is often
shorter than the motif that it belongs to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..types import ByteArray, DoubleArray, IndexArray
from .matrices import Motif
from .scan import log_odds

PVALUE = 0.01
_STEPS_A_BIT = 16  # log odds are rounded, in matches and in their distribution alike


@dataclass(frozen=True, slots=True)
class Match:
    """How a motif lies over a sequence.

    Attributes
    ----------
    motif : int
        Its number in the file.
    start, width : int
        Bases of the sequence, 0-based.
    strand : str
    p : float
        Chance that one of the alignments that were tried, over random DNA with equal base frequencies, has log odds as
        large: ``1 - (1 - p of one) ^ alignments``.
    e : float
        How many motifs of the file would match as well by chance: p times their number.
    """

    motif: int
    start: int
    width: int
    strand: str
    p: float
    e: float


class MotifMatcher:
    """Name stretches of DNA.

    Parameters
    ----------
    motifs : sequence of Motif
    pvalue : float
        Largest :attr:`Match.p` of a match.
    """

    def __init__(self, motifs: Sequence[Motif], *, pvalue: float = PVALUE) -> None:
        self.motifs = tuple(motifs)
        self._pvalue = pvalue
        widths = sorted({motif.matrix.shape[1] for motif in motifs})
        numbers = [[index for index, motif in enumerate(motifs) if motif.matrix.shape[1] == width] for width in widths]
        self._groups = [_Group([self.motifs[index] for index in part], part, len(motifs)) for part in numbers]

    def matches(self, codes: ByteArray, start: int, end: int) -> list[Match]:
        """Return the best match of each motif over a stretch, the least likely first; none that chance would bring.

        Parameters
        ----------
        codes : uint8 ndarray of shape (bases,)
            0 to 3 for A, C, G, T, 4 for an unknown base, which no match holds.
        start, end : int
            The stretch. A match covers it, lies in it, or shares at least half of the shorter of both with it.
        """
        found = [match for group in self._groups for match in group.matches(codes, start, end, self._pvalue)]
        return sorted(found, key=lambda match: (match.p, match.motif))


class _Group:
    """Motifs of one width, which are laid over a sequence together."""

    def __init__(self, motifs: Sequence[Motif], numbers: Sequence[int], count: int) -> None:
        self._numbers, self._count = numbers, count
        odds = np.stack([np.rint(log_odds(motif) * _STEPS_A_BIT).astype(np.int64) for motif in motifs])
        self._odds, self._width = odds, odds.shape[2]
        self._lowest: IndexArray = odds.min(axis=1).sum(axis=1)
        tails = [_tail(one) for one in odds]
        self._tails = np.zeros((len(motifs), max(map(len, tails))))
        for row, tail in zip(self._tails, tails, strict=True):
            row[: len(tail)] = tail

    def matches(self, codes: ByteArray, start: int, end: int, pvalue: float) -> list[Match]:
        """Return the best match of each motif that is at most as likely as ``pvalue``."""
        width = self._width
        shared = -(-min(width, end - start) // 2)
        low, high = max(0, start + shared - width), min(len(codes) - width, end - shared)
        if high < low:
            return []
        windows = np.lib.stride_tricks.sliding_window_view(codes[low : high + width], width)
        known = np.flatnonzero((windows < 4).all(axis=1))
        if not len(known):
            return []
        letters, column = windows[known], np.arange(width)
        forward = self._odds[:, letters, column].sum(axis=2)  # (motifs, alignments)
        reverse = self._odds[:, 3 - letters, column[::-1]].sum(axis=2)
        both = np.concatenate([forward, reverse], axis=1)
        at = both.argmax(axis=1)
        rows = np.arange(len(both))
        single = self._tails[rows, both[rows, at] - self._lowest]
        chances = -np.expm1(both.shape[1] * np.log1p(-np.minimum(single, 1.0 - 1e-16)))
        found = []
        for row in np.flatnonzero(chances <= pvalue).tolist():
            strand, alignment = divmod(int(at[row]), len(known))
            first, chance = low + int(known[alignment]), float(chances[row])
            found.append(Match(self._numbers[row], first, width, "+-"[strand], chance, chance * self._count))
        return found


def _tail(odds: np.ndarray) -> DoubleArray:
    """Return P(sum >= smallest + i) of rounded log odds (4, width), all letters equally likely."""
    density = np.ones(1)
    for column in odds.T:
        steps = column - column.min()
        longer = np.zeros(len(density) + int(steps.max()))
        for step in steps.tolist():
            longer[step : step + len(density)] += 0.25 * density
        density = longer
    return np.cumsum(density[::-1])[::-1]
