"""Parquet with the columns of the TSV; the description of the run is in the file's metadata under ``borzoi_rt``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as parquet

from .rows import empty_table, tables_of

if TYPE_CHECKING:
    from . import Shards, TableContext


def write(path: Path, shards: Shards, context: TableContext) -> None:
    """Write a Parquet file, a row group per kept result of a job, or several where alleles are long."""
    metadata = {"borzoi_rt": json.dumps(context.metadata)}
    schema = empty_table(context.rows, context.layout).schema.with_metadata(metadata)
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for shard in shards():
            for table in tables_of(shard, context.rows, context.layout):
                writer.write_table(table.cast(schema))
