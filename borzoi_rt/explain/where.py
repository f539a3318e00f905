"""Where a target lies: the window, and the bins of its output that a region means there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..bundle.manifest import Geometry
from ..engine.gene_bins import Frame, intervals_of
from ..engine.regions import Region
from ..errors import InputError
from ..genome.genes import Gene
from ..genome.pas import Sites
from ..genome.variants import Variant
from ..types import IndexArray

_BEFORE, _BEHIND = 4, 5  # bins, as in borzoi_satg_polya.py of calico/borzoi
_EXTENSION_BP = 50  # around a gene: sites there are its own


@dataclass(frozen=True, kw_only=True)
class Where:
    """One input window and what lies in it.

    Parameters
    ----------
    window_start : int
        0-based start of the input window.
    anchor : Variant, optional
        What ``span:BP`` and ``center:BP`` are around.
    gene : Gene, optional
        What regions of genes belong to.
    sites : Sites, optional
        Polyadenylation sites, for the region ``pas``.
    frame : Frame, optional
        Where the bases of the genome lie in the output, for a window that holds another allele than the genome.
    """

    window_start: int
    anchor: Variant | None = None
    gene: Gene | None = None
    sites: Sites | None = None
    frame: Frame | None = None

    def framed(self, geometry: Geometry) -> Frame:
        """Return the frame; without an allele it only moves."""
        if self.frame is not None:
            return self.frame
        return Frame(self.window_start + geometry.crop_bp, ())


def anchored(chrom: str, start: int, end: int) -> Variant:
    """Return what stands for the middle of an interval [start, end) where a region is around a position."""
    return Variant(chrom, (start + end) // 2 + 1, "N", "N")


def columns_of(region: Region, rule: str, where: Where, geometry: Geometry) -> tuple[IndexArray, ...]:
    """Return the bins of the output that a region means, ascending; for ``pas`` those before and behind the site.

    Raises
    ------
    InputError
        If what the region is of is missing, or it holds no bin of the output.
    """
    if region.of_genes:
        if where.gene is None:
            raise InputError(f"region {region} belongs to a gene; name one, or take window, span:BP or center:BP")
        if region.kind == "pas":
            return _beside_site(where.gene, where, geometry)
        start = where.window_start + geometry.crop_bp
        output = (start, start + geometry.bins * geometry.bin_size_bp)
        # A gene that is named is meant, whatever a variant overlaps.
        part = intervals_of(where.gene, region, window=output, variant=where.gene.span)
        found = where.framed(geometry).bins(part, rule, geometry)
        if not len(found):
            raise InputError(f"{region} of gene {where.gene} holds no bin of the output of this window")
        return (found,)
    if region.width_bp is None:
        return (np.arange(geometry.bins),)
    if where.anchor is None:
        raise InputError(f"region {region} is around a position; give one, or take window")
    start, end = region.bins(where.anchor, where.window_start, geometry)
    if start >= end:
        raise InputError(f"region {region} around {where.anchor.chrom}:{where.anchor.pos} holds no bin of the output")
    return (np.arange(start, end),)


def _beside_site(gene: Gene, where: Where, geometry: Geometry) -> tuple[IndexArray, IndexArray]:
    """Return the bins before and behind the last polyadenylation site of a gene, by the rule of the reference."""
    if where.sites is None:
        raise InputError("region pas needs a table of polyadenylation sites (pas)")
    sites, (low, high) = where.sites, gene.span
    stem = gene.chrom.removeprefix("chr")
    own = [
        int(site)
        for site in sites.of_kind("utr3")
        if sites.chrom[site].removeprefix("chr") == stem
        and sites.strand[site] == gene.strand
        and low - _EXTENSION_BP < sites.position[site] + 1
        and sites.position[site] < high + _EXTENSION_BP
    ]
    if not own:
        raise InputError(f"{sites.source}: gene {gene} has no polyadenylation site")
    position = int(where.framed(geometry).lift(sites.position[[own[-1]]])[0])
    first, second = (int(np.rint(edge / geometry.bin_size_bp)) for edge in (position, position + 1))
    before, behind = (first - _BEFORE + 1, first + 1), (second + 1, second + 1 + _BEHIND)
    if gene.strand == "-":
        before, behind = (second, second + _BEFORE), (first - _BEHIND, first)
    found = [np.arange(max(start, 0), min(end, geometry.bins)) for start, end in (before, behind)]
    if not all(map(len, found)):
        raise InputError(f"the last polyadenylation site of gene {gene} lies outside the output of this window")
    return found[0], found[1]
