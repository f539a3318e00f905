"""Measures of explanations by their definitions, and agreement of raters, in float64."""

from __future__ import annotations

import numpy as np


def letters(codes: np.ndarray) -> np.ndarray:
    return (codes == np.arange(4)[:, None]).astype(np.float64)


def fall(scores: np.ndarray, codes: np.ndarray, mutant: np.ndarray) -> float:
    """Sum of (x - x') a."""
    return float(((letters(codes) - letters(mutant)) * scores).sum())


def infidelity(said: np.ndarray, falls: np.ndarray) -> float:
    """The smallest mean square of beta * said - falls over beta of 0 or more, by trying many, over that of falls."""
    betas = np.concatenate([[0.0], np.geomspace(1e-6, 1e6, 200_001)])
    squares = betas[:, None] ** 2 * (said**2).mean() - 2 * betas[:, None] * (said * falls).mean() + (falls**2).mean()
    return float(squares.min() / (falls**2).mean())


def curve(before: float, after: float, between: list[float]) -> np.ndarray:
    return np.array([(value - after) / (before - after) for value in [before, *between, after]])


def trapezoids(x: np.ndarray, y: np.ndarray) -> float:
    return float(sum((x[i + 1] - x[i]) * (y[i] + y[i + 1]) / 2 for i in range(len(x) - 1)))


def cohen(one: list[int], other: list[int]) -> float:
    count = len(one)
    table = np.zeros((2, 2))
    for a, b in zip(one, other, strict=True):
        table[a, b] += 1 / count
    expected = sum(table[k].sum() * table[:, k].sum() for k in range(2))
    return float((np.trace(table) - expected) / (1 - expected))


def fleiss(table: np.ndarray) -> float:
    """Table of (subjects, categories), as Fleiss (1971) has it."""
    subjects, raters = len(table), int(table[0].sum())
    each = [(sum(n * n for n in row) - raters) / (raters * (raters - 1)) for row in table]
    shares = table.sum(axis=0) / (subjects * raters)
    expected = float((shares**2).sum())
    return float((np.mean(each) - expected) / (1 - expected))
