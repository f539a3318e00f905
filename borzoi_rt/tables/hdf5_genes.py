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

from ..types import IndexArray
from .groups import GeneGroups, covered_fractions, firsts, gene_groups, region_vectors
from .kept import Rows

if TYPE_CHECKING:
    from . import Shards


_REFERENCE_NAMES = {"ref_value": "REF", "alt_value": "ALT"}


def write_genes(file: h5py.File, shards: Shards, rows: Rows) -> None:
    """Write the datasets of genes."""
    wanted = rows.vectors(of_genes=True)
    regions = tuple(dict.fromkeys(region for _, region, _ in wanted))
    pairs = sum(_pairs(gene_groups(shard)).size for shard in shards())
    shape = (pairs, len(rows.tracks))
    scores = {name: file.create_dataset(name, shape, dtype=np.float32, fillvalue=np.nan) for name, _, _ in wanted}
    covered = {
        region: file.create_dataset(f"covered_fraction@{region}", (pairs,), dtype=np.float32, fillvalue=np.nan)
        for region in regions
    }
    texts: dict[str, list[str]] = {"gene": [], "gene_name": [], "gene_strand": []}
    numbers: list[int] = []
    alleles = start = 0
    for shard in shards():
        groups = gene_groups(shard)
        kept = _pairs(groups)
        end = start + len(kept)
        numbers += (groups.allele[kept] + alleles).tolist()
        for name, values in texts.items():
            values += [shard[name][int(row)].as_py() or "" for row in groups.row[kept]]
        for name, region, held in wanted:
            scores[name][start:end] = region_vectors(shard, rows, groups, region, held)[kept]
        for region, dataset in covered.items():
            dataset[start:end] = covered_fractions(shard, groups, region)[kept]
        alleles += int(np.count_nonzero(firsts(shard)))
        start = end
    file.create_dataset("si", data=np.array(numbers, dtype=np.int64))
    for name, values in texts.items():
        file.create_dataset(name, data=[value.encode() for value in values], dtype=h5py.string_dtype())
    every = [held for _, _, held in rows.vectors()]
    for name, _, held in wanted:
        if every.count(held) == 1:
            file[_REFERENCE_NAMES.get(held, held)] = scores[name]


def _pairs(groups: GeneGroups) -> IndexArray:
    """Return the groups that have a gene."""
    return np.flatnonzero([bool(name) for name in groups.gene])
