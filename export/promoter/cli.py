"""``borzoi-rt promoter``, loaded by name from the runtime's command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..graphs.finish import table
from ..models.puffin import PuffinConfig, load_puffin
from .bundle import export_promoter
from .cli_train import train
from .runs import load_run
from .store import consensus_of_runs, named, write_consensus

_FILE = click.Path(path_type=Path)


@click.group()
def promoter() -> None:
    """Train promoter networks, take consensus motifs from them, and export them."""


promoter.add_command(train)


@promoter.command()
@click.argument("runs", nargs=-1, required=True, type=_FILE)
@click.option("--out", required=True, type=_FILE, help="Directory of motifs to make.")
@click.option(
    "--layers", type=click.Choice(["motif", "other"]), default="motif", show_default=True, help="Which kernels."
)
@click.option("--compat", is_flag=True, help="As published: asymmetric shifts, the middle member decides.")
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
    facts = {name: about[name] for name in ("step", "validation", "origin")}
    provenance = {"source": "promoter run", "tissue": about["options"]["tissue"], **facts}
    _report(export_promoter(model, out, name=name or run.name, provenance=provenance, overwrite=overwrite))


@promoter.command()
@click.argument("weights", type=_FILE)
@click.option("--out", required=True, type=_FILE, help="Bundle directory to make.")
@click.option("--length", "sequence_length_bp", type=int, default=4650, show_default=True, help="Window in bp.")
@click.option("--tss", "tss_bp", type=int, default=2325, show_default=True, help="Position of the TSS in it, 0-based.")
@click.option("--overwrite", is_flag=True, help="Replace an existing bundle.")
def puffin(weights: Path, out: Path, sequence_length_bp: int, tss_bp: int, overwrite: bool) -> None:
    """Write a bundle from your own copy of Puffin's WEIGHTS; its licence allows academic research only."""
    config = PuffinConfig(sequence_length_bp=sequence_length_bp, tss_bp=tss_bp)
    provenance = {"source": weights.name, "licence": "academic research only, no redistribution"}
    _report(
        export_promoter(load_puffin(weights, config), out, name="puffin", provenance=provenance, overwrite=overwrite)
    )


def _report(bundle: Any) -> None:
    for line in table(bundle.info.parity["checks"]):
        click.echo(line)
    click.echo(f"{bundle.path}: {len(bundle.tracks)} tracks")
