"""What a design leaves behind: a directory with its steps, its sequence and what was asked.

===============  ===================================================================================================
``steps.tsv``    a row a substitution: ``step, chrom, position`` (1-based), ``ref`` (the base before it), ``alt``,
                 ``value_before, value_after``
``designed.fa``  the region as it was and as it was designed
``design.json``  region, target, model, genome, options, values and counts
===============  ===================================================================================================
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..errors import InputError
from ..explain.explainer import Explainer, ExplainOptions
from ..explain.rows import Row
from ..explain.target import TargetSpec
from ..genome.intervals import Interval
from ..sequence import decode
from ..types import BoolArray
from .design import Design, DesignOptions, design
from .folders import tsv, write_folder

KIND = "borzoi-rt-design"


def fixed_of(row: Row, intervals: Sequence[Interval]) -> BoolArray:
    """Return which bases of a row lie in intervals of the genome, bool (bases,).

    Raises
    ------
    InputError
        If an interval has no base of the row.
    """
    found, bases = np.zeros(row.width, dtype=bool), row.bases
    for item in intervals:
        low, high = max(item.start, bases.start), min(item.end, bases.end)
        if item.chrom != bases.chrom or low >= high:
            raise InputError(
                f"fixed bases {item.chrom}:{item.start + 1:,}-{item.end:,} have none of {bases.chrom}:"
                f"{bases.start + 1:,}-{bases.end:,}, which is designed"
            )
        found[low - bases.start : high - bases.start] = True
    return found


def design_row(
    explainer: Explainer,
    row: Row,
    spec: TargetSpec,
    options: DesignOptions,
    out: Path,
    *,
    fixed: Sequence[Interval] = (),
    rc: bool = False,
    n_code: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Design:
    """Design the bases of a row and write the directory ``out``, which appears when it is whole.

    Parameters
    ----------
    explainer : Explainer
        Model and genome; ``guide='gradient'`` needs its gradient graphs.
    row : Row
        The bases to design, in their window.
    spec : TargetSpec
        What is raised.
    options : DesignOptions
        How.
    out : Path
        Directory to make.
    fixed : sequence of Interval
        Bases of the row that stay.
    rc, n_code
        As of :class:`borzoi_rt.explain.explainer.ExplainOptions`.
    progress : callable, optional
        Called with the number of sequences predicted.
    """
    geometry = explainer.bundle.geometry
    window, kept = row.window(explainer.fasta, geometry), fixed_of(row, fixed)
    exact = explainer.objective(row, spec, ExplainOptions(method="ism", rc=rc, n_code=n_code))
    guide: Any = None
    if options.guide == "gradient":
        guide = explainer.objective(row, spec, ExplainOptions(method="saliency", rc=rc, n_code=n_code))
    found = design(exact, window, row.columns, options, fixed=kept, guide=guide, progress=progress)
    model, fasta, bases = explainer.bundle, explainer.fasta, row.bases
    document = {
        "format": KIND,
        "format_version": 1,
        "borzoi_rt": __version__,
        "region": {
            "chrom": bases.chrom,
            "start": bases.start,
            "end": bases.end,
            "window_start": row.where.window_start,
        },
        "fixed": [f"{item.chrom}:{item.start + 1}-{item.end}" for item in fixed],
        "options": asdict(options),
        "target": spec.bind(model, row.where).to_json(),
        "model": {"name": model.info.name, "sha256": model.sha256},
        "genome": {"name": fasta.name, "fingerprint": fasta.fingerprint()},
        "rc": rc,
        "n_code": n_code or model.info.n_policy,
        "value_of_start": found.start,
        "value": found.value,
        "edits": len(found.steps),
        "gc_of_start": found.gc[0],
        "gc": found.gc[1],
        "predicted": found.predicted,
        "slopes": found.slopes,
    }
    _write(out, found, row, decode(window[:, slice(*row.columns)]), document)
    return found


def _write(out: Path, found: Design, row: Row, start: str, document: dict[str, Any]) -> None:
    bases, first = row.bases, row.where.window_start
    where = f"{bases.chrom}:{bases.start + 1}-{bases.end}"
    designed = decode(found.window[:, slice(*found.bases)])
    header = ("step", "chrom", "position", "ref", "alt", "value_before", "value_after")
    rows: list[tuple[object, ...]] = [
        (
            *(number, bases.chrom, first + step.column + 1, step.ref, step.alt),
            *(f"{step.before:.9g}", f"{step.after:.9g}"),
        )
        for number, step in enumerate(found.steps, start=1)
    ]
    records = (
        (f"start {where} value={found.start:.9g}", start),
        (f"designed {where} value={found.value:.9g}", designed),
    )

    def write(folder: Path) -> None:
        (folder / "steps.tsv").write_text(tsv(header, rows), encoding="utf-8")
        text = "".join(f">{name}\n{sequence}\n" for name, sequence in records)
        (folder / "designed.fa").write_text(text, encoding="utf-8")
        (folder / "design.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")

    write_folder(out, write)
