"""Seqlets: stretches of bases whose scores are larger together than chance brings them.

The rule is that of the recursive seqlets of tangermeme, with sums over exact distributions instead of a histogram: a
stretch is a seqlet where it and every shorter stretch inside it, down to ``shortest`` bases, is significant on one
side, so that it cannot be made of two strong bases and what lies between them.

The null model is that the scores of the bases lie in any order: the sum of a stretch of L bases is compared with sums
of L scores drawn independently from the row, or, where the row has fewer than 100 known bases, from all rows together;
``p`` is twice the share of these that are as large on the side of the sum. Where scores are independent, a stretch that
is chosen beforehand has p <= x in at most x of the cases. Nothing is corrected for the number of stretches that are
looked at; neighbours that go together, as bins of methods of stretches do, make p too small; and the motifs themselves
are among the scores that are drawn, which makes it too large.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..types import BoolArray, DoubleArray

PVALUE = 0.01
SHORTEST, LONGEST = 4, 25
FEWEST = 100  # scores of a row that are enough to draw from
SMALLEST = 1e-12  # p that rounding of the transforms leaves
_STEPS = 2048  # of the scale of one score


@dataclass(frozen=True, slots=True)
class Seqlet:
    """A stretch [start, end) of one row.

    Attributes
    ----------
    row, start, end : int
    attribution : float
        Sum of the scores of its bases.
    p : float
        See the module.
    """

    row: int
    start: int
    end: int
    attribution: float
    p: float


class SumNull:
    """Distributions of sums of scores that are drawn independently.

    Parameters
    ----------
    scores : float64 ndarray of shape (scores,)
        What is drawn from.
    longest : int
        Most scores of a sum.
    """

    def __init__(self, scores: DoubleArray, longest: int = LONGEST) -> None:
        if not len(scores):
            raise InputError("no base is known, so that no score can be compared with others")
        self._low = float(scores.min())
        self._step = float(scores.max() - self._low) / (_STEPS - 1)
        self._longest = longest
        codes = self._codes(scores)
        one = np.bincount(codes, minlength=_STEPS) / len(codes)
        # One transform serves all lengths: the distribution of a sum of L is the L-th power.
        self._transform = np.fft.rfft(one, 1 << (longest * _STEPS).bit_length())
        self._tails: dict[int, tuple[DoubleArray, DoubleArray]] = {}

    def _codes(self, scores: DoubleArray) -> np.ndarray:
        """Return scores as whole steps above the smallest."""
        if self._step == 0.0:
            return np.zeros(scores.shape, dtype=np.int64)
        return np.rint((scores - self._low) / self._step).clip(0, _STEPS - 1).astype(np.int64)

    def _of(self, length: int) -> tuple[DoubleArray, DoubleArray]:
        """Return P(sum <= code) and P(sum >= code) of every sum."""
        if length not in self._tails:
            density = np.fft.irfft(self._transform**length)[: length * (_STEPS - 1) + 1].clip(0.0)
            density /= density.sum()
            below = np.cumsum(density)
            above = np.cumsum(density[::-1])[::-1]
            self._tails[length] = below, above
        return self._tails[length]

    def pvalues(self, scores: DoubleArray, length: int) -> DoubleArray:
        """Return p of every stretch of a row, the first beginning at its first base.

        Parameters
        ----------
        scores : float64 ndarray of shape (bases,)
            Those beyond the smallest and the largest that are drawn from count as these.
        length : int
            Bases of a stretch, at most ``longest``.

        Returns
        -------
        float64 ndarray of shape (bases - length + 1,)
        """
        if not 1 <= length <= self._longest:
            raise InputError(f"length is {length}; sums of 1 to {self._longest} scores are known")
        below, above = self._of(length)
        codes = _sums(self._codes(scores), length).astype(np.int64)
        sums = _sums(scores, length)
        tail = np.where(sums < 0.0, below[codes], above[codes])
        return np.clip(2.0 * tail, SMALLEST, 1.0)


def null_of(scores: DoubleArray, known: BoolArray, row: int, longest: int = LONGEST) -> SumNull | None:
    """Return what the stretches of a row are compared with; None where no base is known.

    Parameters
    ----------
    scores : float64 ndarray of shape (rows, bases)
    known : bool ndarray of shape (rows, bases)
    row : int
    longest : int
        See :class:`SumNull`.
    """
    own = scores[row][known[row]]
    drawn = own if len(own) >= FEWEST else scores[known]
    return SumNull(drawn, longest) if len(own) else None


def find_seqlets(
    scores: DoubleArray,
    known: BoolArray,
    *,
    pvalue: float = PVALUE,
    shortest: int = SHORTEST,
    longest: int = LONGEST,
) -> list[Seqlet]:
    """Return the seqlets of rows, by row and start; none overlaps another.

    Parameters
    ----------
    scores : float64 ndarray of shape (rows, bases)
        Scores of the bases that are there, never the hypothetical ones of all four.
    known : bool ndarray of shape (rows, bases)
        Which bases are known; a seqlet holds no other.
    pvalue : float
        What every stretch in a seqlet needs.
    shortest, longest : int
        Bases of a seqlet.

    Raises
    ------
    InputError
        If the choices cannot be.
    """
    if not 0.0 < pvalue < 1.0:
        raise InputError(f"pvalue is {pvalue!r}; a number between 0 and 1 is needed")
    if not 1 <= shortest <= longest:
        raise InputError(f"seqlets of {shortest} to {longest} bases; whole numbers from 1 on, ascending, are needed")
    found: list[Seqlet] = []
    for row in range(len(scores)):
        null = null_of(scores, known, row, longest)
        if null is None:
            continue
        found += _of_row(row, np.where(known[row], scores[row], 0.0), known[row], null, pvalue, shortest, longest)
    return found


def _of_row(
    row: int, scores: DoubleArray, known: BoolArray, null: SumNull, pvalue: float, shortest: int, longest: int
) -> list[Seqlet]:
    candidates: list[tuple[float, int, int, float]] = []
    inside: dict[int, BoolArray] = {}  # by side: starts at which the stretches of the length at hand qualify
    for length in range(shortest, min(longest, len(scores)) + 1):
        sums, chances = _sums(scores, length), null.pvalues(scores, length)
        whole = (_sums(known, length) == length) & (chances <= pvalue)
        for side in (-1, 1):
            held = whole & (sums * side > 0.0)
            if length > shortest:
                held &= inside[side][:-1] & inside[side][1:]
            inside[side] = held
            candidates += [
                (-abs(float(sums[start])), start, length, float(chances[start]))
                for start in np.flatnonzero(held).tolist()
            ]
    taken = np.zeros(len(scores), dtype=bool)
    found = []
    for _, start, length, chance in sorted(candidates):
        if not taken[start : start + length].any():
            taken[start : start + length] = True
            total = float(scores[start : start + length].sum())
            found.append(Seqlet(row, start, start + length, total, chance))
    return sorted(found, key=lambda item: item.start)


def _sums(values: np.ndarray, length: int) -> np.ndarray:
    """Return the sum of every ``length`` neighbours."""
    total = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    found: np.ndarray = total[length:] - total[:-length]
    return found
