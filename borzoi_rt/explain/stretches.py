"""Methods that change a stretch of bases at a time, and look at what becomes of the target.

==============  ==================================================================================================
occlusion       S(x) - S(x with the stretch unknown)
shuffle         S(x) - mean over shuffles of S(x with the stretch shuffled), dinucleotides kept
deletion        S(x) - S(x without the stretch); what moves, and what fills the ends, is said below
shap            Shapley value of each stretch, a stretch that is absent being shuffled (``permutation``: the mean over
                orders of what it adds when it comes; ``kernel``: least squares over coalitions)
lime            ridge regression of the target on which stretches are there, others shuffled
==============  ==================================================================================================

A stretch has one number, ``effect``, which is given to each of its bases; what is said of the base that is there is its
even share of that, so that sums over bases are sums over stretches. Shapley values add up to S(x) minus the mean of
S(references), and each step of the sum is exact, whatever the number of orders. In a deletion both sides move towards
the gap, the left by half of it and the right by the rest, and unknown bases fill the ends of the window: coverage moves
by up to half a stretch against the bins of the target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from ..types import BoolArray, ByteArray, DoubleArray
from .objective import Attribution, Bases, Objective, check_bases, check_counts, one_value
from .shuffles import BIN_BP, shuffled

SAMPLINGS = ("permutation", "kernel")
_HELD_OUT = 0.2  # share of the masks of lime that its fit is judged by


@dataclass(frozen=True, slots=True, kw_only=True)
class TileOptions:
    """Options of ``occlusion`` and ``deletion``: length of a stretch in bp."""

    tile_bp: int = 128

    def __post_init__(self) -> None:
        check_counts(self, "tile_bp")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShuffleOptions:
    """Options of ``shuffle``: length of a stretch in bp, shuffles of each, and their seed."""

    tile_bp: int = 128
    samples: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        check_counts(self, "tile_bp", "samples")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapOptions:
    """Options of ``shap``.

    Parameters
    ----------
    tile_bp : int
        Length of a stretch.
    sampling : str
        ``permutation`` or ``kernel``.
    samples : int
        Orders, or coalitions, each with a shuffle of its own.
    seed : int
        Of all that is drawn.
    """

    tile_bp: int = 128
    sampling: str = "permutation"
    samples: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        check_counts(self, "tile_bp", "samples")
        if self.sampling not in SAMPLINGS:
            raise InputError(f"sampling {self.sampling!r} is unknown; allowed: {', '.join(SAMPLINGS)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LimeOptions:
    """Options of ``lime``: length of a stretch in bp, masks, penalty of the ridge (of standardised targets), seed."""

    tile_bp: int = 128
    samples: int = 200
    ridge: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_counts(self, "tile_bp", "samples")
        if not 0.0 <= self.ridge < np.inf:
            raise InputError(f"ridge is {self.ridge!r}; 0 or more is needed")


def tiles_of(bases: Bases, tile_bp: int) -> list[Bases]:
    """Return the stretches of some bases, the last perhaps shorter."""
    return [(start, min(start + tile_bp, bases[1])) for start in range(bases[0], bases[1], tile_bp)]


def occlusion(objective: Objective, window: ByteArray, bases: Bases, options: TileOptions) -> Attribution:
    """Return what each stretch counts, by making it unknown; see the head of this module."""

    def without(low: int, high: int) -> ByteArray:
        changed = window.copy()
        changed[:, low:high] = 0
        return changed

    return _one_by_one(objective, window, bases, options.tile_bp, without)


def deletion(objective: Objective, window: ByteArray, bases: Bases, options: TileOptions) -> Attribution:
    """Return what each stretch counts, by deleting it; see the head of this module."""

    def without(low: int, high: int) -> ByteArray:
        left = (high - low) // 2
        right = high - low - left
        changed = np.zeros_like(window)
        changed[:, left : low + left] = window[:, :low]
        changed[:, low + left : window.shape[1] - right] = window[:, high:]
        return changed

    return _one_by_one(objective, window, bases, options.tile_bp, without)


def _one_by_one(
    objective: Objective, window: ByteArray, bases: Bases, tile_bp: int, without: Callable[[int, int], ByteArray]
) -> Attribution:
    tiles = tiles_of(check_bases(bases, objective.length), tile_bp)
    value = one_value(objective, window)
    effects = np.array([value - one_value(objective, without(*tile)) for tile in tiles])
    return _spread(value, window, bases, tiles, effects, {})


def shuffling(objective: Objective, window: ByteArray, bases: Bases, options: ShuffleOptions) -> Attribution:
    """Return what each stretch counts, by shuffling it; see the head of this module."""
    tiles = tiles_of(check_bases(bases, objective.length), options.tile_bp)
    value, found = one_value(objective, window), np.empty((len(tiles), options.samples))
    for number, tile in enumerate(tiles):
        for sample in range(options.samples):
            rng = np.random.default_rng([options.seed, number, sample])
            found[number, sample] = one_value(objective, shuffled(window, *tile, rng, bin_bp=BIN_BP))
    errors = found.std(axis=1, ddof=1) / np.sqrt(options.samples) if options.samples > 1 else None
    return _spread(value, window, bases, tiles, value - found.mean(axis=1), {}, errors)


def shapley(objective: Objective, window: ByteArray, bases: Bases, options: ShapOptions) -> Attribution:
    """Return Shapley values of stretches; see the head of this module."""
    tiles = tiles_of(check_bases(bases, objective.length), options.tile_bp)
    value, errors = one_value(objective, window), None
    if options.sampling == "permutation":
        rows, compared = _by_orders(objective, window, bases, tiles, options, value)
        effects = rows.mean(axis=0)
        errors = rows.std(axis=0, ddof=1) / np.sqrt(len(rows)) if len(rows) > 1 else None
    else:
        effects, compared = _by_coalitions(objective, window, bases, tiles, options, value)
    difference = float(value - np.mean(compared))
    facts = {"difference": difference, "completeness_delta": float(effects.sum() - difference)}
    return _spread(value, window, bases, tiles, effects, facts, errors)


def _by_orders(
    objective: Objective, window: ByteArray, bases: Bases, tiles: list[Bases], options: ShapOptions, value: float
) -> tuple[DoubleArray, DoubleArray]:
    """Return what each stretch adds, (orders, stretches), and S of the references; every second order is reversed."""
    rows, compared = np.empty((options.samples, len(tiles))), np.empty(options.samples)
    order: list[int] = []
    for number in range(options.samples):
        rng = np.random.default_rng([options.seed, number // 2])
        held = shuffled(window, *bases, rng, bin_bp=BIN_BP)
        # Both directions of an order have one reference: what is left of chance in one cancels in the other.
        order = order[::-1] if number % 2 else rng.permutation(len(tiles)).tolist()
        before = compared[number] = one_value(objective, held)
        for step, tile in enumerate(order, start=1):
            low, high = tiles[tile]
            held[:, low:high] = window[:, low:high]
            after = value if step == len(order) else one_value(objective, held)
            rows[number, tile] = after - before
            before = after
    return rows, compared


def _by_coalitions(
    objective: Objective, window: ByteArray, bases: Bases, tiles: list[Bases], options: ShapOptions, value: float
) -> tuple[DoubleArray, DoubleArray]:
    """Return the least squares solution over coalitions (Lundberg and Lee 2017), and S of the references.

    Sizes of coalitions are drawn with the weight that theirs have together, so that each counts the same; pairs of a
    coalition and what it lacks have the same reference. Where all coalitions are no more than the samples, they are all
    taken, with their weights.
    """
    count, rng = len(tiles), np.random.default_rng([options.seed, 0])
    if count == 1:
        alone = one_value(objective, shuffled(window, *bases, rng, bin_bp=BIN_BP))
        return np.array([value - alone]), np.array([alone])
    masks, weights = _coalitions(count, options.samples, rng)
    rows, compared = np.empty(len(masks)), np.empty(len(masks))
    base = 0.0
    every = len(masks) == 2**count - 2
    for number, mask in enumerate(masks):
        pair = 0 if every else number // 2
        reference = shuffled(window, *bases, np.random.default_rng([options.seed, 1, pair]), bin_bp=BIN_BP)
        if number == 0 or (not every and number % 2 == 0):
            base = one_value(objective, reference)
        compared[number] = base
        rows[number] = one_value(objective, _mixed(window, reference, tiles, mask)) - base
    # The values add up to the mean difference: the last is what the others leave, so that this holds exactly.
    total = value - compared.mean()
    gains = rows - masks[:, -1] * (value - compared)
    design = masks[:, :-1].astype(np.float64) - masks[:, -1:]
    scale = np.sqrt(weights)
    solved = np.linalg.lstsq(design * scale[:, None], gains * scale, rcond=None)[0]
    return np.append(solved, total - solved.sum()), compared


def _coalitions(count: int, samples: int, rng: np.random.Generator) -> tuple[BoolArray, DoubleArray]:
    """Return coalitions (coalitions, stretches), neither empty nor whole, and their weights."""
    sizes = np.arange(1, count)
    together = (count - 1) / (sizes * (count - sizes))  # of all coalitions of a size
    if count < 20 and 2**count - 2 <= samples:
        numbers = np.arange(1, 2**count - 1)
        masks = (numbers[:, None] >> np.arange(count)) & 1 == 1
        size = masks.sum(axis=1)
        choices = np.array([_binomial(count, int(held)) for held in size])
        return masks, together[size - 1] / choices
    pairs = []
    for _ in range(-(-samples // 2)):
        mask = np.zeros(count, dtype=bool)
        mask[rng.permutation(count)[: rng.choice(sizes, p=together / together.sum())]] = True
        pairs += [mask, ~mask]
    return np.array(pairs), np.ones(len(pairs))


def _binomial(count: int, size: int) -> float:
    found = 1.0
    for number in range(size):
        found *= (count - number) / (number + 1)
    return found


def lime(objective: Objective, window: ByteArray, bases: Bases, options: LimeOptions) -> Attribution:
    """Return a ridge regression on stretches; see the head of this module. R2 is of masks that the fit has not seen."""
    tiles = tiles_of(check_bases(bases, objective.length), options.tile_bp)
    rng = np.random.default_rng([options.seed, 0])
    masks = rng.random((options.samples, len(tiles))) < 0.5
    values = np.empty(options.samples)
    for number, mask in enumerate(masks):
        reference = shuffled(window, *bases, np.random.default_rng([options.seed, 1, number]), bin_bp=BIN_BP)
        values[number] = one_value(objective, _mixed(window, reference, tiles, mask))
    held_out = round(_HELD_OUT * options.samples)
    effects, _ = _ridge(masks, values, options.ridge)
    facts: dict[str, Any] = {"r2_held_out": None}
    if held_out > 1:
        seen, level_seen = _ridge(masks[held_out:], values[held_out:], options.ridge)
        left, spread = values[:held_out] - masks[:held_out] @ seen - level_seen, values[:held_out].var()
        facts["r2_held_out"] = float(1.0 - np.mean(left**2) / spread) if spread > 0.0 else None
    return _spread(one_value(objective, window), window, bases, tiles, effects, facts)


def _ridge(masks: BoolArray, values: DoubleArray, penalty: float) -> tuple[DoubleArray, float]:
    """Return coefficients and level of a ridge regression; the penalty is of 0/1 columns around their means."""
    columns, middle = masks - masks.mean(axis=0), values.mean()
    left = columns.T @ columns + penalty * np.eye(masks.shape[1])
    found: DoubleArray = np.linalg.lstsq(left, columns.T @ (values - middle), rcond=None)[0]
    return found, float(middle - masks.mean(axis=0) @ found)


def _mixed(window: ByteArray, reference: ByteArray, tiles: list[Bases], mask: BoolArray) -> ByteArray:
    """Return the reference with the stretches of a coalition as they are."""
    mixed = reference.copy()
    for (low, high), there in zip(tiles, mask.tolist(), strict=True):
        if there:
            mixed[:, low:high] = window[:, low:high]
    return mixed


def _spread(
    value: float,
    window: ByteArray,
    bases: Bases,
    tiles: list[Bases],
    effects: DoubleArray,
    facts: dict[str, Any],
    errors: DoubleArray | None = None,
) -> Attribution:
    """Give the number of each stretch to its bases, and its even share to those that are there."""
    lengths = [high - low for low, high in tiles]
    inside = window[:, bases[0] : bases[1]]
    whole = np.repeat(effects, lengths)
    # Unknown bases have no score: their share is that of the known ones of their stretch.
    known = np.repeat([max(int(window[:, low:high].any(axis=0).sum()), 1) for low, high in tiles], lengths)
    arrays = {"effect": whole}
    if errors is not None:
        arrays["effect_se"] = np.repeat(errors, lengths)
    return Attribution(value, inside * (whole / known), {"stretches": len(tiles), **facts}, arrays)
