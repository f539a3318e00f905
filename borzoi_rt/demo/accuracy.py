"""How well scores tell causal from neutral variants, and how well they give the change, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError

RESAMPLES = 1000
SEED = 7
_TAILS = (0.025, 0.975)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A statistic of a sample and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.2f}, {self.high:.2f}]"


def auroc(scores: ArrayLike, positive: ArrayLike) -> float:
    """Return the chance that a positive scores above a negative, ties counted half (Mann and Whitney's U).

    Raises
    ------
    InputError
        If there are no positives, or no negatives.
    """
    values, labels = _labelled(scores, positive)
    above, below = values[labels], np.sort(values[~labels])
    lower = np.searchsorted(below, above, side="left") + np.searchsorted(below, above, side="right")
    return float(lower.mean() / (2 * len(below)))


def average_precision(scores: ArrayLike, positive: ArrayLike) -> float:
    """Return the mean, over the positives, of the precision among all that score as high or higher.

    Equal scores are one step of the curve: their order in the sample does not matter.

    Raises
    ------
    InputError
        If there are no positives, or no negatives.
    """
    values, labels = _labelled(scores, positive)
    order = np.argsort(-values, kind="stable")
    values, labels = values[order], labels[order]
    ends = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)  # the last of each run of equal scores
    found = np.cumsum(labels)[ends]
    return float(np.sum(np.diff(found, prepend=0) * found / (ends + 1)) / found[-1])


def correlation(scores: ArrayLike, truth: ArrayLike) -> float:
    """Return Pearson's correlation of two samples.

    Raises
    ------
    InputError
        If a sample has no spread.
    """
    x, y = np.asarray(scores, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if not (np.ptp(x) > 0 and np.ptp(y) > 0):
        raise InputError("a sample of equal or unknown values has no correlation")
    x, y = x - x.mean(), y - y.mean()
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def same_sign(scores: ArrayLike, truth: ArrayLike) -> float:
    """Return the share of a sample where both have the same sign; a score of 0 has none."""
    return float((np.asarray(scores) * np.asarray(truth) > 0).mean())


def estimate(
    statistic: Callable[..., float],
    *samples: ArrayLike,
    groups: ArrayLike,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Estimate:
    """Return a statistic of samples with the percentile interval of a bootstrap over groups.

    What shares a group (here a promoter) is drawn together, since it is not independent: an interval over single
    values would be too narrow.

    Parameters
    ----------
    statistic : callable
        Takes the samples, each a float64 or bool array, and returns a number. A draw for which it raises
        ``InputError`` (no positives in it, say) is drawn again.
    *samples : array_like, each (n,)
        Values of the same n items.
    groups : array_like, (n,)
        Group of each item; all different for a plain bootstrap.
    resamples, seed : int
        Number of draws, and where they start: the same seed gives the same interval.

    Raises
    ------
    InputError
        If the statistic is not defined for the whole sample.
    """
    arrays = [np.asarray(sample) for sample in samples]
    value = statistic(*arrays)
    _, number = np.unique(np.asarray(groups), return_inverse=True)
    members = np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number))[:-1])
    generator = np.random.default_rng(seed)
    found: list[float] = []
    while len(found) < resamples:
        drawn = np.concatenate([members[group] for group in generator.integers(len(members), size=len(members))])
        try:
            found.append(statistic(*(array[drawn] for array in arrays)))
        except InputError:
            continue
    low, high = np.quantile(found, _TAILS)
    return Estimate(value, float(low), float(high))


def _labelled(scores: ArrayLike, positive: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    values, labels = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=bool)
    positives = int(labels.sum())
    if not 0 < positives < len(labels):
        raise InputError(f"{positives} positive and {len(labels) - positives} negative scores; one of each is needed")
    return values, labels
