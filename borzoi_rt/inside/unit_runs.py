"""What filters and dissection leave behind: a directory with a table, a figure and what was asked.

================  ==================================================================================================
``filters.tsv``   a row a unit: ``unit, sites, largest, least, bits, consensus, motif, correlation, p, q`` and
                  ``chance_motif, chance_correlation, chance_p``, the same of random sites; ``.`` where nothing is known
``filters.meme``  the matrices of the units, ``unit_0`` and so on
``filters.png``   logos of the most informative
``dissect.tsv``   a row a concept: ``concept, positions, unit, iou, rotated_iou, p_rotation, moved_iou, p_labels,
                  found``; the IoU of chance are means over draws
``iou.tsv``       a row a unit: ``unit, threshold``, and the IoU of each concept
``dissect.png``   IoU of the best unit of each concept beside both kinds of chance
``regions.tsv``   a row a region: ``name, chrom, start, end, status, detail``; those that are not ``ok`` were left out
``*.json``        model, genome, layer, regions and options
================  ==================================================================================================
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..drafts import draft_folder
from ..errors import InputError
from ..explain.rows import Row, on_contigs
from ..genome.fasta import Fasta
from ..genome.intervals import Interval
from ..motifs.files import write_meme
from ..motifs.matrices import Motif
from ..motifs.scan import MotifScanner
from ..report.figures import plot_logos
from ..report.units import plot_dissection
from ..types import BoolArray, ByteArray, FloatArray, IndexArray
from .activation_run import about_of
from .activations import Activations
from .dissect import Dissection, DissectOptions, dissect
from .filters import Filter, FilterOptions, Name, check_local, filters_of, names_of
from .tables import Table
from .texts import tsv
from .unit_rows import looked_at, pieces_of, regions_tsv

LOGOS = 24  # of the figure
MOST_VALUES = 512 * 2**20  # bytes of activations; dissection needs about five times as much
FILTER_COLUMNS = (
    *("unit", "sites", "largest", "least", "bits", "consensus", "motif", "correlation", "p", "q"),
    *("chance_motif", "chance_correlation", "chance_p"),
)
DISSECT_COLUMNS = (
    *("concept", "positions", "unit", "iou", "rotated_iou", "p_rotation", "moved_iou", "p_labels", "found"),
)


@dataclass(frozen=True, eq=False)
class Filtered:
    """What units look for, with what is written of it.

    Attributes
    ----------
    found : list of Filter
    names : list of Name or None
        What each is called, of a run with motifs; otherwise empty.
    table : Table
        A row a unit with :data:`FILTER_COLUMNS`; the array ``matrices`` (units, 4, width).
    """

    found: list[Filter]
    names: list[Name | None]
    table: Table


def filter_rows(
    rows: Sequence[Row],
    out: Path,
    *,
    activations: Activations,
    fasta: Fasta,
    layer: str,
    units: Sequence[int] | None = None,
    options: FilterOptions | None = None,
    motifs: Sequence[Motif] = (),
    about: Mapping[str, Any] | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[list[Filter], list[Name | None]]:
    """Write what :func:`filtered` finds as the directory ``out``, and return it with the names of the units.

    Parameters
    ----------
    rows, activations, fasta, layer, units, options, motifs, about, progress
        As of :func:`filtered`.
    out : Path
        Directory to make.
    """
    how: dict[str, Any] = {"options": options, "motifs": motifs, "about": about, "progress": progress}
    held = filtered(rows, activations=activations, fasta=fasta, layer=layer, units=units, **how)
    _write_filters(out, held, regions_tsv(rows))
    return held.found, held.names


def filtered(
    rows: Sequence[Row],
    *,
    activations: Activations,
    fasta: Fasta,
    layer: str,
    units: Sequence[int] | None = None,
    options: FilterOptions | None = None,
    motifs: Sequence[Motif] = (),
    about: Mapping[str, Any] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Filtered:
    """Return the sequences at which units are most active over some rows, as motifs.

    Parameters
    ----------
    rows : sequence of Row
        See :mod:`borzoi_rt.inside.unit_rows`; those with a status of their own are left out.
    activations, fasta
        Model and genome.
    layer : str
        ``stem`` or ``tower_N``.
    units : sequence of int, optional
        All when None.
    options : FilterOptions, optional
    motifs : sequence of Motif
        What names are taken from.
    about : mapping, optional
        More JSON values for the output.
    progress : callable, optional
        Called with the number of rows done.
    """
    options, known = options or FilterOptions(), activations.layer(layer)
    check_local(known.name)
    rows = looked_at(rows)
    found = filters_of(pieces_of(activations, rows, fasta, layer, units, progress), known, options)
    names: list[Name | None] = []
    chance: Name | None = None
    if motifs:
        live = [at for at, item in enumerate(found) if item.sites]
        called = dict(zip(live, names_of([found[at].matrix for at in live], motifs, seed=options.seed), strict=True))
        names = [called.get(at) for at in range(len(found))]
        (chance,) = names_of([found[0].chance], motifs, seed=options.seed)
    told = [_filter_row(item, names[at] if names else None, chance, motifs) for at, item in enumerate(found)]
    document = {
        **about_of(activations.network, fasta),
        "layer": known.name,
        "regions": len(rows),
        "options": asdict(options),
        "width": found[0].matrix.shape[1],
        "motifs": [motif.label for motif in motifs],
        **(about or {}),
    }
    columns = {name: [row[at] for row in told] for at, name in enumerate(FILTER_COLUMNS)}
    arrays = {"matrices": np.stack([item.matrix for item in found])}
    return Filtered(found, names, Table("filters", document, columns, arrays=arrays))


def _write_filters(out: Path, held: Filtered, regions: str) -> None:
    columns, found = held.table.columns, held.found
    rows = list(zip(*(columns[name] for name in FILTER_COLUMNS), strict=True))
    shown = sorted((item for item in found if item.sites), key=lambda item: -item.bits)[:LOGOS]
    label = dict(zip(columns["unit"], columns["motif"], strict=True))
    with draft_folder(out) as folder:
        (folder / "filters.tsv").write_text(tsv(FILTER_COLUMNS, rows), encoding="utf-8")
        write_meme(folder / "filters.meme", [Motif(f"unit_{one.unit}", one.matrix) for one in found if one.sites])
        (folder / "regions.tsv").write_text(regions, encoding="utf-8")
        (folder / "filters.json").write_text(json.dumps(held.table.about, indent=2) + "\n", encoding="utf-8")
        if shown:
            texts = [f"{one.unit}{f' {label[one.unit]}' if label[one.unit] else ''}" for one in shown]
            plot_logos(folder / "filters.png", [one.matrix for one in shown], names=texts)


def _filter_row(item: Filter, name: Name | None, chance: Name | None, motifs: Sequence[Motif]) -> tuple[object, ...]:
    cells: list[object] = [item.unit, item.sites, item.largest, item.least, item.bits, item.consensus]
    for one in (name, chance):
        cells += [None] * 3 if one is None else [motifs[one.motif].label if one.known else None, one.correlation, one.p]
    cells.insert(9, None if name is None else name.q)
    return tuple(cells)


@dataclass(frozen=True, eq=False)
class _Part:
    """Positions of a row: where each begins in the genome, and what the units are there."""

    chrom: str
    starts: IndexArray
    values: FloatArray


def concepts_of(parts: Sequence[tuple[str, IndexArray, int]], intervals: Sequence[Interval]) -> dict[str, BoolArray]:
    """Return which positions hold a base of the intervals of each name, bool (positions,).

    Parameters
    ----------
    parts : sequence of (str, int64 ndarray, int)
        Contig, first base of each position (ascending), and bases of a position.
    intervals : sequence of Interval
        Those without a name are of one concept, ``region``.
    """
    total = sum(len(starts) for _, starts, _ in parts)
    found: dict[str, BoolArray] = {}
    for item in intervals:
        mask = found.setdefault(item.name or "region", np.zeros(total, dtype=bool))
        at = 0
        for chrom, starts, step in parts:
            if item.chrom == chrom:
                low = int(np.searchsorted(starts, item.start - step, side="right"))
                high = int(np.searchsorted(starts, item.end, side="left"))
                mask[at + low : at + max(high, low)] = True
            at += len(starts)
    return found


def hits_in(row: Row, window: ByteArray, scanner: MotifScanner) -> list[Interval]:
    """Return the hits of motifs in the bases of a row as intervals of the genome, named by motif."""
    (start, end), first = row.columns, row.bases.start
    return [
        Interval(row.bases.chrom, first + hit.start, first + hit.start + hit.width, motif.label)
        for motif, hits in zip(scanner.motifs, scanner.hits(window[:, start:end]), strict=True)
        for hit in hits
    ]


@dataclass(frozen=True, eq=False)
class Dissected:
    """Units against concepts, with what is written of it.

    Attributes
    ----------
    names : list of str
        Concepts, in the order of ``found``.
    units : int64 ndarray of shape (units,)
        Channels, in the order of ``found``.
    found : Dissection
    table : Table
        A row a concept with :data:`DISSECT_COLUMNS`; the array ``iou`` (units, concepts).
    """

    names: list[str]
    units: IndexArray
    found: Dissection
    table: Table


def dissect_rows(
    rows: Sequence[Row],
    out: Path,
    *,
    activations: Activations,
    fasta: Fasta,
    layer: str,
    units: Sequence[int] | None = None,
    options: DissectOptions | None = None,
    intervals: Sequence[Interval] = (),
    scanner: MotifScanner | None = None,
    about: Mapping[str, Any] | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[list[str], Dissection]:
    """Write what :func:`dissected` finds as the directory ``out``, and return concepts and units against them.

    Parameters
    ----------
    rows, activations, fasta, layer, units, options, intervals, scanner, about, progress
        As of :func:`dissected`.
    out : Path
        Directory to make.
    """
    how: dict[str, Any] = {"options": options, "intervals": intervals, "scanner": scanner, "about": about}
    held = dissected(rows, activations=activations, fasta=fasta, layer=layer, units=units, progress=progress, **how)
    _write_dissection(out, held, regions_tsv(rows))
    return held.names, held.found


def dissected(
    rows: Sequence[Row],
    *,
    activations: Activations,
    fasta: Fasta,
    layer: str,
    units: Sequence[int] | None = None,
    options: DissectOptions | None = None,
    intervals: Sequence[Interval] = (),
    scanner: MotifScanner | None = None,
    about: Mapping[str, Any] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Dissected:
    """Return how the units of a layer follow annotations and hits of motifs over some rows.

    Parameters
    ----------
    rows, activations, fasta, layer, units, about, progress
        As of :func:`filtered`; any layer.
    options : DissectOptions, optional
    intervals : sequence of Interval
        Annotations, a concept for each name.
    scanner : MotifScanner, optional
        Its motifs are concepts, too.

    Raises
    ------
    InputError
        If no concept is at some positions and not at all, or activations need more than ``MOST_VALUES``.
    """
    options, known, rows = options or DissectOptions(), activations.layer(layer), looked_at(rows)
    intervals = on_contigs(intervals, fasta, "annotations")
    sizes = [high - low for low, high in (known.overlapping(row.columns) for row in rows)]
    size = 4 * sum(sizes) * len(known.chosen(units))
    if size > MOST_VALUES:
        raise InputError(
            f"activations of {sum(sizes)} positions are {size / 2**20:,.0f} MiB, and {MOST_VALUES // 2**20} are "
            "allowed; choose fewer regions or units, or a coarser layer"
        )
    parts, hits, numbers, last = list[_Part](), list[Interval](), np.zeros(0, dtype=np.int64), None
    for piece in pieces_of(activations, rows, fasta, layer, units, progress):
        if scanner is not None and piece.window is not last:
            hits += hits_in(piece.row, piece.window, scanner)
        last, numbers = piece.window, piece.found.units
        starts = piece.row.where.window_start + piece.found.starts_bp
        parts.append(_Part(piece.row.bases.chrom, starts, piece.found.values))
    where = [(part.chrom, part.starts, known.resolution_bp) for part in parts]
    masks = concepts_of(where, [*intervals, *hits])
    kept = {name: mask for name, mask in masks.items() if 0 < int(mask.sum()) < len(mask)}
    if not kept:
        raise InputError("no annotation or motif is at some of the positions, and not at all; give other regions")
    values = np.concatenate([part.values for part in parts], axis=1)
    found = dissect(values, np.stack(list(kept.values())), np.array(sizes, dtype=np.int64), options)
    names = list(kept)
    document = {
        **about_of(activations.network, fasta),
        "layer": known.name,
        "resolution_bp": known.resolution_bp,
        "regions": len(rows),
        "positions": sum(sizes),
        "options": asdict(options),
        "left_out": sorted(masks.keys() - kept.keys()),
        "note": found.note,
        "said": found.said,
        **(about or {}),
    }
    lines = _concept_lines(names, [int(mask.sum()) for mask in kept.values()], numbers, found)
    columns = {name: [line[at] for line in lines] for at, name in enumerate(DISSECT_COLUMNS)}
    return Dissected(names, numbers, found, Table("dissection", document, columns, arrays={"iou": found.iou}))


def _concept_lines(
    names: Sequence[str], counts: Sequence[int], units: IndexArray, found: Dissection
) -> list[tuple[object, ...]]:
    """Return a line of :data:`DISSECT_COLUMNS` for each concept."""
    rows: list[tuple[object, ...]] = []
    for at, name in enumerate(names):
        best = int(found.best[at])
        chances = (float(found.rotated[:, at].mean()), float(found.p_rotation[at]))
        labels = (float(found.moved[:, at].mean()), float(found.p_labels[at]))
        head = (name, counts[at], int(units[best]), float(found.iou[best, at]))
        rows.append((*head, *chances, *labels, "yes" if found.found[at] else "no"))
    return rows


def _write_dissection(out: Path, held: Dissected, regions: str) -> None:
    found, document = held.found, dict(held.table.about)
    rows = list(zip(*(held.table.columns[name] for name in DISSECT_COLUMNS), strict=True))
    each: list[tuple[object, ...]] = [
        (unit, None if np.isnan(threshold) else float(threshold), *map(float, line))
        for unit, threshold, line in zip(held.units.tolist(), found.thresholds, found.iou, strict=True)
    ]
    panels = [(name, unit, found.iou[:, at].max()) for at, (name, _, unit, *_) in enumerate(rows)]
    with draft_folder(out) as folder:
        (folder / "dissect.tsv").write_text(tsv(DISSECT_COLUMNS, rows), encoding="utf-8")
        (folder / "iou.tsv").write_text(tsv(("unit", "threshold", *held.names), each), encoding="utf-8")
        (folder / "regions.tsv").write_text(regions, encoding="utf-8")
        (folder / "dissect.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        plot_dissection(
            folder / "dissect.png", panels, found.rotated, found.moved, title=f"best unit of {document['layer']}"
        )
