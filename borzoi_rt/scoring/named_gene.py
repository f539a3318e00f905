"""The one gene that a name means."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import InputError
from ..genome.fasta import Fasta
from ..genome.genes import Gene, Genes
from .gene_scores import contigs_of


def one_gene(genes: Genes, name: str, fasta: Fasta) -> Gene:
    """Return the gene that a name or an id means, on a contig that the genome knows by its name.

    Raises
    ------
    InputError
        If there is none, or more than one, or its contig is not in the genome.
    """
    found = [genes[int(number)] for number in np.flatnonzero(genes.mask([name]))]
    if len(found) > 1:
        raise InputError(f"{genes.source}: {len(found)} genes are called {name!r}; name one id, as {found[0].id}")
    gene = found[0]
    codes = contigs_of(genes, fasta)
    contig = next((held for held, own in codes.items() if gene.chrom in (genes.contigs[code] for code in own)), None)
    if contig is None:
        raise InputError(f"gene {gene} lies on {gene.chrom}, which is no contig of {fasta.name}; use its annotation")
    # The annotation's own name is kept where it will do: tables of sites are looked up by it.
    return gene if fasta.resolve(gene.chrom) == contig else replace(gene, chrom=contig)
