"""Activations of rows of bases as a table: a row for each position, a column for each unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..errors import InputError
from ..explain.rows import Row
from ..genome.fasta import Fasta
from ..types import IndexArray
from .activations import MOST_BYTES, Activations
from .network import Network
from .tables import Matrix, Table, write_table

KIND = "activations"


def activation_rows(
    rows: Sequence[Row],
    out: Path,
    *,
    activations: Activations,
    fasta: Fasta,
    layer: str,
    units: Sequence[int] | IndexArray | None = None,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write what :func:`activation_table` returns to ``out``, and return how many positions these are."""
    how: dict[str, Any] = {"layer": layer, "units": units, "progress": progress}
    table = activation_table(rows, activations=activations, fasta=fasta, **how)
    write_table(out, table)
    return len(table)


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

    Columns are ``name, chrom, start, end, allele`` and units ``u0``, ``u1``, and so on; ``start`` and ``end`` are
    0-based, and of an ALT haplotype count along its window.

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
        If there is nothing to write, or more than ``MOST_BYTES``.
    """
    about = activations.layer(layer)
    ranges = [about.overlapping(row.columns) for row in rows]
    count, width = sum(end - start for start, end in ranges), about.units if units is None else len(units)
    if not count:
        raise InputError("there is nothing to look at: no row")
    if 4 * count * width > MOST_BYTES:
        size = f"{4 * count * width / 2**30:.1f} GiB"
        raise InputError(f"{count} positions of {width} units are {size}; choose fewer bases or units")
    columns: dict[str, list[Any]] = {name: [] for name in ("name", "chrom", "start", "end", "allele")}
    parts, chosen = [], np.zeros(0, dtype=np.int64)
    for number, (row, positions) in enumerate(zip(rows, ranges, strict=True), start=1):
        window = row.window(fasta, activations.network.bundle.geometry)
        found = activations.of(window, layer, units=units, positions=positions)
        chosen = found.units
        parts.append(found.values.T)
        starts = (row.where.window_start + found.starts_bp).tolist()
        for name, values in zip(
            columns,
            ([row.name], [row.bases.chrom], starts, [start + about.resolution_bp for start in starts], [row.allele]),
            strict=True,
        ):
            columns[name] += values if len(values) == len(starts) else values * len(starts)
        if progress is not None:
            progress(number)
    told = {**about_of(activations.network, fasta), "layer": about.name, "resolution_bp": about.resolution_bp}
    names = [f"u{unit}" for unit in chosen.tolist()]
    return Table(KIND, told, columns, Matrix("values", names, np.concatenate(parts)))


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
