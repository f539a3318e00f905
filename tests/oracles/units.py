"""Base probabilities of the most active sites, and intersection over union, by loops. float64, NumPy only."""

from __future__ import annotations

import numpy as np


def site_matrix(onehot: np.ndarray, centres: list[int], width: int) -> np.ndarray:
    """Return (count + 1/4) / (sites + 1) of the bases around some columns, (4, width)."""
    counts = np.full((4, width), 0.25)
    for centre in centres:
        for offset in range(width):
            for base in range(4):
                counts[base, offset] += onehot[base, centre - width // 2 + offset]
    return counts / (len(centres) + 1)


def iou(values: np.ndarray, concepts: np.ndarray, quantile: float) -> np.ndarray:
    """Return |top and concept| / |top or concept|, (units, concepts); ties of values are not expected."""
    active = int(quantile * values.shape[1])
    found = np.zeros((len(values), len(concepts)))
    for unit, row in enumerate(values):
        top = set(np.argsort(-row)[:active].tolist())
        for number, concept in enumerate(concepts):
            held = set(np.flatnonzero(concept).tolist())
            found[unit, number] = len(top & held) / len(top | held)
    return found


def motif_scores(onehot: np.ndarray, odds: np.ndarray) -> np.ndarray:
    """Return the sum of log odds (4, width), width odd, around every column; the ends are padded with nothing."""
    width = odds.shape[1]
    padded = np.pad(onehot.astype(np.float64), ((0, 0), (width // 2, width // 2)))
    return np.array([(padded[:, at : at + width] * odds).sum() for at in range(onehot.shape[1])])
