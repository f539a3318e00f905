"""Saturation mutagenesis as HDF5: one dataset per statistic, (positions, 4, rows)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

if TYPE_CHECKING:
    from . import Shards, TableContext

_BASES = "ACGT"


def write(path: Path, shards: Shards, context: TableContext) -> None:
    """Write an HDF5 file; see :func:`borzoi_rt.runs.ism.score_ism` for the layout."""
    from . import scores_of

    chrom, start, end = context.metadata["interval"]
    sequence, rows = context.metadata["sequence"], len(context.rows)
    with h5py.File(path, "w") as file:
        file.create_dataset("chrom", data=np.bytes_(chrom))
        file.create_dataset("start", data=start)
        file.create_dataset("end", data=end)
        file.create_dataset("sequence", data=np.bytes_(sequence))
        for name, texts in (("target_ids", context.rows.identifier), ("target_labels", context.rows.description)):
            file.create_dataset(name, data=np.array([text.encode() for text in texts], dtype="S"))
        held = np.array([_BASES.find(base) for base in sequence])
        known = np.flatnonzero(held >= 0)
        for stat in context.stats:
            scores = file.create_dataset(stat, (len(sequence), 4, rows), dtype=np.float32, fillvalue=np.nan)
            for position in known:
                scores[position, held[position]] = 0.0
            for shard in shards():
                values = scores_of(shard, stat, rows)
                places = zip(shard.column("record").to_pylist(), shard.column("alt_index").to_pylist(), strict=True)
                for (position, base), vector in zip(places, values, strict=True):
                    scores[position, base] = vector
        file.attrs["borzoi_rt"] = json.dumps(context.metadata)
