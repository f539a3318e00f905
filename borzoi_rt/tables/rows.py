"""Kept results as the rows of tables, long and wide.

The key of a row of the long table is (record, alt_index, gene, region, track_index, stat).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as compute

from ..types import BoolArray, FloatArray, IndexArray, SignArray
from .alphagenome import empty_tidy, tidy_tables
from .groups import allele_scores
from .kept import ALLELES, Rows, kept_extra, score_table, scores_of, strands_of
from .wide import BASE, base_columns, wide_table

__all__ = ["Rows", "allele_scores", "empty_table", "long_tables", "score_table", "tables_of"]

_SLICE_BYTES = 64 * 2**20
_TEXT = ("chrom", "id", "ref", "alt", "status", "status_detail", "variants", "norm_ref", "norm_alt")
_MORE = ("k", "window_start", "n_fraction")
_GENE = ("gene_name", "gene_strand", "covered_fraction")  # columns that a table without scores of genes has not


def tables_of(table: pa.Table, rows: Rows, layout: str) -> Iterator[pa.Table]:
    """Yield kept results in a layout, ``long``, ``wide`` or ``alphagenome``."""
    if layout == "wide":
        yield wide_table(table, rows)
    elif layout == "alphagenome":
        yield from tidy_tables(table, rows)
    else:
        yield from long_tables(table, rows)


def empty_table(rows: Rows, layout: str) -> pa.Table:
    """Return a table of the layout without rows."""
    none = score_table([], rows.specs, len(rows.tracks), with_alleles=rows.with_alleles, extras=rows.extras)
    if layout == "wide":
        return wide_table(none, rows)
    if layout == "alphagenome":
        return empty_tidy(none, rows)
    nothing = np.zeros(0, dtype=np.int64)
    cube = np.zeros((0, len(rows.tracks), len(rows.stats)), dtype=np.float32)
    index = (nothing, nothing, nothing)
    return _long_slice(none, rows, index, np.zeros(0, dtype=bool), cube, cube.astype(np.int8))


def long_tables(table: pa.Table, rows: Rows) -> Iterator[pa.Table]:
    """Yield one row per allele, region, track and statistic, a bounded number of bytes at a time.

    An allele without scores is one row with no track and no score. A score that is not a finite number is empty, and
    the status of its row is ``undefined``; the other rows of such an allele say what they would without it.
    """
    count, stats = len(rows.tracks), rows.stats
    if not len(table):
        return
    valid = np.stack([table[f"score:{name}"].is_valid().to_numpy(zero_copy_only=False) for name in stats], axis=1)
    per_row = valid.sum(axis=1)
    sizes = np.where(per_row > 0, per_row * count, 1)
    order = np.argsort(~valid, axis=1, kind="stable")  # of each row, its statistics first
    cube = np.stack([scores_of(table, name, count) for name in stats], axis=-1)
    strands = np.stack([strands_of(table, name, count) for name in stats], axis=-1)
    ends = np.cumsum(sizes)
    step = max(1, _SLICE_BYTES // (_longest_bytes(table) + 200))
    for start in range(0, int(ends[-1]), step):
        index = np.arange(start, min(start + step, int(ends[-1])))
        kept = np.searchsorted(ends, index, side="right")
        within = index - (ends[kept] - sizes[kept])
        share = np.maximum(per_row[kept], 1)
        track, stat = within // share, order[kept, within % share]
        yield _long_slice(table, rows, (kept, track, stat), per_row[kept] == 0, cube, strands)


def _long_slice(
    table: pa.Table,
    rows: Rows,
    index: tuple[IndexArray, IndexArray, IndexArray],
    missing: BoolArray,
    cube: FloatArray,
    strands: SignArray,
) -> pa.Table:
    """Return rows of the long table; ``index`` says of which kept row, track and statistic each is."""
    kept, track, stat = index
    take = pa.array(kept)
    more = _GENE if rows.of_genes else ()
    columns = {name: table[name].take(take) for name in (*BASE, *rows.facts, *_MORE, *more)}
    statuses = np.array(table["status"].to_pylist(), dtype=object)[kept]
    values = np.where(missing, np.nan, cube[index])
    undefined = ~missing & ~np.isfinite(values)
    partly = (statuses == "undefined") & ~undefined & ~missing
    reference = np.array(table["reference"].to_pylist(), dtype=object)[kept]
    columns["status"] = pa.array(np.where(partly, reference, np.where(undefined, "undefined", statuses)), pa.string())
    columns["flipped"] = pa.array((reference == "flipped") & ~missing)
    columns["gene"], columns["region"] = table["gene"].take(take), table["region"].take(take)

    def named(texts: Any, kind: pa.DataType) -> pa.Array:
        return pa.array(texts, kind).take(pa.array(track, mask=missing))

    tracks = rows.tracks
    columns["track_index"] = named(tracks.index, pa.int64())
    columns["track_id"] = named(tracks.identifier, pa.string())
    columns["track_label"] = named(tracks.description, pa.string())
    columns["track_strand"] = named(tracks.strand, pa.string())
    if rows.of_genes:  # of a pair that makes one row, a gene is scored by the track of its own strand
        joined = (tracks.index != tracks.index_pair)[track]
        strand = np.array([text in ("+", "-") for text in table["gene_strand"].to_pylist()], dtype=bool)[kept]
        columns["track_strand"] = compute.if_else(
            pa.array(joined & strand & ~missing), columns["gene_strand"], columns["track_strand"]
        )
    sign = strands[index]
    columns["stronger_strand"] = pa.array(np.where(sign > 0, "+", "-"), pa.string(), mask=missing | (sign == 0))
    columns["stat"] = pa.array(rows.stats, pa.string()).take(pa.array(stat, mask=missing))
    columns["score"] = pa.array(values.astype(np.float32), pa.float32(), mask=missing | undefined)
    for extra in rows.extras:
        columns[extra] = _extra_column(table, rows, extra, index, missing)
    for name in ALLELES if rows.with_alleles else ():
        vectors = scores_of(table, name, len(tracks)) if len(table) else np.zeros((0, 0), dtype=np.float32)
        columns[name] = pa.array(vectors[kept, track], pa.float32(), mask=missing | ~np.isfinite(vectors[kept, track]))
    first = (*base_columns(rows), "k", "flipped", "window_start", "n_fraction", "gene", *more[:2], "region", *more[2:])
    return pa.table({**{name: columns[name] for name in first}, **columns})


def _extra_column(
    table: pa.Table, rows: Rows, extra: str, index: tuple[IndexArray, IndexArray, IndexArray], missing: BoolArray
) -> pa.Array:
    """Return what is kept beside each score, null where it is no number; it may be infinite."""
    if not len(table):
        return pa.array([], pa.float32())
    cube = np.stack([scores_of(table, kept_extra(name, extra), len(rows.tracks)) for name in rows.stats], axis=-1)
    values = cube[index]
    return pa.array(values, pa.float32(), mask=missing | np.isnan(values))


def _longest_bytes(table: pa.Table) -> int:
    """Return how long the text of a row is at most."""
    lengths = [compute.fill_null(compute.binary_length(table[name]), 0).to_numpy() for name in _TEXT]
    return int(np.sum(lengths, axis=0).max())
