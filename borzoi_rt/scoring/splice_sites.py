"""Splice sites and exons of genes: the bins on both sides of every exon border, and those of every exon.

A splice site is an end of an intron of an annotated transcript. On each side four bins count, as far as the exon and
the intron reach (of several exons or introns that end there, the shortest); a site without a bin on one side, as of an
exon that is shorter than half a bin, has no score. Exons are the united ones, with every bin that they meet.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..bundle.manifest import Geometry
from ..engine.gene_bins import Frame
from ..genome.genes import Gene
from ..types import IndexArray
from .site_scores import Side, Sides, SiteBins

SIDE_BINS = 4
JUNCTIONS, EXONS = "junctions", "exons"

_Site = tuple[int, bool, int, int]  # base, whether the exon is on its left, far end of the exon, far end of the intron


def splice_sites(gene: Gene) -> list[_Site]:
    """Return the borders between exons and introns of the transcripts of a gene, ascending."""
    found: dict[tuple[int, bool], tuple[int, int]] = {}
    for exons in gene.transcripts:
        for (start, left), (right, end) in zip(exons[:-1].tolist(), exons[1:].tolist(), strict=True):
            for key, exon, intron in (((left, True), start, right), ((right, False), end, left)):
                nearest = max if key[1] else min
                farther = min if key[1] else max
                held = found.get(key, (exon, intron))
                found[key] = nearest(held[0], exon), farther(held[1], intron)
    return [(base, left, *found[base, left]) for base, left in sorted(found)]


def _pair(site: _Site, frame: Frame, geometry: Geometry) -> tuple[Side, Side]:
    """Return the bins on the exon's side and on the intron's."""
    _, left, _, _ = site
    lifted = frame.lift(np.array([site[0], site[2], site[3]], dtype=np.int64))
    border, exon, intron = (int(value) for value in np.rint(lifted / geometry.bin_size_bp))
    if left:
        sides = [(max(border - SIDE_BINS, exon), border), (border, min(border + SIDE_BINS, intron))]
    else:
        sides = [(border, min(border + SIDE_BINS, exon)), (max(border - SIDE_BINS, intron), border)]
    (a, b), (c, d) = ((min(max(low, 0), geometry.bins), min(max(high, 0), geometry.bins)) for low, high in sides)
    return (a, b), (c, d)


def _exon(exon: IndexArray, frame: Frame, geometry: Geometry) -> Side:
    low, high = frame.lift(exon) / geometry.bin_size_bp
    return max(int(np.floor(low)), 0), min(int(np.ceil(high)), geometry.bins)


def _known(sides: Sequence[Side]) -> bool:
    return all(low < high for low, high in sides)


def splice_bins(gene: Gene, frames: Sequence[tuple[Frame, Frame]], geometry: Geometry, chrom: str) -> SiteBins | None:
    """Return the splice sites and exons of a gene that have bins in the output in both alleles; None where none has."""
    layouts: dict[str, tuple[Sides, ...]] = {}
    labels: dict[str, tuple[str, ...]] = {}
    pairs: tuple[Sides, ...] = tuple([] for _ in frames)
    names: list[str] = []
    for site in splice_sites(gene):
        held = [[_pair(site, frame, geometry) for frame in both] for both in frames]
        if _known([side for both in held for pair in both for side in pair]):
            for sides, (ref, alt) in zip(pairs, held, strict=True):
                sides += [(ref[0], alt[0]), (ref[1], alt[1])]
            names.append(_site_name(site, gene.strand, chrom))
    if names:
        layouts[JUNCTIONS], labels[JUNCTIONS] = pairs, tuple(names)
    exons: tuple[Sides, ...] = tuple([] for _ in frames)
    shown: list[str] = []
    for exon in gene.exons:
        bins = [(_exon(exon, ref, geometry), _exon(exon, alt, geometry)) for ref, alt in frames]
        if _known([side for both in bins for side in both]):
            for sides, (one, other) in zip(exons, bins, strict=True):
                sides.append((one, other))
            shown.append(f"exon {chrom}:{int(exon[0]) + 1}-{int(exon[1])}")
    if shown:
        layouts[EXONS], labels[EXONS] = exons, tuple(shown)
    if not layouts:
        return None
    return SiteBins(gene, layouts, len(shown) / len(gene.exons), labels)


def _site_name(site: _Site, strand: str, chrom: str) -> str:
    """Return the first or last base of the exon at a splice site, 1-based, and which end of the intron it is."""
    base, left, _, _ = site
    kind = "splice site" if strand == "." else "donor" if left == (strand == "+") else "acceptor"
    return f"{kind} {chrom}:{base if left else base + 1}"
