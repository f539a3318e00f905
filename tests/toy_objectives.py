"""Objectives whose attributions can be written down."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


class ToyObjective:
    """A function of a window (4, length) and its derivative; ``runs`` counts slopes."""

    def __init__(
        self, length: int, function: Callable[[np.ndarray], float], derivative: Callable[[np.ndarray], np.ndarray]
    ) -> None:
        self.length, self.function, self.derivative = length, function, derivative
        self.runs = 0

    def values(self, sequences: np.ndarray) -> np.ndarray:
        assert sequences.dtype == np.uint8
        return np.array([self.function(window.astype(np.float64)) for window in sequences])

    def slope(self, window: np.ndarray, bases: tuple[int, int]) -> tuple[float, np.ndarray]:
        self.runs += 1
        return self.function(window), self.derivative(window)[:, bases[0] : bases[1]].copy()

    def linearised(self, window: np.ndarray) -> Callable[[np.ndarray, int, int], float]:
        """The plane that touches the function: as if nothing stood before it."""
        slopes = self.derivative(window.astype(np.float64))
        return lambda mutant, low, high: float((slopes * (mutant.astype(np.float64) - window))[:, low:high].sum())


def linear(weights: np.ndarray) -> ToyObjective:
    """sum w x."""
    return ToyObjective(weights.shape[1], lambda x: float((weights * x).sum()), lambda x: weights.copy())


def product(first: np.ndarray, second: np.ndarray) -> ToyObjective:
    """(sum u x) (sum v x)."""
    return ToyObjective(
        first.shape[1],
        lambda x: float((first * x).sum() * (second * x).sum()),
        lambda x: first * (second * x).sum() + second * (first * x).sum(),
    )


def maximum(weights: np.ndarray) -> ToyObjective:
    """Largest over positions of sum over bases of w x; the first of equals."""

    def slopes(x: np.ndarray) -> np.ndarray:
        found, best = np.zeros_like(weights), int((weights * x).sum(axis=0).argmax())
        found[:, best] = weights[:, best]
        return found

    return ToyObjective(weights.shape[1], lambda x: float((weights * x).sum(axis=0).max()), slopes)


def smooth(weights: np.ndarray) -> ToyObjective:
    """log(1 + exp(sum w x)), curved everywhere."""

    def slopes(x: np.ndarray) -> np.ndarray:
        return weights / (1.0 + np.exp(-(weights * x).sum()))

    return ToyObjective(weights.shape[1], lambda x: float(np.logaddexp(0.0, (weights * x).sum())), slopes)
