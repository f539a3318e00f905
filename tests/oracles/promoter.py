"""Losses of the promoter networks by loops over samples and strands. float64, NumPy only."""

from __future__ import annotations

import numpy as np

EPS = 1e-10


def profile_kl(p: np.ndarray, t: np.ndarray) -> float:
    """Mean over samples, strands and bins; (batch, 2, bins)."""
    total, count = 0.0, 0
    for sample in range(p.shape[0]):
        for strand in range(p.shape[1]):
            a, b = p[sample, strand] + EPS, t[sample, strand] + EPS
            a, b = a / a.sum(), b / b.sum()
            for x, y in zip(a, b, strict=True):
                total += y * (np.log(y + EPS) - np.log(x + EPS))
                count += 1
    return total / count


def poisson_kl(p: np.ndarray, t: np.ndarray) -> float:
    """Mean of t ln(t / p) + p - t."""
    values = [y * np.log((y + EPS) / (x + EPS)) + x - y for x, y in zip(p.ravel(), t.ravel(), strict=True)]
    return float(np.mean(values))


def absolute_kl(p: np.ndarray, t: np.ndarray) -> float:
    """Mean of t ln(t / p) + |p - t|."""
    values = [y * (np.log(y + EPS) - np.log(x + EPS)) + abs(x - y) for x, y in zip(p.ravel(), t.ravel(), strict=True)]
    return float(np.mean(values))
