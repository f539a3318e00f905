"""``borzoi-rt demo``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from ..demo.data import CLASSES
from ..demo.run import STATISTIC, DemoReport, run_demo
from . import _shared

_SHOWN = 12


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("demo-out"), show_default=True, help="Directory to make."
)
@_shared.device_option
@_shared.threads_option
def demo(out: Path, device: str, threads: int | None) -> None:
    """Score variants planted in a synthetic genome, and compare with what they are known to do.

    Needs no download: the small model is part of the package.
    """
    started = time.monotonic()
    with _shared.progress_bar("scoring", sum(CLASSES.values())) as progress:
        report = run_demo(out, device=device, threads=threads, progress=progress.done)
    _show(report)
    click.echo(
        f"{len(report.hits)} variants in {time.monotonic() - started:.1f} s: tables and figures -> {out}", err=True
    )


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
    for hit in report.hits[:_SHOWN]:
        item = hit.planted
        table.add_row(str(item.variant), f"{hit.score:.2f}", hit.track, item.kind, item.site, f"{item.log2_fold:+.2f}")
    console = Console()
    console.print(table)
    console.print(f"AUROC causal against neutral: {report.auroc:.4f}", highlight=False)
