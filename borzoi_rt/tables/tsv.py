"""Tab-separated text, long or wide; the description of the run goes to ``OUT.meta.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.csv as csv

from .rows import empty_table, tables_of

if TYPE_CHECKING:
    from . import Shards, TableContext


_FREE_TEXT = (
    *("chrom", "id", "ref", "alt", "status_detail", "track_label", "track_id", "gene", "gene_name"),
    *("sample", "variants", "norm_ref", "norm_alt"),
)


def write(path: Path, shards: Shards, context: TableContext) -> None:
    """Write ``.tsv`` or ``.tsv.gz``; missing values are empty, numbers the shortest that read back as float32."""
    options = csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
    with pa.output_stream(str(path), compression="gzip" if path.name.endswith(".gz") else None) as sink:
        # pyarrow quotes header names whatever the style
        sink.write(("\t".join(empty_table(context.rows, context.layout).column_names) + "\n").encode())
        for shard in shards():
            for table in tables_of(shard, context.rows, context.layout):
                csv.write_csv(_plain(table), sink, options)
    described = path.with_name(path.name + ".meta.json")
    described.write_text(json.dumps(context.metadata, indent=2) + "\n", encoding="utf-8")


def _plain(table: pa.Table) -> pa.Table:
    """Keep separators out of text, which quoting would otherwise have to protect."""
    for name in _FREE_TEXT:
        if name not in table.column_names:
            continue
        index = table.column_names.index(name)
        clean = compute.replace_substring_regex(table.column(name), pattern=r'[\t\r\n"]+', replacement=" ")
        table = table.set_column(index, name, clean)
    return table
