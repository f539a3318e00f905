"""The last layer of a bundle, ``y = softplus(W e + b)``, and derivatives by its weights.

e (bins, channels) is what the head reads and y (tracks, bins) squashed coverage. Of a number with the derivative
``dS/dy`` by coverage, with ``r = dS/dy * (1 - exp(-y))``, which is that by ``W e + b``::

    dS/dW[t, c] = sum over bins of r[t, bin] e[bin, c]          dS/db[t] = sum over bins of r[t, bin]

No weight is needed for that. Two such derivatives, of r and e and of r' and e', have the inner product ``sum over
bins i, j of (r_i . r'_j) (<e_i, e'_j> + 1)``.
"""

from __future__ import annotations

import numpy as np

from ..backends.device import Device
from ..backends.opening import open_parts
from ..bundle.manifest import N_POLICIES
from ..bundle.opening import Bundle
from ..closing import Closing
from ..engine.incremental import IncrementalSession
from ..types import ByteArray, DoubleArray, FloatArray, IndexArray


class LastLayer(Closing):
    """What the head of a bundle reads and says; a context manager.

    Parameters
    ----------
    bundle : Bundle
        A model with split graphs.
    device : Device, optional
        Where it runs.
    n_code : str, optional
        ``zero`` or ``uniform`` for unknown bases; None takes what the weights were trained with.

    Raises
    ------
    InputError
        If the bundle has no split graphs.
    """

    def __init__(self, bundle: Bundle, device: Device | None = None, *, n_code: str | None = None) -> None:
        self._parts = open_parts(bundle, device or Device.parse("cpu"))
        self._session = IncrementalSession(self._parts, model=bundle.sha256)
        self._n_fill = N_POLICIES[n_code or bundle.info.n_policy]

    def read(self, window: ByteArray, tracks: IndexArray, bins: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
        """Return what the head reads, float32 (bins, channels), and squashed coverage, float32 (tracks, bins).

        Parameters
        ----------
        window : uint8 ndarray of shape (4, length)
            One-hot DNA.
        tracks : int64 ndarray of shape (tracks,)
            Outputs of the head.
        bins : (int, int)
            First and last + 1 of the bins of the output.
        """
        embedding = self._session.embedding(window, self._n_fill, bins)
        self._session.clear()  # windows of training data share no tiles
        return embedding[0], self._parts.head(embedding, tracks)[0]

    def close(self) -> None:
        """Free the graphs."""
        self._session.close()


def by_weights(cotangent: DoubleArray, coverage: FloatArray, embedding: FloatArray) -> DoubleArray:
    """Return the derivative of a number by the last layer's weights and biases.

    Parameters
    ----------
    cotangent : float64 ndarray of shape (tracks, bins)
        Derivative of the number by squashed coverage.
    coverage : float32 ndarray of shape (tracks, bins)
    embedding : float32 ndarray of shape (bins, channels)

    Returns
    -------
    float64 ndarray of shape (tracks, channels + 1)
        That by the bias last.
    """
    residuals = cotangent * -np.expm1(-coverage.astype(np.float64))
    return residuals @ with_one(embedding)


def with_one(embedding: FloatArray) -> DoubleArray:
    """Return embeddings with a channel of ones, which the bias is the weight of: float64 (bins, channels + 1)."""
    found: DoubleArray = np.column_stack([embedding.astype(np.float64), np.ones(len(embedding))])
    return found


def curvature(
    target: DoubleArray, coverage: FloatArray, embedding: FloatArray, weights: DoubleArray, total_weight: float
) -> DoubleArray:
    """Return the Gauss-Newton matrix of the loss of one track by the weights of its row.

    Of :func:`borzoi_rt.evaluation.losses.poisson_multinomial`, with y weighted by position, ``q = y / S(y)``, ``a_j =
    (1 - exp(-y_j)) / y_j * (e_j, 1)`` and ``m = sum_j q_j a_j``, at a target with the sum N and as many bins W::

        N / W * (sum_j q_j a_j a_j' - (1 - total_weight) m m')

    It is the Hessian where the prediction is the target, and never negative.

    Parameters
    ----------
    target : float64 ndarray of shape (bins,)
        Squashed coverage that was measured.
    coverage : float32 ndarray of shape (bins,)
        Predicted.
    embedding : float32 ndarray of shape (bins, channels)
    weights : float64 ndarray of shape (bins,)
        Of the bins in the loss.
    total_weight : float
        Share of the Poisson term.

    Returns
    -------
    float64 ndarray of shape (channels + 1, channels + 1)
    """
    y = np.maximum(coverage.astype(np.float64), np.finfo(np.float64).tiny)
    share = y * weights / (y * weights).sum()
    scaled = with_one(embedding) * (-np.expm1(-y) / y)[:, None]
    mean = share @ scaled
    inner = (scaled * share[:, None]).T @ scaled - (1.0 - total_weight) * np.outer(mean, mean)
    found: DoubleArray = (target * weights).sum() / weights.sum() * inner
    return found
