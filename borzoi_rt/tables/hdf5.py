"""The layout of Calico's ``scores.h5`` (``hound_snp``), in float32 and with a status; failed alleles are NaN."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from .groups import region_vectors
from .hdf5_files import new_hdf5
from .hdf5_genes import write_genes
from .kept import Rows

if TYPE_CHECKING:
    from . import Shards, TableContext


def percentile_points() -> np.ndarray:
    """Return the reference's 279 points: dense tails, percent steps between."""
    low = np.arange(1, 100) / 1000
    return np.concatenate([low, np.arange(10, 90) / 100, np.arange(900, 1000) / 1000])


def write(path: Path, shards: Shards, context: TableContext) -> None:
    """Write an HDF5 file; scores are ``(alleles, rows)`` under the name of the score.

    Text of alleles has no fixed width: one long allele must not make every row as long. ``target_ids`` calls a merged
    row by its '+' track, as the reference programs do; ``row_ids`` calls it by its pair. Coverage of alleles that was
    kept is ``ref_value@REGION`` and ``alt_value@REGION``. What is said of alleles besides (haplotypes, normalised
    spelling, where ``norm_pos`` is 0 for none) stands beside them. For scores of genes see
    :mod:`borzoi_rt.tables.hdf5_genes`.
    """
    facts = tuple(name for name in context.rows.facts if name != "norm_pos")
    text: dict[str, list[str]] = {name: [] for name in ("chrom", "id", "ref", "alt", "status", "status_detail", *facts)}
    pos: list[int] = []
    norm_pos: list[int] = []
    for shard in shards():
        alleles = shard.filter(shard["first"])
        for name, values in text.items():
            values.extend(value or "" for value in alleles.column(name).to_pylist())
        norm_pos.extend(value or 0 for value in alleles.column("norm_pos").to_pylist())
        pos.extend(alleles.column("pos").to_pylist())
    # The reference names an unnamed variant by its position.
    names = [
        f"{chrom}:{at}" if name == "." else name for chrom, at, name in zip(text["chrom"], pos, text["id"], strict=True)
    ]
    tracks = context.rows.tracks
    with new_hdf5(path) as file:
        for name, column in {
            "snp": names,
            "chr": text["chrom"],
            "ref_allele": text["ref"],
            "alt_allele": text["alt"],
            "status": text["status"],
            "status_detail": text["status_detail"],
            **{name: text[name] for name in facts},
        }.items():
            file.create_dataset(name, data=[value.encode() for value in column], dtype=h5py.string_dtype())
        for name, labels in {"target_ids": tracks.track_identifier, "target_labels": tracks.track_description}.items():
            file.create_dataset(name, data=np.array([label.encode() for label in labels], dtype="S"))
        row_ids = [name.encode() for name in tracks.identifier]
        file.create_dataset("row_ids", data=row_ids, dtype=h5py.string_dtype())
        file.create_dataset("pos", data=np.array(pos, dtype=np.uint32))
        if "norm_pos" in context.rows.facts:
            file.create_dataset("norm_pos", data=np.array(norm_pos, dtype=np.uint32))
        file.create_dataset("percentiles", data=percentile_points())
        _write_scores(file, shards, context.rows, len(pos))
        if context.rows.of_genes:
            write_genes(file, shards, context.rows)
        file.attrs["borzoi_rt"] = json.dumps(context.metadata)


def _write_scores(file: h5py.File, shards: Shards, rows: Rows, alleles: int) -> None:
    wanted = rows.vectors(of_genes=False)
    shape = (alleles, len(rows.tracks))
    datasets = {name: file.create_dataset(name, shape, dtype=np.float32, fillvalue=np.nan) for name, _, _ in wanted}
    start = 0
    for shard in shards():
        for name, region, held in wanted:
            matrix = region_vectors(shard, rows, None, region, held)
            datasets[name][start : start + len(matrix)] = matrix
        start += int(np.count_nonzero(shard["first"].to_numpy(zero_copy_only=False)))
    for spec in rows.specs:
        if not spec.of_genes:
            file.create_dataset(f"{spec.name}_pct", data=_percentiles(datasets[spec.name], percentile_points()))


def _percentiles(dataset: h5py.Dataset, points: np.ndarray) -> np.ndarray:
    """Return float32 (rows, points) over the alleles that have scores, in blocks of rows."""
    result = np.full((dataset.shape[1], len(points)), np.nan, dtype=np.float32)
    for start in range(0, dataset.shape[1], 256):
        block = dataset[:, start : start + 256]
        block = block[np.isfinite(block).all(axis=1)]
        if len(block):
            result[start : start + 256] = np.quantile(block.astype(np.float64), points, axis=0).T
    return result
