"""Linear surrogates in float64, written out: a term for each substitution, and for each pair of two bases."""

from __future__ import annotations

from itertools import combinations

import numpy as np


def design(reference: np.ndarray, codes: np.ndarray, *, pairs: bool = False) -> np.ndarray:
    """Return columns of 0 and 1 of (mutants, bases): 1, each substitution, each two of different bases."""
    single = [
        (position, base) for position in range(len(reference)) for base in range(4) if base != int(reference[position])
    ]
    rows = []
    for mutant in codes:
        has = [float(mutant[position] == base) for position, base in single]
        row = [1.0, *has]
        if pairs:
            row += [
                has[one] * has[two]
                for one, two in combinations(range(len(single)), 2)
                if single[one][0] != single[two][0]
            ]
        rows.append(row)
    return np.array(rows)


def predicted(
    reference: np.ndarray, fitted: np.ndarray, scores: np.ndarray, asked: np.ndarray, *, pairs: bool = False
) -> np.ndarray:
    """Return what least squares of ``scores`` of the mutants ``fitted`` says of the mutants ``asked``."""
    matrix = design(reference, fitted, pairs=pairs)
    coefficients = np.linalg.lstsq(matrix, scores, rcond=None)[0]
    found: np.ndarray = design(reference, asked, pairs=pairs) @ coefficients
    return found


def r2(predictions: np.ndarray, scores: np.ndarray) -> float:
    """1 - residual sum of squares over total sum of squares."""
    mean = sum(scores.tolist()) / len(scores)
    residual = sum((y - p) ** 2 for y, p in zip(scores.tolist(), predictions.tolist(), strict=True))
    return 1.0 - residual / sum((y - mean) ** 2 for y in scores.tolist())


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's correlation of ranks, each the mean of how many are below and how many are not above."""
    ranks = [
        np.array([(sum(b < a for b in values) + sum(b <= a for b in values)) / 2 for a in values])
        for values in (one.tolist(), other.tolist())
    ]
    return float(np.corrcoef(*ranks)[0, 1])
