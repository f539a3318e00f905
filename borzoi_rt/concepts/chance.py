"""Two-sided t-tests of a concept against chance; the only door to scipy, which scikit-learn needs."""

from __future__ import annotations

from math import comb

import numpy as np

from ..errors import missing_package
from ..types import DoubleArray

LEVEL = 0.05


def two_sided(one: DoubleArray, other: DoubleArray) -> float:
    """Return p of Welch's two-sided t-test, and never less than an exchange of the labels could give.

    Parameters
    ----------
    one, other : float64 ndarray of shape (repeats,)
        Two samples, of two or more values each.

    Returns
    -------
    float
        ``max(p, 2 / C(n + m, n))``. Where neither sample varies, the t-test has no value: p is 1 where both are the
        same, and else that least value.
    """
    floor = min(1.0, 2.0 / comb(len(one) + len(other), len(one)))
    if np.ptp(one) == 0.0 and np.ptp(other) == 0.0:
        return 1.0 if one[0] == other[0] else floor
    try:
        from scipy.special import stdtr
    except ImportError as error:
        raise missing_package(error, "scipy", "surrogate", "testing against chance") from error
    parts = np.array([one.var(ddof=1) / len(one), other.var(ddof=1) / len(other)])
    freedom = parts.sum() ** 2 / (parts**2 / [len(one) - 1, len(other) - 1]).sum()  # Welch and Satterthwaite
    t = float(one.mean() - other.mean()) / np.sqrt(parts.sum())
    return max(2.0 * float(stdtr(freedom, -abs(t))), floor)


def bonferroni(p_value: float, tests: int) -> float:
    """Return p for so many tests: ``min(1, p tests)``."""
    return min(1.0, p_value * tests)
