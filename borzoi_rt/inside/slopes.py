"""Derivatives of a target by a layer, d S / d A: the door for whatever asks in which direction a layer moves S.

A direction v in the channels of a layer, as a concept activation vector, changes the target by

    d S(A + e v at some positions) / d e  =  sum over these positions p of <g[p], v>,    g = d S / d A

at e = 0 (Kim et al., ICML 2018, for a layer with positions).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..explain.target import Target
from ..types import ByteArray, DoubleArray, IndexArray
from .activations import EMBEDDING, TOKENS, Activations, Layer

_WHY = (
    "the target has no finite value for this window: its formula has none for such coverage, as the logarithm of a "
    "number below 0"
)


@dataclass(frozen=True, eq=False)
class LayerSlope:
    """A layer of one window and the derivative of a target by it.

    Attributes
    ----------
    layer : Layer
    value : float
        The target of the window.
    activations, slopes : float64 ndarray of shape (units, positions)
    """

    layer: Layer
    value: float
    activations: DoubleArray
    slopes: DoubleArray

    def along(self, vector: DoubleArray, positions: IndexArray | slice = slice(None)) -> float:
        """Return what a small step along a vector (units,) at some positions changes of the target, for each unit step.

        Raises
        ------
        InputError
            If the vector has another length than the layer has units.
        """
        if np.shape(vector) != (self.layer.units,):
            raise InputError(f"vector has shape {np.shape(vector)}; ({self.layer.units},) is needed")
        return float((np.asarray(vector, dtype=np.float64) @ self.slopes[:, positions]).sum())


def check_layer(layer: str) -> None:
    """Refuse a layer that slopes do not reach.

    Raises
    ------
    InputError
        Naming those they do.
    """
    if layer not in (EMBEDDING, TOKENS) and not layer.startswith("layer_"):
        raise InputError(f"layer {layer!r} has no slopes; allowed: {EMBEDDING}, {TOKENS}, layer_N")


def slope_of_layer(activations: Activations, window: ByteArray, target: Target, layer: str = TOKENS) -> LayerSlope:
    """Return a layer of one window and the derivative of a target by it.

    Parameters
    ----------
    activations : Activations
        The model, of a bundle with graphs of activations.
    window : uint8 ndarray of shape (4, length)
        One-hot DNA.
    target : Target
        The number, bound to the window; see :meth:`borzoi_rt.explain.target.TargetSpec.bind`.
    layer : str
        ``embedding``, ``tokens`` or ``layer_N``.

    Raises
    ------
    InputError
        If there are no slopes by this layer, or the target has no value there.
    """
    check_layer(layer)
    about, reading = activations.layer(layer), activations.reading(window)
    value, cotangent = target.cotangent(reading.coverage(target.positions, target.bins))
    slopes = reading.slopes(target.positions, cotangent, target.bins)
    check_finite(value)
    if about.name == EMBEDDING:
        held, by_held = reading.embedding, slopes.by_embedding
    else:
        number = int(about.name.removeprefix("layer_"))
        held, by_held = reading.layer(number), slopes.by_layer(number)
    return LayerSlope(about, value, held[0].T.astype(np.float64), by_held[0].T.astype(np.float64) * slopes.size)


def check_finite(value: float) -> float:
    """Return a number.

    Raises
    ------
    InputError
        If it is not finite.
    """
    if not np.isfinite(value):
        raise InputError(_WHY)
    return value
