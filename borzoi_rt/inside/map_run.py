"""Class activation maps of rows: computed, checked where asked, written and drawn."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..engine.sessions import EngineOptions, open_engine
from ..explain.models import ModelObjective
from ..explain.rows import Row, on_contigs
from ..explain.run import FIGURES
from ..explain.target import Target, TargetSpec
from ..genome.fasta import Fasta
from ..genome.intervals import Interval
from ..plain import check_types
from ..report.inside import plot_maps
from ..types import DoubleArray, IndexArray
from .activation_run import about_of
from .activations import TOKENS, Activations, Layer
from .check import check_map_of, holding, recovery
from .maps import LayerMap, check_map, map_window
from .tables import Matrix, Table, check_output, write_table

KIND = "maps"
MOST_PANELS = 12


@dataclass(frozen=True, kw_only=True)
class MapOptions:
    """How maps are made.

    Parameters
    ----------
    method : str
        One of :data:`borzoi_rt.inside.maps.MAPS`.
    layer : str
        ``embedding``, ``tokens`` or ``layer_N``.
    check : int
        Positions to shuffle for the check; 0 leaves it out.
    seed : int
        Of the check.

    Raises
    ------
    InputError
        If method and layer do not go together.
    """

    method: str = "gradcam"
    layer: str = TOKENS
    check: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        check_map(self.method, self.layer)


def check_outputs(out: Path, plot: Path | None, sources: Sequence[str | os.PathLike[str] | None]) -> None:
    """Refuse what cannot be written, before anything is computed."""
    check_output(out, sources)
    if plot is not None:
        check_output(plot, sources, FIGURES)


def map_rows(
    rows: Sequence[Row],
    out: Path,
    *,
    activations: Activations,
    fasta: Fasta,
    spec: TargetSpec,
    options: MapOptions,
    plot: Path | None = None,
    truth: Sequence[Interval] = (),
    progress: Callable[[int], None] | None = None,
) -> list[dict[str, Any]]:
    """Write what :func:`map_table` returns to ``out``, draw the first rows as ``plot``, and return the facts of rows.

    These are those of each map, with ``value`` and, where asked, ``check`` and ``truth``.
    """
    how: dict[str, Any] = {"spec": spec, "options": options, "truth": truth, "progress": progress}
    panels: list[dict[str, Any]] = []
    table = map_table(rows, activations=activations, fasta=fasta, panels=panels, **how)
    write_table(out, table)
    if plot is not None:
        about = activations.layer(options.layer)
        title = f"{options.method} of {spec.name}, {about.name}: one score for each {about.resolution_bp} bp"
        plot_maps(plot, panels, title=title)
    facts: list[dict[str, Any]] = table.about["rows"]
    return facts


def map_table(
    rows: Sequence[Row],
    *,
    activations: Activations,
    fasta: Fasta,
    spec: TargetSpec,
    options: MapOptions,
    truth: Sequence[Interval] = (),
    panels: list[dict[str, Any]] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Table:
    """Return the map of each row's window: a row of the table for each position of the layer.

    Columns are ``name, chrom, start, end, allele, score``; 0-based, and of an ALT haplotype counted along its window.

    Parameters
    ----------
    rows : sequence of Row
        See :mod:`borzoi_rt.explain.rows`; of each the whole window is mapped.
    activations, fasta, spec, options
        Model, genome, target, method.
    truth : sequence of Interval
        Known features, which the map is compared with.
    panels : list, optional
        Gets what is drawn of the first rows.
    progress : callable, optional
        Called with the number of rows done.
    """
    bundle, facts = activations.network.bundle, []
    truth = on_contigs(truth, fasta, "known features")
    about = activations.layer(options.layer)
    columns: dict[str, list[Any]] = {name: [] for name in ("name", "chrom", "start", "end", "allele")}
    scores: list[DoubleArray] = []
    for number, row in enumerate(rows, start=1):
        target = spec.bind(bundle, row.where)
        window = row.window(fasta, bundle.geometry)
        found = map_window(activations, window, target, method=options.method, layer=options.layer)
        told = {"name": row.name, "value": found.value, **found.facts}
        if options.check:
            told["check"] = _checked(activations, row, window, target, found, options)
        if truth:
            near = near_target(about, target, activations)
            told["truth"] = compared(row, about, found.scores, truth, near=near, seed=options.seed)
        facts.append(told)
        add_positions(columns, row, about)
        scores.append(found.scores)
        if panels is not None and len(panels) < MOST_PANELS:
            panels.append(_panel(row, about, found.scores, target, activations))
        if progress is not None:
            progress(number)
    told = {
        **about_of(activations.network, fasta),
        "target": spec.bind(bundle, rows[0].where).to_json(),
        "method": options.method,
        "layer": about.name,
        "resolution_bp": about.resolution_bp,
        "rows": facts,
    }
    every = np.concatenate(scores)
    return Table(KIND, told, columns, Matrix("scores", ["score"], every[:, None]))


def add_positions(columns: dict[str, list[Any]], row: Row, layer: Layer) -> None:
    """Add a row of a table for every position of a layer in the window of a row."""
    first = row.where.window_start + layer.first_bp
    starts = range(first, first + layer.positions * layer.resolution_bp, layer.resolution_bp)
    columns["start"] += starts
    columns["end"] += [start + layer.resolution_bp for start in starts]
    for name, value in (("name", row.name), ("chrom", row.bases.chrom), ("allele", row.allele)):
        columns[name] += [value] * layer.positions


def near_target(layer: Layer, target: Target, activations: Activations) -> IndexArray:
    """Return the positions of a layer that hold the bins of a target."""
    grid = activations.network.bundle.geometry
    bases = grid.crop_bp + np.concatenate(target.columns) * grid.bin_size_bp
    return np.unique((bases - layer.first_bp) // layer.resolution_bp)


def checked(
    activations: Activations,
    window: np.ndarray,
    target: Target,
    layer: Layer,
    scores: DoubleArray,
    *,
    near: IndexArray,
    signed: bool,
    count: int,
    seed: int,
) -> dict[str, Any]:
    """Return what :mod:`borzoi_rt.inside.check` says of a map."""
    network = activations.network
    session = open_engine(network.bundle, network.device, options=EngineOptions(fused=False))
    try:
        objective = ModelObjective(session, target, network.bundle.tracks, n_fill=network.n_fill)
        return check_map_of(
            objective, window, layer, scores, near=near, signed=signed, count=count, seed=seed
        ).to_json()
    finally:
        session.close()


def compared(
    row: Row, layer: Layer, scores: DoubleArray, truth: Sequence[Interval], *, near: IndexArray, seed: int
) -> dict[str, Any]:
    """Return how well a map finds known features in the window of a row."""
    known = holding(layer, row.where.window_start, row.bases.chrom, truth)
    return recovery(scores, known, near=near, seed=seed).to_json()


def _checked(
    activations: Activations, row: Row, window: np.ndarray, target: Target, found: LayerMap, options: MapOptions
) -> dict[str, Any]:
    near = near_target(found.layer, target, activations)
    how = {"count": options.check, "seed": options.seed}
    return checked(activations, window, target, found.layer, found.scores, near=near, signed=True, **how)


def _panel(row: Row, layer: Layer, scores: DoubleArray, target: Target, activations: Activations) -> dict[str, Any]:
    grid = activations.network.bundle.geometry
    first = row.where.window_start + grid.crop_bp
    return {
        "name": row.name,
        "chrom": row.bases.chrom,
        "start": row.where.window_start + layer.first_bp,
        "step_bp": layer.resolution_bp,
        "scores": scores,
        "target": [first + target.bins[0] * grid.bin_size_bp, first + target.bins[1] * grid.bin_size_bp],
        "genes": [] if row.where.gene is None else [gene_of(row)],
    }


def gene_of(row: Row) -> tuple[str, str, list[tuple[int, int]]]:
    """Return name, strand and exons of the gene of a row, for figures."""
    gene = row.where.gene
    assert gene is not None
    return gene.name, gene.strand, [(int(start), int(end)) for start, end in gene.exons.tolist()]
