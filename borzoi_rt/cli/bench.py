"""``borzoi-rt bench``."""

from __future__ import annotations

from pathlib import Path

import click

from ..bundle.opening import open_bundle
from ..genome.fasta import Fasta
from ..serving.bench import bench_latency
from . import _latency, _shared


@click.group()
def bench() -> None:
    """Measure latencies here and on a Triton server."""


@bench.command()
@_shared.bundle_option
@_shared.fasta_option
@click.option("--url", help="Scorer on a server, like grpc://HOST:PORT/borzoi_scorer  [default: in process alone].")
@click.option("--calls", type=click.IntRange(min=1), default=100, show_default=True, help="Variants a measurement.")
@click.option("--concurrency", type=_shared.IntegerList(), default="1", show_default=True, help="Callers, like 1,4,8.")
@click.option("--rates", type=_shared.IntegerList(), default=(), help="Open loop: calls a second, like 5,10.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the variants.")
@_shared.threads_option
def latency(
    bundle: Path,
    fasta: Path,
    url: str | None,
    calls: int,
    concurrency: tuple[int, ...],
    rates: tuple[int, ...],
    seed: int,
    threads: int | None,
) -> None:
    """Time single substitutions in process and, with --url, on a server: p50, p90 and p99.

    With --rates calls come at random moments, and a latency counts from the moment the call was due.
    """
    with Fasta(fasta) as genome:
        measured = bench_latency(
            open_bundle(bundle),
            genome,
            url,
            calls=calls,
            concurrency=concurrency,
            rates=tuple(map(float, rates)),
            threads=threads,
            seed=seed,
        )
        _latency.show((item.where, item.load, item.latencies) for item in measured)
