"""Do attributions say what the model does? Measures that change bases and look at the target S.

x is the sequence, x' one with other letters, a the map (4, bases), R the bases that are explained.

==================  ================================================================================================
``ism``             correlation with exact mutagenesis D[b, p] = S(x with b at p) - S(x): ``pearson`` and ``spearman``
                    of a at the base that is there and -mean over the four bases of D; ``letters_pearson`` of
                    a[b, p] - a[there, p] and D[b, p], b not there; ``top_pearson`` the first, of the tenth of the
                    bases with the largest effects
``infidelity``      E[(beta sum (x - x') a - (S(x) - S(x')))^2] / E[(S(x) - S(x'))^2] over random mutants of a tenth of
                    the bases, with the best beta of 0 or more (Yeh et al., NeurIPS 2019): 0 is perfect, 1 is what a
                    map of zeros has
``sensitivity-n``   mean over n of the correlation of sum (x - x') a and S(x) - S(x'), x' having the letters of a
                    shuffle at n random bases (Ancona et al., ICLR 2018); n is 1, 2, 4, ... up to half of R
``deletion``        stretches of R, ordered by their sum of a, get the letters of a shuffle of R, the largest first
                    (deletion), or the smallest first. c_k = (s_k - s_K) / (s_0 - s_K); ``abpc`` is the area between
                    both curves over k / K, times the sign of s_0 - s_K: 0 of random orders. Putting back the largest
                    first into a shuffled R (insertion) is the second curve read from its end, hence of the same area
==================  ================================================================================================

By chance are maps whose bases are in random order, and for ``deletion`` stretches in random order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import InputError
from ...plain import check_types
from ...types import ByteArray, DoubleArray, IndexArray
from ..agreement import mean_known, pearson, spearman
from ..objective import Bases, Objective, check_counts, one_value
from ..rows import codes_of
from ..shuffles import BIN_BP, shuffled
from ..stretches import tiles_of
from .maps import Reading, ScoreMap, with_codes

MUTATED_SHARE = 0.1
_TOP_SHARE = 0.1
_FEW = 10  # bases below which the top tenth has no correlation
_SMALL = 1e-5  # share of the target below which a difference is nothing to divide by


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateOptions:
    """How maps are judged.

    Parameters
    ----------
    positions : int
        Bases drawn for exact mutagenesis, where no file of it is given.
    samples : int
        Mutants of ``infidelity``, and subsets for every n of ``sensitivity-n``.
    tile_bp : int, optional
        Length of the stretches of ``deletion``; a twentieth of the bases when None.
    points : int
        Points of each curve behind the first.
    shuffles : int
        Shuffles that each curve is the mean over.
    orders : int
        Random orders that curves are compared with, each in both directions.
    repeats : int
        Other seeds, and sequences of ``max-sensitivity``.
    draws : int
        Maps by chance.
    seed : int
        Of all that is drawn.
    """

    positions: int = 20
    samples: int = 30
    tile_bp: int | None = None
    points: int = 8
    shuffles: int = 2
    orders: int = 5
    repeats: int = 2
    draws: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        check_counts(self, "positions", "samples", "points", "shuffles", "orders", "repeats", "draws")
        if self.tile_bp is not None:
            check_counts(self, "tile_bp")
        if self.samples < 3:
            raise InputError(f"samples is {self.samples}; 3 or more are needed for a correlation")

    def tiles(self, bases: Bases) -> list[Bases]:
        """Return the stretches of ``deletion``."""
        width = bases[1] - bases[0]
        return tiles_of(bases, self.tile_bp or max(1, width // 20))

    def subsets(self, width: int) -> list[int]:
        """Return the n of ``sensitivity-n``."""
        return [2**power for power in range(max(width // 2, 1).bit_length())]


@dataclass(frozen=True)
class Scene:
    """A map and the target that it explains.

    Attributes
    ----------
    objective : Objective
    window : uint8 ndarray of shape (4, length)
    bases : (int, int)
        First and last + 1 of the bases in the window.
    held : ScoreMap
    projected_only : bool
        Whether the method says nothing of bases that are not there.
    """

    objective: Objective
    window: ByteArray
    bases: Bases
    held: ScoreMap
    projected_only: bool = False

    def by_chance(self, measure: Callable[[ScoreMap], float | None], options: EvaluateOptions) -> Reading:
        """Return a measure of the map, and of maps in random order."""
        value = measure(self.held)
        if value is None:
            return Reading(None, detail="the map, or what it is compared with, is the same everywhere")
        rng = np.random.default_rng([options.seed, 99])
        draws = [measure(self.held.permuted(rng)) for _ in range(options.draws)]
        chance = np.array([0.0 if draw is None else draw for draw in draws])
        return Reading(value, chance, stretches=(self.held.stretches,))

    def falls(self, mutants: Sequence[ByteArray]) -> DoubleArray:
        """Return S(x) - S(x') of mutants, given by their letters at the bases."""
        before = one_value(self.objective, self.window)
        return np.array(
            [before - one_value(self.objective, with_codes(self.window, self.bases, mutant)) for mutant in mutants]
        )


def infidelity(scene: Scene, options: EvaluateOptions) -> dict[str, Reading]:
    """Return how badly a map predicts random mutants; see the head of this module."""
    rng, columns = np.random.default_rng([options.seed, 1]), np.flatnonzero(scene.held.known)
    count = max(1, round(MUTATED_SHARE * len(columns)))
    mutants = np.repeat(scene.held.codes[None], options.samples, axis=0)
    for mutant in mutants:
        chosen = rng.choice(columns, count, replace=False)
        mutant[chosen] = (mutant[chosen] + rng.integers(1, 4, count)) % 4
    falls = scene.falls(list(mutants))
    size = float((falls**2).mean())
    if size == 0.0:
        return {"infidelity": Reading(None, detail="no mutant changes the target")}

    def missed(held: ScoreMap) -> float:
        said = held.fall(mutants)
        own = float((said**2).sum())
        beta = max(0.0, float((said * falls).sum()) / own) if own else 0.0
        return float(((beta * said - falls) ** 2).mean()) / size

    return {"infidelity": scene.by_chance(missed, options)}


def sensitivity_n(scene: Scene, options: EvaluateOptions) -> dict[str, Reading]:
    """Return how well a map predicts what shuffled letters at n bases do; see the head of this module."""
    rng, columns = np.random.default_rng([options.seed, 2]), np.flatnonzero(scene.held.known)
    low, high = scene.bases
    groups: list[tuple[ByteArray, DoubleArray]] = []
    for count in options.subsets(len(columns)):
        mutants = np.repeat(scene.held.codes[None], options.samples, axis=0)
        for mutant in mutants:
            other = codes_of(shuffled(scene.window, low, high, rng, bin_bp=BIN_BP)[:, low:high])
            chosen = rng.choice(columns, count, replace=False)
            mutant[chosen] = other[chosen]
        groups.append((mutants, scene.falls(list(mutants))))

    def correlation(held: ScoreMap) -> float | None:
        return mean_known([pearson(held.fall(mutants), falls) for mutants, falls in groups])

    return {"correlation": scene.by_chance(correlation, options)}


@dataclass(frozen=True)
class ExactEffects:
    """Effects of all substitutions at some bases: columns (bases,), effects (4, bases), 0 of the base that is there."""

    columns: IndexArray
    effects: DoubleArray


def exact_effects(scene: Scene, options: EvaluateOptions) -> ExactEffects:
    """Substitute every base at a sample of the known bases, ascending."""
    known = np.flatnonzero(scene.held.known)
    count = min(options.positions, len(known))
    columns = np.sort(np.random.default_rng([options.seed, 3]).choice(known, count, replace=False))
    codes = scene.held.codes
    effects = np.zeros((4, count))
    for number, column in enumerate(columns.tolist()):
        letters = [letter for letter in range(4) if letter != codes[column]]
        mutants = np.repeat(codes[None], 3, axis=0)
        mutants[:, column] = letters
        effects[letters, number] = -scene.falls(list(mutants))
    return ExactEffects(columns, effects)


def ism_agreement(scene: Scene, options: EvaluateOptions, exact: ExactEffects | None = None) -> dict[str, Reading]:
    """Return how a map agrees with exact mutagenesis, of a file or of a sample; see the head of this module."""
    found = exact_effects(scene, options) if exact is None else exact
    columns, effects, codes = found.columns, found.effects, scene.held.codes[found.columns]
    truth = -effects.mean(axis=0)
    others = codes != np.arange(4)[:, None]

    def differences(held: ScoreMap) -> DoubleArray:
        part = held.hypothetical[:, columns]
        return np.asarray((part - held.projected[columns])[others])

    top = np.argsort(-np.abs(truth), kind="stable")[: round(_TOP_SHARE * len(columns))]
    readings = {
        "pearson": scene.by_chance(lambda held: pearson(held.projected[columns], truth), options),
        "spearman": scene.by_chance(lambda held: spearman(held.projected[columns], truth), options),
    }
    if len(top) >= _FEW:
        readings["top_pearson"] = scene.by_chance(
            lambda held: pearson(held.projected[columns[top]], truth[top]), options
        )
    if scene.projected_only:
        detail = "the method says nothing of bases that are not there"
        readings["letters_pearson"] = Reading(None, detail=detail)
    else:
        readings["letters_pearson"] = scene.by_chance(lambda held: pearson(differences(held), effects[others]), options)
    return readings


@dataclass(frozen=True)
class Curves:
    """Curves of one map; shares of the stretches that are shuffled, and c at each, see the head of this module.

    Attributes
    ----------
    share : float64 ndarray of shape (points,)
    first_large, first_small : float64 ndarray of shape (points,)
        The largest first (deletion), the smallest first.
    random : float64 ndarray of shape (2 * orders, points)
        Each order, then its reverse.
    falling : bool
        Whether shuffling all lowers the target.
    stretches : int
        Whose order the map may tell.
    """

    share: DoubleArray
    first_large: DoubleArray
    first_small: DoubleArray
    random: DoubleArray
    falling: bool
    stretches: int

    def area(self, curve: DoubleArray) -> float:
        """Return the area below a curve, by trapezoids."""
        return float((np.diff(self.share) * (curve[1:] + curve[:-1])).sum() / 2.0)

    def readings(self) -> dict[str, Reading]:
        """Return ``abpc`` and the areas of deletion and insertion."""
        random = np.array([self.area(curve) for curve in self.random])
        sign = 1.0 if self.falling else -1.0
        first, second = self.area(self.first_large), self.area(self.first_small)
        return {
            "abpc": Reading(
                sign * (second - first),
                sign * (random.reshape(-1, 2)[:, ::-1].ravel() - random),
                stretches=(self.stretches,),
            ),
            "deletion_auc": Reading(first, random),
            "insertion_auc": Reading(second, random),
        }


def curves(scene: Scene, options: EvaluateOptions) -> Curves | None:
    """Return the curves of a map; None of one stretch, and where shuffling all of its bases makes no difference."""
    low, high = scene.bases
    rng, tiles = np.random.default_rng([options.seed, 4]), options.tiles(scene.bases)
    if len(tiles) < 2:
        return None
    references = [shuffled(scene.window, low, high, rng, bin_bp=BIN_BP) for _ in range(options.shuffles)]
    before = one_value(scene.objective, scene.window)
    after = float(np.mean([one_value(scene.objective, reference) for reference in references]))
    if abs(before - after) <= _SMALL * max(abs(before), abs(after)):
        return None
    counts = np.unique(np.round(np.linspace(0, len(tiles), options.points + 1)).astype(np.int64))

    def curve(order: Sequence[int]) -> DoubleArray:
        values = [before]
        for count in counts[1:-1].tolist():
            found = []
            for reference in references:
                mixed = scene.window.copy()
                for number in order[:count]:
                    part = slice(*tiles[number])
                    mixed[:, part] = reference[:, part]
                found.append(one_value(scene.objective, mixed))
            values.append(float(np.mean(found)))
        return (np.array([*values, after]) - after) / (before - after)

    sums = np.array([scene.held.projected[start - low : end - low].sum() for start, end in tiles])
    mixed_up = rng.permutation(len(tiles))  # stretches that tie have no order of their own
    ranked = mixed_up[np.argsort(-sums[mixed_up], kind="stable")].tolist()
    random = []
    for _ in range(options.orders):
        order = rng.permutation(len(tiles)).tolist()
        random += [curve(order), curve(order[::-1])]
    share = counts / len(tiles)
    told = min(len(tiles), scene.held.stretches)
    return Curves(share, curve(ranked), curve(ranked[::-1]), np.array(random), bool(before > after), told)
