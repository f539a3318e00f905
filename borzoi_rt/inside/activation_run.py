"""Activations of rows of bases as a table: a row for each position, a column for each unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..errors import InputError
from ..explain.rows import OK, Row
from ..genome.fasta import Fasta
from ..types import IndexArray
from .activations import MOST_BYTES, Activations, Layer
from .network import Network
from .tables import Matrix, Table, write_table

KIND = "activations"
COLUMNS = ("name", "chrom", "start", "end", "allele", "status")


def activation_rows(
    rows: Sequence[Row],
    out: Path,
    *,
    activations: Activations,
    fasta: Fasta,
    layer: str,
    units: Sequence[int] | IndexArray | None = None,
    progress: Callable[[int], None] | None = None,
) -> Table:
    """Write what :func:`activation_table` returns to ``out``, and return it."""
    how: dict[str, Any] = {"layer": layer, "units": units, "progress": progress}
    table = activation_table(rows, activations=activations, fasta=fasta, **how)
    write_table(out, table)
    return table


def activation_table(
    rows: Sequence[Row],
    *,
    activations: Activations,
    fasta: Fasta,
    layer: str,
    units: Sequence[int] | IndexArray | None = None,
    progress: Callable[[int], None] | None = None,
) -> Table:
    """Return activations at the positions that hold the bases of each row.

    Columns are ``name, chrom, start, end, allele, status`` and units ``u0``, ``u1``, and so on; ``start`` and ``end``
    are 0-based, and of an ALT haplotype count along its window. What cannot be looked at keeps one row, of its bases,
    with the reason as its status, and NaN for every unit.

    Parameters
    ----------
    rows : sequence of Row
        See :mod:`borzoi_rt.explain.rows`.
    activations : Activations
        The model.
    fasta : Fasta
        The genome.
    layer : str
        A name of ``activations.layers``, or ``tokens``.
    units : sequence of int, optional
        Channels; all when None.
    progress : callable, optional
        Called with the number of rows done.

    Raises
    ------
    InputError
        If no row can be looked at, if that is more than ``MOST_BYTES``, or if a layer or unit is not there.
    """
    about = activations.layer(layer)
    chosen = about.chosen(units)
    ranges = [_positions(about, row) for row in rows]
    if not ranges:
        raise InputError("there is nothing to look at: no row")
    lost = [found for found in ranges if isinstance(found, str)]
    if len(lost) == len(ranges):
        raise InputError(lost[0] if len(lost) == 1 else f"no region can be looked at; the first: {lost[0]}")
    count = sum(1 if isinstance(found, str) else found[1] - found[0] for found in ranges)
    if 4 * count * len(chosen) > MOST_BYTES:
        size = f"{4 * count * len(chosen) / 2**30:.1f} GiB"
        raise InputError(f"{count} positions of {len(chosen)} units are {size}; choose fewer bases or units")
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    parts = []
    for number, (row, found) in enumerate(zip(rows, ranges, strict=True), start=1):
        if isinstance(found, str):
            starts, ends, status = [row.bases.start], [row.bases.end], found
            parts.append(np.full((1, len(chosen)), np.nan, dtype=np.float32))
        else:
            window = row.window(fasta, activations.network.bundle.geometry)
            shown = activations.of(window, layer, units=units, positions=found)
            starts, status = (row.where.window_start + shown.starts_bp).tolist(), OK
            ends = [start + about.resolution_bp for start in starts]
            parts.append(shown.values.T)
        columns["start"] += starts
        columns["end"] += ends
        same = {"name": row.name, "chrom": row.bases.chrom, "allele": row.allele, "status": status}
        for name, value in same.items():
            columns[name] += [value] * len(starts)
        if progress is not None:
            progress(number)
    told = {**about_of(activations.network, fasta), "layer": about.name, "resolution_bp": about.resolution_bp}
    return Table(KIND, told, columns, Matrix("values", [f"u{unit}" for unit in chosen.tolist()], np.concatenate(parts)))


def _positions(layer: Layer, row: Row) -> tuple[int, int] | str:
    """Return the positions that hold the bases of a row, or why it cannot be looked at."""
    if row.status != OK:
        return f"{row.status}: {row.detail}"
    try:
        return layer.overlapping(row.columns)
    except InputError as error:
        return str(error)


def about_of(network: Network, fasta: Fasta) -> dict[str, Any]:
    """Return what every file of this room says of model and genome."""
    bundle = network.bundle
    found: Mapping[str, Any] = {
        "model": {"name": bundle.info.name, "sha256": bundle.sha256},
        "genome": {"name": fasta.name, "fingerprint": fasta.fingerprint()},
        "n_code": network.n_code,
        "borzoi_rt": __version__,
    }
    return dict(found)
