"""Pearson correlation and R2 of each track over windows and bins, from sums that a stream adds up in float64."""

from __future__ import annotations

import numpy as np

from ..errors import InputError

SUMS = ("count", "y", "p", "yy", "pp", "yp")
_CONSTANT_PREDICTION = 1e-12  # the reference's limit: below it the correlation counts as 0
_CONSTANT_TARGET = 1e-12  # share of the sum of squares that is rounding


class TrackSums:
    """Sums over bins, per track."""

    def __init__(self, tracks: int) -> None:
        self.values = np.zeros((len(SUMS), tracks))

    def add(self, prediction: np.ndarray, target: np.ndarray) -> None:
        """Add windows of shape (..., tracks, bins)."""
        if prediction.shape != target.shape or target.shape[-2] != self.values.shape[1]:
            raise InputError(
                f"prediction has shape {prediction.shape}, target {target.shape}; (..., {self.values.shape[1]} tracks, "
                "bins) are needed"
            )
        p, y = (values.astype(np.float64) for values in (prediction, target))
        axes = tuple(axis for axis in range(y.ndim) if axis != y.ndim - 2)
        count = np.full(y.shape[-2], y.size / y.shape[-2])
        self.values += [count, *(part.sum(axis=axes) for part in (y, p, y * y, p * p, y * p))]

    def pearson(self) -> np.ndarray:
        """Return the correlation of each track; see :func:`pearson_of`."""
        return pearson_of(self.values)

    def r2(self) -> np.ndarray:
        """Return R2 of each track; see :func:`r2_of`."""
        return r2_of(self.values)


def pearson_of(sums: np.ndarray) -> np.ndarray:
    """Return Pearson's r of each track, float64 (tracks,), from sums (6, tracks) in the order of ``SUMS``.

    A constant prediction has r = 0, as in the reference; a constant target has none (NaN).
    """
    count, y, p, yy, pp, yp = sums
    with np.errstate(divide="ignore", invalid="ignore"):
        var_y, var_p = yy - y * y / count, pp - p * p / count
        var_p = np.where(var_p > _CONSTANT_PREDICTION, var_p, np.inf)
        r = (yp - y * p / count) / (np.sqrt(np.maximum(var_y, 0)) * np.sqrt(var_p))
    return np.where(var_y > _CONSTANT_TARGET * yy, r, np.nan)


def r2_of(sums: np.ndarray) -> np.ndarray:
    """Return ``1 - sum (y - p)^2 / (sum y^2 - n mean(y)^2)`` of each track; NaN where the target is constant."""
    count, y, _, yy, pp, yp = sums
    with np.errstate(divide="ignore", invalid="ignore"):
        var_y = yy - y * y / count
        r2 = 1.0 - (yy - 2.0 * yp + pp) / var_y
    return np.where(var_y > _CONSTANT_TARGET * yy, r2, np.nan)
