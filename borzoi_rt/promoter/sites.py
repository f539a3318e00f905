"""Starts of transcription, and the windows around them: always read on the strand of the gene, the TSS at one base."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..genome.fasta import Fasta
from ..genome.intervals import read_bed
from ..genome.variants import Variant
from ..sequence import encode, reverse_complement


@dataclass(frozen=True, slots=True)
class Site:
    """A start of transcription: 0-based ``pos0`` of the first transcribed base, ``strand`` ``+`` or ``-``."""

    chrom: str
    pos0: int
    strand: str = "+"
    name: str = ""

    def __post_init__(self) -> None:
        if self.strand not in ("+", "-"):
            raise InputError(f"site {self.chrom}:{self.pos0 + 1}: strand is {self.strand!r}; '+' or '-' is needed")

    @property
    def label(self) -> str:
        """Name, or the locus where there is none."""
        return self.name or self.locus

    @property
    def locus(self) -> str:
        """Where it is, as a browser shows it, with the strand: ``chr1:1501+``."""
        return f"{self.chrom}:{self.pos0 + 1}{self.strand}"

    def window(self, length_bp: int, tss_bp: int) -> tuple[int, int]:
        """Return [start, end) on the genome of the window whose base ``tss_bp``, read on the strand, is the TSS."""
        start = self.pos0 - tss_bp if self.strand == "+" else self.pos0 + tss_bp + 1 - length_bp
        return start, start + length_bp


def read_sites(path: str | os.PathLike[str]) -> list[Site]:
    """Read TSSs from BED: the first base of an interval on its strand. A BED without strands reads as ``+``."""
    sites = []
    for interval in read_bed(path):
        minus = interval.strand == "-"
        pos0 = interval.end - 1 if minus else interval.start
        sites.append(Site(interval.chrom, pos0, "-" if minus else "+", interval.name))
    return sites


def site_window(fasta: Fasta, site: Site, *, length_bp: int, tss_bp: int) -> np.ndarray:
    """Return the window of a site, uint8 (4, length), on the strand of the site; N beyond the chromosome."""
    return _oriented(fasta.fetch(site.chrom, *site.window(length_bp, tss_bp)), site)


def allele_window(fasta: Fasta, site: Site, variant: Variant, *, length_bp: int, tss_bp: int) -> np.ndarray:
    """Return the window of a site with the ALT allele in it; the TSS keeps its position.

    What an indel adds or removes leaves or enters at the end of the window that lies on its side of the TSS. Where the
    variant covers the TSS, the TSS is the base of ALT at the same offset, or its last one.

    Parameters
    ----------
    fasta : Fasta
    site : Site
    variant : Variant
        REF must be what the genome holds.
    length_bp, tss_bp : int
        Window of the model.

    Returns
    -------
    uint8 ndarray of shape (4, length)
    """
    start, end = site.window(length_bp, tss_bp)
    first, last = variant.pos - 1, variant.pos - 1 + len(variant.ref)
    k = len(variant.alt) - len(variant.ref)
    pad = abs(k) + len(variant.ref)
    left = fasta.fetch(site.chrom, min(start - pad, first), first)
    right = fasta.fetch(site.chrom, last, max(end + pad, last))
    haplotype = left + variant.alt + right
    begin = first - len(left)
    if site.pos0 < first:
        tss = site.pos0 - begin
    elif site.pos0 >= last:
        tss = site.pos0 - begin + k
    else:
        tss = len(left) + min(site.pos0 - first, max(len(variant.alt) - 1, 0))
    cut = tss - (site.pos0 - start)
    return _oriented(haplotype[cut : cut + length_bp], site)


def _oriented(text: str, site: Site) -> np.ndarray:
    onehot = encode(text)
    return onehot if site.strand == "+" else reverse_complement(onehot)
