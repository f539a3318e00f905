"""Methods that look at several stretches together: which of them are there, the others being absent.

==============  ==================================================================================================
shap            Shapley value of each stretch (``permutation``: the mean over orders of what it adds when it comes;
                ``kernel``: least squares over coalitions)
lime            ridge regression of the target on which stretches are there
==============  ==================================================================================================

A stretch that is absent is shuffled with all bases that are explained, or, where stretches are given, with the bases
around it (:mod:`borzoi_rt.explain.segments`). Shapley values add up to S(x) minus the mean of S(references), and each
step of the sum is exact, whatever the number of orders. Of what a stretch has see :mod:`borzoi_rt.explain.stretches`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from ..plain import check_types
from ..types import BoolArray, ByteArray, DoubleArray
from .objective import Attribution, Bases, Objective, check_counts, completeness, one_value
from .segments import absent
from .shuffles import BIN_BP, shuffled
from .stretches import TileOptions, Tiles, chosen_tiles, spread

SAMPLINGS = ("permutation", "kernel")
_HELD_OUT = 0.2  # share of the masks of lime that its fit is judged by


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapOptions(TileOptions):
    """Options of ``shap``.

    Parameters
    ----------
    tile_bp, segments
        See :class:`TileOptions`.
    sampling : str
        ``permutation`` or ``kernel``.
    samples : int
        Orders, or coalitions, each with a shuffle of its own.
    seed : int
        Of all that is drawn.
    """

    sampling: str = "permutation"
    samples: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        TileOptions.__post_init__(self)
        check_counts(self, "samples")
        if self.sampling not in SAMPLINGS:
            raise InputError(f"sampling {self.sampling!r} is unknown; allowed: {', '.join(SAMPLINGS)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LimeOptions(TileOptions):
    """Options of ``lime``: stretches, masks, penalty of the ridge (of standardised targets), seed."""

    samples: int = 200
    ridge: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        TileOptions.__post_init__(self)
        check_counts(self, "samples")
        if not 0.0 <= self.ridge < np.inf:
            raise InputError(f"ridge is {self.ridge!r}; 0 or more is needed")


@dataclass(frozen=True)
class _Stretches:
    """The stretches of a window, with what becomes of it where none of them is there."""

    window: ByteArray
    bases: Bases
    tiles: list[Bases]
    given: bool

    def __len__(self) -> int:
        return len(self.tiles)

    def reference(self, rng: np.random.Generator) -> ByteArray:
        """Return the window with all stretches absent."""
        if self.given:
            return absent(self.window, self.tiles, rng)
        return shuffled(self.window, *self.bases, rng, bin_bp=BIN_BP)

    def mixed(self, reference: ByteArray, mask: BoolArray) -> ByteArray:
        """Return a reference with the stretches of a coalition as they are."""
        found = reference.copy()
        for (low, high), there in zip(self.tiles, mask.tolist(), strict=True):
            if there:
                found[:, low:high] = self.window[:, low:high]
        return found


def shapley(
    objective: Objective, window: ByteArray, bases: Bases, options: ShapOptions, tiles: Tiles = None
) -> Attribution:
    """Return Shapley values of stretches; see the head of this module."""
    held = _Stretches(window, bases, chosen_tiles(objective, bases, options, tiles), tiles is not None)
    value, errors = one_value(objective, window), None
    if options.sampling == "permutation":
        rows, compared = _by_orders(objective, held, options, value)
        effects = rows.mean(axis=0)
        errors = rows.std(axis=0, ddof=1) / np.sqrt(len(rows)) if len(rows) > 1 else None
    else:
        effects, compared = _by_coalitions(objective, held, options, value)
    facts = completeness(value, compared, float(effects.sum()))
    return spread(value, window, bases, held.tiles, effects, facts, errors)


def _by_orders(
    objective: Objective, stretches: _Stretches, options: ShapOptions, value: float
) -> tuple[DoubleArray, DoubleArray]:
    """Return what each stretch adds, (orders, stretches), and S of the references; every second order is reversed."""
    rows, compared = np.empty((options.samples, len(stretches))), np.empty(options.samples)
    order: list[int] = []
    for number in range(options.samples):
        rng = np.random.default_rng([options.seed, number // 2])
        held = stretches.reference(rng)
        # Both directions of an order have one reference: what is left of chance in one cancels in the other.
        order = order[::-1] if number % 2 else rng.permutation(len(stretches)).tolist()
        before = compared[number] = one_value(objective, held)
        for step, tile in enumerate(order, start=1):
            low, high = stretches.tiles[tile]
            held[:, low:high] = stretches.window[:, low:high]
            after = value if step == len(order) else one_value(objective, held)
            rows[number, tile] = after - before
            before = after
    return rows, compared


def _by_coalitions(
    objective: Objective, stretches: _Stretches, options: ShapOptions, value: float
) -> tuple[DoubleArray, DoubleArray]:
    """Return the least squares solution over coalitions (Lundberg and Lee 2017), and S of the references.

    Sizes of coalitions are drawn with the weight that theirs have together, so that each counts the same; pairs of a
    coalition and what it lacks have the same reference. Where all coalitions are no more than the samples, they are all
    taken, with their weights.
    """
    count, rng = len(stretches), np.random.default_rng([options.seed, 0])
    if count == 1:
        alone = one_value(objective, stretches.reference(rng))
        return np.array([value - alone]), np.array([alone])
    masks, weights = _coalitions(count, options.samples, rng)
    rows, compared = np.empty(len(masks)), np.empty(len(masks))
    base = 0.0
    every = len(masks) == 2**count - 2
    for number, mask in enumerate(masks):
        pair = 0 if every else number // 2
        reference = stretches.reference(np.random.default_rng([options.seed, 1, pair]))
        if number == 0 or (not every and number % 2 == 0):
            base = one_value(objective, reference)
        compared[number] = base
        rows[number] = one_value(objective, stretches.mixed(reference, mask)) - base
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


def lime(
    objective: Objective, window: ByteArray, bases: Bases, options: LimeOptions, tiles: Tiles = None
) -> Attribution:
    """Return a ridge regression on stretches; see the head of this module. R2 is of masks that the fit has not seen."""
    held = _Stretches(window, bases, chosen_tiles(objective, bases, options, tiles), tiles is not None)
    rng = np.random.default_rng([options.seed, 0])
    masks = rng.random((options.samples, len(held))) < 0.5
    values = np.empty(options.samples)
    for number, mask in enumerate(masks):
        reference = held.reference(np.random.default_rng([options.seed, 1, number]))
        values[number] = one_value(objective, held.mixed(reference, mask))
    held_out = round(_HELD_OUT * options.samples)
    effects, _ = _ridge(masks, values, options.ridge)
    facts: dict[str, Any] = {"r2_held_out": None}
    if held_out > 1:
        seen, level_seen = _ridge(masks[held_out:], values[held_out:], options.ridge)
        left, variance = values[:held_out] - masks[:held_out] @ seen - level_seen, values[:held_out].var()
        facts["r2_held_out"] = float(1.0 - np.mean(left**2) / variance) if variance > 0.0 else None
    return spread(one_value(objective, window), window, bases, held.tiles, effects, facts)


def _ridge(masks: BoolArray, values: DoubleArray, penalty: float) -> tuple[DoubleArray, float]:
    """Return coefficients and level of a ridge regression; the penalty is of 0/1 columns around their means."""
    columns, middle = masks - masks.mean(axis=0), values.mean()
    left = columns.T @ columns + penalty * np.eye(masks.shape[1])
    found: DoubleArray = np.linalg.lstsq(left, columns.T @ (values - middle), rcond=None)[0]
    return found, float(middle - masks.mean(axis=0) @ found)
