"""The report of what ``borzoi-rt bench latency`` printed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FormatError
from .plain_tables import head_of, numbers_of, read_rows
from .sheet import Column, Sheet, bars, lines, one_series, write_sheet

COLUMNS = ("where", "load", "calls", "failed", "p50_ms", "p90_ms", "p99_ms", "per_second")
_MOST = 400  # points of a curve


def is_latencies(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as what the command prints does."""
    return head_of(Path(path)) == COLUMNS


def read_latencies(path: str | os.PathLike[str]) -> list[list[Any]]:
    """Return the rows of ``COLUMNS`` that the command printed.

    Raises
    ------
    FormatError
        If it is no such file.
    """
    source = Path(path)
    if not is_latencies(source):
        raise FormatError(f"{source}: holds no latencies; `borzoi-rt bench latency` prints them")
    return [[row["where"], row["load"], *numbers_of(source, row, COLUMNS[2:]).values()] for row in read_rows(source)]


def write_latency_report(
    out: str | os.PathLike[str],
    rows: Sequence[Sequence[Any]],
    *,
    name: str = "latencies.tsv",
    seconds: Sequence[Sequence[float]] = (),
    about: Mapping[str, Any] | None = None,
) -> int:
    """Write the report of latencies.

    Parameters
    ----------
    out : path
        HTML file to write.
    rows : sequence
        Values of ``COLUMNS``; latencies in ms.
    name : str
        What the table is called.
    seconds : sequence, optional
        Of each row all latencies in s; without them no curves are shown.
    about : mapping, optional
        What was measured.

    Returns
    -------
    int
        How many rows.
    """
    known = dict(about or {})
    names = [f"{row[0]}, {row[1]}" for row in rows]
    charts = []
    if seconds:
        series = [
            _shares(name, np.asarray(own, dtype=np.float64)) for name, own in zip(names, seconds, strict=True) if own
        ]
        text = "Of the calls that were answered: the share that took at most so long."
        charts = [lines("Latencies", text, series, x="latency, ms", y="share of calls")] if series else []
    for column, title in (
        ("p50_ms", "Median latency, ms"),
        ("p99_ms", "99th percentile, ms"),
        ("per_second", "Calls a second"),
    ):
        values = {label: row[COLUMNS.index(column)] for label, row in zip(names, rows, strict=True)}
        charts.append(bars(title, "", {label: value for label, value in values.items() if value is not None}))
    failed = int(sum(row[3] or 0 for row in rows))
    notes = [f"{failed} call{'' if failed == 1 else 's'} failed; latencies are of the others."] if failed else []
    if not seconds:
        notes.append(
            "The share of calls by latency is in the report that a run makes itself: the table has no single ones."
        )
    write_sheet(
        out,
        Sheet(
            title="Latency of single variants",
            table=name,
            unit="measurements",
            columns=[Column(name=name, choice=name == "where") for name in COLUMNS],
            rows=rows,
            total=len(rows),
            order="the order in which they were made",
            summary=[
                (key if key == "borzoi-rt" else key.replace("_", " ").capitalize(), str(value))
                for key, value in known.items()
            ],
            charts=charts,
            notes=notes,
            provenance=known,
            warning="Latencies are of this machine under the load that it had.",
        ),
    )
    return len(rows)


def _shares(name: str, seconds: np.ndarray) -> dict[str, Any]:
    """Return the share of calls by latency, at no more than 400 points, the largest among them."""
    ordered = np.sort(seconds) * 1e3
    at = np.unique(np.linspace(0, len(ordered) - 1, min(len(ordered), _MOST)).round().astype(int))
    return one_series(name, ordered[at], (at + 1) / len(ordered))
