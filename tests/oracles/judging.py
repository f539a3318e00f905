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


def auroc(sizes: np.ndarray, known: np.ndarray) -> float:
    """Share of pairs (known, other) in order; a tie counts one half."""
    pairs = [(a, b) for a in sizes[known] for b in sizes[~known]]
    return float(np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs]))


def auprc(sizes: np.ndarray, known: np.ndarray) -> float:
    """Mean over known positions of the share of known ones among those as large or larger."""
    return float(np.mean([known[sizes >= size].mean() for size in sizes[known]]))


def kld(maps: list[np.ndarray]) -> float:
    """Of 3-mer vectors (Majdandzic et al. 2022), maps (4, bases): by loops, boxes of 0.1, the last up to pi."""
    vectors = []
    for held in maps:
        centred = held - held.mean(axis=0)
        a, c, g, t = centred / np.sqrt((centred**2).sum(axis=0)).sum()
        axes = np.array([(a - c) / 2**0.5, (a + c - 2 * g) / 6**0.5, (a + c + g - 3 * t) / 12**0.5])
        vectors += [axes[:, k : k + 3].sum(axis=1) for k in range(held.shape[1] - 2)]
    lengths = np.array([float(np.sqrt((one**2).sum())) for one in vectors])
    limit, counted = np.quantile(lengths, 0.9), dict[tuple[int, int], float]()
    for (x, y, z), length in zip(vectors, lengths, strict=True):
        if length >= limit:
            box = (int((np.arctan2(y, x) + np.pi) / 2 / 0.1), int(np.arccos(z / length) / 0.1))
            box = (min(box[0], 30), min(box[1], 30))
            counted[box] = counted.get(box, 0.0) + length**2
    total, found = sum(counted.values()), 0.0
    ends = [0.1 * number for number in range(31)] + [np.pi]
    for (i, j), weight in counted.items():
        sphere = (ends[i + 1] - ends[i]) / np.pi * (np.cos(ends[j]) - np.cos(ends[j + 1])) / 2
        found += weight / total * np.log(weight / total / sphere)
    return float(found)
