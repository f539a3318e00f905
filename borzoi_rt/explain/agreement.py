"""How far two maps of one stretch of bases agree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import InputError
from ..types import DoubleArray, IndexArray

TOP_SHARE, JACCARD_SHARE = 0.05, 0.01  # of the positions whose size is compared


def pearson(one: DoubleArray, other: DoubleArray) -> float | None:
    """Return Pearson's correlation; None of fewer than three values, or where one map has the same value everywhere."""
    if len(one) < 3 or one.std() == 0.0 or other.std() == 0.0:
        return None
    return float(np.corrcoef(one, other)[0, 1])


def spearman(one: DoubleArray, other: DoubleArray) -> float | None:
    """Return Spearman's correlation, equal values sharing the mean of their ranks; None as of :func:`pearson`."""
    return pearson(ranks(one), ranks(other))


def top_overlap(one: DoubleArray, other: DoubleArray, *, share: float = TOP_SHARE) -> float | None:
    """Return which part of the strongest positions of one map is among those of the other.

    Parameters
    ----------
    one, other : float64 ndarray of shape (positions,)
        Scores; their size counts.
    share : float
        Share of the positions that are compared, above 0 and at most 1; at least one position.

    Returns
    -------
    float or None
        1 of equal maps, about ``share`` of unrelated ones. Of positions that tie at the border, as those of one
        stretch do, each counts by the share of them for which there is room. None of a map that is 0 everywhere.

    Raises
    ------
    InputError
        If there is no such share.
    """
    weights = _top(one, other, share)
    return None if weights is None else float(np.minimum(*weights).sum() / weights[0].sum())


def top_jaccard(one: DoubleArray, other: DoubleArray, *, share: float = JACCARD_SHARE) -> float | None:
    """Return Jaccard's index of the strongest positions of two maps: those in both, over those in either.

    Parameters
    ----------
    one, other, share
        As of :func:`top_overlap`.

    Returns
    -------
    float or None
        1 of equal maps, about ``share / (2 - share)`` of unrelated ones; ties and None as of :func:`top_overlap`.
    """
    weights = _top(one, other, share)
    return None if weights is None else float(np.minimum(*weights).sum() / np.maximum(*weights).sum())


def _top(one: DoubleArray, other: DoubleArray, share: float) -> tuple[DoubleArray, DoubleArray] | None:
    """Return how far each position is among the strongest of either map; None where one is 0 everywhere."""
    if not 0.0 < share <= 1.0:
        raise InputError(f"share is {share!r}; a number above 0 and at most 1 is needed")
    if not len(one) or not one.any() or not other.any():
        return None
    count = max(1, round(share * len(one)))
    return _membership(np.abs(one), count), _membership(np.abs(other), count)


def _membership(size: DoubleArray, count: int) -> DoubleArray:
    """Return how far each position is among the ``count`` largest."""
    limit = np.partition(size, -count)[-count]
    above, tied = size > limit, size == limit
    found: DoubleArray = above + tied * ((count - above.sum()) / tied.sum())
    return found


def ranks(values: DoubleArray | IndexArray) -> DoubleArray:
    """Return ranks from 1 on, equal values sharing the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    found: DoubleArray = (np.cumsum(counts) - (counts - 1) / 2.0)[inverse.reshape(-1)]
    return found


def agreement(one: DoubleArray, other: DoubleArray) -> dict[str, float | None]:
    """Return ``pearson``, ``spearman`` and ``top_overlap`` of two maps."""
    return {"pearson": pearson(one, other), "spearman": spearman(one, other), "top_overlap": top_overlap(one, other)}


def mean_known(values: Sequence[float | None]) -> float | None:
    """Return the mean of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
