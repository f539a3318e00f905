"""The report of a table of ``borzoi-rt evaluate``."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FormatError
from ..tables.assays import assay_of
from .plain_tables import described, head_of, numbers_of, read_rows
from .sheet import LISTED, Column, Sheet, bars, histogram, write_sheet

COLUMNS = ("index", "identifier", "loss", "pearson", "r2", "description")
_NUMBERS = ("index", "loss", "pearson", "r2")


def is_metrics(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as a table of metrics does."""
    return head_of(Path(path)) == COLUMNS


def write_metrics_report(out: str | os.PathLike[str], table: str | os.PathLike[str]) -> int:
    """Write the report of a table of metrics.

    Parameters
    ----------
    out : path
        HTML file to write.
    table : path
        ``--out`` of ``borzoi-rt evaluate``; the description of the run beside it is shown too.

    Returns
    -------
    int
        Tracks of the table.

    Raises
    ------
    FormatError
        If it is no such table.
    """
    source = Path(table)
    if not is_metrics(source):
        raise FormatError(f"{source}: is no table of metrics; `borzoi-rt evaluate` writes them")
    known = described(source)
    rows: list[dict[str, Any]] = []
    for text in read_rows(source):
        assay = assay_of(text["description"])
        numbers = numbers_of(source, text, _NUMBERS)
        rows.append({**text, **numbers, "assay": assay.title or "other"})
    rows.sort(key=lambda row: -np.inf if row["pearson"] is None else row["pearson"], reverse=True)
    constant = sum(row["pearson"] is None for row in rows)
    notes = [f"{constant} of {len(rows)} tracks have constant targets, and so neither correlation nor R2."]
    names = (*COLUMNS, "assay")
    write_sheet(
        out,
        Sheet(
            title=f"Evaluation: {source.name}",
            table=source.name,
            unit="tracks",
            columns=[Column(name=name, choice=name == "assay") for name in names],
            rows=[[row[name] for name in names] for row in rows[:LISTED]],
            total=len(rows),
            order="Pearson correlation",
            summary=_summary(known, rows),
            charts=_charts(rows),
            notes=notes if constant else (),
            provenance=known,
            warning="Metrics compare predictions of a model with held-out measurements, in the squashed scale.",
        ),
    )
    return len(rows)


def _charts(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if not rows:
        return []
    by: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row["pearson"] is not None:
            by[row["assay"]].append(row["pearson"])
    means = {f"{name} ({len(values)})": float(np.mean(values)) for name, values in by.items()}
    order = dict(sorted(means.items(), key=lambda item: -item[1]))
    found = [bars("Mean Pearson correlation by assay", "In brackets how many tracks it is the mean of.", order)]
    for name, title in (("pearson", "Pearson correlation"), ("r2", "R2"), ("loss", "Loss")):
        values = [row[name] for row in rows if row[name] is not None]
        found.append(histogram(title, "Of each track over the bins of all windows.", values, x=title))
    return found


def _summary(known: Mapping[str, Any], rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    means = []
    for name, title in (("loss", "Mean loss"), ("pearson", "Mean Pearson"), ("r2", "Mean R2")):
        values = [row[name] for row in rows if row[name] is not None]
        means.append((title, f"{np.mean(values):.6f}" if values else ""))
    facts = [
        ("Model", known.get("model")),
        ("Data", known.get("data")),
        ("Split", known.get("split")),
        ("Windows", known.get("windows")),
        *means,
        ("Strands", {True: "both, averaged", False: "forward"}.get(known.get("options", {}).get("rc"), "")),
        ("Device", known.get("device")),
        ("borzoi-rt", known.get("borzoi_rt")),
    ]
    return [(name, str(value)) for name, value in facts if value not in (None, "")]
