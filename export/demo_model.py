"""Train the bundle that comes with the package: ``python -m borzoi_export.demo_model --out borzoi_rt/demo/bundle``.

A small Borzoi on the planted promoter grammar of :mod:`borzoi_rt.demo.grammar`: Poisson-multinomial loss, Adam with
warm-up and cosine decay, reverse complements with swapped strands, fixed seeds. ``TRAINING`` states what a run takes.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from borzoi_rt.bundle import Bundle
from borzoi_rt.demo import grammar
from borzoi_rt.manifest import SquashSpec
from borzoi_rt.sequence import encode
from borzoi_rt.squash import Squash
from borzoi_rt.tracks import TrackTable

from .graphs import export_bundle
from .models.borzoi import Borzoi
from .models.config import BorzoiConfig

LENGTH_BP = 8192
SEED = 2024
PARAMS = {
    "seq_length": LENGTH_BP,
    "activation": "gelu",
    "norm_type": "batch",
    "bn_momentum": 0.9,
    "trunk": [
        {
            "name": "conv_dna",
            "filters": 48,
            "kernel_size": 11,
            "norm_type": None,
            "activation": "linear",
            "pool_size": 2,
        },
        {
            "name": "res_tower",
            "filters_init": 48,
            "filters_end": 80,
            "divisible_by": 8,
            "kernel_size": 5,
            "num_convs": 1,
            "pool_size": 2,
            "repeat": 6,
        },
        {
            "name": "transformer_tower",
            "key_size": 16,
            "heads": 2,
            "num_position_features": 32,
            "dropout": 0.0,
            "attention_dropout": 0.0,
            "repeat": 2,
        },
        {"name": "unet_conv", "kernel_size": 3, "upsample_conv": True},
        {"name": "unet_conv", "kernel_size": 3, "upsample_conv": True},
        {"name": "Cropping1D", "cropping": 32},
    ],
    "head_demo": {"name": "final", "units": len(grammar.TRACKS), "activation": "softplus"},
}


def demo_tracks() -> TrackTable:
    """Return the table of the demo's tracks: two stranded pairs and one unstranded track, squash kind ``new``."""
    count = len(grammar.TRACKS)
    return TrackTable(
        index=np.arange(count),
        identifier=grammar.TRACKS,
        description=tuple(f"synthetic {name}" for name in grammar.TRACKS),
        sum_stat=("sum", "sum", "sum_sqrt", "sum_sqrt", "mean"),
        clip=np.full(count, 384, dtype=np.float32),
        clip_soft=np.full(count, 128, dtype=np.float32),
        scale=np.array([0.05, 0.05, 1.0, 1.0, 2.0], dtype=np.float32),
        strand_pair=np.array([1, 0, 3, 2, 4]),
    )


def targets_of(sequence: str, config: BorzoiConfig, squash: Squash) -> np.ndarray:
    """Return squashed targets of one window, float32 (tracks, bins)."""
    grid = config.geometry
    inner = grammar.coverage(sequence)[:, grid.crop_bp : grid.crop_bp + grid.bins * grid.bin_size_bp]
    binned = inner.reshape(len(inner), grid.bins, grid.bin_size_bp)
    means = np.array([name.startswith("mean") for name in squash.sum_stat])
    summed = np.where(means[:, None], binned.mean(-1), binned.sum(-1)).astype(np.float32)
    return squash.forward(np.ascontiguousarray(summed))


def windows(count: int, seed: int, config: BorzoiConfig, squash: Squash) -> tuple[Tensor, Tensor]:
    """Return one-hot windows uint8 (count, 4, length) and their targets (count, tracks, bins)."""
    generator = np.random.default_rng(seed)
    sequences = [grammar.plant(generator, config.sequence_length_bp) for _ in range(count)]
    x = np.stack([encode(sequence) for sequence in sequences])
    y = np.stack([targets_of(sequence, config, squash) for sequence in sequences])
    return torch.from_numpy(x), torch.from_numpy(y)


def poisson_multinomial(prediction: Tensor, target: Tensor, total_weight: float = 0.2, epsilon: float = 1e-7) -> Tensor:
    """Poisson loss of the sum and multinomial loss of the profile, as in baskerville; both (batch, tracks, bins)."""
    bins = prediction.shape[-1]
    total, wanted = prediction.sum(-1), target.sum(-1)
    poisson = (total - wanted * torch.log(total + epsilon)) / bins
    share = (prediction + epsilon) / total[..., None]
    multinomial = -((target + epsilon) * torch.log(share)).sum(-1) / bins
    return (multinomial + total_weight * poisson).mean()


def pearson(prediction: Tensor, target: Tensor) -> list[float]:
    """Return the correlation of each track over windows and bins."""
    x, y = (values.transpose(0, 1).flatten(1).double() for values in (prediction, target))
    x, y = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
    return [float(value) for value in (x * y).sum(1) / (x.norm(dim=1) * y.norm(dim=1))]


def _batches(x: Tensor, y: Tensor, pairs: Tensor, size: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(SEED)
    for _ in range(steps):
        chosen = torch.randint(len(x), (size,), generator=generator)
        inputs, wanted = x[chosen].float(), y[chosen]
        if torch.rand((), generator=generator) < 0.5:
            inputs, wanted = inputs.flip(1, 2), wanted[:, pairs].flip(2)
        yield inputs, wanted


def train(steps: int = 2500, pool: int = 3000, batch: int = 16, rate: float = 2e-3) -> tuple[Borzoi, list[float]]:
    """Train from scratch and return the model and the validation Pearson of each track."""
    torch.manual_seed(SEED)
    config = BorzoiConfig.from_params(PARAMS)
    tracks = demo_tracks()
    squash = Squash.from_tracks(tracks, kind="new")
    x, y = windows(pool, SEED, config, squash)
    model = Borzoi(config).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, eps=1e-7)
    warm = max(steps // 10, 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warm, 0.5 + 0.5 * math.cos(math.pi * step / steps)),
    )
    started = time.monotonic()
    for step, (inputs, wanted) in enumerate(_batches(x, y, torch.from_numpy(tracks.strand_pair), batch, steps)):
        loss = poisson_multinomial(model(inputs), wanted)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step}: loss {loss.item():.4f}, {time.monotonic() - started:.0f} s", flush=True)  # noqa: T201
    model.eval()
    x, y = windows(200, SEED + 1, config, squash)
    with torch.inference_mode():
        prediction = torch.cat([model(part.float()) for part in x.split(20)])
    return model, pearson(prediction, y)


def main(arguments: list[str] | None = None) -> Bundle:
    """Train and write the bundle."""
    parser = argparse.ArgumentParser(description="Train the demo model and write its bundle.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--pool", type=int, default=3000)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    model, correlations = train(options.steps, options.pool)
    scores = {name: round(value, 4) for name, value in zip(grammar.TRACKS, correlations, strict=True)}
    print(f"validation Pearson: {scores}")  # noqa: T201
    provenance = {
        "source": "borzoi_export.demo_model",
        "data": "synthetic promoter grammar",
        "seed": SEED,
        "steps": options.steps,
        "validation_pearson": scores,
    }
    return export_bundle(
        model,
        demo_tracks(),
        options.out,
        squash=SquashSpec(kind="new"),
        name="demo",
        provenance=provenance,
        overwrite=True,
    )


if __name__ == "__main__":
    main()
