"""The layout of Calico's ``scores.h5`` (``hound_snp``), in float32 and with a status; failed alleles are NaN."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from .groups import firsts, region_vectors
from .hdf5_columns import Columns, Matrix
from .hdf5_files import new_hdf5
from .hdf5_genes import write_genes

if TYPE_CHECKING:
    from . import Shards, TableContext

_TEXTS = {
    "snp": "id",
    "chr": "chrom",
    "ref_allele": "ref",
    "alt_allele": "alt",
    "status": "status",
    "status_detail": "status_detail",
}


def percentile_points() -> np.ndarray:
    """Return the reference's 279 points: dense tails, percent steps between."""
    low = np.arange(1, 100) / 1000
    return np.concatenate([low, np.arange(10, 90) / 100, np.arange(900, 1000) / 1000])


def write(path: Path, shards: Shards, context: TableContext) -> None:
    """Write an HDF5 file; scores are ``(alleles, rows)`` under the name of the score.

    Percentiles of a row are those over the alleles that have a score there. Text of alleles has no fixed width: one
    long allele must not make every row as long. ``target_ids`` calls a merged row by its '+' track, as the reference
    programs do; ``row_ids`` calls it by its pair. Coverage of alleles that was kept is ``ref_value@REGION`` and
    ``alt_value@REGION``. What is said of alleles besides (haplotypes, normalised spelling, where ``norm_pos`` is 0 for
    none) stands beside them. For scores of genes see :mod:`borzoi_rt.tables.hdf5_genes`.
    """
    rows = context.rows
    facts = tuple(name for name in rows.facts if name != "norm_pos")
    numbers: dict[str, type[np.generic]] = {"pos": np.uint32}
    if "norm_pos" in rows.facts:
        numbers["norm_pos"] = np.uint32
    alleles = sum(int(np.count_nonzero(firsts(shard))) for shard in shards())
    with new_hdf5(path) as file:
        columns = Columns(file, [*_TEXTS, *facts], numbers, alleles)
        for name, labels in {
            "target_ids": rows.tracks.track_identifier,
            "target_labels": rows.tracks.track_description,
        }.items():
            file.create_dataset(name, data=np.array([label.encode() for label in labels], dtype="S"))
        row_ids = [name.encode() for name in rows.tracks.identifier]
        file.create_dataset("row_ids", data=row_ids, dtype=h5py.string_dtype())
        file.create_dataset("percentiles", data=percentile_points())
        wanted = rows.vectors(of_genes=False)
        scores = {name: Matrix(file, name, alleles, len(rows.tracks)) for name, _, _ in wanted}
        start = 0
        for shard in shards():
            held = shard.select([*_TEXTS.values(), *facts, *numbers]).filter(shard["first"])
            text = {name: [value or "" for value in held[kept].to_pylist()] for name, kept in _TEXTS.items()}
            text |= {name: [value or "" for value in held[name].to_pylist()] for name in facts}
            # The reference names an unnamed variant by its position.
            pairs = zip(text["snp"], text["chr"], held["pos"].to_pylist(), strict=True)
            text["snp"] = [f"{chrom}:{pos}" if name == "." else name for name, chrom, pos in pairs]
            columns.add(text, {name: held[name].fill_null(0).to_numpy() for name in numbers}, start)
            for name, region, kept in wanted:
                scores[name].add(region_vectors(shard, rows, None, region, kept))
            start += len(held)
        columns.flush()
        for matrix in scores.values():
            matrix.flush()
        for spec in rows.specs:
            if not spec.of_genes:
                found = scores[spec.name].percentiles(percentile_points())
                file.create_dataset(f"{spec.name}_pct", data=found)
        if rows.of_genes:
            write_genes(file, shards, rows)
        file.attrs["borzoi_rt"] = json.dumps(context.metadata)
