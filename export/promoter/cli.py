"""``borzoi-rt promoter``, loaded by name from the runtime's command line."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from borzoi_rt.cli._shared import progress_bar
from borzoi_rt.errors import FormatError, InputError

from ..models.promoter import build, set_kernels
from ..models.promoter_config import PromoterConfig
from ..models.puffin import PuffinConfig, load_puffin
from ..training.penalties import PENALTIES
from .bundle import export_promoter
from .data import SMOOTHING_BP, TOP, load_data, read_tss_table
from .objectives import PUBLISHED
from .store import consensus_of_runs, named, read_consensus, write_consensus
from .train import OPTIONS, load_run
from .train import train as train_network

_FILE = click.Path(path_type=Path)
_FORMS = click.Choice(tuple(PENALTIES))


@click.group()
def promoter() -> None:
    """Train promoter networks, take consensus motifs from them, and export them."""


@promoter.command()
@click.option("--stage", required=True, type=click.IntRange(1, 3), help="1 motifs, 2 short kernels, 3 predictor.")
@click.option("--fasta", required=True, type=_FILE, help="Indexed genome.")
@click.option("--plus", required=True, type=_FILE, help="bigWig of 5' ends, + strand.")
@click.option("--minus", required=True, type=_FILE, help="bigWig of 5' ends, - strand.")
@click.option("--tss", required=True, type=_FILE, help="TSSs: BED, or a CAGEfightR table (1-based thick.start).")
@click.option("--valid", required=True, help="Comma list of chromosomes to validate on.")
@click.option("--test", default="", help="Comma list of chromosomes to leave out.")
@click.option("--out", required=True, type=_FILE, help="Run directory to make.")
@click.option("--kernels", type=_FILE, help="Consensus motifs, for stages 2 and 3.")
@click.option("--other-kernels", type=_FILE, help="Consensus short kernels (motif.npy in a directory), for stage 3.")
@click.option("--motifs", type=click.IntRange(min=1), default=40, show_default=True, help="Kernels of stage 1.")
@click.option("--others", type=click.IntRange(min=1), default=40, show_default=True, help="Short kernels of stage 2.")
@click.option("--config", type=_FILE, help="JSON of network sizes, where they are not the published ones.")
@click.option("--top", type=click.IntRange(min=1), default=TOP, show_default=True, help="TSSs of a table, by score.")
@click.option("--steps", type=click.IntRange(min=1), help="Batches  [default: by stage].")
@click.option("--batch", type=click.IntRange(min=2), help="Windows in a batch  [default: 16, stage 3: 64].")
@click.option("--rate", type=float, help="Learning rate  [default: 2e-3, stage 3: 1e-4].")
@click.option(
    "--schedule", type=click.Choice(["constant", "cosine", "cycle"]), help="Of the rate  [default: by stage]."
)
@click.option("--validate-every", type=click.IntRange(min=1), help="Steps between validations  [default: by stage].")
@click.option("--seed", type=int, help="Of everything that is drawn  [default: 0].")
@click.option("--tissue", help="What the data are from, for the consensus  [default: all].")
@click.option("--smooth-deconv", type=float, help="Roughness of the second convolution  [default: published].")
@click.option("--l1-deconv", type=float, help="Size of the second convolution  [default: published].")
@click.option("--l1-motif", type=float, help="Size of the first convolution  [default: published].")
@click.option("--poisson-kl", type=float, help="Poisson term beside the profile  [default: published].")
@click.option("--adamw-wd", type=float, help="Weight decay  [default: published].")
@click.option("--smooth-form", type=_FORMS, help="Formula of --smooth-deconv  [default: published].")
@click.option("--l1-form", type=_FORMS, help="Formula of --l1-deconv and --l1-motif  [default: published].")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.")
def train(
    stage: int,
    fasta: Path,
    plus: Path,
    minus: Path,
    tss: Path,
    valid: str,
    test: str,
    out: Path,
    kernels: Path | None,
    other_kernels: Path | None,
    motifs: int,
    others: int,
    config: Path | None,
    top: int,
    threads: int | None,
    **choices: Any,
) -> None:
    """Train one network and write a run."""
    if threads is not None:
        torch.set_num_threads(threads)
    options = _changed(OPTIONS[stage], choices)
    objective = _changed(PUBLISHED[stage], choices)
    torch.manual_seed(options.seed)
    model = build(_config(stage, motifs, others, config, kernels, other_kernels))
    if kernels is not None:
        found, _ = read_consensus(kernels)
        weights = {"motif": torch.from_numpy(found.kernel)}
        if stage == 2:
            weights["effect"] = torch.from_numpy(np.ascontiguousarray(found.effect))
        if other_kernels is not None:
            weights["other"] = torch.from_numpy(_short(other_kernels))
        set_kernels(model, **weights)
    smoothing = SMOOTHING_BP if stage == 3 else 1
    sites = read_tss_table(tss, top=top)
    data = load_data(model.config, sites, fasta=fasta, plus=plus, minus=minus, smoothing_bp=smoothing)
    skipped = data.skipped
    if test:
        data, _ = data.split(test.split(","))
    training, validation = data.split(valid.split(","))
    with progress_bar("training", options.steps) as progress:
        best = train_network(model, training, validation, out, options=options, objective=objective, progress=progress)
    click.echo(
        f"{out}: {len(training)} sites trained on, {skipped} skipped; validation loss {best['loss']:.5f}, mean Pearson "
        f"{best['pearson']:.4f} at step {best['step']:.0f}",
        err=True,
    )


@promoter.command()
@click.argument("runs", nargs=-1, required=True, type=_FILE)
@click.option("--out", required=True, type=_FILE, help="Directory of motifs to make.")
@click.option(
    "--layers", type=click.Choice(["motif", "other"]), default="motif", show_default=True, help="Which kernels."
)
@click.option("--compat", is_flag=True, help="Similarity over the published, asymmetric range of shifts.")
def consensus(runs: tuple[Path, ...], out: Path, layers: str, compat: bool) -> None:
    """Take the motifs that several RUNS have found alike: weights, names, MEME and JASPAR files."""
    kernels = consensus_of_runs(runs, layers=layers, compat=compat)
    write_consensus(out, kernels, named(kernels))
    click.echo(f"{out}: {len(kernels)} motifs of {len(runs)} runs", err=True)


@promoter.command()
@click.argument("run", type=_FILE)
@click.option("--out", required=True, type=_FILE, help="Bundle directory to make.")
@click.option("--name", help="Name of the model  [default: of the run].")
@click.option("--weights", type=click.Choice(["best", "last"]), default="best", show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace an existing bundle.")
def export(run: Path, out: Path, name: str | None, weights: str, overwrite: bool) -> None:
    """Write the network of a RUN as a bundle."""
    model, about = load_run(run, weights)
    provenance = {"source": "promoter run", "best": about["best"], "tissue": about["options"]["tissue"]}
    _report(export_promoter(model, out, name=name or run.name, provenance=provenance, overwrite=overwrite))


@promoter.command()
@click.argument("weights", type=_FILE)
@click.option("--out", required=True, type=_FILE, help="Bundle directory to make.")
@click.option("--length", "sequence_length_bp", type=int, default=4650, show_default=True, help="Window in bp.")
@click.option("--tss", "tss_bp", type=int, default=2325, show_default=True, help="Place of the TSS in the window.")
@click.option("--overwrite", is_flag=True, help="Replace an existing bundle.")
def puffin(weights: Path, out: Path, sequence_length_bp: int, tss_bp: int, overwrite: bool) -> None:
    """Write a bundle from your own copy of Puffin's WEIGHTS; its licence allows academic research only."""
    config = PuffinConfig(sequence_length_bp=sequence_length_bp, tss_bp=tss_bp)
    provenance = {"source": weights.name, "licence": "academic research only, no redistribution"}
    _report(
        export_promoter(load_puffin(weights, config), out, name="puffin", provenance=provenance, overwrite=overwrite)
    )


