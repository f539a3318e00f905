"""Dependency maps in float64, one substitution after the other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Scores = Callable[[np.ndarray], np.ndarray]  # window (4, length) to scores of the bases that are there (length,)


def input_times_gradient(derivative: Callable[[np.ndarray], np.ndarray]) -> Scores:
    """Gradient less its mean over the four bases, of the base that is there."""

    def scores(window: np.ndarray) -> np.ndarray:
        slopes = derivative(window)
        return ((slopes - slopes.mean(axis=0)) * window).sum(axis=0)

    return scores


def mutagenesis(function: Callable[[np.ndarray], float]) -> Scores:
    """Minus a quarter of the sum of what the other bases would change; 0 at an unknown base."""

    def scores(window: np.ndarray) -> np.ndarray:
        found = np.zeros(window.shape[1])
        for column in range(window.shape[1]):
            if window[:, column].any():
                found[column] = -sum(function(with_base(window, column, b)) - function(window) for b in range(4)) / 4.0
        return found

    return scores


def with_base(window: np.ndarray, column: int, base: int) -> np.ndarray:
    mutant = window.astype(np.float64).copy()
    mutant[:, column] = 0.0
    mutant[base, column] = 1.0
    return mutant


def dependency(scores: Scores, window: np.ndarray, start: int, end: int) -> np.ndarray:
    """Return M[j, i]: how the score at start + j moves when the base at start + i is exchanged, mean over exchanges."""
    own, found = scores(window.astype(np.float64)), np.zeros((end - start, end - start))
    for i in range(start, end):
        others = [base for base in range(4) if not window[base, i]]
        for base in others:
            moved = np.abs(scores(with_base(window, i, base)) - own)
            found[:, i - start] += moved[start:end] / len(others)
    return found
