"""Scores with the columns of AlphaGenome's client (``tidy_scores``), a row per allele, scorer, track and gene.

``variant_id`` is ``chrom:pos:REF>ALT``, ``scored_interval`` the input window, 0-based and half-open, ``gene_id`` has no
version. A pair of strands that is one row has the strand '.', as where the client merges them (its default, of scores
of genes): a gene is scored by the track of its own strand. Where strands are kept apart, rows of tracks on the other
strand than their gene are left out, as there; an allele without scores has no row.

What stands beside a score here (``score_sd``, ``vs_null_max``, ...) comes before ``raw_score``. A score beyond its null
has the quantile ±0.99999 (0.99999 where it has no sign), AlphaGenome's own limit, so that a filter for large quantiles
keeps it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from ..scoring.alphagenome import scorer_name
from ..tracks import RowTable, TrackTable
from ..types import FloatArray, IndexArray
from .assays import Assay, assay_of
from .kept import ALLELES, Rows, kept_extra, scores_of

_ROWS = 250_000  # of one piece of the table
_CAP = 0.99999
_ENSEMBL = re.compile(r"^(ENS[A-Z]*\d+)\.")
_METADATA = (
    *("Assay title", "ontology_curie", "biosample_name", "biosample_type", "biosample_life_stage", "gtex_tissue"),
    *("data_source", "endedness", "genetically_modified", "transcription_factor", "histone_mark"),
)


@dataclass(frozen=True)
class TidyFacts:
    """What this form says of windows and tracks.

    Attributes
    ----------
    window_bp : int
        Length of the input window.
    metadata : dict of str to tuple of str
        Columns of the model's track table under names of AlphaGenome's, one text for each row.
    """

    window_bp: int
    metadata: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, window_bp: int, tracks: TrackTable, rows: RowTable) -> TidyFacts:
        """Take what a track table says besides of rows."""
        where = tracks.positions_of(rows.index)
        extra = {name: values for name, values in tracks.extra.items() if name in _METADATA}
        return cls(window_bp, {name: tuple(values[int(at)] for at in where) for name, values in extra.items()})


def tidy_tables(table: pa.Table, rows: Rows) -> Iterator[pa.Table]:
    """Yield kept results in this form, a bounded number of rows at a time."""
    facts = _Facts(rows)
    regions = np.array(table["region"].to_pylist(), dtype=object)
    allele = np.cumsum(table["first"].to_numpy(zero_copy_only=False).astype(np.int64))
    kept, spec = [], []
    for number, item in enumerate(rows.specs):
        valid = table[f"score:{item.stat}"].is_valid().to_numpy(zero_copy_only=False)
        held = np.flatnonzero((regions == str(item.region)) & valid)
        kept.append(held)
        spec.append(np.full(len(held), number))
    every, which = np.concatenate(kept), np.concatenate(spec)
    order = np.lexsort((every, which, allele[every])) if len(every) else every
    step = max(1, _ROWS // max(1, len(rows.tracks)))
    for start in range(0, len(order), step):
        part = order[start : start + step]
        yield _piece(table, rows, facts, every[part], which[part])


def empty_tidy(table: pa.Table, rows: Rows) -> pa.Table:
    """Return the form without rows."""
    nothing = np.zeros(0, dtype=np.int64)
    return _piece(table, rows, _Facts(rows), nothing, nothing)


class _Facts:
    """What is said of each row of a score, whatever the variant."""

    def __init__(self, rows: Rows) -> None:
        if rows.tidy is None:
            raise ValueError("tidy facts are needed for this layout")
        tracks = rows.tracks
        self.window_bp = rows.tidy.window_bp
        self.assays: list[Assay] = [assay_of(text) for text in tracks.track_description]
        self.strand = np.array(tracks.strand, dtype=object)
        columns: dict[str, list[str]] = {
            "Assay title": [item.title for item in self.assays],
            "biosample_name": [item.biosample for item in self.assays],
            "gtex_tissue": [
                item.biosample if name.startswith("GTEX") else ""
                for item, name in zip(self.assays, tracks.track_identifier, strict=True)
            ],
            "transcription_factor": [item.factor for item in self.assays],
            "histone_mark": [item.histone for item in self.assays],
        }
        known = {**columns, **{name: list(values) for name, values in rows.tidy.metadata.items()}}
        self.metadata = {name: _texts(known.get(name, [""] * len(tracks))) for name in _METADATA}
        self.names = pa.array(tracks.labels, pa.string())
        self.outputs = pa.array([item.output_type for item in self.assays], pa.string())
        kinds = list(dict.fromkeys(item.output_type for item in self.assays))
        self.kind = np.array([kinds.index(item.output_type) for item in self.assays], dtype=np.int64)
        self.scorers = pa.array(
            [scorer_name(spec.stat, str(spec.region), kind) for spec in rows.specs for kind in kinds], pa.string()
        )
        self.kinds = len(kinds)


def _piece(table: pa.Table, rows: Rows, facts: _Facts, kept: IndexArray, spec: IndexArray) -> pa.Table:
    """Return the rows of some kept rows, each with the score of one name."""
    count = len(rows.tracks)
    which, track = np.repeat(spec, count), np.tile(np.arange(count), len(kept))
    gene = _genes(table, kept)
    strand = np.repeat(np.array(gene["gene_strand"], dtype=object), count)
    own = np.isin(strand, ["+", "-"]) if len(strand) else np.zeros(0, dtype=bool)
    named = facts.strand[track]
    apart = own & np.isin(named, ["+", "-"]) & (named != strand) if len(strand) else own
    shown = np.flatnonzero(~apart)
    take = pa.array(np.repeat(np.arange(len(kept)), count)[shown])
    tracks = pa.array(track[shown])
    columns: dict[str, Any] = {
        "variant_id": pa.array(_ids(table, kept), pa.string()).take(take),
        "scored_interval": pa.array(_intervals(table, kept, facts.window_bp), pa.string()).take(take),
    }
    for name in ("gene_id", "gene_name", "gene_type", "gene_strand"):
        columns[name] = pa.array(gene[name], pa.string()).take(take)
    columns |= {name: pa.nulls(len(shown), pa.int64()) for name in ("junction_Start", "junction_End")}
    columns["output_type"] = facts.outputs.take(tracks)
    columns["variant_scorer"] = facts.scorers.take(pa.array((which * facts.kinds + facts.kind[track])[shown]))
    columns["track_name"] = facts.names.take(tracks)
    columns["track_strand"] = pa.array(named[shown], pa.string())
    columns |= {name: values.take(tracks) for name, values in facts.metadata.items()}
    columns |= _numbers(table, rows, kept, spec, shown)
    return pa.table(columns)


def _numbers(table: pa.Table, rows: Rows, kept: IndexArray, spec: IndexArray, shown: IndexArray) -> dict[str, pa.Array]:
    """Return what stands beside the scores, then the scores, then their quantiles."""

    def of(name: str | None) -> FloatArray:
        """Return values of the kept rows; of a statistic, or of what is kept under one name for all."""
        found = np.full((len(kept), len(rows.tracks)), np.nan, dtype=np.float32)
        for number, item in enumerate(rows.specs):
            own = np.flatnonzero(spec == number)
            if len(own):
                held = item.stat if name is None else name if name in ALLELES else kept_extra(item.stat, name)
                found[own] = scores_of(table, held, len(rows.tracks))[kept[own]]
        return found

    def shown_array(values: FloatArray) -> pa.Array:
        flat = values.ravel()[shown]
        return pa.array(flat, pa.float32(), mask=np.isnan(flat))

    extras = {name: of(name) for name in (*rows.extras, *(ALLELES if rows.with_alleles else ()))}
    scores = of(None)
    quantile = extras.pop("quantile", None)
    columns = {name: shown_array(values) for name, values in extras.items()}
    columns["raw_score"] = shown_array(np.where(np.isfinite(scores), scores, np.nan))
    if quantile is not None:
        signed = np.array([item.statistic.signed for item in rows.specs], dtype=bool)[spec][:, None]
        beyond = np.isnan(quantile) & (extras["vs_null_max"] > 1)
        limit = np.where(signed, np.sign(scores), 1.0) * _CAP
        columns["quantile_score"] = shown_array(
            np.where(beyond, limit, np.clip(quantile, -_CAP, _CAP)).astype(np.float32)
        )
    return columns


def _ids(table: pa.Table, kept: IndexArray) -> list[str]:
    columns = (table[name].take(pa.array(kept)).to_pylist() for name in ("chrom", "pos", "ref", "alt"))
    return [f"{chrom}:{pos}:{ref}>{alt}" for chrom, pos, ref, alt in zip(*columns, strict=True)]


def _intervals(table: pa.Table, kept: IndexArray, window_bp: int) -> list[str]:
    chroms, starts = (table[name].take(pa.array(kept)).to_pylist() for name in ("chrom", "window_start"))
    return [f"{chrom}:{start}-{start + window_bp}:." for chrom, start in zip(chroms, starts, strict=True)]


def _genes(table: pa.Table, kept: IndexArray) -> dict[str, list[str | None]]:
    ids, names, kinds, strands = (
        table[name].take(pa.array(kept)).to_pylist() for name in ("gene", "gene_name", "gene_type", "gene_strand")
    )
    known = [name not in (None, "", ".") for name in ids]
    return {
        "gene_id": [_bare(name) if own else None for name, own in zip(ids, known, strict=True)],
        "gene_name": [name if own else None for name, own in zip(names, known, strict=True)],
        "gene_type": [name or None if own else None for name, own in zip(kinds, known, strict=True)],
        "gene_strand": [name if own else None for name, own in zip(strands, known, strict=True)],
    }


def _bare(gene: str) -> str:
    """Return an id without its version, where it is one of Ensembl."""
    found = _ENSEMBL.match(gene)
    return found[1] if found else gene


def _texts(values: list[str]) -> pa.Array:
    return pa.array([value or None for value in values], pa.string())
