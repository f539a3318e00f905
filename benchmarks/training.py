"""Training on the CPU: samples a second against what the arithmetic allows, and memory against the size of the data.

python -m benchmarks.training [--params params.json] [--steps 10] [--data-gb 2]

Arithmetic is that of convolutions and matrix products, forward and backward, as torch counts it. What the machine can
do is a product of large square matrices on the same threads; both in processor seconds, so that other programs on the
machine do not enter.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from borzoi_export.models.config import BorzoiConfig, read_params
from borzoi_export.training.network import MultiHead
from borzoi_export.training.options import TrainOptions
from borzoi_export.training.run import train
from borzoi_export.training.session import RunOptions
from torch.utils.flop_counter import FlopCounterMode

from borzoi_rt.dataset import STATISTICS, DataInfo
from borzoi_rt.dataset.arrow import schema_of, write_shard
from borzoi_rt.dataset.window import Window

from ._common import interleaved, peak_rss_gb, print_header, print_table

_TINY: dict[str, Any] = {
    "seq_length": 131_072,
    "activation": "gelu",
    "norm_type": "batch",
    "bn_momentum": 0.9,
    "trunk": [
        {"name": "conv_dna", "filters": 64, "kernel_size": 7, "norm_type": None, "activation": "linear",
         "pool_size": 2},
        {"name": "res_tower", "filters_init": 80, "filters_end": 128, "divisible_by": 8, "kernel_size": 5,
         "num_convs": 1, "pool_size": 2, "repeat": 6},
        {"name": "transformer_tower", "key_size": 32, "heads": 2, "num_position_features": 32, "dropout": 0.2,
         "repeat": 2},
        {"name": "unet_conv", "kernel_size": 3, "upsample_conv": True},
        {"name": "unet_conv", "kernel_size": 3, "upsample_conv": True},
        {"name": "Cropping1D", "cropping": 1024},
    ],
    "head_human": {"name": "final", "units": 74, "activation": "softplus"},
}  # fmt: skip


def step_flops(config: BorzoiConfig) -> float:
    """Return multiplications and additions of one window, forward and backward."""
    model = MultiHead([config])
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 4, config.sequence_length_bp)).sum().backward()
    return float(counter.get_total_flops())


def write_random(folder: Path, config: BorzoiConfig, windows: int) -> None:
    """Write windows of random bases and coverage, which compress as badly as real ones."""
    grid, generator = config.geometry, np.random.default_rng(0)
    (folder / "shards").mkdir(parents=True)
    schema = schema_of(grid.sequence_length_bp, config.tracks, grid.bins)

    def make(_: int) -> Window:
        target = generator.gamma(0.3, 1.0, (config.tracks, grid.bins)).astype(np.float16)
        return Window(generator.integers(0, 4, grid.sequence_length_bp, dtype=np.uint8), target)

    for number in range(math.ceil(windows / 64)):
        count = min(64, windows - 64 * number)
        write_shard(folder / "shards" / f"train-{number:05d}.arrow", map(make, range(count)), schema)
    info = DataInfo(tracks=config.tracks, geometry=grid, windows={"train": windows}, squash="new")
    (folder / STATISTICS).write_text(json.dumps(info.to_json()))


def product_seconds(size: int = 2048) -> tuple[float, float]:
    """Return multiplications and additions of a product of float32 matrices, and its processor seconds."""
    a, b = torch.rand(size, size), torch.rand(size, size)
    return 2.0 * size**3, interleaved({"product": lambda: a @ b}, repeats=5)["product"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--data-gb", type=float, default=0.5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print_header("python -m benchmarks.training " + " ".join(sys.argv[1:]))
    params = read_params(options.params) if options.params else {"model": _TINY}
    config = BorzoiConfig.from_params(params)
    flops = step_flops(config)
    product_flops, product = product_seconds()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = 2 * config.tracks * config.bins + config.sequence_length_bp
        write_random(folder / "data", config, max(math.ceil(options.data_gb * 1e9 / size), options.steps))
        on_disk = sum(path.stat().st_size for path in (folder / "data").rglob("*") if path.is_file()) / 2**30
        before = peak_rss_gb()
        wall, processor = _timed_run(params, folder, options.steps, options.threads)
    rows = [
        ("product of 2,048 x 2,048", product_flops / 1e9, "", "", product_flops / product / 1e9),
        ("training, one window", flops / 1e9, 1 / wall, 1 / processor, flops / processor / 1e9),
    ]
    print_table(("what", "GFLOP", "a second", "a cpu second", "GFLOP a cpu second"), rows)
    share = (flops / processor) / (product_flops / product)
    print(f"\ntraining reaches {share:.0%} of the product")
    print(f"data {on_disk:.2f} GB on disk; peak memory {peak_rss_gb():.2f} GB, {before:.2f} GB before training")


def _timed_run(params: Mapping[str, Any], folder: Path, steps: int, threads: int) -> tuple[float, float]:
    """Train, and return the median wall and processor seconds between two updates."""
    changes = {"batch_size": 1, "augment_rc": False, "augment_shift": 0, "max_epochs": steps}
    recipe = TrainOptions.from_params(params, max_steps=steps, **changes)
    stamps: list[tuple[float, float]] = []
    update = torch.optim.Adam.step

    def stamped(*arguments: Any) -> Any:
        stamps.append((time.perf_counter(), time.process_time()))
        return update(*arguments)

    torch.optim.Adam.step = stamped  # type: ignore[method-assign]
    run = RunOptions(accelerator="cpu", threads=threads)
    train(params, [folder / "data"], folder / "run", options=recipe, run=run)
    wall, processor = np.median(np.diff(np.array(stamps), axis=0), axis=0).tolist()
    return wall, processor


if __name__ == "__main__":
    main()
