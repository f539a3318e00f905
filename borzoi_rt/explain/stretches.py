"""Methods that change a stretch of bases at a time, and look at what becomes of the target.

==============  ==================================================================================================
occlusion       S(x) - S(x with the stretch unknown)
shuffle         S(x) - mean over shuffles of S(x with the stretch shuffled), dinucleotides kept
deletion        S(x) - S(x without the stretch); what moves, and what fills the ends, is said below
==============  ==================================================================================================

Stretches are of one length, or given (:mod:`borzoi_rt.explain.segments`). A stretch has one number, ``effect``, which
is given to each of its bases; what is said of the base that is there is its even share of that, so that sums over bases
are sums over stretches. Bases of no stretch stay as they are, have the score 0 and no ``effect``. In a deletion both
sides move towards the gap, the left by half of it and the right by the rest, and unknown bases fill the ends of the
window: coverage moves by up to half a stretch against the bins of the target. What looks at several stretches together
is in :mod:`borzoi_rt.explain.coalitions`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from ..plain import check_types
from ..types import ByteArray, DoubleArray
from .objective import Attribution, Bases, Objective, check_bases, check_counts, one_value
from .segments import absent, check_tiles
from .shuffles import BIN_BP, shuffled

TILE_BP = 128
Tiles = Sequence[Bases] | None  # stretches that are given; None for those of one length


@dataclass(frozen=True, slots=True, kw_only=True)
class TileOptions:
    """Options of ``occlusion`` and ``deletion``, and of all methods of stretches.

    Parameters
    ----------
    tile_bp : int, optional
        Length of a stretch; 128 when None, and nothing where segments say which stretches there are.
    segments : str
        Where stretches come from, see :mod:`borzoi_rt.explain.segments`; empty for stretches of one length.
    """

    tile_bp: int | None = None
    segments: str = ""

    def __post_init__(self) -> None:
        check_types(self)
        if self.tile_bp is not None and self.segments:
            raise InputError(f"tile_bp {self.tile_bp!r} and segments {self.segments!r}: leave one of the two out")
        if not self.segments:
            object.__setattr__(self, "tile_bp", TILE_BP if self.tile_bp is None else self.tile_bp)
            check_counts(self, "tile_bp")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShuffleOptions(TileOptions):
    """Options of ``shuffle``: stretches, shuffles of each, and their seed."""

    samples: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        TileOptions.__post_init__(self)  # super() knows nothing of a class that slots have made anew
        check_counts(self, "samples")


def tiles_of(bases: Bases, tile_bp: int) -> list[Bases]:
    """Return the stretches of some bases, the last perhaps shorter."""
    return [(start, min(start + tile_bp, bases[1])) for start in range(bases[0], bases[1], tile_bp)]


def chosen_tiles(objective: Objective, bases: Bases, options: TileOptions, tiles: Tiles) -> list[Bases]:
    """Return the stretches: those that are given, or those of one length."""
    check_bases(bases, objective.length)
    if tiles is not None:
        return check_tiles(tiles, bases)
    if options.tile_bp is None:
        raise InputError(f"segments {options.segments!r} were not looked up; give their stretches (tiles)")
    return tiles_of(bases, options.tile_bp)


def occlusion(
    objective: Objective, window: ByteArray, bases: Bases, options: TileOptions, tiles: Tiles = None
) -> Attribution:
    """Return what each stretch counts, by making it unknown; see the head of this module."""

    def without(low: int, high: int) -> ByteArray:
        changed = window.copy()
        changed[:, low:high] = 0
        return changed

    return _one_by_one(objective, window, bases, chosen_tiles(objective, bases, options, tiles), without)


def deletion(
    objective: Objective, window: ByteArray, bases: Bases, options: TileOptions, tiles: Tiles = None
) -> Attribution:
    """Return what each stretch counts, by deleting it; see the head of this module."""

    def without(low: int, high: int) -> ByteArray:
        left = (high - low) // 2
        right = high - low - left
        changed = np.zeros_like(window)
        changed[:, left : low + left] = window[:, :low]
        changed[:, low + left : window.shape[1] - right] = window[:, high:]
        return changed

    return _one_by_one(objective, window, bases, chosen_tiles(objective, bases, options, tiles), without)


def _one_by_one(
    objective: Objective,
    window: ByteArray,
    bases: Bases,
    tiles: list[Bases],
    without: Callable[[int, int], ByteArray],
) -> Attribution:
    value = one_value(objective, window)
    effects = np.array([value - one_value(objective, without(*tile)) for tile in tiles])
    return spread(value, window, bases, tiles, effects, {})


def shuffling(
    objective: Objective, window: ByteArray, bases: Bases, options: ShuffleOptions, tiles: Tiles = None
) -> Attribution:
    """Return what each stretch counts, by shuffling it; see the head of this module."""
    held = chosen_tiles(objective, bases, options, tiles)
    value, found = one_value(objective, window), np.empty((len(held), options.samples))
    for number, tile in enumerate(held):
        for sample in range(options.samples):
            rng = np.random.default_rng([options.seed, number, sample])
            changed = shuffled(window, *tile, rng, bin_bp=BIN_BP) if tiles is None else absent(window, [tile], rng)
            found[number, sample] = one_value(objective, changed)
    errors = found.std(axis=1, ddof=1) / np.sqrt(options.samples) if options.samples > 1 else None
    return spread(value, window, bases, held, value - found.mean(axis=1), {}, errors)


def spread(
    value: float,
    window: ByteArray,
    bases: Bases,
    tiles: list[Bases],
    effects: DoubleArray,
    facts: dict[str, Any],
    errors: DoubleArray | None = None,
) -> Attribution:
    """Give the number of each stretch to its bases, and its even share to those that are there."""
    width = bases[1] - bases[0]
    whole, share = np.full(width, np.nan), np.zeros(width)
    arrays = {"effect": whole}
    if errors is not None:
        arrays["effect_se"] = np.full(width, np.nan)
    for number, (low, high) in enumerate(tiles):
        part = slice(low - bases[0], high - bases[0])
        whole[part] = effects[number]
        # Unknown bases have no score: their share is that of the known ones of their stretch.
        share[part] = effects[number] / max(int(window[:, low:high].any(axis=0).sum()), 1)
        if errors is not None:
            arrays["effect_se"][part] = errors[number]
    inside = window[:, bases[0] : bases[1]]
    return Attribution(value, inside * share, {"stretches": len(tiles), **facts}, arrays)
