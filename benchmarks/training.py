"""Training on the CPU: samples a second against what the arithmetic allows, and memory against the size of the data.

``python -m benchmarks.training [--params params.json] [--steps 10] [--data-gb 2]``. Arithmetic is that of convolutions
and matrix products, forward and backward, as torch counts it. The bound is a product of large square matrices on the
same threads, measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from borzoi_export.models.config import BorzoiConfig, read_params
from borzoi_export.training.network import MultiHead
from borzoi_export.training.options import TrainOptions
from borzoi_export.training.run import RunOptions, train
from torch.utils.flop_counter import FlopCounterMode

from borzoi_rt.dataset import STATISTICS, DataInfo
from borzoi_rt.dataset.arrow import schema_of, write_shard
from borzoi_rt.dataset.window import Window

from ._common import header, interleaved, peak_rss_gb

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


def bound_gflops() -> float:
    """Return what this machine reaches on float32 matrix products of 2,048 x 2,048."""
    a, b = torch.rand(2048, 2048), torch.rand(2048, 2048)
    seconds = interleaved({"product": lambda: a @ b}, rounds=5)["product"]
    return float(2 * 2048**3 / seconds / 1e9)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--params", type=Path)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--data-gb", type=float, default=0.5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    params = read_params(options.params) if options.params else {"model": _TINY}
    config = BorzoiConfig.from_params(params)
    flops, bound = step_flops(config), bound_gflops()
    print(header())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = 2 * config.tracks * config.bins + config.sequence_length_bp
        write_random(folder / "data", config, max(math.ceil(options.data_gb * 1e9 / size), options.steps))
        on_disk = sum(path.stat().st_size for path in (folder / "data").rglob("*") if path.is_file()) / 1e9
        base = peak_rss_gb()
        recipe = TrainOptions.from_params(
            params, batch_size=1, max_steps=options.steps, augment_rc=False, augment_shift=0, max_epochs=options.steps
        )
        stamps: list[float] = []
        step = torch.optim.Adam.step
        torch.optim.Adam.step = lambda *args: (stamps.append(time.perf_counter()), step(*args))[1]  # type: ignore[method-assign]
        run = RunOptions(accelerator="cpu", threads=options.threads)
        train(params, [folder / "data"], folder / "run", options=recipe, run=run)
    seconds = statistics.median(np.diff(stamps))
    reached = flops / seconds / 1e9
    print(f"{flops / 1e9:.1f} GFLOP a sample; {1 / seconds:.2f} samples/s = {reached:.1f} GFLOP/s")
    print(
        f"matrix products reach {bound:.1f} GFLOP/s: {reached / bound:.0%} of it, at most {bound * 1e9 / flops:.2f} "
        "samples/s"
    )
    print(f"{on_disk:.2f} GB of data on disk; peak memory {peak_rss_gb():.2f} GB, {base:.2f} GB before training")


if __name__ == "__main__":
    main()
