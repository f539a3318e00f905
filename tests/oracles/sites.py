"""Scores of several sites of a gene, one track, one side and one bin at a time.

Polyadenylation sites are (position in the output in bp, strand); sides are [first, last) bins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Sums = Sequence[float]


def bins_of(layout: str, at: int, strand: str, width: int) -> list[tuple[int, int]]:
    """Upstream, then downstream where there is such a side; halves are rounded to the even number."""
    low, high = round(at / width), round((at + 1) / width)
    before, behind = {"near": (4, 4), "wide": (9, 9), "up": (5, 0), "up_wide": (10, 0)}.get(layout, (0, 0))
    if layout == "around":
        return [(low - 2, low + 3)]
    if layout == "read":
        count, own = math.ceil(400 / width), at // width
        return [(own - count + 1, own + 1)] if strand == "+" else [(own, own + count)]
    if strand == "+":
        sides = [(low + 1 - before, low + 1), (high, high + behind)]
    else:
        sides = [(high, high + before), (low + 1 - behind, low + 1)]
    return sides if behind else sides[:1]


def logit2(share: float) -> float:
    return math.log2(share / (1 - share))


def shares(values: Sums, pseudo: float) -> list[float]:
    total = math.fsum(value + pseudo for value in values)
    return [(value + pseudo) / total for value in values]


def best_share_split(ref: Sequence[Sums], alt: Sequence[Sums], pseudo: float) -> tuple[int, list[float]]:
    """COVR3 and PROP3: j from 1 on, and the value of each track there."""
    sides = len(ref[0])
    best, found = -1.0, (0, [0.0])
    for j in range(1, sides):
        values = [
            logit2(math.fsum(shares(a, pseudo)[j:])) - logit2(math.fsum(shares(r, pseudo)[j:]))
            for r, a in zip(ref, alt, strict=True)
        ]
        size = math.fsum(map(abs, values)) / len(values)
        if size > best * (1 + 1e-9):
            best, found = size, (j, values)
    return found


def polyadenylation(ref: Sums, alt: Sums) -> float:
    """AlphaGenome's score of one track."""
    ratios = [a / r if r else 0.0 for r, a in zip(ref, alt, strict=True)]
    count, best = len(ratios), 0.0
    for k in range(1, count):
        near, far = math.fsum(ratios[:k]), math.fsum(ratios[k:])
        if near > 0 and far > 0:
            best = max(best, abs(math.log2((count - k) / k * near / far)))
    return best


def largest(values: Sequence[float]) -> float:
    """The value that is largest in size; the first of those that are equal but for rounding."""
    best = max(map(abs, values))
    return next(value for value in values if abs(value) >= best * (1 - 1e-9))


def exon_usage(ref: Sums, alt: Sums, pseudo: float) -> float:
    both = zip(shares(ref, pseudo), shares(alt, pseudo), strict=True)
    return largest([logit2(a) - logit2(r) for r, a in both])


def junctions(ref: Sums, alt: Sums, pseudo: float) -> float:
    """Sides in the order exon, intron, exon, intron, ..."""

    def ratio(values: Sums, pair: int) -> float:
        return math.log2((values[2 * pair] + pseudo) / (values[2 * pair + 1] + pseudo))

    return largest([ratio(alt, pair) - ratio(ref, pair) for pair in range(len(ref) // 2)])
