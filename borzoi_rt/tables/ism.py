"""Saturation mutagenesis as HDF5: one dataset per statistic, (positions, 4, rows)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .hdf5_files import new_hdf5
from .rows import allele_scores

if TYPE_CHECKING:
    from . import Shards, TableContext

_BASES = "ACGT"


def write(path: Path, shards: Shards, context: TableContext) -> None:
    """Write an HDF5 file; see :func:`borzoi_rt.runs.ism.score_ism` for the layout."""
    chrom, start, end = context.metadata["interval"]
    sequence, tracks = context.metadata["sequence"], context.rows.tracks
    with new_hdf5(path) as file:
        file.create_dataset("chrom", data=np.bytes_(chrom))
        file.create_dataset("start", data=start)
        file.create_dataset("end", data=end)
        file.create_dataset("sequence", data=np.bytes_(sequence))
        for name, texts in (
            ("target_ids", tracks.track_identifier),
            ("target_labels", tracks.track_description),
            ("row_ids", tracks.identifier),
        ):
            file.create_dataset(name, data=np.array([text.encode() for text in texts], dtype="S"))
        held = np.array([_BASES.find(base) for base in sequence])
        known = np.flatnonzero(held >= 0)
        datasets = []
        for spec in context.rows.specs:
            shape = (len(sequence), 4, len(tracks))
            scores = file.create_dataset(spec.name, shape, dtype=np.float32, fillvalue=np.nan)
            for position in known:
                scores[position, held[position]] = 0.0
            datasets.append(scores)
        for shard in shards():
            alleles = shard.select(["record", "alt_index"]).filter(shard["first"])
            position, base = (alleles[name].to_numpy() for name in ("record", "alt_index"))
            for scores, matrix in zip(datasets, allele_scores(shard, context.rows), strict=True):
                for number, vector in enumerate(matrix):
                    scores[position[number], base[number]] = vector
        file.attrs["borzoi_rt"] = json.dumps(context.metadata)
