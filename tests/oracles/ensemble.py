"""Mean, spread and agreement over members, one number at a time."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def sign(value: float) -> int:
    return (value > 0) - (value < 0)


def of_members(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean, standard deviation with n - 1, share of members with the sign of the mean."""
    mean = statistics.fmean(values)
    return mean, statistics.stdev(values), sum(sign(value) == sign(mean) for value in values) / len(values)
