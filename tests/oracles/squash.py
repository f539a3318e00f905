"""The squashed scale in float64, one formula a line, one track at a time."""

from __future__ import annotations

import numpy as np


def power_of(kind: str, sum_stat: str, *, forward: bool) -> str:
    """Return what a kind does to a track: nothing, ``y^(3/4)``, ``sqrt(1 + y) - 1`` or ``(1 + y)^(3/4) - 1``."""
    if kind == "old":
        return "three_quarters" if "_sqrt" in sum_stat else "nothing"
    if kind == "new":
        if forward and sum_stat == "sum_exp75":
            return "shifted_three_quarters"
        return "shifted_sqrt" if "_sqrt" in sum_stat else "nothing"
    if sum_stat != "sum_sqrt":
        return "nothing"
    return "three_quarters" if kind == "bp_old" else "shifted_three_quarters"


def forward(kind: str, y: np.ndarray, *, sum_stat: str, scale: float, clip_soft: float, clip: float) -> np.ndarray:
    """Squash the sums (or means) of the bins of one track."""
    y = np.asarray(y, dtype=np.float64)
    if kind == "none":
        return y
    old = kind in ("old", "bp_old")
    if not old:
        y = scale * y
    power = power_of(kind, sum_stat, forward=True)
    if power == "three_quarters":
        y = y**0.75
    elif power == "shifted_sqrt":
        y = np.sqrt(1 + y) - 1
    elif power == "shifted_three_quarters":
        y = (1 + y) ** 0.75 - 1
    offset = 0 if old else 1
    bent = clip_soft - offset + np.sqrt(np.maximum(y - clip_soft, 0) + offset)
    y = np.where(y > clip_soft, bent, y)
    y = np.clip(y, -clip, clip)
    return scale * y if old else y


def inverse(
    kind: str,
    p: np.ndarray,
    *,
    sum_stat: str,
    scale: float,
    clip_soft: float,
    unscale: bool,
    unclip: bool,
) -> np.ndarray:
    """Return squashed values of one track to coverage."""
    p = np.asarray(p, dtype=np.float64)
    if kind == "none":
        return p
    old = kind in ("old", "bp_old")
    if kind == "old" or (kind == "bp_old" and unscale):
        p = p / scale
    if unclip:
        offset = 0 if old else 1
        p = np.where(p > clip_soft, clip_soft - offset + (p - clip_soft + offset) ** 2, p)
    power = power_of(kind, sum_stat, forward=False)
    if power == "three_quarters":
        p = p ** (4 / 3)
    elif power == "shifted_sqrt":
        p = (p + 1) ** 2 - 1
    elif power == "shifted_three_quarters":
        p = (p + 1) ** (4 / 3) - 1
    if kind == "old" and not unscale:
        return p * scale
    if not old and unscale:
        return p / scale
    return p


def slope(kind: str, p: np.ndarray, **parameters: object) -> np.ndarray:
    """Return d(inverse)/dp by central differences; wrong within a step of the knee."""
    p = np.asarray(p, dtype=np.float64)
    step = 1e-6 * np.maximum(np.abs(p), 1e-3)
    ahead = inverse(kind, p + step, **parameters)  # type: ignore[arg-type]
    behind = inverse(kind, p - step, **parameters)  # type: ignore[arg-type]
    return (ahead - behind) / (2 * step)
