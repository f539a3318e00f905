"""The loss that Borzoi is trained with, in float64 NumPy."""

from __future__ import annotations

import math

import numpy as np

from ..errors import InputError

EPSILON = 1e-7


def position_weights(bins: int, weight_range: float = 1.0, weight_exp: float = 4.0) -> np.ndarray:
    """Return the weight of each bin, float64 (bins,), falling from 1 in the middle to ``1 / weight_range`` at the ends.

    ``w = exp(-(pos / sigma)^exp)`` with ``sigma = end / ln(range)^(1 / exp)``, divided by its maximum.

    Raises
    ------
    InputError
        If the range is below 1 or the exponent is not an even number.
    """
    if not weight_range >= 1:
        raise InputError(f"weight_range is {weight_range!r}; 1 (all bins alike) or more is needed")
    if weight_exp <= 0 or weight_exp % 2:
        raise InputError(f"weight_exp is {weight_exp!r}; an even number is needed, weights are symmetric")
    if weight_range == 1 or bins == 1:
        return np.ones(bins)
    end = bins / 2 - 0.5
    position = np.linspace(-end, end, bins)
    sigma = end / math.log(weight_range) ** (1.0 / weight_exp)
    weights = np.exp(-((position / sigma) ** weight_exp))
    found: np.ndarray = weights / weights.max()
    return found


def poisson_multinomial(
    prediction: np.ndarray,
    target: np.ndarray,
    *,
    total_weight: float = 0.2,
    weights: np.ndarray | None = None,
    epsilon: float = EPSILON,
) -> np.ndarray:
    """Return the loss of each track, as ``poisson_multinomial`` of calico/baskerville.

    With y and p weighted by position, W the sum of weights, S the sum over bins (taken before epsilon is added)::

        poisson     = (S(p) - S(y) ln(S(p) + eps)) / W
        multinomial = -sum (y + eps) ln((p + eps) / S(p)) / W
        loss        = multinomial + total_weight * poisson

    Parameters
    ----------
    prediction, target : ndarray of shape (..., tracks, bins)
        Squashed coverage; not modified.
    total_weight : float
        Share of the Poisson term.
    weights : ndarray of shape (bins,), optional
        See :func:`position_weights`.
    epsilon : float
        Added inside logarithms.

    Returns
    -------
    float64 ndarray of shape (..., tracks)
    """
    if prediction.shape != target.shape:
        raise InputError(f"prediction has shape {prediction.shape}, target {target.shape}; they must agree")
    weights = np.ones(target.shape[-1]) if weights is None else weights
    p, y = (values.astype(np.float64) * weights for values in (prediction, target))
    predicted, wanted, scale = p.sum(axis=-1), y.sum(axis=-1), weights.sum()
    poisson = (predicted - wanted * np.log(predicted + epsilon)) / scale
    multinomial = -((y + epsilon) * np.log((p + epsilon) / predicted[..., None])).sum(axis=-1) / scale
    loss: np.ndarray = multinomial + total_weight * poisson
    return loss


def poisson_multinomial_slope(
    prediction: np.ndarray,
    target: np.ndarray,
    *,
    total_weight: float = 0.2,
    weights: np.ndarray | None = None,
    epsilon: float = EPSILON,
) -> np.ndarray:
    """Return the derivative of :func:`poisson_multinomial` of each track by its predicted bins.

    With the letters used there and w the weight of a bin::

        d poisson     = w (1 - S(y) / (S(p) + eps)) / W
        d multinomial = w (S(y + eps) / S(p) - (y + eps) / (p + eps)) / W

    Parameters
    ----------
    prediction, target, total_weight, weights, epsilon
        As there.

    Returns
    -------
    float64 ndarray of the shape of ``prediction``
    """
    if prediction.shape != target.shape:
        raise InputError(f"prediction has shape {prediction.shape}, target {target.shape}; they must agree")
    weights = np.ones(target.shape[-1]) if weights is None else weights
    p, y = (values.astype(np.float64) * weights for values in (prediction, target))
    predicted, wanted = p.sum(axis=-1, keepdims=True), y.sum(axis=-1, keepdims=True)
    poisson = 1.0 - wanted / (predicted + epsilon)
    multinomial = (y + epsilon).sum(axis=-1, keepdims=True) / predicted - (y + epsilon) / (p + epsilon)
    slope: np.ndarray = (multinomial + total_weight * poisson) * weights / weights.sum()
    return slope
