"""Results as rows: how scored alleles are kept, and the long and wide tables made of them.

A kept row is one allele and region, with a vector over tracks for every statistic. The key of a row of the long table
is (record, alt_index, gene, region, track_index, stat).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ..scoring.results import RegionScores, ScoredVariant
from ..scoring.spec import ScoreSpec
from ..tracks import RowTable
from ..types import BoolArray, FloatArray, IndexArray, SignArray

_SLICE_BYTES = 64 * 2**20
_TEXT = ("chrom", "id", "ref", "alt", "status", "status_detail")
_BASE = ("record", "alt_index", "chrom", "pos", "id", "ref", "alt", "status", "status_detail")
_MORE = ("k", "window_start", "n_fraction")


@dataclass(frozen=True)
class Rows:
    """What the entries of the vectors mean.

    Attributes
    ----------
    tracks : RowTable
        One for each entry.
    specs : tuple of ScoreSpec
        Scores, in the order they were asked for.
    """

    tracks: RowTable
    specs: tuple[ScoreSpec, ...]

    @property
    def stats(self) -> tuple[str, ...]:
        """Names of the statistics, each once."""
        return tuple(dict.fromkeys(spec.stat for spec in self.specs))

    @property
    def columns(self) -> list[str]:
        """Columns of the wide table that hold scores, ``SCORE|TRACK``, in order."""
        names = list(self.tracks.identifier)
        if len(set(names)) < len(names):  # a table may repeat an identifier, never a number
            names = [f"{name}#{unit}" for name, unit in zip(names, self.tracks.index, strict=True)]
        return [f"{spec.name}|{name}" for spec in self.specs for name in names]


def score_table(results: Sequence[ScoredVariant], specs: Sequence[ScoreSpec], rows: int) -> pa.Table:
    """Return results as a table, one row per allele and region; an allele without scores is one row of nulls."""
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
        "status": _text([item.status for item, _ in parts]),
        "status_detail": _text([item.detail for item, _ in parts]),
        "k": pa.array([item.variant.k for item, _ in parts], pa.int32()),
        "window_start": pa.array([item.window_start for item, _ in parts], pa.int64()),
        "stitch_bin": pa.array([item.stitch_bin for item, _ in parts], pa.int32()),
        "n_fraction": pa.array([item.n_fraction for item, _ in parts], pa.float32()),
        "first": pa.array([part is None or part is item.regions[0] for item, part in parts], pa.bool_()),
        "gene": pa.array([None if part is None else part.gene for _, part in parts], pa.string()),
        "region": pa.array([None if part is None else part.region for _, part in parts], pa.string()),
    }
    empty = np.full(rows, np.nan, dtype=np.float32)
    for name in stats:
        vectors = [None if part is None else part.scores.get(name) for _, part in parts]
        values = np.concatenate([empty if vector is None else vector for vector in vectors] or [empty[:0]])
        missing = pa.array([vector is None for vector in vectors], pa.bool_())
        columns[f"score:{name}"] = pa.FixedSizeListArray.from_arrays(values, rows, mask=missing)
        columns[f"strand:{name}"] = _strands(parts, name, rows)
    return pa.table(columns)


def scores_of(table: pa.Table, stat: str, rows: int) -> FloatArray:
    """Return float32 (kept rows, tracks) of one statistic; NaN where there are no scores."""
    values, missing = _matrix(table, f"score:{stat}", rows)
    values[missing] = np.nan
    return values


def strands_of(table: pa.Table, stat: str, rows: int) -> SignArray:
    """Return int8 (kept rows, tracks): 1 where the '+' strand is stronger, -1 where '-' is, 0 where none is known."""
    values, missing = _matrix(table, f"strand:{stat}", rows)
    values[missing] = 0
    return values


def _matrix(table: pa.Table, name: str, rows: int) -> tuple[Any, BoolArray]:
    column = table.column(name).combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0)
    values = column.values.to_numpy(zero_copy_only=False)
    values = values[column.offset * rows : (column.offset + len(column)) * rows].reshape(len(column), rows).copy()
    return values, column.is_null().to_numpy(zero_copy_only=False)


def tables_of(table: pa.Table, rows: Rows, layout: str) -> Iterator[pa.Table]:
    """Yield kept results in a layout, ``long`` or ``wide``."""
    if layout == "wide":
        yield wide_table(table, rows)
    else:
        yield from long_tables(table, rows)


def empty_table(rows: Rows, layout: str) -> pa.Table:
    """Return a table of the layout without rows."""
    none = score_table([], rows.specs, len(rows.tracks))
    if layout == "wide":
        return wide_table(none, rows)
    nothing = np.zeros(0, dtype=np.int64)
    cube = np.zeros((0, len(rows.tracks), len(rows.stats)), dtype=np.float32)
    index = (nothing, nothing, nothing)
    return _long_slice(none, rows, index, np.zeros(0, dtype=bool), cube, cube.astype(np.int8))


def long_tables(table: pa.Table, rows: Rows) -> Iterator[pa.Table]:
    """Yield one row per allele, region, track and statistic, a bounded number of bytes at a time.

    An allele without scores is one row with no track and no score. A score that is not a finite number is empty, and
    the status of its row is ``undefined``; the other rows of such an allele say ``ok``.
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
    longest = max(_text_bytes(table, number) for number in range(len(table)))
    step = max(1, _SLICE_BYTES // (longest + 200))
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
    columns = {name: table[name].take(take) for name in (*_BASE, *_MORE)}
    statuses = np.array(table["status"].to_pylist(), dtype=object)[kept]
    values = np.where(missing, np.nan, cube[index])
    undefined = ~missing & ~np.isfinite(values)
    partly = (statuses == "undefined") & ~undefined & ~missing
    columns["status"] = pa.array(np.where(partly, "ok", np.where(undefined, "undefined", statuses)), pa.string())
    columns["flipped"] = pa.array(statuses == "flipped")
    columns["gene"], columns["region"] = table["gene"].take(take), table["region"].take(take)

    def named(texts: Any, kind: pa.DataType) -> pa.Array:
        return pa.array(texts, kind).take(pa.array(track, mask=missing))

    tracks = rows.tracks
    columns["track_index"] = named(tracks.index, pa.int64())
    columns["track_id"] = named(tracks.identifier, pa.string())
    columns["track_label"] = named(tracks.description, pa.string())
    columns["track_strand"] = named(tracks.strand, pa.string())
    sign = strands[index]
    columns["stronger_strand"] = pa.array(np.where(sign > 0, "+", "-"), pa.string(), mask=missing | (sign == 0))
    columns["stat"] = pa.array(rows.stats, pa.string()).take(pa.array(stat, mask=missing))
    columns["score"] = pa.array(values.astype(np.float32), pa.float32(), mask=missing | undefined)
    first = (*_BASE, "k", "flipped", "window_start", "n_fraction", "gene", "region")
    return pa.table({**{name: columns[name] for name in first}, **columns})


def wide_table(table: pa.Table, rows: Rows) -> pa.Table:
    """Return one row per allele, with a column for every score and track, ``SCORE|TRACK``."""
    count = len(rows.tracks)
    first = np.flatnonzero(table["first"].to_numpy(zero_copy_only=False))
    base = table.take(pa.array(first))
    columns = {name: base[name] for name in (*_BASE, "k", "window_start", "n_fraction")}
    scores: list[pa.Array] = []
    for matrix in allele_scores(table, rows):
        scores += [pa.array(vector, pa.float32(), mask=~np.isfinite(vector)) for vector in matrix.T]
    assert len(scores) == count * len(rows.specs)
    return pa.table({**columns, **dict(zip(rows.columns, scores, strict=True))})


def allele_scores(table: pa.Table, rows: Rows) -> Iterator[FloatArray]:
    """Yield, for each score in order, float32 (alleles, tracks); NaN where there is none."""
    count = len(rows.tracks)
    first = table["first"].to_numpy(zero_copy_only=False)
    allele = np.cumsum(first) - 1
    regions = np.array(table["region"].to_pylist(), dtype=object)
    for spec in rows.specs:
        matrix = np.full((int(first.sum()), count), np.nan, dtype=np.float32)
        held = regions == str(spec.region)
        matrix[allele[held]] = scores_of(table, spec.stat, count)[held]
        yield matrix


def _strands(parts: Sequence[tuple[ScoredVariant, RegionScores | None]], name: str, rows: int) -> pa.Array:
    """Return which strand is stronger as lists of -1, 0 and 1; null where that is not known."""
    vectors = [None if part is None else part.stronger.get(name) for _, part in parts]
    none = np.zeros(rows, dtype=np.int8)
    values = np.concatenate([none if vector is None else vector for vector in vectors] or [none[:0]])
    missing = pa.array([vector is None for vector in vectors], pa.bool_())
    return pa.FixedSizeListArray.from_arrays(values, rows, mask=missing)


def _text(values: Sequence[str]) -> pa.Array:
    """Return text as UTF-8; bytes of a VCF that are not are written like ``\\xe9``."""
    shown = [value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") for value in values]
    return pa.array(shown, pa.string())


def _text_bytes(table: pa.Table, number: int) -> int:
    return sum(len(table[name][number].as_py() or "") for name in _TEXT)
