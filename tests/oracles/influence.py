"""Influence in float64: the inner product of derivatives over pairs of bins, and ridge regression without one row."""

from __future__ import annotations

import numpy as np


def inner_product(
    residuals: np.ndarray, embedding: np.ndarray, other_residuals: np.ndarray, other_embedding: np.ndarray
) -> float:
    """Sum over bins i, j of (r_i . r'_j) (<e_i, e'_j> + 1); residuals (tracks, bins), embeddings (bins, channels)."""
    total = 0.0
    for i in range(residuals.shape[1]):
        for j in range(other_residuals.shape[1]):
            pair = sum(a * b for a, b in zip(residuals[:, i].tolist(), other_residuals[:, j].tolist(), strict=True))
            total += pair * (float(embedding[i].astype("f8") @ other_embedding[j].astype("f8")) + 1.0)
    return total


def ridge(rows: np.ndarray, targets: np.ndarray, penalty: float, *, without: int | None = None) -> np.ndarray:
    """Return the w that minimise ``sum (y - x w)^2 / (2 n) + penalty |w|^2 / 2``; n counts a row left out, too."""
    count, columns = rows.shape
    kept = np.array([number != without for number in range(count)])
    x, y = rows[kept], targets[kept]
    return np.asarray(np.linalg.solve(x.T @ x / count + penalty * np.eye(columns), x.T @ y / count))
