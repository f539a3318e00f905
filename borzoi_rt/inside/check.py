"""Two checks of a map: does it follow what positions do, and does it find what is known to be there?

**Shuffling.** Some positions are shuffled one at a time (their bases, dinucleotides kept); what the target loses by it
is their *effect*. Scores with a sign are compared with it, scores without, as of attention, with its size. Both map and
effect fall with the distance from what the target is read from, for any network, trained or not; so ranks are compared
within classes of distance, less what the rank of the distance says of them (a partial rank correlation), and the null
exchanges positions within classes:

    r = correlation of what is left of the ranks of score and of effect
    p = (1 + number of exchanges with r as large) / (1 + exchanges)

A map *agrees* where p is at most 0.05. It may agree and still say nothing about bases within a position, nor about
positions that act together. And it agrees with this network, whatever that was taught: of random weights, too, a token
acts on a distant target by way of those that attend to it.

**Annotation.** Positions that hold known features, as promoters or motifs, are told from the others by how far their
score is from the median of the map, whose level means nothing: area under the ROC curve, and p of the same exchanges. A
network of random weights fails here, and so does a map that says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import InputError
from ..explain.agreement import ranks
from ..explain.objective import Objective, one_value
from ..explain.shuffles import shuffled
from ..genome.intervals import Interval
from ..types import BoolArray, ByteArray, DoubleArray, IndexArray
from .activations import Layer

EXCHANGES = 2000
AGREES = 0.05


@dataclass(frozen=True, slots=True)
class Agreement:
    """What the check says of one map.

    Attributes
    ----------
    positions : int
        Shuffled, one at a time.
    classes : int
        Of distance.
    correlation, p_value : float
        Of ranks within classes of distance; one-sided.
    agrees : bool
        Whether p is at most ``AGREES``.
    """

    positions: int
    classes: int
    correlation: float
    p_value: float
    agrees: bool

    def to_json(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Recovery:
    """How well a map finds known features.

    Attributes
    ----------
    positions, known : int
        Of the layer, and how many of these hold a feature.
    auroc : float
        Area under the ROC curve of |score - median|; 0.5 is chance.
    p_value : float
        Of exchanges at equal distance; one-sided.
    recovers : bool
        Whether p is at most ``AGREES``.
    """

    positions: int
    known: int
    auroc: float
    p_value: float
    recovers: bool

    def to_json(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)


def check_map_of(
    objective: Objective,
    window: ByteArray,
    layer: Layer,
    scores: DoubleArray,
    *,
    near: IndexArray,
    signed: bool,
    count: int = 64,
    seed: int = 0,
) -> Agreement:
    """Compare a map with the effect of shuffling its positions.

    Parameters
    ----------
    objective : Objective
        The target as a function of windows.
    window : uint8 ndarray of shape (4, length)
        One-hot DNA.
    layer : Layer
        Where positions lie.
    scores : float64 ndarray of shape (positions,)
        The map.
    near : int64 ndarray
        Positions that the target is read from: what distance is counted from.
    signed : bool
        Whether a score below 0 says that a position lowers the target; else sizes of effects are compared.
    count : int
        Positions to shuffle, spread evenly over classes of distance.
    seed : int
        Of chance.

    Raises
    ------
    InputError
        If there are too few positions.
    """
    if count < 8 or layer.positions < 8:
        raise InputError(f"check is of {min(count, layer.positions)} positions; 8 or more are needed")
    rng = np.random.default_rng(seed)
    distance = np.abs(np.arange(layer.positions)[:, None] - np.asarray(near)[None]).min(axis=1)
    chosen = spread(classes_of(distance), count, rng)
    value, effects = one_value(objective, window), np.zeros(len(chosen))
    for number, position in enumerate(chosen.tolist()):
        start = layer.first_bp + position * layer.resolution_bp
        changed = shuffled(window, start, start + layer.resolution_bp, rng)
        effects[number] = value - one_value(objective, changed)
    return agreement(scores[chosen], effects if signed else np.abs(effects), distance[chosen], rng)


def recovery(scores: DoubleArray, known: BoolArray, *, near: IndexArray, seed: int = 0) -> Recovery:
    """Return how well a map tells positions that hold a feature from the others.

    Parameters
    ----------
    scores : float64 ndarray of shape (positions,)
        The map.
    known : bool ndarray of shape (positions,)
        Which positions hold a feature.
    near : int64 ndarray
        Positions that distance is counted from.
    seed : int
        Of chance.

    Raises
    ------
    InputError
        If every position holds a feature, or none does.
    """
    count = int(known.sum())
    if not 0 < count < len(known):
        raise InputError(f"{count} of {len(known)} positions hold a feature; some, and not all, are needed")
    sizes = np.abs(scores - np.median(scores))
    auroc = (float(ranks(sizes)[known].sum()) - count * (count + 1) / 2.0) / (count * (len(known) - count))
    distance = np.abs(np.arange(len(sizes))[:, None] - np.asarray(near)[None]).min(axis=1)
    found = agreement(sizes, known.astype(np.float64), distance, np.random.default_rng(seed))
    return Recovery(len(sizes), count, auroc, found.p_value, found.agrees)


def holding(layer: Layer, window_start: int, chrom: str, intervals: Sequence[Interval]) -> BoolArray:
    """Return which positions of a layer hold a base of an interval of the genome, bool (positions,)."""
    found = np.zeros(layer.positions, dtype=bool)
    first = window_start + layer.first_bp
    for interval in intervals:
        if interval.chrom == chrom:
            low = max((interval.start - first) // layer.resolution_bp, 0)
            high = -(-(interval.end - first) // layer.resolution_bp)
            found[low : max(high, 0)] = True
    return found


def classes_of(distance: IndexArray) -> IndexArray:
    """Return the class of each distance in positions: 0, 1, 2 to 3, 4 to 7, and so on."""
    return np.ceil(np.log2(distance + 1)).astype(np.int64)


def agreement(scores: DoubleArray, effects: DoubleArray, distance: IndexArray, rng: np.random.Generator) -> Agreement:
    """Return the rank correlation at equal distance and its p-value; see the head of this module."""
    classes = classes_of(distance)
    groups = [np.flatnonzero(classes == name) for name in np.unique(classes)]
    groups = [group for group in groups if len(group) > 1]
    kept = np.concatenate(groups) if groups else np.zeros(0, dtype=np.int64)
    first, second = (_left(values, distance, groups)[kept] for values in (scores, effects))
    scale = float(np.sqrt((first**2).sum() * (second**2).sum()))
    if scale == 0.0:
        return Agreement(len(scores), len(groups), 0.0, 1.0, False)
    found, beyond = float(first @ second) / scale, 0
    ends = np.cumsum([0, *map(len, groups)])
    for _ in range(EXCHANGES):
        exchanged = np.concatenate([rng.permutation(first[low:high]) for low, high in pairwise(ends.tolist())])
        beyond += float(exchanged @ second) / scale >= found - 1e-12
    p_value = (1 + beyond) / (1 + EXCHANGES)
    return Agreement(len(scores), len(groups), found, p_value, p_value <= AGREES)


def spread(classes: IndexArray, count: int, rng: np.random.Generator) -> IndexArray:
    """Return at most ``count`` positions, as many of each class as there are or an even share allows; ascending."""
    order = [rng.permutation(np.flatnonzero(classes == name)).tolist() for name in np.unique(classes)]
    found: list[int] = []
    while len(found) < count and any(order):
        for held in order:
            if held and len(found) < count:
                found.append(held.pop())
    return np.array(sorted(found), dtype=np.int64)


def _left(values: DoubleArray, distance: IndexArray, groups: list[IndexArray]) -> DoubleArray:
    """Return ranks within each group, less their mean and less what a line through the ranks of distance gives."""
    found = np.zeros(len(values))
    for group in groups:
        own, far = (ranks(part[group]) - (len(group) + 1) / 2.0 for part in (values, distance))
        along = float(far @ far)
        found[group] = own - (float(own @ far) / along * far if along else 0.0)
    found[np.abs(found) < 1e-9] = 0.0
    return found
