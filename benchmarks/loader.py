"""Windows a second that training batches are made at, for numbers of threads, on data of the published shape.

python -m benchmarks.loader --folder DIR [--windows 16] [--workers 1 2 4] [--tracks 7611] [--batch-size 1]

Writes shards of coverage-like counts with the project's writer, reads them twice (the first pass fills the kernel's
cache of the files), and removes them. A CPU second is one of a core that has nothing else to do: on a loaded machine it
says more than the wall clock. The digest of all batches must be the same for any number of threads.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from borzoi_export.training.loader import TrainBatches

from borzoi_rt.bundle.manifest import Geometry
from borzoi_rt.dataset import STATISTICS, Data, DataInfo, open_data
from borzoi_rt.dataset.arrow import schema_of, write_shard
from borzoi_rt.dataset.window import Window

from ._common import print_header, print_table

_GRID = Geometry(sequence_length_bp=524_288, bin_size_bp=32, bins=6144)
_SHARD = 4


def main() -> None:
    """Print the table; end with 1 where the batches differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", required=True, type=Path, help="Where the data are written; removed afterwards.")
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--tracks", type=int, default=7611)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args()
    print_header("python -m benchmarks.loader " + " ".join(sys.argv[1:]))
    folder = options.folder / "loader-data"
    folder.mkdir(parents=True)
    try:
        data, written = _write(folder, options.windows, options.tracks)
        size = (2 * options.tracks * _GRID.bins + _GRID.sequence_length_bp) / 1e6
        print(f"window    {options.tracks:,} tracks x {_GRID.bins:,} bins, {size:.1f} MB, {written:.1f} MB on disk\n")
        _time(data, options, workers=1)  # fills the cache of files
        found = [(workers, *_time(data, options, workers=workers)) for workers in options.workers]
    finally:
        shutil.rmtree(folder)
    rows = [(str(workers), rate, cpu, 1 / cpu, rate / found[0][1]) for workers, rate, cpu, _ in found]
    print_table(("threads", "windows a second", "CPU s a window", "windows a CPU second", "times the first"), rows)
    if len({digest for *_, digest in found}) > 1:
        raise SystemExit("\nthe batches differ between numbers of threads")
    print("\nall batches are the same for any number of threads")


def _time(data: Data, options: argparse.Namespace, *, workers: int) -> tuple[float, float, str]:
    """Return windows a second, seconds of processor a window, and a digest of the batches."""
    split, pairs = data.split("train"), np.arange(options.tracks)[::-1].copy()
    loader = TrainBatches(
        [split], [pairs], batch_size=options.batch_size, epochs=options.epochs, seed=0, workers=workers
    )
    digest, spent = hashlib.sha256(), 0.0
    start, cpu = time.perf_counter(), time.process_time()
    for batch in loader:
        begun = time.perf_counter()
        # A few values of every batch: hashing all of it would take longer than reading it.
        digest.update(batch["codes"].numpy().tobytes())
        digest.update(np.ascontiguousarray(batch["target"].numpy()[:, ::97, ::89]).tobytes())
        spent += time.perf_counter() - begun
    windows = len(loader) * options.batch_size
    passed = time.perf_counter() - start - spent
    return windows / passed, (time.process_time() - cpu - spent) / windows, digest.hexdigest()


def _write(folder: Path, count: int, tracks: int) -> tuple[Data, float]:
    """Write windows of counts under a square root; return them, and megabytes a window on disk."""
    generator = np.random.default_rng(0)
    (folder / "shards").mkdir()
    schema = schema_of(_GRID.sequence_length_bp, tracks, _GRID.bins)

    def windows(number: int) -> Iterator[Window]:
        for _ in range(number):
            reads = generator.poisson(generator.gamma(0.3, 2.0, (tracks, 1)), (tracks, _GRID.bins))
            codes = generator.integers(0, 4, _GRID.sequence_length_bp, dtype=np.uint8)
            yield Window(codes, np.sqrt(reads).astype(np.float16))

    written = 0
    for shard, start in enumerate(range(0, count, _SHARD)):
        path = folder / "shards" / f"train-{shard:05d}.arrow"
        write_shard(path, windows(min(_SHARD, count - start)), schema)
        written += path.stat().st_size
    info = DataInfo(tracks=tracks, geometry=_GRID, windows={"train": count}, squash="new")
    (folder / STATISTICS).write_text(json.dumps(info.to_json()))
    return open_data(folder), written / count / 1e6


if __name__ == "__main__":
    main()
