"""What a target makes of the coverage A of one allele, track by track, and the slope of it; all in float64.

Sums run over the bins of the region. The difference of a formula between two alleles is the score of the same name:

=========  ==================  ==========================================================
SUM        sum A               also as SED, SAD, DIFF_SUM, ACTIVE_SUM
MEAN       mean A              also as DIFF_MEAN, ACTIVE_MEAN
logSUM     sum log2(A + 1)     also as logSAD, DIFF_SUM_LOG2
sqrtSUM    sum sqrt(A)         also as sqrtSAD
logSED     log2(sum A + 1)     also as SADlog, DIFF_LOG2_SUM
LFC        ln(mean A + 0.001)
RATIO      mean A of the bins before a polyadenylation site / mean A of those behind it; of a splice site, of its exon
           over its intron
=========  ==================  ==========================================================

JUNC, EXON_USAGE, PROP3, COVR3 and COVR3WIDE are in :mod:`borzoi_rt.explain.site_odds`. Statistics that measure a
distance of two alleles (D2, JS and others), or divide one by the other (COVR, POLYADENYLATION), say nothing of one
allele and are no targets.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..types import DoubleArray

_LFC_PSEUDO = 1e-3
_PER_BIT = 1.0 / math.log(2.0)


@dataclass(frozen=True, slots=True)
class Formula:
    """One line of the table above.

    Attributes
    ----------
    value : callable
        Coverage (tracks, bins) to (tracks,).
    slope : callable
        Its derivative by every bin, (tracks, bins). That of a root is 0 where there is no coverage.
    """

    value: Callable[[DoubleArray], DoubleArray]
    slope: Callable[[DoubleArray], DoubleArray]


def _roots(coverage: DoubleArray) -> DoubleArray:
    root = np.sqrt(coverage)
    return np.divide(0.5, root, out=np.zeros_like(root), where=root > 0.0)


def _mean_slope(coverage: DoubleArray) -> DoubleArray:
    return np.full_like(coverage, 1.0 / coverage.shape[1])


FORMULAS = {
    "SUM": Formula(lambda a: a.sum(-1), np.ones_like),
    "MEAN": Formula(lambda a: a.mean(-1), _mean_slope),
    "logSUM": Formula(lambda a: np.log2(a + 1.0).sum(-1), lambda a: _PER_BIT / (a + 1.0)),
    "sqrtSUM": Formula(lambda a: np.sqrt(a).sum(-1), _roots),
    "logSED": Formula(
        lambda a: np.log2(a.sum(-1) + 1.0),
        lambda a: np.broadcast_to(_PER_BIT / (a.sum(-1, keepdims=True) + 1.0), a.shape).copy(),
    ),
    "LFC": Formula(
        lambda a: np.log(a.mean(-1) + _LFC_PSEUDO), lambda a: _mean_slope(a) / (a.mean(-1, keepdims=True) + _LFC_PSEUDO)
    ),
}
RATIO = "RATIO"  # of two sets of bins, see borzoi_rt.explain.target
ODDS = ("JUNC", "EXON_USAGE", "PROP3", "COVR3", "COVR3WIDE")
_ALIASES = {
    "SED": "SUM",
    "SAD": "SUM",
    "DIFF_SUM": "SUM",
    "ACTIVE_SUM": "SUM",
    "DIFF_MEAN": "MEAN",
    "ACTIVE_MEAN": "MEAN",
    "logSAD": "logSUM",
    "DIFF_SUM_LOG2": "logSUM",
    "sqrtSAD": "sqrtSUM",
    "SADlog": "logSED",
    "DIFF_LOG2_SUM": "logSED",
    "JUNC_signed": "JUNC",
    "EXON_USAGE_signed": "EXON_USAGE",
    "SPROP3": "PROP3",
    "SCOVR3": "COVR3",
    "SCOVR3WIDE": "COVR3WIDE",
}
_SPELLED = {name.casefold(): name for name in (*FORMULAS, RATIO, *ODDS)} | {
    alias.casefold(): name for alias, name in _ALIASES.items()
}


def canonical_formula(name: str) -> str:
    """Return a formula as the table spells it, from its name or another name of it, in any case.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    found = _SPELLED.get(name.casefold())
    if found is None:
        raise InputError(
            f"target {name!r} is unknown; allowed: {', '.join((*FORMULAS, RATIO, *ODDS))}; statistics of two "
            "alleles, as D2, JS and COVR, explain no single sequence"
        )
    return found
