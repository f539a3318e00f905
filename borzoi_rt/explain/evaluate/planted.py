"""Do maps find bases that are known to count? Of planted motifs this is known; elsewhere, of what is annotated.

``auroc``   share of pairs of a base that is known and one that is not in which |a| of the first is larger
``auprc``   mean over known bases of the share of known ones among all bases whose |a| is as large or larger

By chance are maps whose bases are in random order: an ``auroc`` of 0.5, and an ``auprc`` of the share of known bases.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import InputError
from ...genome.fasta import Fasta
from ...genome.intervals import Interval
from ...types import BoolArray, DoubleArray
from ..agreement import ranks
from ..rows import ALT, Row, on_contigs
from .faithful import EvaluateOptions
from .maps import Reading, ScoreMap


def bases_in(row: Row, intervals: Sequence[Interval]) -> BoolArray | None:
    """Return which bases of a row lie in intervals of the genome, bool (bases,); None of an ALT haplotype."""
    if row.allele == ALT:
        return None
    found, start = np.zeros(row.width, dtype=bool), row.bases.start
    for item in intervals:
        if item.chrom == row.bases.chrom:
            found[max(item.start - start, 0) : max(item.end - start, 0)] = True
    return found


def known_in(rows: Sequence[Row], intervals: Sequence[Interval], fasta: Fasta) -> list[BoolArray | None]:
    """Return :func:`bases_in` of each row, of intervals whose contigs are named in any way that the genome knows.

    Raises
    ------
    InputError
        If no row has a known base, where some are of the genome.
    """
    intervals = on_contigs(intervals, fasta, "known features")
    found = [bases_in(row, intervals) for row in rows]
    held = [one for one in found if one is not None]
    if held and not any(one.any() for one in held):
        bases = sum(len(one) for one in held)
        raise InputError(f"0 of {bases:,} bases are known features; give features of what was explained")
    return found


def auroc(sizes: DoubleArray, known: BoolArray) -> float:
    """Return the area under the ROC curve; ties count one half."""
    count = int(known.sum())
    return (float(ranks(sizes)[known].sum()) - count * (count + 1) / 2.0) / (count * (len(known) - count))


def auprc(sizes: DoubleArray, known: BoolArray) -> float:
    """Return the average precision; of bases that tie, all count as found together."""
    order = np.argsort(-sizes, kind="stable")
    ordered, hits = sizes[order], known[order].cumsum()
    last = np.searchsorted(-ordered, -ordered, side="right") - 1  # of those that tie
    precision = hits[last] / (last + 1.0)
    return float(precision[known[order]].mean())


def recovery(held: ScoreMap, known: BoolArray | None, options: EvaluateOptions) -> dict[str, Reading]:
    """Return how well a map tells known bases from the others, beside maps in random order."""
    if known is None:
        return {"auroc": Reading(None, detail="bases of an ALT haplotype are not those of the genome")}
    inside = known[held.known]
    if not 0 < int(inside.sum()) < len(inside):
        return {"auroc": Reading(None, detail=f"{int(inside.sum())} of {len(inside)} bases are known features")}
    rng = np.random.default_rng([options.seed, 96])
    sizes = np.abs(held.projected[held.known])
    draws = [np.abs(held.permuted(rng).projected[held.known]) for _ in range(options.draws)]
    return {
        name: Reading(
            measure(sizes, inside), np.array([measure(one, inside) for one in draws]), stretches=(held.stretches,)
        )
        for name, measure in (("auroc", auroc), ("auprc", auprc))
    }
