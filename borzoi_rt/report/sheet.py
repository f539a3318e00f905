"""A page of a table: its run, statuses, figures, and rows that can be searched and sorted; one HTML file."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..drafts import draft_of
from .pages import render_page

LISTED = 2000  # rows of a table
_BINS = 30
_DIGITS = 5


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a page's table.

    Parameters
    ----------
    name : str
        As in the table.
    shown : bool
        Whether it is on the page; all are in the downloaded table.
    choice : bool
        Whether a list above the table chooses one of its values.
    """

    name: str
    shown: bool = True
    choice: bool = False


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """What a page of a table says.

    Parameters
    ----------
    title, table : str
        Heading, and the name of the table.
    unit : str
        What a row is, in the plural.
    summary : sequence of (str, str)
        Facts of the run.
    counted : str
        What has a status, in the plural.
    counts : sequence of (str, int, sequence of str)
        Statuses, how many have each, and reasons.
    columns : sequence of Column
    rows : sequence of sequence
        Texts, numbers, and None for what is none; in the order in which they rank.
    total : int
        Rows of the table; not all need be listed.
    order : str
        By what the rows are ordered, in words.
    charts : sequence of mapping
        See :func:`bars`, :func:`histogram`, :func:`curves` and :func:`lines`.
    notes : sequence of str
    provenance : mapping
        Everything that the numbers depend on.
    warning : str
        The last line of the page.
    """

    title: str
    table: str
    unit: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    total: int
    order: str
    summary: Sequence[tuple[str, str]] = ()
    counted: str = ""
    counts: Sequence[tuple[str, int, Sequence[str]]] = ()
    charts: Sequence[Mapping[str, Any]] = ()
    notes: Sequence[str] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    warning: str = "Scores are predictions of a model, not measurements."


def write_sheet(out: str | os.PathLike[str], sheet: Sheet) -> None:
    """Write the page; under its name only when it is whole."""
    numeric = [
        any(isinstance(row[number], int | float) for row in sheet.rows)
        and not any(isinstance(row[number], str) for row in sheet.rows)
        for number in range(len(sheet.columns))
    ]
    content = {
        "columns": [
            {"name": column.name, "shown": column.shown, "choice": column.choice, "numeric": numeric[number]}
            for number, column in enumerate(sheet.columns)
        ],
        "rows": [[plain(value) for value in row] for row in sheet.rows],
        "charts": list(sheet.charts),
        "file": sheet.table,
        "unit": sheet.unit,
    }
    page = render_page(
        "sheet",
        content,
        styles=("report", "sheet"),
        title=sheet.title,
        table=sheet.table,
        unit=sheet.unit,
        summary=list(sheet.summary),
        counted=sheet.counted,
        counts=list(sheet.counts),
        listed=len(sheet.rows),
        total=sheet.total,
        order=sheet.order,
        charts=len(sheet.charts),
        notes=list(sheet.notes),
        provenance=json.dumps(sheet.provenance, indent=2, ensure_ascii=False) if sheet.provenance else "",
        warning=sheet.warning,
    )
    with draft_of(Path(out)) as draft:
        draft.write_text(page, encoding="utf-8")


def plain(value: Any) -> Any:
    """Return a JSON value: numbers with five digits, None for what is none or no number."""
    if isinstance(value, bool | np.bool_):
        return int(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(f"{float(value):.{_DIGITS}g}") if math.isfinite(value) else None
    return value


def bars(title: str, caption: str, values: Mapping[str, float]) -> dict[str, Any]:
    """Return a figure of one bar for each name, in their order."""
    return {"kind": "bars", "title": title, "caption": caption, "bars": [[k, plain(v)] for k, v in values.items()]}


def histogram(title: str, caption: str, values: Sequence[float] | np.ndarray, *, x: str) -> dict[str, Any]:
    """Return a figure of how often values come; those that are no numbers are left out."""
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    if low == high:
        low, high = low - 0.5, high + 0.5
    counts, edges = np.histogram(known, bins=_BINS, range=(low, high))
    drawn = {"counts": counts.tolist(), "edges": [plain(edge) for edge in edges]}
    return {"kind": "histogram", "title": title, "caption": caption, "x": x, **drawn}


def curves(title: str, caption: str, series: Sequence[Mapping[str, Any]], *, x: str, y: str) -> dict[str, Any]:
    """Return a figure of signed curves, one panel each, on one scale; see :func:`one_series`."""
    return {"kind": "curves", "title": title, "caption": caption, "x": x, "y": y, "series": list(series)}


def lines(title: str, caption: str, series: Sequence[Mapping[str, Any]], *, x: str, y: str) -> dict[str, Any]:
    """Return a figure of lines in one panel; see :func:`one_series`."""
    return {"kind": "lines", "title": title, "caption": caption, "x": x, "y": y, "series": list(series)}


def one_series(
    name: str, x: np.ndarray, y: np.ndarray, low: np.ndarray | None = None, high: np.ndarray | None = None
) -> dict[str, Any]:
    """Return a series: its name, values of shape (points,) and, where known, the band around them."""
    found: dict[str, Any] = {"name": name, "at": _numbers(x), "values": _numbers(y)}
    if low is not None and high is not None:
        found |= {"low": _numbers(low), "high": _numbers(high)}
    return found


def _numbers(values: np.ndarray) -> list[float | None]:
    return [plain(float(value)) for value in values]
