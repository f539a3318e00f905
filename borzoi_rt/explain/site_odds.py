"""Targets over sites of one gene: log2 odds of the coverage of some sides against that of others.

    S = log2(sum over top of (x_i + ps)) - log2(sum over bottom of (x_i + ps))

x_i is the coverage of a track summed over the bins of side i, ps the pseudo-count of site scores. Bins are those of
:mod:`borzoi_rt.scoring.splice_sites` and :mod:`borzoi_rt.scoring.site_scores`:

=======================  ==========  ============================  =========================
target                   candidates  top                           bottom
=======================  ==========  ============================  =========================
JUNC@splice              its sites   the exon's side of one        the intron's side of it
EXON_USAGE@splice        its exons   one exon                      all others
PROP3@pas                its splits  sites behind the split        sites before it
COVR3, COVR3WIDE@pas     its splits  the same, of these layouts
=======================  ==========  ============================  =========================

Between two alleles S of one candidate changes by the signed score of the same name, where that candidate is the one in
which sites part most, which the score seeks and a target is told: a maximum would make the gradient jump. Scores that
divide alleles before they compare sites (COVR, POLYADENYLATION) say nothing of one sequence.

``RATIO@splice`` is mean coverage of the three bins of an exon at a splice site over that of the three of the intron,
as ``borzoi_satg_splice.py`` of calico/borzoi explains it at a site that it draws.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..bundle.manifest import Geometry
from ..errors import InputError
from ..genome.genes import Gene
from ..scoring.formulas import SiteSplit
from ..scoring.registry import SITE_STATISTICS
from ..scoring.site_scores import Side, genes_with_sites
from ..scoring.splice_sites import EXONS, JUNCTIONS, splice_bins
from ..types import DoubleArray, IndexArray
from .formulas import ODDS, RATIO
from .where import Where

MEAN = "mean"
NEAREST_BINS = 3  # of RATIO@splice on each side, as in the reference
_SHOWN = 6
_PER_BIT = 1.0 / np.log(2.0)


def rule_of(stat: str) -> SiteSplit:
    """Return the statistic of the score that a target is of."""
    return SITE_STATISTICS[stat]


_REGIONS = {RATIO: ("pas", "splice"), **{name: (rule_of(name).region,) for name in ODDS}}  # and no others


def check_sites(spec: Any) -> None:
    """Refuse what a target of sites cannot have, and what of it another target has.

    Parameters
    ----------
    spec : TargetSpec

    Raises
    ------
    InputError
        Naming the first.
    """
    regions, of_odds = _REGIONS.get(spec.stat, ()), spec.stat in ODDS
    if regions and spec.region not in regions:
        allowed = " or ".join(f"{spec.stat}@{region}" for region in regions)
        raise InputError(f"target {spec.name}: {spec.stat} compares sites; write {allowed}")
    if not regions and spec.region in ("pas", "splice"):
        allowed = ", ".join(f"{name}@{spec.region}" for name, held in _REGIONS.items() if spec.region in held)
        raise InputError(f"target {spec.name}: {spec.region} is for what compares sites; allowed: {allowed}")
    if spec.log and of_odds:
        raise InputError(f"target {spec.name}: {spec.stat} is a logarithm already; leave log out")
    if spec.site is not None and not (of_odds or spec.region == "splice"):
        raise InputError(f"target {spec.name} is of no site that can be named; leave site out")
    for name, heeded in (("site_pseudo", of_odds), ("sites", of_odds and spec.region == "pas")):
        if getattr(spec, name) is not None and not heeded:
            raise InputError(f"target {spec.name} has no {name}; leave it out")
    if spec.site_pseudo is not None and not 0.0 < spec.site_pseudo < np.inf:
        raise InputError(f"site_pseudo is {spec.site_pseudo!r}; a number above 0 is needed")


@dataclass(frozen=True, eq=False)
class Odds:
    """One candidate.

    Attributes
    ----------
    name : str
        ``donor chr1:1033``, ``exon chr1:1021-1033``, ``split 1 of 2``.
    top, bottom : tuple of int64 ndarray
        Bins of the output of each side.
    """

    name: str
    top: tuple[IndexArray, ...]
    bottom: tuple[IndexArray, ...]

    @property
    def sides(self) -> tuple[IndexArray, ...]:
        """Bins of all sides."""
        return (*self.top, *self.bottom)

    def moved(self, start: int) -> Odds:
        """Return the same, bins counted from ``start`` on."""
        top, bottom = (tuple(side - start for side in part) for part in (self.top, self.bottom))
        return Odds(self.name, top, bottom)


def odds_of(stat: str, site: str | None, where: Where, geometry: Geometry, *, sites: str) -> tuple[Odds, ...]:
    """Return what is asked for among the candidates of a gene.

    Parameters
    ----------
    stat : str
        One of :data:`borzoi_rt.explain.formulas.ODDS`, or ``RATIO`` of splice sites.
    site : str, optional
        Part of the name of one candidate, as ``chr1:1033`` or ``1``; ``mean`` for all; None where there is but one.
    where : Where
        Window and gene.
    geometry : Geometry
    sites : str
        Kind of polyadenylation sites, see :meth:`borzoi_rt.genome.pas.Sites.of_kind`.

    Raises
    ------
    InputError
        If the gene has no candidate in the output, or it is not said which one is meant.
    """
    if where.gene is None:
        raise InputError(f"target {stat} is of a gene; name one")
    rule = rule_of("JUNC" if stat == RATIO else stat)
    of_pas = rule.region == "pas"
    found = _splits(rule, where.gene, where, geometry, sites) if of_pas else _splices(rule, where.gene, where, geometry)
    if not found:
        raise InputError(f"gene {where.gene} has nothing in the output of this window that {stat} compares")
    chosen = _chosen(found, site, f"{stat} of gene {where.gene.name}")
    if stat == RATIO:
        if len(chosen) > 1:
            raise InputError("RATIO is taken at one splice site; name it, or take JUNC, of which there is a mean")
        return (_nearest(chosen[0]),)
    return chosen


def _splices(rule: SiteSplit, gene: Gene, where: Where, geometry: Geometry) -> tuple[Odds, ...]:
    frame = where.framed(geometry)
    held = splice_bins(gene, ((frame, frame),), geometry, gene.chrom)
    layout = JUNCTIONS if rule.rule == "pairs" else EXONS
    if held is None or layout not in held.layouts:
        return ()
    sides = [_bins(ref) for ref, _ in held.layouts[layout][0]]
    names = held.labels[layout]
    if layout == JUNCTIONS:
        pairs = zip(names, sides[0::2], sides[1::2], strict=True)
        return tuple(Odds(name, (exon,), (intron,)) for name, exon, intron in pairs)
    if len(sides) < 2:
        return ()  # of one exon there is no share
    return tuple(
        Odds(name, (side,), tuple(other for at, other in enumerate(sides) if at != number))
        for number, (name, side) in enumerate(zip(names, sides, strict=True))
    )


def _splits(rule: SiteSplit, gene: Gene, where: Where, geometry: Geometry, kind: str) -> tuple[Odds, ...]:
    if where.sites is None:
        raise InputError("region pas needs a table of polyadenylation sites (pas)")
    frame, table = where.framed(geometry), where.sites
    stem = gene.chrom.removeprefix("chr")
    chroms = [name for name in dict.fromkeys(table.chrom) if name.removeprefix("chr") == stem]
    held = genes_with_sites(
        table,
        table.of_kind(kind),
        chroms,
        [gene],
        ((frame, frame),),
        window_start=where.window_start,
        geometry=geometry,
        layouts=(rule.layout,),
    )
    sides = [_bins(ref) for ref, _ in held[0].layouts[rule.layout][0]] if held else []
    return tuple(
        Odds(f"split {number} of {len(sides) - 1}", tuple(sides[number:]), tuple(sides[:number]))
        for number in range(1, len(sides))
    )


def _bins(side: Side) -> IndexArray:
    return np.arange(*side)


def _chosen(found: tuple[Odds, ...], site: str | None, what: str) -> tuple[Odds, ...]:
    if site == MEAN:
        return found
    if site is None:
        if len(found) == 1:
            return found
        raise InputError(f"{what} has {len(found)} candidates: {_listed(found)}; name one (site), or take their {MEAN}")
    wanted = site.replace(",", "")
    stem = wanted.removeprefix("chr")  # contigs are called as in the annotation, and chr1 is 1 everywhere else too
    held = tuple(odds for odds in found if wanted == odds.name or stem in _short_names(odds.name))
    if len(held) != 1:
        many = "more than one" if held else "none"
        raise InputError(
            f"site {site!r} is {many} of those of {what} in the output: {_listed(held or found)}; name one"
        )
    return held


def _short_names(name: str) -> tuple[str, ...]:
    """Return what else may be written for a candidate, less ``chr``: where it is, or the number of a split."""
    where = name.rpartition(" ")[2].removeprefix("chr")
    split = re.fullmatch(r"split (\d+) of \d+", name)
    return (split[1],) if split else (where, where.rpartition(":")[2])


def _listed(found: Sequence[Odds]) -> str:
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(odds.name for odds in found[:_SHOWN]) + more


def _nearest(odds: Odds) -> Odds:
    """Return the bins of exon and intron that are nearest to the splice site."""
    (exon,), (intron,) = odds.top, odds.bottom
    if exon[-1] < intron[0]:
        return Odds(odds.name, (exon[-NEAREST_BINS:],), (intron[:NEAREST_BINS],))
    return Odds(odds.name, (exon[:NEAREST_BINS],), (intron[-NEAREST_BINS:],))


def mean_odds(coverage: DoubleArray, candidates: Sequence[Odds], pseudo: float) -> tuple[DoubleArray, DoubleArray]:
    """Return S, mean over candidates, of each track, and its derivative by every bin.

    Parameters
    ----------
    coverage : float64 ndarray of shape (tracks, bins)
    candidates : sequence of Odds
        Their bins are columns of ``coverage``.
    pseudo : float
        ps.

    Returns
    -------
    float64 ndarray of shape (tracks,), and of the shape of ``coverage``
    """
    value, slopes = np.zeros(len(coverage)), np.zeros_like(coverage)
    for odds in candidates:
        for sign, sides in ((1.0, odds.top), (-1.0, odds.bottom)):
            total = sum((coverage[:, side].sum(axis=-1) for side in sides), start=np.zeros(len(coverage)))
            total += pseudo * len(sides)
            value += sign * np.log2(total)
            for side in sides:  # a bin may belong to two sides
                slopes[:, side] += (sign * _PER_BIT / total)[:, None]
    return value / len(candidates), slopes / len(candidates)
