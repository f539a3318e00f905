"""Binned and squashed coverage in float64, formula by formula, for one track."""

from __future__ import annotations

import numpy as np


def binned(values: np.ndarray, width: int, sum_stat: str) -> np.ndarray:
    """Return sums or means of bins."""
    rows = values.astype("f8").reshape(-1, width)
    return rows.sum(axis=1) if sum_stat.startswith("sum") else rows.mean(axis=1)


def squash(y: np.ndarray, kind: str, sum_stat: str, scale: float, knee: float, clip: float) -> np.ndarray:
    """Return the squashed scale of binned coverage: the published forward transforms, written out."""
    if kind == "none":
        return y
    root = "_sqrt" in sum_stat
    if kind in ("old", "bp_old"):
        y = y**0.75 if (root if kind == "old" else sum_stat == "sum_sqrt") else y
        y = np.where(y > knee, knee + np.sqrt(np.maximum(y - knee, 0)), y)
        return scale * np.clip(y, -clip, clip)
    y = scale * y
    if kind == "bp_new":
        y = (1 + y) ** 0.75 - 1 if sum_stat == "sum_sqrt" else y
    elif root:
        y = np.sqrt(1 + y) - 1
    elif sum_stat == "sum_exp75":
        y = (1 + y) ** 0.75 - 1
    y = np.where(y > knee, knee - 1 + np.sqrt(np.maximum(y - knee + 1, 0)), y)
    return np.clip(y, -clip, clip)
