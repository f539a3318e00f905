"""The layout of Calico's ``scores.h5`` (``hound_snp``), in float32 and with a status; failed alleles are NaN."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

if TYPE_CHECKING:
    from . import Shards, TableContext


def percentile_points() -> np.ndarray:
    """Return the reference's 279 points: dense tails, percent steps between."""
    low = np.arange(1, 100) / 1000
    return np.concatenate([low, np.arange(10, 90) / 100, np.arange(900, 1000) / 1000])


def write(path: Path, shards: Shards, context: TableContext) -> None:
    """Write an HDF5 file; scores are ``(alleles, rows)`` under the name of the statistic."""
    from . import scores_of

    text: dict[str, list[str]] = {name: [] for name in ("chrom", "id", "ref", "alt", "status", "status_detail")}
    pos: list[int] = []
    for shard in shards():
        for name, values in text.items():
            values.extend(shard.column(name).to_pylist())
        pos.extend(shard.column("pos").to_pylist())
    # The reference names an unnamed variant by its place.
    names = [
        f"{chrom}:{at}" if name == "." else name for chrom, at, name in zip(text["chrom"], pos, text["id"], strict=True)
    ]
    rows = len(context.rows)
    with h5py.File(path, "w") as file:
        columns: dict[str, Sequence[str]] = {
            "snp": names,
            "chr": text["chrom"],
            "ref_allele": text["ref"],
            "alt_allele": text["alt"],
            "status": text["status"],
            "status_detail": text["status_detail"],
            "target_ids": context.rows.identifier,
            "target_labels": context.rows.description,
        }
        for name, column in columns.items():
            file.create_dataset(name, data=np.array([value.encode() for value in column], dtype="S"))
        file.create_dataset("pos", data=np.array(pos, dtype=np.uint32))
        points = percentile_points()
        file.create_dataset("percentiles", data=points)
        for stat in context.stats:
            dataset = file.create_dataset(stat, (len(pos), rows), dtype=np.float32)
            start = 0
            for shard in shards():
                scores = scores_of(shard, stat, rows)
                dataset[start : start + len(scores)] = scores
                start += len(scores)
            file.create_dataset(f"{stat}_pct", data=_percentiles(dataset, points))
        file.attrs["borzoi_rt"] = json.dumps(context.metadata)


def _percentiles(dataset: h5py.Dataset, points: np.ndarray) -> np.ndarray:
    """Return float32 (rows, points) over the alleles that have scores, in blocks of rows."""
    result = np.full((dataset.shape[1], len(points)), np.nan, dtype=np.float32)
    for start in range(0, dataset.shape[1], 256):
        block = dataset[:, start : start + 256]
        block = block[np.isfinite(block).all(axis=1)]
        if len(block):
            result[start : start + 256] = np.quantile(block.astype(np.float64), points, axis=0).T
    return result
