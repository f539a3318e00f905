"""Polyadenylation sites of genes: which a gene has, and the bins beside them; the formulas are in ``splits``.

With r = rint(p / w) and r' = rint((p + 1) / w) of a site at base p of the output, w the width of a bin, the bins are

========  ============================================  =========================================
layout    site on '+', upstream and downstream          statistics
========  ============================================  =========================================
near      [r - 3, r + 1), [r', r' + 4)                  COVR
wide      [r - 8, r + 1), [r', r' + 9)                  COVRWIDE
up        [r - 4, r + 1)                                COVR3
up_wide   [r - 9, r + 1)                                COVR3WIDE
around    [r - 2, r + 3)                                PROP3
read      ceil(400 / w) bins that end with the site's   POLYADENYLATION
========  ============================================  =========================================

mirrored for a site on '-' (upstream [r', r' + 4)). Sites of COVR and PROP3 are those in the span of the gene, 50 bp
more on each side, of which 80 % must lie in the output; a site counts for one gene, and sites that share all bins once
(`borzoi_sed_paqtl_cov`). POLYADENYLATION is AlphaGenome's: genes that the variant overlaps, sites on their own strand,
80 % of them in the output, and of these at least two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..bundle.manifest import Geometry
from ..engine.gene_bins import Frame
from ..genome.genes import Gene
from ..genome.pas import Sites
from ..types import IndexArray

EXTENSION_BP = 50  # around the span of a gene: sites there are its own, as in the reference
_INSIDE = 0.8  # share of sites that must lie in the output
_READ_BP = 400
_COUNTS = {"near": (4, 4), "wide": (9, 9), "up": (5, 0), "up_wide": (10, 0)}  # bins upstream and downstream
READ = "read"
LAYOUTS = (*_COUNTS, "around", READ)

Side = tuple[int, int]
Sides = list[tuple[Side, Side]]  # of REF and of ALT


def sites_of(
    sites: Sites, chosen: IndexArray, gene: Gene, chroms: Sequence[str], used: set[int], start: int, end: int
) -> list[int]:
    """Return the sites of a gene, in order, as numbers of the table; none where too few lie in the output.

    Parameters
    ----------
    chosen : int64 ndarray
        Sites that are compared at all.
    chroms : sequence of str
        What the table may call the contig.
    used : set of int
        Sites that an earlier gene of the variant has; they are passed over.
    start, end : int
        Output window.
    """
    found = [site for site in _near(sites, chosen, gene, chroms) if site not in used]
    if not found:
        return []
    positions = sites.position[found]
    inside = min(np.mean(positions >= start), np.mean(positions + 1 < end))
    return found if inside >= _INSIDE else []


def read_sites_of(
    sites: Sites, chosen: IndexArray, gene: Gene, chroms: Sequence[str], start: int, end: int
) -> list[int]:
    """Return the sites of a gene that POLYADENYLATION compares, in order; none where there are fewer than two."""
    own = [site for site in _near(sites, chosen, gene, chroms) if gene.strand in (".", sites.strand[site])]
    positions = sites.position[own]
    inside = (positions >= start) & (positions < end)
    if not own or inside.mean() < _INSIDE or inside.sum() < 2:
        return []
    return [site for site, held in zip(own, inside, strict=True) if held]


def _near(sites: Sites, chosen: IndexArray, gene: Gene, chroms: Sequence[str]) -> list[int]:
    low, high = gene.span
    position = sites.position[chosen]
    near = chosen[(position + 1 > low - EXTENSION_BP) & (position < high + EXTENSION_BP)]
    return [int(site) for site in near if sites.chrom[site] in chroms]


def sides_of(sites: Sites, found: Sequence[int], frame: Frame, geometry: Geometry, layout: str = "near") -> list[Side]:
    """Return the bins beside each site, upstream first."""
    sides: list[Side] = []
    for site in found:
        position = int(frame.lift(sites.position[[site]])[0])
        sides += _sides(position, sites.strand[site] == "+", geometry.bin_size_bp, layout)
    return [(min(max(low, 0), geometry.bins), min(max(high, 0), geometry.bins)) for low, high in sides]


def _sides(position: int, forward: bool, width: int, layout: str) -> list[Side]:
    if layout == READ:
        own, count = position // width, -(-_READ_BP // width)
        return [(own - count + 1, own + 1) if forward else (own, own + count)]
    first, second = int(np.rint(position / width)), int(np.rint((position + 1) / width))
    if layout == "around":
        return [(first - 2, first + 3)]
    up, down = _COUNTS[layout]
    pair = [(first - up + 1, first + 1), (second, second + down)]
    if not forward:
        pair = [(second, second + up), (first - down + 1, first + 1)]
    return pair if down else pair[:1]


def distinct(sides: Sequence[tuple[Side, Side]]) -> Sides:
    """Return sides of REF and ALT without those that come again, as of sites that share bins, or that are empty."""
    return [pair for pair in dict.fromkeys(sides) if all(low < high for low, high in pair)]


@dataclass(frozen=True)
class SiteBins:
    """The sides of the sites of one gene.

    Attributes
    ----------
    gene : Gene
    layouts : dict of str to tuple of lists of (Side, Side)
        By layout: bins in the array of REF and in that of ALT, for each pair of arrays.
    covered_fraction : float
        Share of the sites that the output window holds.
    labels : dict of str to tuple of str
        By layout, what sides or pairs of them are called, where that is said.
    """

    gene: Gene
    layouts: Mapping[str, tuple[Sides, ...]]
    covered_fraction: float
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def range(self) -> tuple[int, int]:
        """Smallest range that holds all bins."""
        held = [side for sides in self.layouts.values() for pairs in sides for pair in pairs for side in pair]
        return min(low for low, _ in held), max(high for _, high in held)


def genes_with_sites(
    sites: Sites,
    chosen: IndexArray,
    chroms: Sequence[str],
    genes: Sequence[Gene],
    frames: Sequence[tuple[Frame, Frame]],
    *,
    window_start: int,
    geometry: Geometry,
    layouts: Sequence[str] = ("near",),
    overlapping: tuple[int, int] = (0, 0),
) -> list[SiteBins]:
    """Return the genes whose span meets the output window and that have sites in it.

    Parameters
    ----------
    layouts : sequence of str
        Which bins are wanted.
    overlapping : (int, int)
        What genes must meet for the layout ``read``: the bases of the variant.
    """
    start = window_start + geometry.crop_bp
    end = start + geometry.bins * geometry.bin_size_bp
    used: set[int] = set()
    found = []
    for gene in genes:
        low, high = gene.span
        if low >= end or high <= start:
            continue
        own = sites_of(sites, chosen, gene, chroms, used, start, end)
        met = low < overlapping[1] and high > overlapping[0]
        read = read_sites_of(sites, chosen, gene, chroms, start, end) if met and READ in layouts else []
        held: dict[str, tuple[Sides, ...]] = {}
        for layout in layouts:
            compared = read if layout == READ else own
            pairs = tuple(
                list(zip(*(sides_of(sites, compared, frame, geometry, layout) for frame in both), strict=True))
                for both in frames
            )
            pairs = pairs if layout == READ else tuple(distinct(sides) for sides in pairs)
            if all(pairs) and all(low < high for sides in pairs for pair in sides for low, high in pair):
                held[layout] = pairs
        if held:
            used |= set(own) if set(held) != {READ} else set()
            every = own or read
            inside = (sites.position[every] >= start) & (sites.position[every] < end)
            found.append(SiteBins(gene, held, float(np.mean(inside))))
    return found
