"""Kernels by loops: cleaning as published (on (width, 4) arrays), roughness, similarity. float64, NumPy only."""

from __future__ import annotations

import numpy as np


def smoothness(w: np.ndarray, p: int, eps: float = 0.0) -> float:
    """Mean over kernels (all axes but the last) of mean squared step over the p-th central moment to the power 2/p."""
    values = []
    for kernel in np.asarray(w, dtype=np.float64).reshape(-1, w.shape[-1]):
        step = sum((kernel[k] - kernel[k + 1]) ** 2 for k in range(len(kernel) - 1)) / (len(kernel) - 1)
        moment = sum((value - kernel.mean()) ** p for value in kernel) / len(kernel)
        values.append(step / (moment ** (2 / p) + eps))
    return float(np.mean(values))


def similarity(first: np.ndarray, second: np.ndarray, shifts: int, centred: bool) -> float:
    """Largest Pearson r over left circular moves of the second kernel and their reverse complements; (4, width)."""
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if centred:
        a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    found = []
    for shift in range(shifts):
        moved = np.concatenate([b[:, shift:], b[:, :shift]], axis=1)
        found += [np.corrcoef(a.ravel(), strand.ravel())[0, 1] for strand in (moved, moved[::-1, ::-1])]
    return max(found)
