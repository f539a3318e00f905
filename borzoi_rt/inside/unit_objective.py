"""A unit of a layer as an objective: what a sequence can be designed to raise."""

from __future__ import annotations

import numpy as np

from ..explain.objective import Bases
from ..types import ByteArray, DoubleArray
from .activations import Activations


class UnitObjective:
    """The largest activation of a unit over the positions that hold some bases.

    Parameters
    ----------
    activations : Activations
        The model.
    layer : str
        A name of its layers, or ``tokens``.
    unit : int
        Channel of the layer.
    bases : (int, int)
        First and last + 1 of the bases, columns of the window.

    Raises
    ------
    InputError
        If there is no such layer or unit, or the layer does not hold these bases.
    """

    def __init__(self, activations: Activations, layer: str, unit: int, bases: Bases) -> None:
        activations.layer(layer).overlapping(bases)
        self._activations, self._layer, self._unit, self._bases = activations, layer, unit, bases

    @property
    def length(self) -> int:
        """Bases of the window."""
        return self._activations.network.bundle.geometry.sequence_length_bp

    def values(self, sequences: ByteArray) -> DoubleArray:
        """See :meth:`borzoi_rt.explain.objective.Objective.values`."""
        of, units = self._activations.of, [self._unit]
        return np.array(
            [float(of(window, self._layer, units=units, bases=self._bases).values.max()) for window in sequences]
        )
