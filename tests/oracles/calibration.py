"""Where a score stands among null values, by counting."""

from __future__ import annotations

import math
from collections.abc import Sequence

Standing = tuple[float, float, float]
NONE = (math.nan, math.nan, math.nan)


def standing(score: float, null: Sequence[float], *, signed: bool) -> Standing:
    """Quantile, phred and vs_null_max; NaN where there is none."""
    if not math.isfinite(score) or min(null) == max(null):
        return NONE
    below, equal = sum(value < score for value in null), sum(value == score for value in null)
    quantile = (below + equal / 2) / len(null)
    down = signed and score < 0
    far = sum(value <= score if down else value >= score for value in null)
    if signed and score == 0:
        return 2 * quantile - 1, 0.0, 0.0
    end = min(null) if down else max(null)
    passed = math.inf if end * score <= 0 < abs(score) else 0.0 if score == 0 else score / end
    if not far:
        return math.nan, math.nan, passed
    return 2 * quantile - 1 if signed else quantile, abs(-10 * math.log10(far / len(null))), passed
