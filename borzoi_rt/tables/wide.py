"""The wide table: a column for every score and track."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from ..types import FloatArray
from .groups import covered_fractions, firsts, gene_groups, region_vectors
from .kept import Rows, kept_extra

BASE = ("record", "alt_index", "chrom", "pos", "id", "ref", "alt", "status", "status_detail")


def base_columns(rows: Rows) -> tuple[str, ...]:
    """Return the columns that say which allele it is and what became of it."""
    return (*BASE[:-2], *rows.facts, *BASE[-2:])


def wide_table(table: pa.Table, rows: Rows) -> pa.Table:
    """Return one row per allele, with a column for every score and track, ``SCORE|TRACK``.

    With scores of genes it is one row per allele and gene, in which window scores of the allele are repeated, and one
    for an allele without a gene.
    """
    groups = gene_groups(table) if rows.of_genes else None
    first = np.flatnonzero(firsts(table)) if groups is None else groups.row
    base = table.take(pa.array(first))
    columns: dict[str, Any] = {name: base[name] for name in (*base_columns(rows), "k", "window_start", "n_fraction")}
    if groups is not None:
        columns |= {name: base[name] for name in ("gene", "gene_name", "gene_strand")}
        for region in dict.fromkeys(str(spec.region) for spec in rows.specs if spec.of_genes):
            columns[f"covered_fraction@{region}"] = _numbers(covered_fractions(table, groups, region))
    for title, region, name in rows.vectors():
        values = region_vectors(table, rows, groups, region, name)
        # A score that is not finite is undefined; what stands beside it may be infinite, as far beyond its null.
        beside = name in {kept_extra(stat, extra) for stat in rows.stats for extra in rows.extras}
        empty = np.isnan(values) if beside else ~np.isfinite(values)
        columns |= {
            f"{title}|{label}": pa.array(row, pa.float32(), mask=mask)
            for label, row, mask in zip(rows.labels, values.T, empty.T, strict=True)
        }
    return pa.table(columns)


def _numbers(values: FloatArray) -> pa.Array:
    return pa.array(values, pa.float32(), mask=~np.isfinite(values))
