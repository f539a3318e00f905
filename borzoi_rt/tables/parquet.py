"""Parquet with the columns of the TSV; the description of the run is in the file's metadata under ``borzoi_rt``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as parquet

if TYPE_CHECKING:
    from . import Shards, TableContext


def write(path: Path, shards: Shards, context: TableContext) -> None:
    """Write a Parquet file, one row group per shard."""
    from . import long_table

    writer = None
    try:
        for shard in shards():
            table = long_table(shard, context)
            if writer is None:
                schema = table.schema.with_metadata({"borzoi_rt": json.dumps(context.metadata)})
                writer = parquet.ParquetWriter(path, schema, compression="zstd")
            writer.write_table(table.cast(schema))
    finally:
        if writer is not None:
            writer.close()
