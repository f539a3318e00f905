"""Memory of training on data that do not fit: one pass over shards of random coverage, by `borzoi-rt train`.

python -m benchmarks.memory_training --folder DIR [--data-gb 1 10] [--tracks 7611]

Writes each size of data with the project's writer, trains a small network on all of its windows, in a process of its
own as a user would, and removes the data. Peak memory is VmHWM, pages of mapped files included, summed over the process
and all that it starts; the pages that the kernel caches of files which are read and not mapped belong to nobody.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from borzoi_export.models.config import BorzoiConfig

from borzoi_rt.dataset import STATISTICS, DataInfo
from borzoi_rt.dataset.arrow import schema_of, write_shard
from borzoi_rt.dataset.window import Window

from ._common import print_header, print_table

_SHARD = 32
_LIMIT_GB = 4.0


def main() -> None:
    """Print the table; end with 1 where a run needs more than the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", required=True, type=Path, help="Where the data are written; removed afterwards.")
    parser.add_argument("--data-gb", type=float, nargs="+", default=[1.0, 10.0])
    parser.add_argument("--tracks", type=int, default=7611)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    print_header("python -m benchmarks.memory_training " + " ".join(sys.argv[1:]))
    params = _params(options.tracks)
    config = BorzoiConfig.from_params(params)
    grid = config.geometry
    print(f"window    {grid.sequence_length_bp:,} bp, {config.tracks:,} tracks x {grid.bins:,} bins\n")
    rows, most = [], 0.0
    for size in options.data_gb:
        folder = options.folder / f"memory-{size:g}"
        folder.mkdir(parents=True)
        try:
            start = time.perf_counter()
            windows, written = _write(folder / "data", config, size)
            print(f"wrote {written / 1e9:.2f} GB in {time.perf_counter() - start:.0f} s", file=sys.stderr)
            found = _train(params, folder, windows, options.threads)
        finally:
            shutil.rmtree(folder)
        most = max(most, found["peak"])
        rate = windows / found["seconds"]
        rows.append((f"{written / 1e9:.2f}", str(windows), found["read"], rate, found["processes"], found["peak"]))
    print_table(("GB on disk", "windows", "GB read", "windows a second", "processes", "peak GB"), rows)
    if most >= _LIMIT_GB:
        raise SystemExit(f"\n{most:.2f} GB is more than {_LIMIT_GB:g} GB")


def _params(tracks: int) -> dict[str, Any]:
    """Return a small network that reads 65,536 bp and writes as many tracks as asked for."""
    trunk: list[dict[str, Any]] = [
        {"name": "conv_dna", "filters": 16, "kernel_size": 7, "norm_type": None, "activation": "linear",
         "pool_size": 2},
        {"name": "res_tower", "filters_init": 16, "filters_end": 32, "divisible_by": 8, "kernel_size": 5,
         "num_convs": 1, "pool_size": 2, "repeat": 6},
        {"name": "transformer_tower", "key_size": 16, "heads": 2, "num_position_features": 32, "dropout": 0.0,
         "repeat": 1},
        {"name": "unet_conv", "kernel_size": 3, "upsample_conv": True},
        {"name": "unet_conv", "kernel_size": 3, "upsample_conv": True},
        {"name": "Cropping1D", "cropping": 512},
    ]  # fmt: skip
    head = {"name": "final", "units": tracks, "activation": "softplus"}
    shared = {"activation": "gelu", "norm_type": "batch", "bn_momentum": 0.9}
    return {
        "train": {"batch_size": 1, "train_epochs_max": 1},
        "model": {"seq_length": 65_536, **shared, "trunk": trunk, "head_human": head},
    }


def _write(folder: Path, config: BorzoiConfig, size_gb: float) -> tuple[int, int]:
    """Write shards until they take so much on the disk; return windows and bytes."""
    grid, generator = config.geometry, np.random.default_rng(0)
    (folder / "shards").mkdir(parents=True)
    schema = schema_of(grid.sequence_length_bp, config.tracks, grid.bins)

    def windows() -> Iterator[Window]:
        for _ in range(_SHARD):
            # All float16 from 0 to below 2, with equal chances: hardly compressed, so that all of it is read.
            bits = generator.integers(0, 0x4000, (config.tracks, grid.bins), dtype=np.uint16)
            codes = generator.integers(0, 4, grid.sequence_length_bp, dtype=np.uint8)
            yield Window(codes, bits.view(np.float16))

    count = written = 0
    while written < size_gb * 1e9:
        path = folder / "shards" / f"train-{count // _SHARD:05d}.arrow"
        count += write_shard(path, windows(), schema)
        written += path.stat().st_size
    info = DataInfo(tracks=config.tracks, geometry=grid, windows={"train": count}, squash="new")
    (folder / STATISTICS).write_text(json.dumps(info.to_json()))
    return count, written


def _train(params: dict[str, Any], folder: Path, windows: int, threads: int) -> dict[str, Any]:
    """Train in a process of its own, and look at it and its children until they end."""
    file, log = folder / "params.json", folder / "run" / "train.csv"
    file.write_text(json.dumps(params))
    command = [sys.executable, "-m", "borzoi_rt", "train", "--params", file, "--data", folder / "data"]
    command += ["--out", folder / "run", "--accelerator", "cpu", "--threads", str(threads), "--no-rc"]
    peaks: dict[int, float] = {}
    read: dict[int, float] = {}
    started = 0.0
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            for pid in _tree(process.pid):
                peaks[pid] = _figure(pid, "status", "VmHWM") * 1024 / 1e9 or peaks.get(pid, 0.0)
                read[pid] = _figure(pid, "io", "rchar") / 1e9 or read.get(pid, 0.0)
            if not started and log.is_file() and log.read_text().count("\n") > 1:
                started = time.perf_counter()
            time.sleep(0.2)
        seconds = time.perf_counter() - started
        if process.returncode:
            assert process.stderr is not None
            raise SystemExit(f"training ended with {process.returncode}:\n{process.stderr.read()[-2000:]}")
    trained = log.read_text().count("\n") - 1
    if trained != windows:
        raise SystemExit(f"{trained} of {windows} windows were trained on")
    return {"peak": sum(peaks.values()), "read": sum(read.values()), "processes": len(peaks), "seconds": seconds}


def _tree(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    found = [pid]
    for parent in found:
        tasks = Path(f"/proc/{parent}/task")
        for task in os.listdir(tasks) if tasks.is_dir() else ():
            try:
                found += [int(child) for child in (tasks / task / "children").read_text().split()]
            except OSError:  # the thread has ended
                continue
    return found


def _figure(pid: int, file: str, name: str) -> float:
    """Return a number from /proc; 0 where the process has ended."""
    try:
        text = Path(f"/proc/{pid}/{file}").read_text()
        return float(text.split(f"{name}:", 1)[1].split()[0])
    except (OSError, IndexError):
        return 0.0


if __name__ == "__main__":
    main()
