"""What a method explains: a function of a sequence, with or without a gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ..errors import InputError
from ..types import ByteArray, DoubleArray

Bases = tuple[int, int]


class Objective(Protocol):
    """A number that is made of one input window: all that a method of perturbation needs."""

    @property
    def length(self) -> int:
        """Bases of the window."""

    def values(self, sequences: ByteArray) -> DoubleArray:
        """Return the number for each of some windows.

        Parameters
        ----------
        sequences : uint8 ndarray of shape (windows, 4, length)
            One-hot DNA; a column of zeros is an unknown base.

        Returns
        -------
        float64 ndarray of shape (windows,)
            Equal windows give equal bits.
        """


class Differentiable(Objective, Protocol):
    """An objective that can be followed back to the bases."""

    def slope(self, window: DoubleArray, bases: Bases) -> tuple[float, DoubleArray]:
        """Return the number and its derivative by some of the bases.

        Parameters
        ----------
        window : float64 ndarray of shape (4, length)
            One-hot DNA, or a mixture: what lies between two sequences is a window too.
        bases : (int, int)
            First and last + 1 of the bases to differentiate by.

        Returns
        -------
        float and float64 ndarray of shape (4, bases)
        """


# A window that differs from the first within bases [low, high) alone -> about what that changes of the number.
Linearised = Callable[[ByteArray, int, int], float]


class Linearisable(Objective, Protocol):
    """An objective that can tell quickly, and not exactly, what a small change does."""

    def linearised(self, window: ByteArray) -> Linearised:
        """Return a function of windows, uint8 (4, length), that differ from ``window`` in some bases.

        Of a network, the tower of convolutions is redone, and what follows is the plane that touches it at ``window``.
        """


@dataclass(frozen=True)
class Attribution:
    """What a method says of the bases [start, end) of one window.

    Attributes
    ----------
    value : float
        The number that is explained, of the window as it is.
    hypothetical : float64 ndarray of shape (4, bases)
        What each base would add, in the order A, C, G, T; that of the base which is there counts.
    facts : dict
        JSON values about the quality of the answer, as the completeness of integrated gradients.
    arrays : dict of str to ndarray
        More of the same width, (4, bases) or (bases,), as raw effects of substitutions.
    """

    value: float
    hypothetical: DoubleArray
    facts: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    def projected(self, window: ByteArray) -> DoubleArray:
        """Return the sum over bases of ``hypothetical`` times the one-hot window (4, bases): float64 (bases,)."""
        found: DoubleArray = (self.hypothetical * window).sum(axis=0)
        return found


def one_value(objective: Objective, window: ByteArray) -> float:
    """Return the number of one window."""
    return float(objective.values(window[None])[0])


_SMALL = 1e-5  # share of the target below which a difference is nothing to divide by


def completeness(value: float, compared: DoubleArray, total: float) -> dict[str, Any]:
    """Return how far attributions are from adding up to the difference from references, as facts of their map.

    Parameters
    ----------
    value : float
        The target of the window.
    compared : float64 ndarray of shape (references,)
        The target of each reference.
    total : float
        Sum of the attributions, mean over references.
    """
    difference = float(value - np.mean(compared))
    delta = total - difference
    small = abs(difference) <= _SMALL * max(abs(value), float(np.abs(compared).max()))
    facts: dict[str, Any] = {
        "difference": difference,
        "completeness_delta": delta,
        "completeness_error": None if small else abs(delta / difference),
    }
    if small:
        facts["note"] = "sequence and references hardly differ in the target: completeness says nothing"
    return facts


def check_bases(bases: Bases, length: int) -> Bases:
    """Return the bases to explain.

    Raises
    ------
    InputError
        If they do not lie in the window.
    """
    start, end = bases
    if not 0 <= start < end <= length:
        raise InputError(f"bases {start}:{end} do not lie in the window of {length} bases")
    return int(start), int(end)


def check_counts(options: Any, *names: str) -> None:
    """Refuse what is no whole number of 1 or more, and a seed below 0.

    Raises
    ------
    InputError
        Naming the first.
    """
    for name in names:
        value = getattr(options, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"{name} is {value!r}; a whole number of 1 or more is needed")
    seed = getattr(options, "seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise InputError(f"seed is {seed!r}; a whole number of 0 or more is needed")
