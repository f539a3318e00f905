"""What units of a layer are over many regions, piece by piece: what filters and dissection are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..bundle.manifest import Geometry
from ..errors import InputError
from ..explain.rows import OK, Row, region_rows
from ..genome.fasta import Fasta
from ..genome.intervals import Interval
from ..types import ByteArray, IndexArray
from .activations import Activation, Activations
from .texts import tsv

_TRIES = 100  # of a window with enough known bases
_KNOWN = 0.5  # share of a window's bases


@dataclass(frozen=True, eq=False)
class Piece:
    """Units of a layer at some positions of one row.

    Attributes
    ----------
    row : Row
    window : uint8 ndarray of shape (4, length)
        One-hot DNA of its window.
    found : Activation
    """

    row: Row
    window: ByteArray
    found: Activation


def random_rows(fasta: Fasta, geometry: Geometry, count: int, *, seed: int = 0) -> list[Row]:
    """Return whole windows drawn uniformly from the genome, at least half of whose bases are known.

    Raises
    ------
    InputError
        If no contig is as long as a window, or hardly any base is known.
    """
    length = geometry.sequence_length_bp
    contigs = [(name, size - length + 1) for name, size in fasta.contigs.items() if size >= length]
    if count < 1:
        raise InputError(f"windows is {count}; 1 or more are needed")
    if not contigs:
        raise InputError(f"{fasta.name}: no contig has the {length:,} bases of a window; give regions instead")
    rng, found = np.random.default_rng(seed), list[Interval]()
    shares = np.array([size for _, size in contigs], dtype=np.float64)
    for _ in range(count * _TRIES):
        name, size = contigs[int(rng.choice(len(contigs), p=shares / shares.sum()))]
        start = int(rng.integers(size))
        text = fasta.fetch(name, start, start + length)
        unknown = sum(text.count(letter) for letter in "Nn")
        if unknown <= (1.0 - _KNOWN) * length:
            found.append(Interval(name, start, start + length))
        if len(found) == count:
            return region_rows(found, fasta, geometry)
    raise InputError(f"{fasta.name}: {len(found)} of {count} windows have enough known bases; give regions instead")


def looked_at(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that have no status of their own.

    Raises
    ------
    InputError
        If there is none.
    """
    found = [row for row in rows if row.status == OK]
    if not found:
        raise InputError(f"no region can be looked at; the first: {rows[0].detail}" if rows else "there is no region")
    return found


def regions_tsv(rows: Sequence[Row]) -> str:
    """Return the table of regions with what became of them, 0-based."""
    lines = [
        (row.name, row.bases.chrom, row.bases.start, row.bases.end, row.status, row.detail or None) for row in rows
    ]
    return tsv(("name", "chrom", "start", "end", "status", "detail"), lines)


def pieces_of(
    activations: Activations,
    rows: Sequence[Row],
    fasta: Fasta,
    layer: str,
    units: Sequence[int] | IndexArray | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Piece]:
    """Yield what units are at the positions that hold the bases of each row, in order.

    Raises
    ------
    InputError
        If there is no row, layer or unit of that name.
    """
    if not rows:
        raise InputError("there is nothing to look at: no region")
    geometry = activations.network.bundle.geometry
    for number, row in enumerate(rows, start=1):
        window = row.window(fasta, geometry)
        for found in activations.pieces(window, layer, units=units, bases=row.columns):
            yield Piece(row, window, found)
        if progress is not None:
            progress(number)
