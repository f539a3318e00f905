"""How a score compares with a null distribution: scores that the user's own engine gave to variants without effect.

Of a score x and the n null values of the same score and track

    F        = (number below x + half the number equal to x) / n
    quantile = F, or 2 F - 1 for a signed score, as AlphaGenome's
    tail     = share of null values that are at least as far out: >= x, for a negative signed score <= x
    phred    = -10 log10(tail)
    vs_null_max = x over the null value that is farthest out on its side, so above 1 no null variant reached it

Beyond that value there is no quantile and no phred, for the null says nothing of what lies there: ``vs_null_max`` says
by how much it is passed (infinite where no null value lies on that side). Scores of genes are compared with all pairs
of null variants and genes. There are two kinds of null, kept apart: of *effects*, differences between alleles, and of
*activity* (``ACTIVE_SUM``, ``ACTIVE_MEAN``), which is no difference and large wherever the genome is active.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from ..bundle.opening import Bundle
from ..errors import InputError
from ..tracks import RowTable
from ..types import FloatArray, IndexArray
from .formulas import Stronger
from .options import ScoreOptions
from .results import RegionScores, ScoredVariant
from .spec import ScoreSpec

QUANTILE, PHRED, VS_NULL_MAX = "quantile", "phred", "vs_null_max"
CALIBRATION_EXTRAS = (QUANTILE, PHRED, VS_NULL_MAX)
EFFECT, ACTIVITY = "effect", "activity"
NULLS = (EFFECT, ACTIVITY)
LEAST = 20  # fewer null values say nothing at all
MIN_COUNT = 100
TIES = 0.1  # share of null values that equal another, from which on it is said

# What a null does not depend on, or not always: which rows there are, what happens to records that disagree with the
# genome, choices for some scores alone. Genome, annotation and chosen genes are compared apart, and others are said.
_APART = (
    *("stats", "region", "tracks", "max_n_fraction", "with_alleles", "ref_policy", "flip_deletions"),
    *("gene_names", "gene_types", "gene_mode", "ensemble", "bin_rule", "sites", "site_pseudo", "site_min_coverage"),
    *("phase_floor", "phase_floor_seed"),
)


_CHOICES = ("gene_mode", "bin_rule", "sites", "site_pseudo", "site_min_coverage", "tracks")  # of some scores alone


def null_of(spec: ScoreSpec) -> str:
    """Return the kind of null that a score is compared with."""
    return ACTIVITY if isinstance(spec.statistic, Stronger) else EFFECT


def calibration_key(members: Sequence[Bundle], options: ScoreOptions, provider: str) -> dict[str, Any]:
    """Return what must be equal where a null is made and where it is used, as JSON values.

    Parameters
    ----------
    members : sequence of Bundle
        The model, or the members of an ensemble in any order.
    options : ScoreOptions
        With nothing left open.
    provider : str
        What computes: ``cpu``, ``cuda``, ``tensorrt`` or ``triton``.
    """
    shared = {name: value for name, value in asdict(options).items() if name not in _APART}
    prediction = shared.pop("prediction")
    if any(spec.of_genes and not spec.region.of_sites for spec in options.specs):
        shared["bin_rule"] = options.bin_rule
    if options.of_genes:
        shared["gene_mode"] = options.gene_mode
    for spec in options.specs:
        shared |= options.site_choices(spec)
    key = {
        "bundle": sorted(item.sha256 for item in members),
        "precision": members[0].info.precision,
        "bins": members[0].geometry.bins,
        "provider": provider,
        **({"ensemble": options.ensemble} if len(members) > 1 else {}),
        **shared,
        **prediction,
    }
    return {name: list(value) if isinstance(value, tuple) else value for name, value in key.items()}


def chosen_genes(options: ScoreOptions) -> tuple[list[str], list[str]]:
    """Return the names and the types of genes that are scored, each sorted; nothing for all."""
    return sorted(set(options.gene_names)), sorted(set(options.gene_types))


@dataclass(frozen=True, eq=False)
class Null:
    """The null values of one score.

    Attributes
    ----------
    kind : str
        One of ``NULLS``.
    signed : bool
        Whether a gain and a loss differ in sign.
    values : float32 ndarray of shape (rows, n)
        Ascending in each row, all finite.
    """

    kind: str
    signed: bool
    values: FloatArray

    @classmethod
    def of(cls, spec: ScoreSpec, scores: FloatArray) -> Null:
        """Make the null of a score from float32 (variants, rows); a variant with an undefined value is left out."""
        whole = scores[np.isfinite(scores).all(axis=1)]
        return cls(null_of(spec), spec.statistic.signed, np.ascontiguousarray(np.sort(whole, axis=0).T))

    @property
    def count(self) -> int:
        """Number of null values, n."""
        return int(self.values.shape[1])

    @property
    def ties(self) -> float:
        """Largest share, over rows, of values that equal another."""
        if self.count < 2:
            return 0.0
        equal = np.diff(self.values, axis=1) == 0
        none = np.zeros((len(self.values), 1), dtype=bool)
        tied = np.concatenate([equal, none], axis=1) | np.concatenate([none, equal], axis=1)
        return float(tied.mean(axis=1).max())

    @property
    def flat(self) -> IndexArray:
        """Rows whose values are all the same, so that they tell nothing."""
        return np.flatnonzero(self.values[:, 0] == self.values[:, -1])

    @property
    def one_sided(self) -> IndexArray:
        """Rows of a signed score whose values, not all the same, are all gains or all losses."""
        low, high = self.values[:, 0], self.values[:, -1]
        return np.flatnonzero((low < high) & ((low > 0) | (high < 0))) if self.signed else np.zeros(0, dtype=np.int64)

    def compare(self, scores: FloatArray) -> dict[str, FloatArray]:
        """Return quantile, phred and vs_null_max of float32 (rows,); NaN where there is none.

        A row whose null values are all the same has none, nor has a score that is no finite number.
        """
        values, count = self.values, self.count
        low, high = values[:, 0].astype(np.float64), values[:, -1].astype(np.float64)
        x = scores.astype(np.float64)
        known = np.isfinite(x) & (low < high)
        below = ranks(values, scores, strict=True)
        upto = below.copy()
        tied = np.flatnonzero(values[np.arange(len(values)), np.minimum(below, count - 1)] == scores)
        upto[tied] = ranks(values[tied], scores[tied], strict=False)
        share = (below + (upto - below) / 2) / count
        down = (x < 0) if self.signed else np.zeros(len(x), dtype=bool)
        tail = np.where(down, upto, count - below) / count
        end = np.where(down, low, high)
        if self.signed:
            tail = np.where(x == 0, 1.0, tail)
        with np.errstate(divide="ignore", invalid="ignore"):
            # No null value on the side of x: it is infinitely far beyond them.
            passed = np.where(x == 0, 0.0, np.where(np.sign(end) == np.sign(x), x / end, np.inf))
            inside = known & (tail > 0)
            phred = np.where(inside, -10.0 * np.log10(tail), np.nan)
        quantile = np.where(inside, 2.0 * share - 1.0 if self.signed else share, np.nan)
        found = {QUANTILE: quantile, PHRED: np.abs(phred), VS_NULL_MAX: np.where(known, passed, np.nan)}
        return {name: np.asarray(part, dtype=np.float32) for name, part in found.items()}


def ranks(values: FloatArray, scores: FloatArray, *, strict: bool) -> IndexArray:
    """Return how many values of each row are below a score, or, not strictly, at most it.

    Parameters
    ----------
    values : float32 ndarray of shape (rows, n)
        Ascending in each row.
    scores : float32 ndarray of shape (rows,)
    """
    rows, count = values.shape
    flat, first = values.reshape(-1), np.arange(rows) * count
    low, high = np.zeros(rows, dtype=np.int64), np.full(rows, count, dtype=np.int64)
    for _ in range(count.bit_length()):  # a search of all rows at once, each between its own two ends
        middle = (low + high) // 2
        found = flat.take(first + np.minimum(middle, count - 1))
        right = (found < scores if strict else found <= scores) & (low < high)
        low = np.where(right, middle + 1, low)
        high = np.where(right, high, middle)
    return low


@dataclass(frozen=True, eq=False)
class Calibration:
    """Null distributions by the name of the score, and what they hold for.

    Attributes
    ----------
    source : str
        Where they come from, for messages.
    key : dict
        See :func:`calibration_key`.
    rows : tuple of (str, int, int)
        Identifier, unit and unit of the partner of each row.
    nulls : dict of str to Null
    genome, annotation : str
        Fingerprint of the genome, and hash of the annotation or nothing; another one is said, and not refused.
    genes : tuple of (list of str, list of str)
        Names and types of genes whose scores the null has, see :func:`chosen_genes`; others are said, and not refused.
    """

    source: str
    key: Mapping[str, Any]
    rows: tuple[tuple[str, int, int], ...]
    nulls: Mapping[str, Null]
    genome: str
    annotation: str = ""
    genes: tuple[list[str], list[str]] = field(default_factory=lambda: ([], []))

    def fitted(self, key: Mapping[str, Any], specs: Sequence[ScoreSpec], rows: RowTable) -> Calibration:
        """Return the nulls of some scores and rows.

        Parameters
        ----------
        key : dict
            Of what is to be compared.
        specs : sequence of ScoreSpec
        rows : RowTable

        Raises
        ------
        InputError
            If they hold for something else; the message says what differs.
        """
        # Choices for scores that one of the two does not have say nothing of the others.
        absent = set(_CHOICES) - (self.key.keys() & key.keys())
        differ = [name for name in {**self.key, **key} if name not in absent and self.key.get(name) != key.get(name)]
        if differ:
            said = "; ".join(f"{name} {_shown(self.key, name)} there, {_shown(key, name)} here" for name in differ[:3])
            raise InputError(f"{self.source}: was made with other choices: {said}; calibrate as you score")
        missing = [spec.name for spec in specs if spec.name not in self.nulls]
        if missing:
            raise InputError(f"{self.source}: has no null of {missing[0]}, but of {', '.join(self.nulls)}")
        where = {row: number for number, row in enumerate(self.rows)}
        wanted = rows_of(rows)
        unknown = [row[0] for row in wanted if row not in where]
        if unknown:
            raise InputError(
                f"{self.source}: has no null of track {unknown[0]!r} ({len(unknown)} of {len(wanted)} are missing); "
                "calibrate with all tracks that are scored"
            )
        take = np.array([where[row] for row in wanted], dtype=np.int64)
        same = len(take) == len(where) and bool((take == np.arange(len(take))).all())
        nulls = {spec.name: self.nulls[spec.name] for spec in specs}
        if not same:
            nulls = {name: replace(null, values=null.values[take]) for name, null in nulls.items()}
        return replace(self, rows=wanted, nulls=nulls)

    def notes(self, genome: str, annotation: str = "", genes: tuple[list[str], list[str]] | None = None) -> list[str]:
        """Return, in words, what a reader of quantiles should know; ``genes`` are those of scores of genes."""
        found = []
        if genome != self.genome:
            found.append(f"{self.source}: the null variants come from another genome than what is scored")
        if self.annotation and annotation != self.annotation:
            found.append(f"{self.source}: the null of genes was made with another annotation")
        if genes is not None and genes != self.genes:
            found.append(f"{self.source}: the null of genes was made with another choice of gene_names or gene_types")
        return found + null_notes(self.source, self.nulls, [row[0] for row in self.rows])

    def apply(self, result: ScoredVariant) -> ScoredVariant:
        """Return a result with quantile, phred and vs_null_max beside every score."""
        return replace(result, regions=tuple(self._compared(part) for part in result.regions))

    def _compared(self, part: RegionScores) -> RegionScores:
        extras: dict[str, dict[str, FloatArray]] = {name: {} for name in CALIBRATION_EXTRAS}
        for stat, values in part.scores.items():
            name = stat if part.region == "window" else f"{stat}@{part.region}"
            for extra, found in self.nulls[name].compare(values).items():
                extras[extra][stat] = found
        return replace(part, extras={**part.extras, **extras})


def rows_of(rows: RowTable) -> tuple[tuple[str, int, int], ...]:
    """Return what tells rows apart."""
    units = zip(rows.index.tolist(), rows.index_pair.tolist(), strict=True)
    return tuple((name, one, other) for name, (one, other) in zip(rows.identifier, units, strict=True))


def check_count(name: str, null: Null, least: int, scored: int) -> None:
    """Refuse a null of too few values.

    Raises
    ------
    InputError
        Saying how many there are.
    """
    if null.count < least:
        raise InputError(
            f"{name}: {null.count} null values of {scored} variants, at least {least} are needed; give more variants"
            + ("" if least <= LEAST else f", or resume with a lower min_count (not below {LEAST})")
        )


def null_notes(source: str, nulls: Mapping[str, Null], rows: Sequence[str]) -> list[str]:
    """Return, in words, where null values are equal to each other."""
    found = []
    for name, null in nulls.items():
        flat = null.flat
        if len(flat):
            found.append(
                f"{source}: null values of {name} are all the same for {len(flat)} tracks, first {rows[int(flat[0])]}; "
                "these have no quantile"
            )
        if len(null.one_sided):
            found.append(
                f"{source}: null values of {name} lie on one side of 0 for {len(null.one_sided)} tracks, first "
                f"{rows[int(null.one_sided[0])]}; the sign of their quantiles is not that of the score"
            )
        if not len(flat) and null.ties > TIES:
            found.append(
                f"{source}: up to {null.ties:.0%} of the null values of {name} in one track equal another; quantiles "
                "near them are the middle of the tie"
            )
    return found


def _shown(key: Mapping[str, Any], name: str) -> str:
    """Return a value of a key as a message may hold it."""
    value = key.get(name, "nothing")
    if name == "bundle" and isinstance(value, list):
        return " + ".join(str(item)[:12] for item in value)
    return f"{value!r:.60}"
