"""Train the bundle that comes with the package: ``python -m borzoi_export.demo_model --out borzoi_rt/demo/bundle``.

The road that any lab takes, on a synthetic genome: coverage of the planted promoter grammar
(:mod:`borzoi_rt.demo.grammar`) as bigWig, ``data make``, ``train``, ``export checkpoint``, ``evaluate``. The seed is
fixed: the same version of torch on processors with the same vector instructions makes the same bundle, on others the
rounding of the first update already differs. The packaged bundle got its graphs of gradient and activations later, of
its own weights by ``borzoi-rt export gradient`` and ``export activations``, which left all else in it as it was.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pybigtools

from borzoi_rt.backends.opening import open_session
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.dataset import Data
from borzoi_rt.dataset.make import MakeOptions, Sources, make_data
from borzoi_rt.demo import grammar
from borzoi_rt.evaluation.run import evaluate
from borzoi_rt.genome.fasta import write_fasta
from borzoi_rt.genome.intervals import Interval
from borzoi_rt.tracks import TrackTable

from .convert import convert_checkpoint
from .models.config import BorzoiConfig
from .training.options import TrainOptions
from .training.run import train
from .training.session import RunOptions

LENGTH_BP = 8192
SEED = 2024
RECIPE = {"batch_size": 16, "learning_rate": 2e-3, "global_clipnorm": 1.0, "total_weight": 0.2}
MODEL = {
    "seq_length": LENGTH_BP,
    "activation": "gelu",
    "norm_type": "batch",
    "bn_momentum": 0.9,
    "augment_rc": True,
    "augment_shift": 0,
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
        extra={"file": tuple(f"{name}.bw" for name in grammar.TRACKS)},
    )


def write_sources(folder: Path, counts: dict[str, int], config: BorzoiConfig) -> Sources:
    """Write genome, bigWigs and table: every window is a contig of its own, so that no promoter reaches into another.

    Parameters
    ----------
    folder : path
        Where to write.
    counts : dict of str to int
        Windows of each split.
    config : BorzoiConfig
        Sizes of a window. Coverage is constant within a bin, which is all that a model of this grid can see.
    """
    grid = config.geometry
    generator = np.random.default_rng(SEED)
    names = [f"w{number:05d}" for number in range(sum(counts.values()))]
    genome = {name: grammar.plant(generator, grid.sequence_length_bp) for name in names}
    write_fasta(folder / "genome.fa", genome)
    lengths = dict.fromkeys(names, grid.sequence_length_bp)
    signals = {}
    for name, bases in genome.items():
        signal = grammar.coverage(bases)
        signals[name] = signal.reshape(len(signal), -1, grid.bin_size_bp).mean(axis=2)
    for track, title in enumerate(grammar.TRACKS):
        entries = _entries(signals, track, grid.bin_size_bp)
        pybigtools.open(str(folder / f"{title}.bw"), "w").write(lengths, entries)
    demo_tracks().write(folder / "targets.txt")
    windows = iter(Interval(name, 0, grid.sequence_length_bp) for name in names)
    regions = {split: [next(windows) for _ in range(count)] for split, count in counts.items()}
    return Sources(targets=folder / "targets.txt", fasta=folder / "genome.fa", regions=regions)


def _entries(signals: dict[str, np.ndarray], track: int, width: int) -> Iterator[tuple[str, int, int, float]]:
    for name, signal in signals.items():
        for index, value in enumerate(signal[track].tolist()):
            yield name, index * width, (index + 1) * width, value


def make_demo_model(
    work: Path, out: Path, *, steps: int, windows: int, valid: int = 200, threads: int = 2, progress: bool = False
) -> Bundle:
    """Make data, train, export; the bundle's provenance holds the validation Pearson of each track.

    Parameters
    ----------
    work : path
        Directory for data and checkpoints.
    out : path
        Bundle to make; replaced if it is one.
    steps, windows, valid, threads : int
        Updates; windows to train and to validate on; CPU threads.
    """
    params: dict[str, Any] = {"train": {**RECIPE, "warmup_steps": max(steps // 10, 1)}, "model": MODEL}
    config = BorzoiConfig.from_params(params)
    (work / "sources").mkdir(parents=True)
    sources = write_sources(work / "sources", {"train": windows, "valid": valid}, config)
    options = MakeOptions(squash="new", geometry=config.geometry, empty_contigs=True)
    data = make_data(sources, work / "data", options=options, workers=threads)
    recipe = TrainOptions.from_params(
        params, max_steps=steps, schedule="cosine", seed=SEED, valid_every=max(steps // 10, 1), patience=steps
    )
    run = RunOptions(accelerator="cpu", threads=threads, progress=progress)
    checkpoint = train(params, [data.path], work / "run", options=recipe, run=run)
    draft = convert_checkpoint(checkpoint, data.path / "targets.txt", work / "draft", name="demo")
    facts = {"recipe": "borzoi_export.demo_model", "validation_pearson": _pearson(draft, data, threads)}
    more: dict[str, Any] = {"provenance": facts, "gradient": True, "activations": True}
    return convert_checkpoint(checkpoint, data.path / "targets.txt", out, name="demo", overwrite=True, **more)


def _pearson(bundle: Bundle, data: Data, threads: int) -> dict[str, float]:
    session = open_session(bundle, threads=threads)
    result = evaluate(session, bundle.tracks, data, "valid")
    session.close()
    return {name: round(float(value), 4) for name, value in zip(grammar.TRACKS, result.pearson, strict=True)}


def main(arguments: list[str] | None = None) -> None:
    """Train and write the bundle."""
    parser = argparse.ArgumentParser(description="Train the demo model and write its bundle.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--windows", type=int, default=3000)
    parser.add_argument("--threads", type=int, default=1)  # sums do not depend on the cores
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        bundle = make_demo_model(
            Path(folder),
            options.out,
            steps=options.steps,
            windows=options.windows,
            threads=options.threads,
            progress=True,
        )
    print(f"{bundle.path}: validation Pearson {bundle.info.provenance['validation_pearson']}")  # noqa: T201


if __name__ == "__main__":
    main()
