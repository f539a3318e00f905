"""What a design leaves behind: a directory with its steps, its sequence and what was asked.

===============  ===================================================================================================
``steps.tsv``    a row a substitution: ``step, chrom, position`` (1-based), ``ref`` (the base before it), ``alt``,
                 ``value_before, value_after``
``designed.fa``  the region as it was and as it was designed
``design.json``  region, target or unit, model, genome, options, values and counts
===============  ===================================================================================================
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..bundle.opening import Bundle
from ..drafts import draft_folder
from ..errors import InputError
from ..explain.explainer import Explainer, ExplainOptions
from ..explain.objective import Objective
from ..explain.rows import Row, on_contigs
from ..explain.target import TargetSpec
from ..genome.fasta import Fasta
from ..genome.intervals import Interval
from ..sequence import decode
from ..types import BoolArray
from .activations import Activations
from .design import Design, DesignOptions, design
from .texts import tsv
from .unit_objective import UnitObjective

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
    out: Path | None,
    *,
    fixed: Sequence[Interval] = (),
    rc: bool = False,
    n_code: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Design:
    """Design the bases of a row so that they raise a target, and write ``out``, which appears when it is whole.

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
    out : Path, optional
        Directory to make; None writes nothing.
    fixed : sequence of Interval
        Bases of the row that stay.
    rc, n_code
        As of :class:`borzoi_rt.explain.explainer.ExplainOptions`.
    progress : callable, optional
        Called with the number of sequences predicted.
    """
    exact = explainer.objective(row, spec, ExplainOptions(method="ism", rc=rc, n_code=n_code))
    guide: Any = None
    if options.guide == "gradient":
        guide = explainer.objective(row, spec, ExplainOptions(method="saliency", rc=rc, n_code=n_code))
    told = {
        "target": spec.bind(explainer.bundle, row.where).to_json(),
        "rc": rc,
        "n_code": n_code or explainer.bundle.info.n_policy,
    }
    model, fasta = explainer.bundle, explainer.fasta
    return _designed(exact, guide, row, options, out, model, fasta, fixed=fixed, told=told, progress=progress)


def design_unit(
    activations: Activations,
    fasta: Fasta,
    row: Row,
    layer: str,
    unit: int,
    options: DesignOptions,
    out: Path | None,
    *,
    fixed: Sequence[Interval] = (),
    progress: Callable[[int], None] | None = None,
) -> Design:
    """Design the bases of a row so that they raise a unit: its largest activation over the positions that hold them.

    Parameters
    ----------
    activations : Activations
        The model.
    fasta : Fasta
        The genome.
    layer, unit
        See :class:`borzoi_rt.inside.unit_objective.UnitObjective`.
    row, options, out, fixed, progress
        As of :func:`design_row`; ``guide='gradient'`` is of targets.

    Raises
    ------
    InputError
        If the options ask for slopes, or there is no such unit.
    """
    if options.guide == "gradient":
        raise InputError("guide 'gradient' is of targets: no slope of a unit by the bases is known; take exact")
    exact, network = UnitObjective(activations, layer, unit, row.columns), activations.network
    about = activations.layer(layer)
    told = {
        "unit": {"layer": about.name, "unit": unit, "resolution_bp": about.resolution_bp, "of": "its maximum there"},
        "rc": False,
        "n_code": network.n_code,
    }
    return _designed(exact, None, row, options, out, network.bundle, fasta, fixed=fixed, told=told, progress=progress)


def _designed(
    exact: Objective,
    guide: Any,
    row: Row,
    options: DesignOptions,
    out: Path | None,
    model: Bundle,
    fasta: Fasta,
    *,
    fixed: Sequence[Interval],
    told: Mapping[str, Any],
    progress: Callable[[int], None] | None,
) -> Design:
    """Design, and write what was found unless ``out`` is None."""
    window, bases = row.window(fasta, model.geometry), row.bases
    fixed = on_contigs(fixed, fasta, "fixed bases")
    found = design(exact, window, row.columns, options, fixed=fixed_of(row, fixed), guide=guide, progress=progress)
    if out is None:
        return found
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
        **told,
        "model": {"name": model.info.name, "sha256": model.sha256},
        "genome": {"name": fasta.name, "fingerprint": fasta.fingerprint()},
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
    with draft_folder(out) as folder:
        (folder / "steps.tsv").write_text(tsv(header, rows), encoding="utf-8")
        text = "".join(f">{name}\n{sequence}\n" for name, sequence in records)
        (folder / "designed.fa").write_text(text, encoding="utf-8")
        (folder / "design.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
