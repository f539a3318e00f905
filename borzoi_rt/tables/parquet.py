"""Parquet with the columns of the TSV; the description of the run is in the file's metadata under ``borzoi_rt``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as parquet

from .rows import empty_table, tables_of

if TYPE_CHECKING:
    from . import Shards, TableContext


_GROUP_ROWS = 2**16
_GROUP_BYTES = 64 * 2**20


def write(path: Path, shards: Shards, context: TableContext) -> None:
    """Write a Parquet file in groups of 65,536 rows or more, or of 64 MB where alleles are long.

    What the file says of each group is held until it is closed, so there must not be one for every job.
    """
    metadata = {"borzoi_rt": json.dumps(context.metadata)}
    schema = empty_table(context.rows, context.layout).schema.with_metadata(metadata)
    held: list[pa.Table] = []
    rows = size = 0
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for shard in shards():
            for table in tables_of(shard, context.rows, context.layout):
                held.append(table.cast(schema))
                rows, size = rows + len(table), size + table.nbytes
                if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
                    writer.write_table(pa.concat_tables(held))
                    held, rows, size = [], 0, 0
        if held:
            writer.write_table(pa.concat_tables(held))
