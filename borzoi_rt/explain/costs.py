"""What a method asks of the model, counted.

``forward``   predictions of a window; of both strands two
``gradient``  times that a number was followed back to the bases; the prediction before it is counted as well
``tower``     times that the convolutions alone were redone, as a linear approximation does
"""

from __future__ import annotations

from typing import Any

from ..types import ByteArray, DoubleArray
from .objective import Bases, Linearised


class Counted:
    """An objective that counts what is asked of it.

    Parameters
    ----------
    objective : Objective
        What answers; ``slope`` and ``linearised`` are there where it has them.
    strands : int
        Predictions that one value takes.

    Attributes
    ----------
    passes : dict of str to int
        See the head of this module.
    """

    def __init__(self, objective: Any, *, strands: int = 1) -> None:
        self._objective, self._strands = objective, strands
        self.passes = {"forward": 0, "gradient": 0, "tower": 0}

    @property
    def length(self) -> int:
        """Bases of the window."""
        found: int = self._objective.length
        return found

    def values(self, sequences: ByteArray) -> DoubleArray:
        """See :meth:`borzoi_rt.explain.objective.Objective.values`."""
        self.passes["forward"] += self._strands * len(sequences)
        found: DoubleArray = self._objective.values(sequences)
        return found

    def slope(self, window: DoubleArray, bases: Bases) -> tuple[float, DoubleArray]:
        """See :meth:`borzoi_rt.explain.objective.Differentiable.slope`."""
        self._follow()
        found: tuple[float, DoubleArray] = self._objective.slope(window, bases)
        return found

    def secant(self, window: ByteArray, reference: ByteArray, bases: Bases) -> DoubleArray:
        """See :meth:`borzoi_rt.explain.secants.Comparable.secant`."""
        self.passes["forward"] += 2 * self._strands
        self.passes["gradient"] += self._strands
        found: DoubleArray = self._objective.secant(window, reference, bases)
        return found

    def linearised(self, window: ByteArray) -> Linearised:
        """See :meth:`borzoi_rt.explain.objective.Linearisable.linearised`."""
        self._follow()
        effect: Linearised = self._objective.linearised(window)

        def counted(mutant: ByteArray, low: int, high: int) -> float:
            self.passes["tower"] += self._strands
            return effect(mutant, low, high)

        return counted

    def _follow(self) -> None:
        self.passes["forward"] += self._strands
        self.passes["gradient"] += self._strands
