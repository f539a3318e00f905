"""Embeddings of regions, alleles and genes: one vector each, the mean of a layer over its positions.

    v = mean over p of A[., p]

A is what the head reads (``embedding``, 32-bp bins) or the tokens of a layer of the transformer; p are the positions
that hold the bases of the row, or the bins of a region that is named as in targets: ``exons``, ``span``, ``tss:BP`` of
a gene, ``center:BP`` and ``span:BP`` around the middle of a region or variant. Of tokens, a bin counts for the token
that holds it. The window lies around the row, as for :mod:`borzoi_rt.explain`; the strand is that of the genome.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ..engine.gene_bins import BIN_RULES
from ..engine.regions import Region
from ..errors import BorzoiError, InputError
from ..explain.rows import OK, VARIANT_WIDTH_BP, Row, variant_rows
from ..explain.where import columns_of
from ..genome.fasta import Fasta
from ..genome.variants import Variant
from ..plain import check_types
from ..types import FloatArray, IndexArray
from .activation_run import about_of
from .activations import EMBEDDING, TOKENS, Activations, Layer
from .tables import Matrix, Table, read_table, write_table

KIND = "embeddings"


@dataclass(frozen=True, kw_only=True)
class EmbedOptions:
    """What an embedding is the mean of.

    Parameters
    ----------
    layer : str
        ``embedding``, ``tokens`` or ``layer_N``.
    region : str, optional
        Bins to average, as in targets; the bases of the row when None.
    bin_rule : str
        Which bins belong to a part of a gene, one of :data:`borzoi_rt.engine.gene_bins.BIN_RULES`.

    Raises
    ------
    InputError
        If region or rule are not what they may be.
    """

    layer: str = EMBEDDING
    region: str | None = None
    bin_rule: str = "overlap"

    def __post_init__(self) -> None:
        check_types(self)
        if self.layer not in (EMBEDDING, TOKENS) and not self.layer.startswith("layer_"):
            raise InputError(f"layer {self.layer!r} is not embedded; allowed: {EMBEDDING}, {TOKENS}, layer_N")
        if self.region is not None:
            object.__setattr__(self, "region", str(Region.parse(self.region)))
        if self.bin_rule not in BIN_RULES:
            raise InputError(f"bin_rule {self.bin_rule!r} is unknown; allowed: {', '.join(BIN_RULES)}")


@dataclass(frozen=True, eq=False)
class Unread:
    """What has no embedding, and why; it keeps its row in the output."""

    name: str
    chrom: str
    start: int
    end: int
    allele: str
    status: str


def embedded(activations: Activations, row: Row, fasta: Fasta, options: EmbedOptions) -> tuple[FloatArray, int]:
    """Return the embedding of one row, float32 (units,), and the number of positions it is the mean of.

    Raises
    ------
    InputError
        If the region holds no bin of the output, or the row's bases are not in the layer.
    """
    layer = activations.layer(options.layer)
    positions = positions_of(layer, activations, row, options)
    low, high = int(positions.min()), int(positions.max()) + 1
    window = row.window(fasta, activations.network.bundle.geometry)
    values = activations.of(window, options.layer, positions=(low, high)).values
    found: FloatArray = values[:, positions - low].mean(axis=1, dtype=np.float64).astype(np.float32)
    return found, len(positions)


def positions_of(layer: Layer, activations: Activations, row: Row, options: EmbedOptions) -> IndexArray:
    """Return the positions of a layer that a row's embedding is the mean of; one may stand there more than once."""
    if options.region is None:
        return np.arange(*layer.overlapping(row.columns), dtype=np.int64)
    grid = activations.network.bundle.geometry
    columns = columns_of(Region.parse(options.region), options.bin_rule, row.where, grid)
    bins = np.concatenate(columns)
    bases = grid.crop_bp + bins * grid.bin_size_bp
    found: IndexArray = (bases - layer.first_bp) // layer.resolution_bp
    return found


def variant_pairs(
    variants: Sequence[Variant], fasta: Fasta, activations: Activations, width_bp: int = VARIANT_WIDTH_BP
) -> list[Row | Unread]:
    """Return two rows for each variant, REF and ALT; one that cannot be read keeps its rows and says why."""
    found: list[Row | Unread] = []
    for variant in variants:
        try:
            if variant.problem is not None:
                raise InputError(f"{variant}: {variant.problem}: {variant.detail}")
            found += variant_rows(variant, fasta, activations.network.bundle.geometry, width_bp=width_bp)
        except BorzoiError as error:
            start = variant.pos - 1
            found += [
                Unread(f"{variant} {allele}", variant.chrom, start, start + len(variant.ref), allele, str(error))
                for allele in ("ref", "alt")
            ]
    return found


