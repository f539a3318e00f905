"""Saturation mutagenesis as HDF5: one dataset per statistic, (positions, 4, rows), or of several intervals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from .hdf5_files import new_hdf5
from .rows import allele_scores

if TYPE_CHECKING:
    from . import Shards, TableContext

_BASES = "ACGT"


def write(path: Path, shards: Shards, context: TableContext) -> None:
    """Write an HDF5 file; see :func:`borzoi_rt.runs.ism.score_ism` for the layout.

    ``target_ids`` and ``target_labels`` call a joined pair of strands by its '+' track, as the reference programs do;
    ``row_ids`` calls it by its pair.
    """
    tracks = context.rows.tracks
    with new_hdf5(path) as file:
        sequences = _write_where(file, context)
        for name, texts in (
            ("target_ids", tracks.track_identifier),
            ("target_labels", tracks.track_description),
            ("row_ids", tracks.identifier),
        ):
            file.create_dataset(name, data=np.array([text.encode() for text in texts], dtype="S"))
        width = len(sequences[0])
        several = () if context.stretches is None else (len(sequences),)
        datasets = []
        for spec in context.rows.specs:
            shape = (*several, width, 4, len(tracks))
            scores = file.create_dataset(spec.name, shape, dtype=np.float32, fillvalue=np.nan)
            for number, sequence in enumerate(sequences):
                for position, base in enumerate(sequence):
                    if base in _BASES:
                        scores[(*(number for _ in several), position, _BASES.index(base))] = 0.0
            datasets.append(scores)
        for shard in shards():
            alleles = shard.select(["record", "alt_index"]).filter(shard["first"])
            position, base = (alleles[name].to_numpy() for name in ("record", "alt_index"))
            for scores, matrix in zip(datasets, allele_scores(shard, context.rows), strict=True):
                for number, vector in enumerate(matrix):
                    where = divmod(int(position[number]), width) if several else (position[number],)
                    scores[(*where, base[number])] = vector
        file.attrs["borzoi_rt"] = json.dumps(context.metadata)


def _write_where(file: h5py.File, context: TableContext) -> tuple[str, ...]:
    """Write which bases were changed: of one interval single values, of several one for each; return the bases."""
    held = context.stretches
    if held is None:
        chrom, start, end = context.metadata["interval"]
        sequence = context.metadata["sequence"]
        file.create_dataset("chrom", data=np.bytes_(chrom))
        file.create_dataset("start", data=start)
        file.create_dataset("end", data=end)
        file.create_dataset("sequence", data=np.bytes_(sequence))
        return (sequence,)
    columns = {
        "chrom": [item.chrom for item in held.intervals],
        "name": [item.name for item in held.intervals],
        "strand": [item.strand for item in held.intervals],
        "sequence": list(held.sequences),
    }
    for name, texts in columns.items():
        file.create_dataset(name, data=texts, dtype=h5py.string_dtype())
    numbers = {
        "start": [item.start for item in held.intervals],
        "end": [item.end for item in held.intervals],
        "window_start": [int(window.removeprefix("at:")) for window in held.windows],
    }
    for name, values in numbers.items():
        file.create_dataset(name, data=np.array(values, dtype=np.int64))
    return held.sequences
