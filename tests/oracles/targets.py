"""Targets in float64, one track and one bin after the other, and their derivative by central differences."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import squash

FORMULAS: dict[str, Callable[[list[float]], float]] = {
    "SUM": lambda a: math.fsum(a),
    "MEAN": lambda a: math.fsum(a) / len(a),
    "logSUM": lambda a: math.fsum(math.log2(x + 1.0) for x in a),
    "sqrtSUM": lambda a: math.fsum(math.sqrt(x) for x in a),
    "logSED": lambda a: math.log2(math.fsum(a) + 1.0),
    "LFC": lambda a: math.log(math.fsum(a) / len(a) + 0.001),
}


def coverage(kind: str, squashed: np.ndarray, tracks: Sequence[dict[str, Any]]) -> np.ndarray:
    """Undo the squash of (tracks, bins), each track with its own parameters."""
    if kind == "none":
        return np.asarray(squashed, dtype=np.float64)
    return np.stack([squash.inverse(kind, row, **track) for row, track in zip(squashed, tracks, strict=True)])


def value(
    stat: str,
    unsquashed: np.ndarray,
    groups: Sequence[Sequence[int]],
    columns: Sequence[Sequence[int]],
    *,
    log: bool,
    pseudo: float = 0.0,
) -> float:
    """Return the target of coverage (tracks, bins): the first group of tracks, minus the second where there is one."""
    parts = []
    for group in groups:
        if stat == "RATIO":
            above, below = (
                math.fsum(unsquashed[track, column] for track in group for column in part) / len(group) / len(part)
                for part in columns
            )
            inner, added = (above + pseudo) / (below + pseudo), 1e-6
        else:
            rows = [[float(unsquashed[track, column]) for column in columns[0]] for track in group]
            inner, added = math.fsum(FORMULAS[stat](row) for row in rows) / len(group), pseudo + 1e-6
        parts.append(math.log(inner + added) if log else inner)
    return parts[0] - math.fsum(parts[1:])


def derivative(function: Callable[[np.ndarray], float], at: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """Return the derivative of a function of an array by each of its elements."""
    found = np.empty(at.shape)
    for index in np.ndindex(*at.shape):
        moved = at.astype(np.float64).copy()
        moved[index] += step
        high = function(moved)
        moved[index] -= 2 * step
        found[index] = (high - function(moved)) / (2 * step)
    return found


def odds(
    unsquashed: np.ndarray,
    groups: Sequence[Sequence[int]],
    candidates: Sequence[tuple[Sequence[Sequence[int]], Sequence[Sequence[int]]]],
    *,
    pseudo: float,
) -> float:
    """Return log2 odds of sides (top, bottom), mean over candidates and tracks; groups as of :func:`value`."""
    parts = []
    for group in groups:
        found = []
        for track in group:
            for top, bottom in candidates:
                sums = [
                    math.fsum(math.fsum(unsquashed[track, column] for column in side) + pseudo for side in sides)
                    for sides in (top, bottom)
                ]
                found.append(math.log2(sums[0] / sums[1]))
        parts.append(math.fsum(found) / len(found))
    return parts[0] - math.fsum(parts[1:])
