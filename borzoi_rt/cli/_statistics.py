"""Statistics in words, for ``borzoi-rt scores``."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InputError
from ..scoring.statistics import STATISTICS


@dataclass(frozen=True, slots=True)
class Described:
    """A statistic by name, its formula, and one line on what it tells."""

    name: str
    formula: str
    summary: str


# R and A: coverage of REF and ALT in reads per bin; sums run over the bins of the region; log2p(x) = log2(x + 1).
_STATISTICS = (
    Described("SUM", "sum(A) - sum(R)", "Change of the total coverage."),
    Described("logSUM", "sum(log2p(A)) - sum(log2p(R))", "Change of the logarithms, so that quiet bins count too."),
    Described("logSED", "log2p(sum(A)) - log2p(sum(R))", "Log2 fold change of the total coverage."),
    Described("sqrtSUM", "sum(sqrt(A)) - sum(sqrt(R))", "Change of the square roots, between SUM and logSUM."),
    Described("SAX", "A - R where |A - R| is largest", "Largest change in one bin, with its sign."),
    Described("D1", "sum(|A - R|)", "Total change, gains and losses alike."),
    Described("D2", "sqrt(sum((A - R)^2))", "Distance of the profiles; large changes in few bins dominate."),
    Described("logD1", "sum(|log2p(A) - log2p(R)|)", "D1 of the logarithms."),
    Described("logD2", "sqrt(sum((log2p(A) - log2p(R))^2))", "D2 of the logarithms."),
    Described("sqrtD1", "sum(|sqrt(A) - sqrt(R)|)", "D1 of the square roots."),
    Described("sqrtD2", "sqrt(sum((sqrt(A) - sqrt(R))^2))", "D2 of the square roots."),
    Described("JS", "sum((P - Q) ln(P / Q)) / 2", "Change of the shape alone; P, Q: R and A as shares of their sums."),
    Described("SAD", "sum(A) - sum(R)", "The same as SUM, under the name of borzoi_sad.py."),
    Described("logSAD", "sum(log2p(A)) - sum(log2p(R))", "The same as logSUM, under the name of borzoi_sad.py."),
    Described("SADlog", "log2p(sum(A)) - log2p(sum(R))", "The same as logSED, under the name of borzoi_sad.py."),
    Described("sqrtSAD", "sum(sqrt(A)) - sum(sqrt(R))", "The same as sqrtSUM, under the name of borzoi_sad.py."),
    Described("logJS", "JS of log2p(R) and log2p(A)", "Change of the shape in logarithms."),
)


def describe_statistics(family: str) -> tuple[Described, ...]:
    """Return the statistics of a family, in the order in which they are listed.

    Raises
    ------
    InputError
        If the family is unknown.
    """
    if family not in STATISTICS:
        raise InputError(f"family {family!r} is unknown; allowed: {', '.join(STATISTICS)}")
    return tuple(item for item in _STATISTICS if item.name in STATISTICS[family])
