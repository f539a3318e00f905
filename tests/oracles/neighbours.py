"""Nearest neighbours by sorting all distances, in float64."""

from __future__ import annotations

import math

import numpy as np


def distance(a: np.ndarray, b: np.ndarray, metric: str) -> float:
    """Euclidean distance, or 1 - cosine."""
    one, other = a.astype(np.float64), b.astype(np.float64)
    if metric == "l2":
        return math.sqrt(math.fsum((x - y) ** 2 for x, y in zip(one.tolist(), other.tolist(), strict=True)))
    return 1.0 - float(one @ other) / math.sqrt(float(one @ one) * float(other @ other))


def nearest(query: np.ndarray, rows: np.ndarray, allowed: list[int], count: int, metric: str) -> list[int]:
    """Return the nearest of the allowed rows."""
    ranked = sorted((distance(query, rows[row], metric), row) for row in allowed)
    return [row for _, row in ranked[:count]]
