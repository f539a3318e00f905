"""Scores of kept rows put together by allele, and by allele and gene."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ..scoring.spec import ScoreSpec
from ..types import BoolArray, FloatArray, IndexArray
from .kept import Rows, scores_of


@dataclass(frozen=True)
class GeneGroups:
    """Which kept rows belong to one allele and gene.

    Attributes
    ----------
    allele : int64 ndarray of shape (groups,)
        Number of the allele, in order.
    row : int64 ndarray of shape (groups,)
        The first kept row of each group; that of the allele where it has no gene.
    group : int64 ndarray of shape (kept rows,)
        Group of a row of a gene; -1 for other rows.
    gene : tuple of str
        Id of the gene of each group; empty where the allele has none.
    """

    allele: IndexArray
    row: IndexArray
    group: IndexArray
    gene: tuple[str, ...]


def gene_groups(table: pa.Table) -> GeneGroups:
    """Group kept rows by allele and gene, in their order; an allele without a gene is a group of its own."""
    first = firsts(table)
    allele = np.cumsum(first) - 1
    genes = [name or "" for name in table["gene"].to_pylist()]
    known = np.array([name not in ("", ".") for name in genes], dtype=bool)
    with_genes = set(allele[known].tolist())
    found: dict[tuple[int, str], int] = {}
    group = np.full(len(table), -1, dtype=np.int64)
    row: list[int] = []
    for number in range(len(table)):
        own = int(allele[number])
        if not known[number] and (own in with_genes or not first[number]):
            continue
        key = (own, genes[number] if known[number] else "")
        if key not in found:
            found[key] = len(row)
            row.append(number)
        if known[number]:
            group[number] = found[key]
    return GeneGroups(
        np.array([own for own, _ in found], dtype=np.int64),
        np.array(row, dtype=np.int64),
        group,
        tuple(name for _, name in found),
    )


def allele_scores(table: pa.Table, rows: Rows, specs: Sequence[ScoreSpec] | None = None) -> Iterator[FloatArray]:
    """Yield, for each score in order, float32 (alleles, tracks); NaN where there is none."""
    for spec in rows.specs if specs is None else specs:
        yield region_vectors(table, rows, None, str(spec.region), spec.stat)


def region_vectors(table: pa.Table, rows: Rows, groups: GeneGroups | None, region: str, name: str) -> FloatArray:
    """Return one score over one region, float32 (alleles, tracks), or of groups; NaN where there is none."""
    first = firsts(table)
    held = np.array(table["region"].to_pylist(), dtype=object) == region
    values = scores_of(table, name, len(rows.tracks))
    of_genes = groups is not None and any(spec.of_genes for spec in rows.specs if str(spec.region) == region)
    count = len(groups.row) if groups is not None and of_genes else int(first.sum())
    owner = groups.group if groups is not None and of_genes else np.cumsum(first) - 1
    held &= owner >= 0
    matrix = np.full((count, len(rows.tracks)), np.nan, dtype=np.float32)
    matrix[owner[held]] = values[held]
    return matrix if groups is None or of_genes else matrix[groups.allele]


def covered_fractions(table: pa.Table, groups: GeneGroups, region: str) -> FloatArray:
    """Return the covered fraction of a region of genes, float32 (groups,); NaN where a group has no such region."""
    held = (np.array(table["region"].to_pylist(), dtype=object) == region) & (groups.group >= 0)
    share = table["covered_fraction"].to_numpy(zero_copy_only=False).astype(np.float32)
    values = np.full(len(groups.row), np.nan, dtype=np.float32)
    values[groups.group[held]] = share[held]
    return values


def firsts(table: pa.Table) -> BoolArray:
    """Tell which kept rows are the first of their allele."""
    return np.asarray(table["first"].to_numpy(zero_copy_only=False), dtype=bool)
