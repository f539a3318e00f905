"""The input VCF with INFO fields: per ALT the status, and of each statistic the score that is largest in size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ..errors import InputError
from ..genome.vcf_copy import annotate_vcf, info_value

if TYPE_CHECKING:
    from . import Shards, TableContext


def write(path: Path, shards: Shards, context: TableContext) -> None:
    """Write ``.vcf.gz``, with a tabix index when the input is sorted."""
    if context.source is None:
        raise InputError("a VCF is a copy of the input, and there is none; choose another suffix")
    fields = _Fields(shards, context)
    annotate_vcf(context.source, path, _headers(context), fields.of)


def _headers(context: TableContext) -> list[str]:
    lines = [f"##borzoi_rt={context.metadata['borzoi_rt']}; model {context.metadata['model']}"]
    lines.append('##INFO=<ID=BRT_STATUS,Number=A,Type=String,Description="Status of the score">')
    for stat in context.stats:
        identity = context.metadata["score_ids"][stat][:16]
        lines.append(
            f'##INFO=<ID=BRT_{stat},Number=A,Type=Float,Description="{stat} of the track where it is largest in size '
            f'(score id {identity})">'
        )
        lines.append(f'##INFO=<ID=BRT_{stat}_TRACK,Number=A,Type=String,Description="Track of BRT_{stat}">')
    return lines


class _Fields:
    """INFO fields by record, read from the shards in step with the copy."""

    def __init__(self, shards: Shards, context: TableContext) -> None:
        self._stats = context.stats
        self._records = self._by_record(shards, context)

    def of(self, record: int) -> dict[str, str]:
        """Return the fields of the next record."""
        number, fields = next(self._records)
        if number != record:
            raise RuntimeError(f"record {record} of the copy met record {number} of the scores")
        return fields

    def _by_record(self, shards: Shards, context: TableContext) -> Iterator[tuple[int, dict[str, str]]]:
        held: dict[str, list[str]] = {}
        current = -1
        for shard in shards():
            for record, values in self._alleles(shard, context):
                if record != current and held:
                    yield current, {key: ",".join(parts) for key, parts in held.items()}
                    held = {}
                current = record
                for key, value in values.items():
                    held.setdefault(key, []).append(value)
        if held:
            yield current, {key: ",".join(parts) for key, parts in held.items()}

    def _alleles(self, table: pa.Table, context: TableContext) -> Iterator[tuple[int, dict[str, str]]]:
        from . import scores_of

        scores = {stat: scores_of(table, stat, len(context.rows)) for stat in self._stats}
        records = table.column("record").to_pylist()
        statuses = table.column("status").to_pylist()
        for place, (record, status) in enumerate(zip(records, statuses, strict=True)):
            values = {"BRT_STATUS": status}
            for stat in self._stats:
                vector = scores[stat][place]
                known = np.isfinite(vector).all()
                best = int(np.abs(vector).argmax()) if known else 0
                values[f"BRT_{stat}"] = str(vector[best]) if known else "."
                values[f"BRT_{stat}_TRACK"] = info_value(context.rows.identifier[best]) if known else "."
            yield record, values
