"""The squashed scale in float64, one branch after the other, for one track at a time."""

from __future__ import annotations

import numpy as np


def shifted_power(x: np.ndarray, exponent: float) -> np.ndarray:
    """Return (1 + x)^exponent - 1; as written it would lose every digit of a small x."""
    return np.expm1(exponent * np.log1p(x))


def forward(
    kind: str, coverage: np.ndarray, *, scale: float, clip_soft: float, clip: float, sum_stat: str
) -> np.ndarray:
    """Squash the coverage of bins (already a sum or a mean)."""
    y = np.asarray(coverage, dtype=np.float64)
    offset = {"old": 0.0, "bp_old": 0.0, "new": 1.0, "bp_new": 1.0}[kind]
    with np.errstate(all="ignore"):
        if offset:
            y = scale * y
        if kind == "old" and "_sqrt" in sum_stat:
            y = y**0.75
        if kind == "bp_old" and sum_stat == "sum_sqrt":
            y = y**0.75
        if kind == "new" and "_sqrt" in sum_stat:
            y = shifted_power(y, 1 / 2)
        if kind == "new" and sum_stat == "sum_exp75":
            y = shifted_power(y, 3 / 4)
        if kind == "bp_new" and sum_stat == "sum_sqrt":
            y = shifted_power(y, 3 / 4)
        y = np.where(y > clip_soft, clip_soft - offset + np.sqrt(y - clip_soft + offset), y)
        y = np.clip(y, -clip, clip)
        if not offset:
            y = scale * y
    return y


def inverse(
    kind: str,
    squashed: np.ndarray,
    *,
    scale: float,
    clip_soft: float,
    sum_stat: str,
    unscale: bool = False,
    unclip: bool = True,
) -> np.ndarray:
    """Return squashed values to coverage; also of complex values, which :func:`slope` uses."""
    p = np.asarray(squashed)
    p = p if np.iscomplexobj(p) else p.astype(np.float64)
    offset = {"old": 0.0, "bp_old": 0.0, "new": 1.0, "bp_new": 1.0}[kind]
    with np.errstate(all="ignore"):
        if kind == "old" or (kind == "bp_old" and unscale):
            p = p / scale
        if unclip:
            p = np.where(p.real > clip_soft, clip_soft - offset + (p - clip_soft + offset) ** 2, p)
        if kind == "old" and "_sqrt" in sum_stat:
            p = p ** (4 / 3)
        if kind == "bp_old" and sum_stat == "sum_sqrt":
            p = p ** (4 / 3)
        if kind == "new" and "_sqrt" in sum_stat:
            p = p**2 + 2 * p  # (p + 1)^2 - 1
        if kind == "bp_new" and sum_stat == "sum_sqrt":
            p = shifted_power(p, 4 / 3)
        if kind == "old" and not unscale:
            p = p * scale
        if kind in ("new", "bp_new") and unscale:
            p = p / scale
    return p


def slope(kind: str, squashed: np.ndarray, **parameters: object) -> np.ndarray:
    """Differentiate :func:`inverse` by a complex step: no second formula, no cancellation."""
    step = 1e-30
    stepped = np.asarray(squashed, dtype=np.float64) + 1j * step
    return inverse(kind, stepped, **parameters).imag / step  # type: ignore[arg-type]
