"""``borzoi-rt demo``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..demo.data import CLASSES
from ..demo.run import GENE_SCORE, SHOWN, SIGNED, STATISTIC, DemoReport, embedded_bundle, run_demo
from ..genome.variants import Variant
from . import _shared

if TYPE_CHECKING:
    from rich.table import Table

_WRITTEN = {
    "genome.fa": "synthetic genome, with its index",
    "genes.gtf": "a gene behind every promoter",
    "tss.bed": "where transcription of each of them starts",
    "motifs.meme": "the motifs that promoters are made of",
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
    click.echo("next, with the same files:", err=True)
    for aim, line in _next_commands(out, report.hits[0].planted.variant):
        click.echo(f"# {aim}\n{line}", err=True)


def _next_commands(out: Path, variant: Variant) -> Iterator[tuple[str, str]]:
    """Yield what can be done with the demo's files, and the line that does it, for the shell that ran the demo."""
    files = {name: _shared.near(out / name) for name in ("variants.vcf", "scores.tsv", "genes.gtf", "motifs.meme")}
    model = ["--bundle", _shared.near(embedded_bundle().path), "--fasta", _shared.near(out / "genome.fa")]
    one, genes = f"{variant.chrom}:{variant.pos}:{variant.ref}:{variant.alt}", ["--genes", files["genes.gtf"]]
    explain = ["--stats", SIGNED, "--explain", "--motifs", files["motifs.meme"]]
    lines: tuple[tuple[str, list[str], str], ...] = (
        ("score the same variants", ["score", files["variants.vcf"], *model, "--stats", "logSED"], "mine.tsv"),
        ("rank them: a page to open (extra: report)", ["report", files["scores.tsv"], *model, *genes], "report.html"),
        ("REF and ALT around the strongest", ["plot", one, *model, *genes], "strongest.pdf"),
        ("which motif it breaks (extra: promoter)", ["score", "--variant", one, *model, *explain], "strongest.tsv"),
        (
            "which bases drive it",
            ["explain", "--variant", one, "--width", "100", *model, "--plot", _shared.near(out / "why.png")],
            "why.h5",
        ),
    )
    for aim, words, name in lines:
        yield aim, " ".join((_shared.program(), *words, "--out", _shared.near(out / name)))


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
