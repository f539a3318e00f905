"""``borzoi-rt bench``."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import click

from .. import __version__
from ..bundle.opening import open_bundle
from ..genome.fasta import Fasta
from ..serving.bench import bench_latency
from . import _latency, _shared
from ._extras import check_extras
from .report import check_report, make_latency_report, page_option


@click.group()
def bench() -> None:
    """Measure latencies on this machine and of a Triton server."""


@bench.command()
@_shared.bundle_option
@_shared.fasta_option
@click.option("--url", help="Scorer on a server, like grpc://HOST:PORT/borzoi_scorer  [default: only in this process].")
@click.option(
    "--calls", type=click.IntRange(min=1), default=100, show_default=True, help="Variants to time for each line."
)
@click.option(
    "--concurrency",
    type=_shared.IntegerList(),
    default="1",
    show_default=True,
    help="Callers that call at the same time, a line for each number, like 1,4,8.",
)
@click.option(
    "--rates",
    type=_shared.IntegerList(),
    default=(),
    help="Calls per second that come at random moments, a line for each number, like 5,10  [default: none].",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Random seed by which variants are drawn.")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="CPU threads of the model in this process  [default: all cores that may be used].",
)
@page_option
def latency(
    bundle: Path,
    fasta: Path,
    url: str | None,
    calls: int,
    concurrency: tuple[int, ...],
    rates: tuple[int, ...],
    seed: int,
    threads: int | None,
    report: Path | None,
) -> None:
    """Time single substitutions in this process and, with --url, on a server.

    Prints calls, failures, the 50th, 90th and 99th percentile in ms, and calls per second. With --rates a latency
    counts from the moment the call was due, so that a server that falls behind cannot hide it.
    """
    if report is not None:
        check_extras(("report",))
        check_report(report, (bundle, fasta))
    model = open_bundle(bundle)
    with Fasta(fasta) as genome:
        measured = bench_latency(
            model,
            genome,
            url,
            calls=calls,
            concurrency=concurrency,
            rates=tuple(map(float, rates)),
            threads=threads,
            seed=seed,
        )
        shown = _latency.show((item.where, item.load, item.latencies) for item in measured)
    if report is not None:
        about: dict[str, Any] = {
            "model": model.info.name,
            "model_sha256": model.sha256,
            "genome": fasta.name,
            "server": url or "none",
        }
        about |= {"calls": calls, "seed": seed, "cpu_threads": threads or "all", "cores": os.cpu_count() or 0}
        about |= {"machine": platform.machine(), "python": platform.python_version(), "borzoi-rt": __version__}
        seconds = [latencies.seconds for _, _, latencies in shown]
        make_latency_report(report, [_latency.values_of(item) for item in shown], seconds=seconds, about=about)
