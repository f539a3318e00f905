"""A report of attributions: one HTML file with the rows, their letters and effects, and the stretches that count."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..report.attribution import MEANS, extremes
from ..report.pages import render_page
from ..types import DoubleArray
from .attr_file import Attributions, read_attributions
from .motif_tables import named_seqlets
from .panels import title_of
from .rows import ALT, REF, changed_bases
from .seqlets import PVALUE

MOST_ROWS = 40
MOST_SEQLETS = 20  # of a row
LINE_BP = 100  # bases of a line of letters
WHOLE_UP_TO = 400  # bases of rows of which every line is shown
STRETCHES = 3  # lines that are shown of longer ones
_POINTS = 800  # of the curve of a row


def write_explanation(
    out: Path, attributions: Path, *, name: str | None = None, motifs: Path | None = None, pvalue: float = PVALUE
) -> int:
    """Write the report of a file of attributions.

    Parameters
    ----------
    out : Path
        HTML file.
    attributions : Path
        See :mod:`borzoi_rt.explain.attr_file`.
    name : str, optional
        What the file is called in the report; its own name when None.
    motifs : Path, optional
        MEME or JASPAR file that names of stretches are taken from.
    pvalue : float
        See :func:`borzoi_rt.explain.seqlets.find_seqlets`.

    Returns
    -------
    int
        Rows that are shown: the first 40 of those that have an explanation.
    """
    held = read_attributions(attributions)
    about, names = held.about, [str(item) for item in held.arrays["name"]]
    shown = [int(number) for number in held.explained[:MOST_ROWS]]
    seqlets = named_seqlets(held, motifs=motifs, pvalue=pvalue)
    rows = [_row(held, number) for number in shown]
    heights = [value for row in rows for value in (row["low"], row["high"])]
    effects = [value for row in rows for line in row["lines"] for value in line.get("effects", [])]
    content = {
        "rows": rows,
        "low": min(heights, default=0.0),
        "high": max(heights, default=0.0),
        "limit": max((abs(value) for value in effects if value is not None), default=0.0),
        "target": about["target"]["target"],
        "seqlets": [[_cell(item[key]) for key in _COLUMNS] for number in shown for item in _top(seqlets, number)],
        "columns": list(_COLUMNS),
    }
    page = render_page(
        "explanation",
        content,
        styles=("report", "explanation"),
        title=f"Explanation: {title_of(about)}",
        file=name or attributions.name,
        summary=_summary(about, motifs),
        rows=[_told(held, number) for number in shown],
        total=len(held.explained),
        lost=len(names) - len(held.explained),
        score=MEANS.get(str((about.get("options") or {}).get("convention")), "") if "effects" in held.arrays else "",
        approximate=bool(about.get("approximate")),
        notes=about.get("notes") or (),
        pvalue=pvalue,
        variants=any("marked" in line for row in rows for line in row["lines"]),
        named=motifs is not None,
        provenance=json.dumps(about, indent=2, ensure_ascii=False),
    )
    out.write_text(page, encoding="utf-8")
    return len(shown)


_COLUMNS = ("row", "chrom", "start", "end", "name", "strand", "attribution", "p", "motif_e", "agreement")


def _top(seqlets: Sequence[dict[str, Any]], row: int) -> list[dict[str, Any]]:
    """Return the stretches of a row that count most."""
    own = [item for item in seqlets if item["row"] == row]
    return sorted(own, key=lambda item: -abs(item["attribution"]))[:MOST_SEQLETS]


def _row(held: Attributions, number: int) -> dict[str, Any]:
    """Return what is drawn of a row."""
    codes, hypothetical = held.arrays["sequence"][number], held.arrays["hypothetical"][number]
    scores = (hypothetical * (codes == np.arange(4)[:, None])).sum(axis=0, dtype=np.float64)
    marked = changed_bases(str(held.arrays["name"][number]), str(held.arrays["allele"][number]))
    letters, first = "".join(np.array(list("ACGTN"))[codes]), int(held.arrays["start"][number])
    effects = held.arrays["effects"][number] if "effects" in held.arrays else None
    lines = []
    for low in _lines(scores):
        part = slice(low, min(low + LINE_BP, len(scores)))
        line = {"start": first + low, "letters": letters[part], "scores": _numbers(scores[part])}
        if marked is not None:
            line["marked"] = list(marked)
        if effects is not None:
            line["effects"] = _numbers(effects[:, part].ravel())
        lines.append(line)
    at, curve = extremes(scores, _POINTS)
    step = -(-len(scores) // _POINTS)
    whole = {"start": first, "step": step, "width": len(scores), "at": at.tolist(), "values": _numbers(curve)}
    ends = {"low": float(scores.min(initial=0.0)), "high": float(scores.max(initial=0.0))}
    return {"row": number, "chrom": str(held.arrays["chrom"][number]), **ends, "whole": whole, "lines": lines}


def _lines(scores: DoubleArray) -> list[int]:
    """Return where lines of letters begin: all of a short row, of a long one those of the largest scores in sum."""
    width = len(scores)
    if width <= WHOLE_UP_TO:
        return list(range(0, width, LINE_BP))
    sums = np.convolve(np.abs(scores), np.ones(LINE_BP), mode="valid")
    found: list[int] = []
    while len(found) < STRETCHES and np.isfinite(sums).any():
        best = int(np.nanargmax(sums))
        found.append(best)
        sums[max(best - LINE_BP + 1, 0) : best + LINE_BP] = np.nan
    return sorted(found)


def _told(held: Attributions, number: int) -> dict[str, Any]:
    """Return what is written of a row."""
    start, end = (int(held.arrays[name][number]) for name in ("start", "end"))
    facts = json.loads(str(held.arrays["facts"][number]))
    plain = [(key.replace("_", " "), value) for key, value in facts.items() if not isinstance(value, list | dict)]
    return {
        "name": str(held.arrays["name"][number]),
        "where": f"{held.arrays['chrom'][number]}:{start + 1:,}-{end:,}",
        "allele": str(held.arrays["allele"][number]),
        "bases": end - start,
        "short": end - start <= WHOLE_UP_TO,
        "value": f"{float(held.arrays['score'][number]):.5g}",
        "change": _change(held, number),
        "facts": [(key, f"{value:.4g}" if isinstance(value, float) else str(value)) for key, value in plain],
    }


def _change(held: Attributions, number: int) -> str:
    """Return by how much the target of an ALT haplotype is above that of REF; nothing of other rows."""
    names, alleles, values = (held.arrays[key] for key in ("name", "allele", "score"))
    if alleles[number] != ALT:
        return ""
    other = f"{str(names[number]).removesuffix(f' {ALT}')} {REF}"
    same = [row for row in held.explained if alleles[row] == REF and names[row] == other]
    return f"{float(values[number] - values[same[0]]):+.4g}" if len(same) == 1 else ""


def _summary(about: Mapping[str, Any], motifs: Path | None) -> list[tuple[str, str]]:
    target, options = about["target"], about.get("options") or {}
    genome = (about.get("genome") or {}).get("name")
    rows = [
        ("Method", about["method"]),
        ("Target", target["target"]),
        ("Tracks", target.get("tracks") or "all"),
        ("Against", target.get("against")),
        ("Options", ", ".join(f"{key} {value}" for key, value in options.items())),
        ("Model", ", ".join(model["name"] for model in about.get("models") or ())),
        ("Genome", genome),
        ("Strands", "both, averaged" if about.get("rc") else "forward"),
        ("Motifs", None if motifs is None else motifs.name),
        ("borzoi-rt", about.get("borzoi_rt")),
    ]
    return [(name, str(value)) for name, value in rows if value]


def _numbers(values: DoubleArray) -> list[float | None]:
    return [_cell(float(value)) for value in values]


def _cell(value: Any) -> Any:
    """Return a number with four digits; None for what is none."""
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    return value
