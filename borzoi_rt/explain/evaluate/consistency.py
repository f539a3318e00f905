"""Do the maps of many stretches say the same words? (Majdandzic et al., PMLR 200, 2022)

a'[., p] is what a map says of the four bases at p without its mean, three numbers in the coordinates of an orthonormal
basis, scaled so that their lengths add up to 1 over the map. v_p = a'[., p] + a'[., p + 1] + a'[., p + 2]. Of all maps
together the tenth with the largest |v| is kept; their directions fall into boxes of 0.1 in the polar angle and in half
the azimuth, each counting by |v|^2. With P the share of a box and Q the share of the sphere that it covers

    kld = sum over boxes of P ln(P / Q)

A map whose strong scores belong to few words fills few boxes. A finite number of vectors gives much kld by itself:
compare with maps in random order, which have as many, and never with another number of bases.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...types import DoubleArray
from .faithful import EvaluateOptions
from .maps import Reading, ScoreMap

BASES = 3
KEPT_SHARE = 0.1
BOX = 0.1  # radians
FEW = 30  # vectors below which boxes say nothing
# Rows are orthogonal to (1, 1, 1, 1) and to each other, of length 1.
_BASIS = np.array([[1, -1, 0, 0], [1, 1, -2, 0], [1, 1, 1, -3]]) / np.sqrt([[2.0], [6.0], [12.0]])


def vectors_of(held: ScoreMap) -> DoubleArray:
    """Return v of every three neighbours all of which are known, float64 (vectors, 3)."""
    found = _BASIS @ held.hypothetical  # the mean over the four bases is orthogonal to all three
    size = float(np.linalg.norm(found[:, held.known], axis=0).sum())
    count = held.hypothetical.shape[1] - BASES + 1
    if count < 1 or size == 0.0:
        return np.zeros((0, 3))
    sums = sum(found[:, first : first + count] for first in range(BASES))
    known = np.logical_and.reduce([held.known[first : first + count] for first in range(BASES)])
    return np.asarray(sums).T[known] / size


def divergence(vectors: DoubleArray) -> float:
    """Return kld of directions, each counting by its length squared, from all directions alike."""
    lengths = np.linalg.norm(vectors, axis=1)
    kept = lengths >= np.quantile(lengths, 1.0 - KEPT_SHARE)
    (x, y, z), weights = vectors[kept].T, lengths[kept] ** 2
    boxes = int(np.pi / BOX)
    half = (np.arctan2(y, x) + np.pi) / 2.0
    polar = np.arccos(np.clip(z / lengths[kept], -1.0, 1.0))
    edges = np.append(np.arange(boxes) * BOX, np.pi)  # the last box is a little wider
    counted, _, _ = np.histogram2d(half, polar, bins=(edges, edges), weights=weights)
    shares = counted / counted.sum()
    sphere = np.diff(edges)[:, None] / np.pi * -np.diff(np.cos(edges))[None] / 2.0
    filled = shares > 0.0
    return float((shares[filled] * np.log(shares[filled] / sphere[filled])).sum())


def consistency(maps: Sequence[ScoreMap], options: EvaluateOptions) -> dict[str, Reading]:
    """Return kld of the maps of all rows together, beside the same maps in random order."""
    pooled = np.concatenate([vectors_of(held) for held in maps])
    kept = round(KEPT_SHARE * len(pooled))
    if kept < FEW:
        needed = f"{round(FEW / KEPT_SHARE)} bases or more of all rows are needed"
        return {"kld": Reading(None, detail=f"{len(pooled)} vectors of three bases; {needed}")}
    rng = np.random.default_rng([options.seed, 95])
    draws = [
        divergence(np.concatenate([vectors_of(held.permuted(rng)) for held in maps])) for _ in range(options.draws)
    ]
    stretches = tuple(held.stretches for held in maps)
    return {"kld": Reading(divergence(pooled), np.array(draws), stretches=stretches)}
