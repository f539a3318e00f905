"""``borzoi-rt promoter``, loaded by name from the runtime's command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..graphs.finish import table
from ..models.puffin import PuffinConfig, load_puffin
from .bundle import export_promoter
from .cli_train import train
from .consensus import ACROSS_R, WITHIN_R, WITHIN_SHARE
from .evaluate import evaluate_run, write_sites, write_strands
from .runs import load_run
from .store import arranged, consensus_of_runs, named, read_consensus, write_consensus

_FILE = click.Path(path_type=Path)
_SHARE = click.FloatRange(0, 1)


@click.group()
def promoter() -> None:
    """Train promoter networks, take consensus motifs from them, and export them."""


promoter.add_command(train)


@promoter.command()
@click.argument("runs", nargs=-1, required=True, type=_FILE)
@click.option(
    "--out", required=True, type=_FILE, help="Directory of motifs to make: motif.npy, names, MEME and JASPAR files."
)
@click.option(
    "--layers",
    type=click.Choice(["motif", "other"]),
    default="motif",
    show_default=True,
    help="Kernels to merge: motifs of stage 1, or short kernels (other) of stage 2.",
)
@click.option(
    "--min-correlation",
    type=_SHARE,
    default=WITHIN_R,
    show_default=True,
    help="Kernels of two nets of a tissue that are each other's best match, with a higher Pearson r, are one motif.",
)
@click.option(
    "--min-correlation-across",
    type=_SHARE,
    default=ACROSS_R,
    show_default=True,
    help="Motifs of two tissues with a higher r are one.",
)
@click.option(
    "--min-share",
    type=_SHARE,
    default=WITHIN_SHARE,
    show_default=True,
    help="A motif needs more kernels than this share of the nets of its tissue.",
)
@click.option(
    "--min-validation",
    type=float,
    help="Leave out nets whose validation Pearson is lower  [default: none is left out].",
)
@click.option(
    "--compat",
    is_flag=True,
    help="Merge as the published code does: asymmetric shifts, and the middle member decides  [default: not so].",
)
def consensus(runs: tuple[Path, ...], out: Path, **choices: Any) -> None:
    """Take the motifs that several RUNS have found alike: weights, names, MEME and JASPAR files.

    OUT/merged.tsv says of every kernel of every run what it was merged into, or why it was left out.
    """
    kernels = consensus_of_runs(runs, **choices)
    write_consensus(out, kernels, named(kernels))
    merged = sum(bool(fate.motif) for fate in kernels.fates)
    click.echo(
        f"{out}: {len(kernels)} motifs of {len(runs)} runs; {merged} of {len(kernels.fates)} kernels merged, the "
        f"others left out: {out / 'merged.tsv'} says why",
        err=True,
    )


@promoter.command()
@click.argument("motifs", type=_FILE)
@click.option(
    "--out", required=True, type=_FILE, help="Directory of motifs to make: motif.npy, names, MEME and JASPAR files."
)
@click.option(
    "--order", default="", help="Names of motifs that come first, separated by commas  [default: as they are]."
)
@click.option(
    "--initiators",
    help="Names of motifs, separated by commas, that stand last, can be removed, and do not enter the "
    "normalised score; empty for none  [default: those that are marked].",
)
@click.option("--drop", default="", help="Names of motifs to leave out, separated by commas  [default: none].")
def arrange(motifs: Path, out: Path, order: str, initiators: str | None, drop: str) -> None:
    """Order the consensus MOTIFS, mark the initiators among them, or leave some out."""
    kernels, names = read_consensus(motifs)
    chosen = None if initiators is None else _words(initiators)
    taken, kept = arranged(kernels, names, order=_words(order), initiators=chosen, drop=_words(drop))
    write_consensus(out, taken, kept)
    marked = [name for name, flag in zip(kept, taken.initiator, strict=True) if flag]
    click.echo(f"{out}: {len(kept)} motifs; initiators: {', '.join(marked) or 'none'}", err=True)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


@promoter.command()
@click.argument("run", type=_FILE)
@click.option("--out", required=True, type=_FILE, help="Bundle: the directory to make.")
@click.option("--name", help="Name of the model in the bundle  [default: that of the run].")
@click.option(
    "--weights",
    type=click.Choice(["best", "last"]),
    default="best",
    show_default=True,
    help="Checkpoint of the run to write.",
)
@click.option("--overwrite", is_flag=True, help="Replace a bundle that is there  [default: an error].")
def export(run: Path, out: Path, name: str | None, weights: str, overwrite: bool) -> None:
    """Write the network of a RUN as a bundle, and check it against a float64 pass of the network."""
    model, about = load_run(run, weights)
    facts = {name: about[name] for name in ("step", "validation", "origin")}
    provenance = {"source": "promoter run", "tissue": about["options"]["tissue"], **facts}
    _report(export_promoter(model, out, name=name or run.name, provenance=provenance, overwrite=overwrite))


@promoter.command()
@click.argument("run", type=_FILE)
@click.option("--fasta", required=True, type=_FILE, help="Genome: FASTA, plain or bgzip, with its index beside it.")
@click.option("--plus", required=True, type=_FILE, help="bigWig of counts of 5' ends on the + strand.")
@click.option("--minus", required=True, type=_FILE, help="bigWig of counts of 5' ends on the - strand.")
@click.option("--tss", required=True, type=_FILE, help="TSSs: BED, or a table of CAGEfightR (1-based thick.start).")
@click.option("--chroms", required=True, help="Chromosomes to evaluate on, separated by commas.")
@click.option("--out", required=True, type=_FILE, help="Table of correlations per strand to write (TSV).")
@click.option("--sites", type=_FILE, help="Second table to write: correlations of each site (TSV)  [default: none].")
@click.option("--assay", default="TSS", show_default=True, help="Name of the counts, for a column of the tables.")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    help="Number of TSSs of a CAGEfightR table to take, those of highest score  [default: all].",
)
@click.option(
    "--weights",
    type=click.Choice(["best", "last"]),
    default="best",
    show_default=True,
    help="Checkpoint of the run to take.",
)
@click.option("--seen", is_flag=True, help="Allow chromosomes that the run was trained on  [default: an error].")
def evaluate(run: Path, out: Path, sites: Path | None, **choices: Any) -> None:
    """Correlate the predictions of a RUN with counts of chromosomes it has not seen, per strand and per site."""
    result = evaluate_run(run, **{**choices, "chroms": _words(choices["chroms"])})
    write_strands(out, result)
    if sites is not None:
        write_sites(sites, result)
    click.echo(f"{result.summary()} -> {out}", err=True)


@promoter.command()
@click.argument("weights", type=_FILE)
@click.option("--out", required=True, type=_FILE, help="Bundle: the directory to make.")
@click.option(
    "--length", "sequence_length_bp", type=int, default=4650, show_default=True, help="Length of the window in bp."
)
@click.option(
    "--tss", "tss_bp", type=int, default=2325, show_default=True, help="Position of the TSS in the window, 0-based."
)
@click.option("--overwrite", is_flag=True, help="Replace a bundle that is there  [default: an error].")
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