def embed_rows(
    rows: Sequence[Row | Unread],
    out: Path,
    *,
    activations: Activations,
    fasta: Fasta,
    options: EmbedOptions | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[str]:
    """Embed rows and write a table of them.

    Parameters
    ----------
    rows : sequence of Row
        See :mod:`borzoi_rt.explain.rows` and :func:`variant_pairs`.
    out : Path
        ``.h5``, ``.npz``, ``.parquet`` or ``.tsv``; see :mod:`borzoi_rt.inside.tables`. Columns ``name, chrom, start,
        end, strand, allele, window_start, positions, covered, status`` and units ``u0``, ``u1``, and so on;
        ``covered`` as of :func:`covered`.
    activations : Activations
        The model.
    fasta : Fasta
        The genome.
    options : EmbedOptions, optional
    progress : callable, optional
        Called with the number of rows done.

    Returns
    -------
    list of str
        Status of each row: ``ok``, or why its embedding is NaN.
    """
    if not rows:
        raise InputError("there is nothing to embed")
    options = options or EmbedOptions()
    with TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
        # On disk: a million rows do not fit into memory.
        shape = (len(rows), activations.layer(options.layer).units)
        values = np.memmap(Path(folder) / "values", dtype=np.float32, mode="w+", shape=shape)
        how: dict[str, Any] = {"options": options, "values": values, "progress": progress}
        table = embed_table(rows, activations=activations, fasta=fasta, **how)
        write_table(out, table)
    status: list[str] = table.columns["status"]
    return status


def embed_table(
    rows: Sequence[Row | Unread],
    *,
    activations: Activations,
    fasta: Fasta,
    options: EmbedOptions | None = None,
    values: FloatArray | None = None,
    progress: Callable[[int], None] | None = None,
) -> Table:
    """Return the table that :func:`embed_rows` writes.

    Parameters
    ----------
    rows, activations, fasta, options, progress
        As of :func:`embed_rows`.
    values : float32 ndarray of shape (rows, units), optional
        Where the embeddings are put; in memory when None.
    """
    options = options or EmbedOptions()
    if not rows:
        raise InputError("there is nothing to embed")
    layer = activations.layer(options.layer)
    if values is None:
        values = np.empty((len(rows), layer.units), dtype=np.float32)
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for number, entries in enumerate(_entries(rows, values, activations, fasta, options), start=1):
        for name, value in zip(COLUMNS, entries, strict=True):
            columns[name].append(value)
        if progress is not None:
            progress(number)
    about = {
        **about_of(activations.network, fasta),
        "layer": layer.name,
        "resolution_bp": layer.resolution_bp,
        "pool": "mean",
        "region": options.region or "bases",
        "bin_rule": options.bin_rule,
    }
    matrix = Matrix("embedding", [f"u{number}" for number in range(layer.units)], values)
    return Table(KIND, about, columns, matrix)


COLUMNS = ("name", "chrom", "start", "end", "strand", "allele", "window_start", "positions", "covered", "status")


def covered(activations: Activations, row: Row, options: EmbedOptions) -> float:
    """Return which share of a row's bases, or of its gene's exons, lies where the layer has positions.

    A region of bins, as ``exons``, is of the output alone, which is narrower than the window.
    """
    grid, layer, start = activations.network.bundle.geometry, activations.layer(options.layer), row.where.window_start
    low, high = layer.first_bp, layer.first_bp + layer.positions * layer.resolution_bp
    if options.region is not None:
        low, high = grid.crop_bp, grid.crop_bp + grid.bins * grid.bin_size_bp
    gene = row.where.gene
    parts = np.array([row.columns]) if gene is None else np.asarray(gene.exons) - start
    inside = np.minimum(parts[:, 1], high) - np.maximum(parts[:, 0], low)
    return float(np.maximum(inside, 0).sum() / (parts[:, 1] - parts[:, 0]).sum())


def _entries(
    rows: Sequence[Row | Unread],
    values: np.ndarray,
    activations: Activations,
    fasta: Fasta,
    options: EmbedOptions,
) -> Iterator[tuple[Any, ...]]:
    """Fill ``values`` row by row, and yield what the columns hold."""
    for number, row in enumerate(rows):
        if isinstance(row, Unread):
            values[number] = np.nan
            yield row.name, row.chrom, row.start, row.end, ".", row.allele, -1, 0, 0.0, row.status
            continue
        status, count, share = OK, 0, 0.0
        try:
            if row.status != OK:
                raise InputError(f"{row.status}: {row.detail}")
            values[number], count = embedded(activations, row, fasta, options)
            share = covered(activations, row, options)
        except InputError as error:
            values[number], status = np.nan, str(error)
        bases, gene = row.bases, row.where.gene
        low, high = (bases.start, bases.end) if gene is None else gene.span  # of a gene, the row is its whole window
        yield row.name, bases.chrom, low, high, bases.strand, row.allele, row.where.window_start, count, share, status


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Embeddings in memory.

    Attributes
    ----------
    values : float32 ndarray of shape (rows, units)
        NaN where ``status`` is not ``ok``.
    columns : dict of str to ndarray
        As :func:`embed_rows` writes them, each (rows,).
    about : dict
        Model, genome, layer, region, versions.
    """

    values: FloatArray
    columns: dict[str, Any]
    about: dict[str, Any]

    @property
    def known(self) -> Any:
        """Which rows have an embedding, bool (rows,)."""
        return np.asarray(self.columns["status"]) == OK


def read_embeddings(path: str | os.PathLike[str]) -> Embeddings:
    """Read an ``.h5`` file of ``borzoi-rt embed``.

    Raises
    ------
    FormatError
        If it is no such file.
    """
    return embeddings_of(read_table(path, KIND))


def embeddings_of(table: Table) -> Embeddings:
    """Return the embeddings of a table that :func:`embed_table` made.

    Raises
    ------
    InputError
        If it is another table.
    """
    if table.kind != KIND or table.matrix is None:
        raise InputError(f"a table of {table.kind} holds no embeddings; give one that embed made")
    return Embeddings(table.matrix.values, dict(table.columns), dict(table.about))
