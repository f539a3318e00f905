"""``borzoi-rt demo``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..demo.data import CLASSES
from ..demo.run import GENE_SCORE, SHOWN, SIGNED, STATISTIC, DemoReport, embedded_bundle, run_demo
from . import _shared

if TYPE_CHECKING:
    from rich.table import Table

_WRITTEN = {
    "genome.fa": "synthetic genome, with its index",
    "genes.gtf": "a gene behind every promoter",
    "variants.vcf": "variants that were scored",
    "truth.tsv": "what each variant is known to do",
    "scores.tsv": "all scores, a row for each variant, track and statistic",
    "hit*.png": "coverage of both alleles around the strongest variants",
    "explanation.*": "which bases drive the strongest: a figure, and the numbers as HDF5",
}


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("demo-out"),
    show_default=True,
    help="Directory to make; it must not exist, or be empty.",
)
@_shared.device_option
@_shared.threads_option
def demo(out: Path, device: str, threads: int | None) -> None:
    """Score variants planted in a synthetic genome, and compare with what they are known to do.

    Neutral variants are matched to causal ones by distance to the nearest TSS. Intervals are 95 % of a bootstrap over
    promoters.

    Needs no download: the small model is part of the package.
    """
    started = time.monotonic()
    with (
        _shared.last_words(f"interrupted: {out} is not complete; remove it and run the demo again"),
        _shared.progress_bar("scoring", sum(CLASSES.values())) as progress,
    ):
        report = run_demo(out, device=device, threads=threads, progress=progress.done)
    _show(report)
    click.echo(f"{len(report.hits)} variants in {time.monotonic() - started:.1f} s -> {out}", err=True)
    for name, text in _WRITTEN.items():
        click.echo(f"  {name:<15}{text}", err=True)
    click.echo(f"next, score the same variants yourself:\n{_next_command(out)}", err=True)


def _next_command(out: Path) -> str:
    """Return a line that scores the demo's own files, to be pasted into the shell that ran the demo."""
    words = ["score", _shared.near(out / "variants.vcf"), "--bundle", _shared.near(embedded_bundle().path)]
    words += ["--fasta", _shared.near(out / "genome.fa"), "--stats", "logSED", "--out", _shared.near(out / "mine.tsv")]
    return " ".join((_shared.program(), *words))


def _show(report: DemoReport) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Strongest of {len(report.hits)} variants by {STATISTIC}", title_justify="left")
    for name, justify in (
        ("variant", "left"),
        ("score", "right"),
        ("track", "left"),
        ("truth", "left"),
        ("hits", "left"),
    ):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    table.add_column("true log2 fold", justify="right")
    for hit in report.hits[:SHOWN]:
        item = hit.planted
        table.add_row(str(item.variant), f"{hit.score:.2f}", hit.track, item.kind, item.site, f"{item.log2_fold:+.2f}")
    genes = Table(title=f"The nearest gene of these, {GENE_SCORE}", title_justify="left")
    for name in ("variant", "gene", "strand", "covered", "log2 fold", "track"):
        genes.add_column(name)
    for found in report.genes:
        share, score = f"{found.covered_fraction:.2f}", f"{found.score:+.2f}"
        genes.add_row(str(found.planted.variant), found.gene, found.strand, share, score, found.track)
    console = Console()
    console.print(table)
    console.print(genes)
    console.print(_accuracy(report))
    console.print(
        f"{SIGNED} (mean of tracks) and true log2 fold of the causal:\n"
        f"correlation {report.correlation}, same sign {report.same_sign}",
        highlight=False,
        markup=False,
    )


def _accuracy(report: DemoReport) -> Table:
    """Return the table of the score beside the baselines."""
    from rich.markup import escape
    from rich.table import Table

    neutral = sum(CLASSES.values()) - CLASSES["causal"]
    title = f"{CLASSES['causal']} causal against {neutral} neutral variants at the same distance from a TSS"
    hard = f"in motifs: {CLASSES['neutral in motif']} of the neutral ones; in brackets: 95 % interval"
    table = Table(title=title, caption=hard, title_justify="left", caption_justify="left")
    for name in ("by", "AUROC", "average precision", "AUROC, in motifs"):
        table.add_column(name, no_wrap=True)
    for one in report.classifiers:
        table.add_row(one.name, *(escape(str(part)) for part in (one.auroc, one.average_precision, one.hard)))
    return table
