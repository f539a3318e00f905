"""Seqlets and matches of motifs by loops and by counting. float64, NumPy only."""

from __future__ import annotations

import itertools

import numpy as np


def sum_pvalue(pool: list[float], total: float, length: int) -> float:
    """Twice the share of all draws of ``length`` scores that sum to as much on the side of ``total``."""
    sums = [sum(draw) for draw in itertools.product(pool, repeat=length)]
    held = [one <= total + 1e-9 if total < 0 else one >= total - 1e-9 for one in sums]
    return min(1.0, 2.0 * sum(held) / len(held))


def seqlets(scores: list[float], pvalue: float, shortest: int, longest: int) -> list[tuple[int, int]]:
    """Stretches whose every part is significant on one side, the largest sums first, without overlaps."""

    def significant(start: int, end: int, side: int) -> bool:
        total = sum(scores[start:end])
        return total * side > 0 and sum_pvalue(scores, total, end - start) <= pvalue

    candidates = []
    for length in range(shortest, longest + 1):
        for start in range(len(scores) - length + 1):
            parts = [
                (low, high)
                for low in range(start, start + length)
                for high in range(low + shortest, start + length + 1)
            ]
            if any(all(significant(*part, side) for part in parts) for side in (1, -1)):
                candidates.append((-abs(sum(scores[start : start + length])), start, start + length))
    taken: set[int] = set()
    found = []
    for _, start, end in sorted(candidates):
        if not taken & set(range(start, end)):
            taken |= set(range(start, end))
            found.append((start, end))
    return sorted(found)


def word_pvalue(odds: np.ndarray, score: float) -> float:
    """Share of all words whose log odds (4, width) are at least ``score``."""
    width = odds.shape[1]
    sums = [sum(odds[code, at] for at, code in enumerate(word)) for word in itertools.product(range(4), repeat=width)]
    return float(np.mean([one >= score - 1e-9 for one in sums]))
