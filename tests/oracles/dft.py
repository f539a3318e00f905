"""Fourier transforms by definition, and the published motif score in the order of its own code. float64, NumPy only."""

from __future__ import annotations

import numpy as np


def dft(x: np.ndarray) -> np.ndarray:
    """All N bins of one row: X_k = sum_t x_t exp(-2 pi i k t / N)."""
    n = len(x)
    out = np.zeros(n, dtype=np.complex128)
    for k in range(n):
        for t in range(n):
            out[k] += x[t] * np.exp(-2j * np.pi * k * t / n)
    return out


def published_scores(wt: np.ndarray, ko: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Transform both tracks over all bins, subtract, take the norm, divide by the sum over motifs; (N,) and (M, N)."""
    base = np.fft.fft(wt)
    raw = np.array([np.sqrt(np.sum(np.abs(np.fft.fft(row) - base) ** 2)) for row in ko])
    return raw, raw / raw.sum()


def integral(f: np.ndarray, place_bp: np.ndarray, omega: np.ndarray) -> np.ndarray:
    """The integral of f(t) exp(-i omega t) by the trapezoid rule on a grid ``place_bp``."""
    return np.array([np.trapezoid(f * np.exp(-1j * w * place_bp), place_bp) for w in omega])


def centroid(track: np.ndarray, place_bp: np.ndarray) -> float:
    """Mean position of a track of weights."""
    return float(sum(x * t for x, t in zip(track, place_bp, strict=True)) / sum(track))
