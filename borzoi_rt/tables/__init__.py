"""Writers of score tables, chosen by suffix. Each reads the shards of a run as often as it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..errors import InputError
from ..tracks import TrackTable

Shards = Callable[[], Iterator[pa.Table]]


@dataclass(frozen=True)
class TableContext:
    """What a writer needs besides the shards.

    Attributes
    ----------
    rows : TrackTable
        Meaning of the entries of every score vector.
    stats : tuple of str
        Statistics, in order.
    metadata : dict
        JSON values that describe the run.
    source : Path, optional
        The input VCF, where there is one.
    """

    rows: TrackTable
    stats: tuple[str, ...]
    metadata: dict[str, Any]
    source: Path | None = None


Writer = Callable[[Path, Shards, TableContext], None]


def scores_of(table: pa.Table, stat: str, rows: int) -> np.ndarray:
    """Return float32 (variants, rows) of one statistic; NaN where there are no scores."""
    column = table.column(f"score:{stat}").combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0)
    values = column.values.to_numpy(zero_copy_only=False)
    values = values[column.offset * rows : (column.offset + len(column)) * rows].reshape(len(column), rows).copy()
    values[column.is_null().to_numpy(zero_copy_only=False)] = np.nan
    return values


def long_table(table: pa.Table, context: TableContext) -> pa.Table:
    """Return one row per allele, track and statistic; an allele without scores is one row with no track and score."""
    rows, stats = len(context.rows), context.stats
    scored = table.column(f"score:{stats[0]}").is_valid().to_numpy(zero_copy_only=False)
    counts = np.where(scored, rows * len(stats), 1)
    allele = np.repeat(np.arange(len(table)), counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    row, stat = within // len(stats), within % len(stats)
    missing = ~scored[allele]
    cube = np.stack([scores_of(table, name, rows) for name in stats], axis=-1)
    base = table.select(["record", "alt_index", "chrom", "pos", "id", "ref", "alt", "status", "status_detail"])
    columns = {name: base.column(name).take(pa.array(allele)) for name in base.column_names}
    lengths = [len(alt) - len(ref) for ref, alt in zip(table["ref"].to_pylist(), table["alt"].to_pylist(), strict=True)]
    columns["k"] = pa.array(np.array(lengths, dtype=np.int32)[allele])
    columns["flipped"] = pa.array(np.array(table.column("status").to_pylist(), dtype=object)[allele] == "flipped")
    for name in ("window_start", "n_fraction"):
        columns[name] = table.column(name).take(pa.array(allele))

    def track(values: Any, kind: pa.DataType) -> pa.Array:
        return pa.array(values, kind).take(pa.array(row, mask=missing))

    tracks = context.rows
    columns["track_index"] = track(tracks.index, pa.int64())
    columns["track_id"] = track(tracks.identifier, pa.string())
    columns["track_label"] = track(tracks.description, pa.string())
    columns["track_strand"] = track(tracks.strand, pa.string())
    columns["stat"] = pa.array(stats, pa.string()).take(pa.array(stat, mask=missing))
    columns["score"] = pa.array(cube[allele, row, stat], pa.float32(), mask=missing)
    return pa.table(columns)


def suffix_of(path: Path, writers: Mapping[str, Writer]) -> str:
    """Return the suffix that names the form of a table.

    Raises
    ------
    InputError
        If it names none.
    """
    for suffix in writers:
        if path.name.endswith(suffix) and path.name != suffix:
            return suffix
    raise InputError(f"{path.name}: the suffix names no table; allowed: {', '.join(writers)}")


def _writers() -> tuple[dict[str, Writer], dict[str, Writer]]:
    from . import hdf5, ism, parquet, tsv, vcf

    common: dict[str, Writer] = {".tsv": tsv.write, ".tsv.gz": tsv.write, ".parquet": parquet.write}
    return {**common, ".h5": hdf5.write, ".vcf.gz": vcf.write}, {**common, ".h5": ism.write}


WRITERS, ISM_WRITERS = _writers()
