"""Tab-separated text, one row per allele, track and statistic; the description of the run goes to ``OUT.meta.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.csv as csv

if TYPE_CHECKING:
    from . import Shards, TableContext


def write(path: Path, shards: Shards, context: TableContext) -> None:
    """Write ``.tsv`` or ``.tsv.gz``; missing values are empty, numbers the shortest that read back as float32."""
    from . import long_table

    with pa.output_stream(str(path), compression="gzip" if path.name.endswith(".gz") else None) as sink:
        for number, shard in enumerate(shards()):
            table = _plain(long_table(shard, context))
            if number == 0:  # pyarrow quotes header names whatever the style
                sink.write(("\t".join(table.column_names) + "\n").encode())
            csv.write_csv(table, sink, csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none"))
    described = path.with_name(path.name + ".meta.json")
    described.write_text(json.dumps(context.metadata, indent=2) + "\n", encoding="utf-8")


def _plain(table: pa.Table) -> pa.Table:
    """Keep separators out of text, which quoting would otherwise have to protect."""
    for name in ("chrom", "id", "ref", "alt", "status_detail", "track_label", "track_id"):
        place = table.column_names.index(name)
        clean = compute.replace_substring_regex(table.column(name), pattern=r'[\t\r\n"]+', replacement=" ")
        table = table.set_column(place, name, clean)
    return table
