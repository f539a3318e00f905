"""Polyadenylation: how a variant moves coverage along the sites of a gene (COVR of `borzoi_sed_paqtl_cov`).

Before and behind each site four bins are summed: R_i and A_i, i = 1 to n in the order of sites, upstream first. Then

    c_i = (A_i + ps) / (R_i + ps)                                 of each track
    V   = [1, c_1 .. c_n, 1],  s_j = log2(mean V[j:] / mean V[:j]), j = 1 to n + 1
    j*  = the j where the mean over tracks of |s_j| is largest;    COVR = |s_j*|, SCOVR = s_j*

Only sides whose R, mean over tracks, is above a limit are kept, if one is. A split at j = 1 or n + 1 sets all sites
against the ends: that is a change of expression and no switch of isoforms. Both have the same size and opposite signs,
so that in the reference rounding decides on the sign of SCOVR; here sizes that agree within 1e-9 go to the first j.
``COVR_internal`` looks between 2 and n alone. The mean is over the tracks that are scored: COVR, unlike other scores,
depends on which tracks are chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..bundle.manifest import Geometry
from ..engine.gene_bins import Frame
from ..genome.genes import Gene
from ..genome.pas import Sites
from ..types import DoubleArray, IndexArray

SIDE_BINS = 4
EXTENSION_BP = 50  # around the span of a gene: sites there are its own, as in the reference
_INSIDE = 0.8  # share of sites that must lie in the output
_TIE = 1e-9

Side = tuple[int, int]


@dataclass(frozen=True)
class Split:
    """Where the sites of a gene part.

    Attributes
    ----------
    position : int
        j*, from 1 on.
    sides : int
        n, the sides that were compared.
    """

    position: int
    sides: int

    def __str__(self) -> str:
        where = "terminal" if self.position in (1, self.sides + 1) else "internal"
        return f"split {self.position} of {self.sides + 1} ({where})"


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
    low, high = gene.span
    position = sites.position[chosen]
    near = chosen[(position + 1 > low - EXTENSION_BP) & (position < high + EXTENSION_BP)]
    found = [int(site) for site in near if sites.chrom[site] in chroms and int(site) not in used]
    if not found:
        return []
    positions = sites.position[found]
    inside = min(np.mean(positions >= start), np.mean(positions + 1 < end))
    return found if inside >= _INSIDE else []


def sides_of(sites: Sites, found: Sequence[int], frame: Frame, geometry: Geometry) -> list[Side]:
    """Return the bins before and behind each site, upstream first."""
    sides: list[Side] = []
    width = geometry.bin_size_bp
    for site in found:
        position = int(frame.lift(sites.position[[site]])[0])
        first, second = int(np.rint(position / width)), int(np.rint((position + 1) / width))
        left, right = (first - SIDE_BINS + 1, first + 1), (second, second + SIDE_BINS)
        sides += [left, right] if sites.strand[site] == "+" else [right, left]
    return [(min(max(low, 0), geometry.bins), min(max(high, 0), geometry.bins)) for low, high in sides]


def distinct(sides: Sequence[tuple[Side, Side]]) -> list[tuple[Side, Side]]:
    """Return sides of REF and ALT without those that come again, as of sites that share bins, or that are empty."""
    return [pair for pair in dict.fromkeys(sides) if all(low < high for low, high in pair)]


@dataclass(frozen=True)
class SiteBins:
    """The sides of the sites of one gene.

    Attributes
    ----------
    gene : Gene
    sides : tuple of lists of (Side, Side)
        Bins in the array of REF and in that of ALT, for each pair of arrays.
    covered_fraction : float
        Share of the sites that the output window holds.
    """

    gene: Gene
    sides: tuple[list[tuple[Side, Side]], ...]
    covered_fraction: float

    @property
    def range(self) -> tuple[int, int]:
        """Smallest range that holds all bins."""
        held = [side for pairs in self.sides for pair in pairs for side in pair]
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
) -> list[SiteBins]:
    """Return the genes whose span meets the output window and that have sites in it; a site counts for one gene."""
    start = window_start + geometry.crop_bp
    end = start + geometry.bins * geometry.bin_size_bp
    used: set[int] = set()
    found = []
    for gene in genes:
        low, high = gene.span
        own = sites_of(sites, chosen, gene, chroms, used, start, end) if low < end and high > start else []
        if not own:
            continue
        sides = tuple(
            distinct(list(zip(*(sides_of(sites, own, frame, geometry) for frame in both), strict=True)))
            for both in frames
        )
        if all(sides):
            used |= set(own)
            inside = (sites.position[own] >= start) & (sites.position[own] < end)
            found.append(SiteBins(gene, sides, float(np.mean(inside))))
    return found


def splits(
    ref: DoubleArray, alt: DoubleArray, *, pseudo: float, min_coverage: float, internal: bool = False
) -> tuple[DoubleArray, Split | None]:
    """Return s at the best split, (tracks,), and where that is; NaN where there is no split to choose.

    Parameters
    ----------
    ref, alt : float64 ndarray of shape (tracks, sides)
        Sums of coverage.
    pseudo, min_coverage : float
        Pseudo-count, and what the mean over tracks of R must exceed.
    internal : bool
        Leave the two splits at the ends out.
    """
    kept = ref.mean(axis=0) > min_coverage
    if not kept.any():
        kept[:] = True
    ratio = (alt[:, kept] + pseudo) / (ref[:, kept] + pseudo)
    sides = ratio.shape[1]
    ends = np.ones((len(ratio), 1))
    values = np.concatenate([ends, ratio, ends], axis=1)
    total, left = values.sum(axis=1, keepdims=True), np.cumsum(values, axis=1)[:, :-1]
    count = np.arange(1, sides + 2)
    scores = np.log2((total - left) / (sides + 2 - count)) - np.log2(left / count)
    size = np.abs(scores).mean(axis=0)
    if internal:
        size[[0, -1]] = -1.0
        if sides < 2:
            return np.full(len(ratio), np.nan), None
    best = int(np.flatnonzero(size >= size.max() * (1.0 - _TIE))[0])
    return scores[:, best], Split(best + 1, sides)
