"""Latencies as lines of a table."""

from __future__ import annotations

from collections.abc import Iterable

import click

from ..serving.latency import PERCENTILES, Latencies

Measured = tuple[str, str, Latencies]


def show(rows: Iterable[Measured]) -> list[Measured]:
    """Print one line per measurement, tab-separated, as soon as it is there; return all of them."""
    shown = []
    heads = ("where", "load", "calls", "failed", *(f"p{share}_ms" for share in PERCENTILES), "per_second")
    click.echo("\t".join(heads))
    for where, load, latencies in rows:
        times = (f"{1e3 * latencies.percentile(share):.2f}" for share in PERCENTILES)
        counts = (str(len(latencies.seconds)), str(latencies.failed))
        click.echo("\t".join((where, load, *counts, *times, f"{latencies.rate:.2f}")))
        shown.append((where, load, latencies))
    return shown


def values_of(measured: Measured) -> list[str | float]:
    """Return the values of a line; latencies in ms."""
    where, load, latencies = measured
    times = (1e3 * latencies.percentile(share) for share in PERCENTILES)
    return [where, load, len(latencies.seconds), latencies.failed, *times, latencies.rate]
