"""Class activation maps: one number for each token or bin, of a target that is made of coverage.

A[p, c] is the activation of channel c at position p of a layer, g = d S / d A its slope by the target S, both of one
window; W are the weights of the head and v the weight of each track in S (1/n for the n tracks it is the mean over,
-1/m for those it is taken against).

=============  =====================================================================================================
``cam``        M[p] = sum over k of v_k sum over c of W[k, c] A[p, c]; of ``embedding`` alone, which the head reads
``gradcam``    a_c = mean over p of g[p, c];  M[p] = sum over c of a_c A[p, c]
``gradcam++``  a_c = sum over p of w[p, c] g[p, c],  w = g^2 / (2 g^2 + g^3 sum over q of A[q, c]);  M as above
=============  =====================================================================================================

(Zhou et al., CVPR 2016; Selvaraju et al., ICCV 2017; Chattopadhay et al., WACV 2018.) The sign is kept: where the
papers cut what is below 0, here a position may lower the target. For a head that is linear and
pooled over all bins, ``gradcam`` of the sum over bins is ``cam``, of their mean ``cam`` divided by the number of bins.
``gradcam++`` was derived for activations that are not negative; where its denominator is not above 0, w is 0, and
``facts`` say how often.

A map has the resolution of its layer and no finer one. Tokens are mixed by the transformer, so that a token stands for
what the network has gathered there, not for its 128 bases; and two skips lead past it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backends.activations import need_activations
from ..errors import InputError
from ..explain.target import Target
from ..types import ByteArray, DoubleArray
from .activations import EMBEDDING, TOKENS, Activations, Layer
from .slopes import check_finite, check_layer, slope_of_layer

MAPS = ("cam", "gradcam", "gradcam++")


@dataclass(frozen=True, eq=False)
class LayerMap:
    """One number for each position of a layer.

    Attributes
    ----------
    method : str
    layer : Layer
    value : float
        The target of the window.
    scores : float64 ndarray of shape (positions,)
    facts : dict
        JSON values about the map.
    """

    method: str
    layer: Layer
    value: float
    scores: DoubleArray
    facts: dict[str, Any]


def cam_of(linear: DoubleArray, weights: DoubleArray) -> DoubleArray:
    """Return CAM, float64 (positions,), from the head's linear part (tracks, positions) and weights of tracks."""
    found: DoubleArray = weights @ linear
    return found


def gradcam_of(activations: DoubleArray, slopes: DoubleArray) -> tuple[DoubleArray, dict[str, Any]]:
    """Return Grad-CAM of activations and slopes, both (units, positions)."""
    found: DoubleArray = slopes.mean(axis=1) @ activations
    return found, {}


def gradcam_plus_plus_of(activations: DoubleArray, slopes: DoubleArray) -> tuple[DoubleArray, dict[str, Any]]:
    """Return Grad-CAM++ of activations and slopes, both (units, positions); see the head of this module."""
    denominator = 2.0 * slopes**2 + slopes**3 * activations.sum(axis=1, keepdims=True)
    shares = np.divide(slopes**2, denominator, out=np.zeros_like(slopes), where=denominator > 0.0)
    known = slopes != 0.0
    undefined = float(np.mean(denominator[known] <= 0.0)) if known.any() else 0.0
    found: DoubleArray = (shares * slopes).sum(axis=1) @ activations
    return found, {"undefined_weights": undefined}


_WEIGHTED: dict[str, Callable[[DoubleArray, DoubleArray], tuple[DoubleArray, dict[str, Any]]]] = {
    "gradcam": gradcam_of,
    "gradcam++": gradcam_plus_plus_of,
}


def check_map(method: str, layer: str) -> None:
    """Refuse a method that is unknown, or says nothing of a layer.

    Raises
    ------
    InputError
        Naming what is allowed.
    """
    if method not in MAPS:
        raise InputError(f"method {method!r} is unknown; allowed: {', '.join(MAPS)}")
    if method == "cam" and layer != EMBEDDING:
        raise InputError(f"cam is of {EMBEDDING}, which the head reads, not of {layer}; take gradcam for other layers")
    check_layer(layer)


def map_window(
    activations: Activations, window: ByteArray, target: Target, *, method: str = "gradcam", layer: str = TOKENS
) -> LayerMap:
    """Return a class activation map of one window.

    Parameters
    ----------
    activations : Activations
        The model, of a bundle with graphs of activations.
    window : uint8 ndarray of shape (4, length)
        One-hot DNA.
    target : Target
        The number, bound to the window.
    method : str
        One of ``MAPS``.
    layer : str
        ``embedding``, ``tokens`` or ``layer_N``.

    Raises
    ------
    InputError
        If they do not go together, or the target has no value there.
    """
    check_map(method, layer)
    about, reading = activations.layer(layer), activations.reading(window)
    if method == "cam":
        need_activations(activations.network.bundle)
        value = check_finite(target.value(reading.coverage(target.positions, target.bins)))
        linear = reading.linear(target.positions).astype(np.float64)
        return LayerMap(method, about, value, cam_of(linear, track_weights(target)), {})
    found = slope_of_layer(activations, window, target, layer)
    scores, facts = _WEIGHTED[method](found.activations, found.slopes)
    return LayerMap(method, about, found.value, scores, facts)


def track_weights(target: Target) -> DoubleArray:
    """Return the weight of each track of a target in its mean, those it is taken against below 0."""
    found = np.zeros(len(target.positions))
    for sign, rows in zip((1.0, -1.0), target.rows, strict=False):
        found[rows] += sign / len(rows)
    return found
