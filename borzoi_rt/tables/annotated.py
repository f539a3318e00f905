"""Kept results as an ``AnnData``: alleles, or alleles and genes, by tracks, with a layer for every score."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from .frames import library
from .groups import covered_fractions, firsts, gene_groups, region_vectors
from .kept import Rows
from .wide import base_columns


def to_anndata(table: pa.Table, rows: Rows, uns: dict[str, Any]) -> Any:
    """Return kept results as ``anndata.AnnData``.

    The rows are those of the wide table. ``X`` is the first score, ``layers`` holds every score and what is kept beside
    it by its name, float32 of shape (rows, tracks), NaN where there is none; ``obs`` says which allele and gene a row
    is, ``var`` which track a column is.

    Raises
    ------
    BackendError
        If anndata is not installed.
    """
    anndata, pandas = library("anndata", extra="anndata"), library("pandas")
    groups = gene_groups(table) if rows.of_genes else None
    first = np.flatnonzero(firsts(table)) if groups is None else groups.row
    base = table.take(pa.array(first))
    genes = ("gene", "gene_name", "gene_strand") if groups is not None else ()
    obs = {name: _plain(base[name]) for name in (*base_columns(rows), "k", "window_start", "n_fraction", *genes)}
    if groups is not None:
        for region in dict.fromkeys(str(spec.region) for spec in rows.specs if spec.of_genes):
            obs[f"covered_fraction@{region}"] = covered_fractions(table, groups, region)
    layers = {title: region_vectors(table, rows, groups, region, name) for title, region, name in rows.vectors()}
    tracks = rows.tracks
    var = {
        "track_index": tracks.index,
        "track_id": list(tracks.identifier),
        "track_label": list(tracks.description),
        "track_strand": list(tracks.strand),
    }
    return anndata.AnnData(
        X=layers[rows.vectors()[0][0]],
        obs=_frame(pandas, obs, map(str, range(len(base)))),
        var=_frame(pandas, var, rows.labels),
        layers=layers,
        uns=uns,
    )


def _plain(column: pa.ChunkedArray) -> Any:
    """Return a column that an h5ad file can hold: missing text is empty, a missing number NaN."""
    if pa.types.is_string(column.type):
        return [value or "" for value in column.to_pylist()]
    return column.to_numpy() if not column.null_count else column.cast(pa.float64()).to_numpy()


def _frame(pandas: Any, columns: Mapping[str, Any], names: Iterable[str]) -> Any:
    """Return a frame with text as objects: the string type of newer pandas cannot be written as h5ad everywhere."""
    index = pandas.Index(list(names), dtype=object)
    series = {
        name: pandas.Series(values, index=index, dtype=object if isinstance(values, list) else None)
        for name, values in columns.items()
    }
    return pandas.DataFrame(series, index=index)