def _changed(default: Any, choices: dict[str, Any]) -> Any:
    """Return the defaults of a stage with the options that were given."""
    known = {item.name for item in fields(default)}
    return replace(default, **{name: value for name, value in choices.items() if name in known and value is not None})


def _config(
    stage: int, motifs: int, others: int, path: Path | None, kernels: Path | None, other_kernels: Path | None
) -> PromoterConfig:
    sizes: dict[str, Any] = {}
    if path is not None:
        try:
            sizes = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise FormatError(f"{path}: cannot be read as JSON ({error})") from error
    if stage == 1:
        names = tuple(f"kernel{number}" for number in range(motifs))
        return PromoterConfig.from_dict({"motif_names": names, **sizes, "stage": 1})
    if kernels is None:
        raise InputError(f"stage {stage} needs the motifs of stage 1; give --kernels, made by `promoter consensus`")
    found, names = read_consensus(kernels)
    sizes = {"motif_width": found.kernel.shape[-1], "effect_width": found.forward.shape[-1], **sizes}
    if stage == 3:
        if other_kernels is None:
            raise InputError("stage 3 needs the short kernels of stage 2; give --other-kernels")
        short = _short(other_kernels)
        sizes = {"others": len(short), "other_width": short.shape[-1], **sizes}
    return PromoterConfig.from_dict({"motif_names": names, "others": others, **sizes, "stage": stage})


def _short(folder: Path) -> np.ndarray:
    return read_consensus(folder)[0].kernel


def _report(bundle: Any) -> None:
    parity = bundle.info.parity
    click.echo(
        f"{bundle.path}: onnxruntime against PyTorch {parity['max_abs']:.2e} absolute; of effects of removal "
        f"{parity['max_abs_of_removal']:.2e}, the largest being {parity['largest_removal']:.2e}"
    )
