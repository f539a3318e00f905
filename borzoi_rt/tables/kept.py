"""Results as they are kept: one row per allele, gene and region, with a vector over tracks for every statistic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from ..scoring.options import ScoreOptions
from ..scoring.results import RegionScores, ScoredVariant
from ..scoring.spec import ScoreSpec
from ..tracks import RowTable
from ..types import BoolArray, FloatArray, SignArray

if TYPE_CHECKING:
    from .alphagenome import TidyFacts

ALLELES = ("ref_value", "alt_value")

# What may be known of an allele besides, by the choice that asks for it. All of it is kept, tables show what was asked.
HAPLOTYPE_FACTS = ("sample", "haplotype", "against", "variants")
NORMALIZED_FACTS = ("norm_pos", "norm_ref", "norm_alt")
FLOOR_FACTS = ("phase_floor_pos",)


@dataclass(frozen=True)
class Rows:
    """What the entries of the vectors mean.

    Attributes
    ----------
    tracks : RowTable
        One for each entry.
    specs : tuple of ScoreSpec
        Scores, in the order they were asked for.
    with_alleles : bool
        Whether the coverage of both alleles is kept beside every score.
    extras : tuple of str
        What else is kept beside every score, see :class:`borzoi_rt.scoring.results.RegionScores`.
    facts : tuple of str
        Columns that are shown of every allele besides, see :func:`allele_facts`.
    tidy : TidyFacts, optional
        What the layout ``alphagenome`` says besides, see :mod:`borzoi_rt.tables.alphagenome`.
    """

    tracks: RowTable
    specs: tuple[ScoreSpec, ...]
    with_alleles: bool = False
    extras: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    tidy: TidyFacts | None = None

    @property
    def of_genes(self) -> bool:
        """Whether there are scores of genes."""
        return any(spec.of_genes for spec in self.specs)

    @property
    def stats(self) -> tuple[str, ...]:
        """Names of the statistics, each once."""
        return tuple(dict.fromkeys(spec.stat for spec in self.specs))

    def vectors(self, *, of_genes: bool | None = None) -> list[tuple[str, str, str]]:
        """Return what is kept of each region: its name in tables, the region, and the statistic or allele.

        Parameters
        ----------
        of_genes : bool, optional
            Regions of genes alone, or the others alone; all when None.
        """
        specs = [spec for spec in self.specs if of_genes is None or spec.of_genes == of_genes]
        found = []
        for spec in specs:
            region = str(spec.region)
            found.append((spec.name, region, spec.stat))
            found += [(f"{spec.name}.{extra}", region, kept_extra(spec.stat, extra)) for extra in self.extras]
        if self.with_alleles:
            regions = dict.fromkeys(str(spec.region) for spec in specs)
            found += [(f"{name}@{region}", region, name) for region in regions for name in ALLELES]
        return found

    @property
    def labels(self) -> list[str]:
        """What tells the columns of tracks apart in the wide table."""
        return self.tracks.labels


def allele_facts(options: ScoreOptions, *, haplotypes: bool = False) -> tuple[str, ...]:
    """Return the columns that options, or haplotypes instead of alleles, add to what is said of every allele."""
    return (
        *(HAPLOTYPE_FACTS if haplotypes else ()),
        *(NORMALIZED_FACTS if options.normalize else ()),
        *(FLOOR_FACTS if options.phase_floor else ()),
    )


def kept_extra(stat: str, extra: str) -> str:
    """Return under which name something is kept beside a statistic."""
    return f"{stat}.{extra}"


def score_table(
    results: Sequence[ScoredVariant],
    specs: Sequence[ScoreSpec],
    rows: int,
    *,
    with_alleles: bool = False,
    extras: Sequence[str] = (),
) -> pa.Table:
    """Return results as a table, a row per allele, gene and region; an allele without scores is one row of nulls."""
    stats = tuple(dict.fromkeys(spec.stat for spec in specs))
    parts = [(item, part) for item in results for part in item.regions or (None,)]
    columns: dict[str, Any] = {
        "record": pa.array([item.record for item, _ in parts], pa.int64()),
        "alt_index": pa.array([item.alt_index for item, _ in parts], pa.int32()),
        "chrom": _text([item.variant.chrom for item, _ in parts]),
        "pos": pa.array([item.variant.pos for item, _ in parts], pa.int64()),
        "id": _text([item.variant.id for item, _ in parts]),
        "ref": _text([item.variant.ref for item, _ in parts]),
        "alt": _text([item.variant.alt for item, _ in parts]),
        "status": _text([item.status if part is None else part.status or item.status for item, part in parts]),
        "status_detail": _text(
            ["; ".join(filter(None, (item.detail, part.detail if part is not None else ""))) for item, part in parts]
        ),
        "reference": _text([item.reference for item, _ in parts]),
        **_facts([item for item, _ in parts]),
        "k": pa.array([item.k for item, _ in parts], pa.int32()),
        "window_start": pa.array([item.window_start for item, _ in parts], pa.int64()),
        "stitch_bin": pa.array([item.stitch_bin for item, _ in parts], pa.int32()),
        "n_fraction": pa.array([item.n_fraction for item, _ in parts], pa.float32()),
        "first": pa.array([part is None or part is item.regions[0] for item, part in parts], pa.bool_()),
        "gene": pa.array([None if part is None else part.gene for _, part in parts], pa.string()),
        "region": pa.array([None if part is None else part.region for _, part in parts], pa.string()),
        "gene_name": pa.array([None if part is None else part.gene_name or None for _, part in parts], pa.string()),
        "gene_type": pa.array([None if part is None else part.gene_type or None for _, part in parts], pa.string()),
        "gene_strand": pa.array([None if part is None else part.gene_strand or None for _, part in parts], pa.string()),
        "covered_fraction": pa.array(
            [None if part is None else part.covered_fraction for _, part in parts], pa.float32()
        ),
    }
    for name in stats:
        columns[f"score:{name}"] = _vectors(
            [None if part is None else part.scores.get(name) for _, part in parts], rows
        )
        columns[f"strand:{name}"] = _strands(parts, name, rows)
        for extra in extras:
            beside = [None if part is None else part.extras.get(extra, {}).get(name) for _, part in parts]
            columns[f"score:{kept_extra(name, extra)}"] = _vectors(beside, rows)
    for number, name in enumerate(ALLELES if with_alleles else ()):
        sums = [None if part is None or part.coverage is None else part.coverage[number] for _, part in parts]
        columns[f"score:{name}"] = _vectors(sums, rows)
    return pa.table(columns)


def _facts(items: Sequence[ScoredVariant]) -> dict[str, pa.Array]:
    """Return the columns of :func:`allele_facts`; null where there is nothing to say."""
    named, spelled = [item.haplotype for item in items], [item.normalized for item in items]
    floors = [";".join(map(str, item.floor_pos)) or None for item in items]
    return {
        "sample": _text([None if one is None else one.sample for one in named]),
        "haplotype": _text([None if one is None else one.name for one in named]),
        "against": _text([None if one is None else one.against for one in named]),
        "variants": _text([None if one is None else one.variants for one in named]),
        "norm_pos": pa.array([None if one is None else one.pos for one in spelled], pa.int64()),
        "norm_ref": _text([None if one is None else one.ref for one in spelled]),
        "norm_alt": _text([None if one is None else one.alt for one in spelled]),
        "phase_floor_pos": _text(floors),
    }


def _vectors(vectors: Sequence[FloatArray | None], rows: int) -> pa.Array:
    """Return vectors over tracks as lists; null where there is none."""
    empty = np.full(rows, np.nan, dtype=np.float32)
    values = np.concatenate([empty if vector is None else vector for vector in vectors] or [empty[:0]])
    missing = pa.array([vector is None for vector in vectors], pa.bool_())
    return pa.FixedSizeListArray.from_arrays(values, rows, mask=missing)


def scores_of(table: pa.Table, stat: str, rows: int) -> FloatArray:
    """Return float32 (kept rows, tracks) of one statistic; NaN where there are no scores."""
    values, missing = _matrix(table, f"score:{stat}", rows)
    values[missing] = np.nan
    found: FloatArray = values
    return found


def strands_of(table: pa.Table, stat: str, rows: int) -> SignArray:
    """Return int8 (kept rows, tracks): 1 where the '+' strand is stronger, -1 where '-' is, 0 where none is known."""
    values, missing = _matrix(table, f"strand:{stat}", rows)
    values[missing] = 0
    found: SignArray = values
    return found


def _matrix(table: pa.Table, name: str, rows: int) -> tuple[Any, BoolArray]:
    column = table.column(name).combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0)
    values = column.values.to_numpy(zero_copy_only=False)
    values = values[column.offset * rows : (column.offset + len(column)) * rows].reshape(len(column), rows).copy()
    return values, column.is_null().to_numpy(zero_copy_only=False)


def _strands(parts: Sequence[tuple[ScoredVariant, RegionScores | None]], name: str, rows: int) -> pa.Array:
    """Return which strand is stronger as lists of -1, 0 and 1; null where that is not known."""
    vectors = [None if part is None else part.stronger.get(name) for _, part in parts]
    none = np.zeros(rows, dtype=np.int8)
    values = np.concatenate([none if vector is None else vector for vector in vectors] or [none[:0]])
    missing = pa.array([vector is None for vector in vectors], pa.bool_())
    return pa.FixedSizeListArray.from_arrays(values, rows, mask=missing)


def _text(values: Sequence[str | None]) -> pa.Array:
    """Return text as UTF-8, None as null; bytes of a VCF that are not are written like ``\\xe9``."""
    shown = [None if value is None else _shown(value) for value in values]
    return pa.array(shown, pa.string())


def _shown(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
