"""Scores of genes in the layout of Calico's ``sed.h5`` (``borzoi_sed``): a row per allele and gene.

``si`` is the number of the allele among the datasets of alleles (``snp``, ``pos``, ...), which hold all of them, also
those without a gene. ``gene`` is the id; beside it stand ``gene_name``, ``gene_strand`` and, for each region,
``covered_fraction@REGION``. A score is called by its name, ``logSED@exons``, and where the statistic is asked for over
one region alone, also ``logSED`` as in the reference; the coverage of alleles is then also ``REF`` and ``ALT``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py
import numpy as np
import pyarrow as pa

from ..types import IndexArray
from .groups import GeneGroups, covered_fractions, firsts, gene_groups, region_vectors
from .hdf5_columns import Columns, Matrix
from .kept import Rows

if TYPE_CHECKING:
    from . import Shards


_TEXTS = ("gene", "gene_name", "gene_strand")
_REFERENCE_NAMES = {"ref_value": "REF", "alt_value": "ALT"}


def write_genes(file: h5py.File, shards: Shards, rows: Rows) -> None:
    """Write the datasets of genes."""
    wanted = rows.vectors(of_genes=True)
    regions = tuple(dict.fromkeys(region for _, region, _ in wanted))
    pairs = sum(_pairs(gene_groups(shard)).size for shard in shards())
    scores = {name: Matrix(file, name, pairs, len(rows.tracks)) for name, _, _ in wanted}
    covered = {
        region: file.create_dataset(f"covered_fraction@{region}", (pairs,), dtype=np.float32, fillvalue=np.nan)
        for region in regions
    }
    columns = Columns(file, _TEXTS, {"si": np.int64}, pairs)
    alleles = start = 0
    for shard in shards():
        groups = gene_groups(shard)
        kept = _pairs(groups)
        end = start + len(kept)
        of_pairs = pa.array(groups.row[kept])
        text = {name: [value or "" for value in shard[name].take(of_pairs).to_pylist()] for name in _TEXTS}
        columns.add(text, {"si": groups.allele[kept] + alleles}, start)
        for name, region, held in wanted:
            scores[name].add(region_vectors(shard, rows, groups, region, held)[kept])
        for region, dataset in covered.items():
            dataset[start:end] = covered_fractions(shard, groups, region)[kept]
        alleles += int(np.count_nonzero(firsts(shard)))
        start = end
    columns.flush()
    for matrix in scores.values():
        matrix.flush()
    every = [held for _, _, held in rows.vectors()]
    for name, _, held in wanted:
        if every.count(held) == 1:
            file[_REFERENCE_NAMES.get(held, held)] = scores[name].dataset


def _pairs(groups: GeneGroups) -> IndexArray:
    """Return the groups that have a gene."""
    return np.flatnonzero([bool(name) for name in groups.gene])
