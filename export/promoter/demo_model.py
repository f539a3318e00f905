"""Train the promoter bundle of the demo: ``python -m borzoi_export.promoter.demo_model --out BUNDLE``.

All stages on the synthetic promoters of :mod:`borzoi_rt.demo.promoter_grammar`, fixed seeds: several stage 1 nets,
their consensus, one stage 2 net for the short kernels, then stage 3. The motifs are found from the data; the
grammar's words only lend them their names.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.demo import promoter_grammar as grammar
from borzoi_rt.sequence import encode

from ..models.promoter import build, set_kernels
from ..models.promoter_config import PromoterConfig
from ..training.session import RunOptions
from .bundle import export_promoter
from .consensus import Kernels
from .data import SMOOTHING_BP, PromoterData, load_data, read_tss_table
from .options import TrainOptions
from .runs import load_run
from .store import consensus_of_runs, named, read_consensus, write_consensus
from .train import train

log = logging.getLogger(__name__)

SEED = 7
CPU = RunOptions(accelerator="cpu")
NETS = 4
WINDOW: dict[str, Any] = {
    "sequence_length_bp": 600,
    "crop_bp": 90,
    "tss_bp": 360,
    "motif_width": 15,
    "effect_width": 161,
}
DISCOVERY_MOTIFS = 12
OTHERS = 4
PREDICTOR: dict[str, Any] = {"channels": 12, "decoder_width": 9, "strides": (5, 3, 2), "decoders": 1, "dropout": 0.1}


def main(arguments: list[str] | None = None) -> Bundle:
    """Train everything and write the bundle."""
    parser = argparse.ArgumentParser(description="Train the demo's promoter model and write its bundle.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--work", type=Path, help="Directory to keep data, runs and motifs in  [default: a temporary one]."
    )
    parser.add_argument(
        "--steps", type=int, default=2000, help="Of each stage 1 net; stage 2 takes a quarter, stage 3 half."
    )
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(options.threads)
    if options.work is not None:
        options.work.mkdir(parents=True, exist_ok=True)
        return make(options.work, options.out, options.steps)
    with tempfile.TemporaryDirectory() as work:
        return make(Path(work), options.out, options.steps)


def make(work: Path, out: Path, steps: int) -> Bundle:
    """Train in ``work`` and write the bundle to ``out``."""
    started = time.monotonic()
    grammar.write_data(work, seed=SEED)
    names = tuple(f"kernel{number}" for number in range(DISCOVERY_MOTIFS))
    first = PromoterConfig(stage=1, motif_names=names, **WINDOW)
    training, validation = _data(work, first, 1)
    runs = [work / f"stage1_{net}" for net in range(NETS)]
    for net, run in enumerate(runs):
        torch.manual_seed(SEED + net)
        plan = TrainOptions(
            steps=steps, rate=5e-3, schedule="cosine", validate_every=max(steps // 4, 1), seed=SEED + net
        )
        _report(run, train(build(first), training, validation, run, options=plan, run=CPU), started)
    kernels = consensus_of_runs(runs)
    write_consensus(
        work / "motifs", kernels, named(kernels, {name: encode(w.letters) for name, w in grammar.WORDS.items()})
    )
    kernels, motif_names = read_consensus(work / "motifs")
    log.info("motifs: %s", ", ".join(motif_names))
    short = _short_kernels(work, motif_names, kernels, steps, started)
    third = PromoterConfig(stage=3, motif_names=motif_names, others=OTHERS, **WINDOW, **PREDICTOR)
    torch.manual_seed(SEED)
    model = build(third)
    set_kernels(model, motif=torch.from_numpy(kernels.kernel), other=short)
    model.motif.bias = torch.nn.Parameter(torch.from_numpy(_biases(runs, kernels)))
    training, validation = _data(work, third, SMOOTHING_BP)
    plan = TrainOptions(
        steps=max(steps // 2, 1), rate=2e-3, schedule="cosine", validate_every=max(steps // 16, 1), seed=SEED
    )
    best = train(model, training, validation, work / "stage3", options=plan, run=CPU)
    _report(work / "stage3", best, started)
    model, about = load_run(work / "stage3")
    provenance = {
        "source": "borzoi_export.promoter.demo_model",
        "data": "synthetic promoters",
        "seed": SEED,
        "steps": steps,
        "validation_pearson": round(about["validation"]["pearson"], 4),
    }
    return export_promoter(model, out, name="promoter demo", provenance=provenance, overwrite=True)


def _data(work: Path, config: PromoterConfig, smoothing_bp: int) -> tuple[PromoterData, PromoterData]:
    files = {"fasta": work / "genome.fa", "plus": work / "plus.bw", "minus": work / "minus.bw"}
    data = load_data(config, read_tss_table(work / "tss.bed"), **files, smoothing_bp=smoothing_bp)
    rest, _ = data.split([grammar.TEST])
    return rest.split([grammar.VALID])


def _short_kernels(work: Path, names: tuple[str, ...], kernels: Kernels, steps: int, started: float) -> torch.Tensor:
    second = PromoterConfig(stage=2, motif_names=names, others=OTHERS, **WINDOW)
    torch.manual_seed(SEED)
    model = build(second)
    set_kernels(model, motif=torch.from_numpy(kernels.kernel), effect=torch.from_numpy(kernels.effect.copy()))
    training, validation = _data(work, second, 1)
    plan = TrainOptions(steps=max(steps // 4, 1), rate=2e-3, validate_every=max(steps // 4, 1), seed=SEED)
    _report(work / "stage2", train(model, training, validation, work / "stage2", options=plan, run=CPU), started)
    state = load_run(work / "stage2")[0].state_dict()
    return state["other.weight"]


def _biases(runs: list[Path], kernels: Kernels) -> np.ndarray:
    """Return the biases the kernels had in their nets: where a consensus kernel starts to respond."""
    biases = []
    for source in kernels.source:
        run, _, row = source.rpartition(":")
        model, _ = load_run(next(path for path in runs if path.name == run))
        biases.append(float(model.state_dict()["motif.bias"][int(row)]))
    return np.array(biases, dtype=np.float32)


def _report(run: Path, best: dict[str, float], started: float) -> None:
    log.info(
        "%s: validation loss %.5f, Pearson %.3f, %.0f s",
        run.name,
        best["loss"],
        best["pearson"],
        time.monotonic() - started,
    )


if __name__ == "__main__":
    main()
