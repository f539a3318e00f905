"""From the coverage of windows to the figure of a region."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import InputError
from ..genome.contig_names import chromosome_of
from ..genome.gene_index import open_genes
from ..genome.genes import Genes
from ..genome.intervals import Interval
from ..tracks import TrackTable, pair_label, pair_name
from .coverage import TRACKS, titled
from .figures import Curve, plot_coverage
from .style import GeneModel, check_form

MOST_STEPS = 1500
_GENES = 60


def plot_region(
    path: str | os.PathLike[str],
    windows: Sequence[Interval],
    tracks: TrackTable,
    values: np.ndarray,
    bin_size_bp: int,
    *,
    region: Interval | None = None,
    genes: Genes | str | os.PathLike[str] | None = None,
    top: int = TRACKS,
) -> list[str]:
    """Draw the coverage of adjacent windows over the genes, and save the figure.

    Parameters
    ----------
    path : path
        ``.pdf``, ``.svg`` or ``.png``.
    windows : sequence of Interval
        One behind the other.
    tracks : TrackTable
        The tracks; both strands of a pair, where both are among them, share a panel, '-' downwards.
    values : float32 ndarray of shape (windows, tracks, bins)
        Coverage.
    bin_size_bp : int
        Width of a bin.
    region : Interval, optional
        What is drawn, in whole bins; all windows when None.
    genes : Genes or path, optional
        Annotation, whose genes are drawn above.
    top : int
        How many tracks or pairs are drawn: those with the largest mean coverage in the figure, in the order of the
        table.

    Returns
    -------
    list of str
        What is drawn.

    Raises
    ------
    InputError
        If windows are not adjacent, the region is not in them, or the annotation has no such contig.
    """
    check_form(path)
    chrom, start = windows[0].chrom, windows[0].start
    if any(one.end != other.start or one.chrom != other.chrom for one, other in pairwise(windows)):
        raise InputError("the windows are not one behind the other; draw one region at a time")
    if top < 1:
        raise InputError(f"top is {top}; a whole number from 1 on is needed")
    joined = values.transpose(1, 0, 2).reshape(values.shape[1], -1)
    first, last = 0, joined.shape[1]
    if region is not None:
        first, last = (region.start - start) // bin_size_bp, -(-(region.end - start) // bin_size_bp)
        if _plain(region.chrom) != _plain(chrom) or not 0 <= first < last <= joined.shape[1]:
            raise InputError(f"region {_text(region)} does not lie in {_text(Interval(chrom, start, windows[-1].end))}")
    joined, start = joined[:, first:last], start + first * bin_size_bp
    end = start + joined.shape[1] * bin_size_bp
    models = [] if genes is None else gene_models(genes, chrom, start, end)
    shown = strongest(curves_of(tracks, joined), top)
    per = -(-joined.shape[1] // MOST_STEPS)
    shown = [_in_steps(curve, per) for curve in shown]
    title = _text(Interval(chrom, start, end)) if chrom != "." else "coverage of a sequence"
    how: dict[str, Any] = {"chrom": chrom, "start": start, "bin_size_bp": bin_size_bp, "bins_a_step": per}
    plot_coverage(path, shown, title=title, genes=models, **how)
    return [curve.name for curve in shown]


def curves_of(tracks: TrackTable, values: np.ndarray) -> list[Curve]:
    """Return what is drawn of coverage (tracks, bins): pairs of strands together, the '-' track downwards."""
    position = {int(unit): row for row, unit in enumerate(tracks.index)}
    found, taken = [], set[int]()
    for row, strand in enumerate(tracks.strand):
        if row in taken:
            continue
        name = titled(tracks.identifier[row], tracks.description[row])
        partner = position.get(int(tracks.strand_pair[row]))
        if strand in ("+", "-") and partner is not None and partner != row and tracks.strand[partner] != strand:
            taken.add(partner)
            plus, minus = (row, partner) if strand == "+" else (partner, row)
            names, labels = tracks.identifier, tracks.description
            both = titled(pair_name(names[plus], names[minus]), pair_label(labels[plus], labels[minus]))
            found.append(Curve(both, "+", values[plus], values[minus]))
        else:
            found.append(Curve(name, strand, values[row]))
    return found


def strongest(curves: Sequence[Curve], count: int) -> list[Curve]:
    """Return the curves with the largest mean coverage, in the order in which they are given."""
    sizes = [
        float(curve.values.mean(dtype=np.float64))
        + (0.0 if curve.below is None else float(curve.below.mean(dtype=np.float64)))
        for curve in curves
    ]
    kept = np.sort(np.argsort(-np.array(sizes), kind="stable")[:count])
    return [curves[number] for number in kept]


def gene_models(genes: Genes | str | os.PathLike[str], chrom: str, start: int, end: int) -> list[GeneModel]:
    """Return the genes of an annotation that reach into [start, end) of a contig, the first 60.

    Raises
    ------
    InputError
        If the annotation has no such contig, under none of the names that it is known by.
    """
    held = genes if isinstance(genes, Genes) else open_genes(genes)
    codes = [code for code, name in enumerate(held.contigs) if _plain(chrom) in _names(held, name)]
    if not codes:
        raise InputError(f"{held.source}: no genes on {chrom}; it has {', '.join(held.contigs[:5])}")
    numbers = [int(number) for code in codes for number in held.overlapping(code, start, end)]
    found: list[GeneModel] = []
    for number in numbers[:_GENES]:
        gene = held[number]
        found.append((gene.name, gene.strand, [(int(one), int(two)) for one, two in gene.exons]))
    return found


def _names(genes: Genes, name: str) -> set[str]:
    return {_plain(other) for other in (name, genes.aliases.get(name), chromosome_of(name)) if other}


def _plain(name: str) -> str:
    return name.removeprefix("chr")


def _in_steps(curve: Curve, per: int) -> Curve:
    """Return a curve in steps, each the mean of several bins; the last bins that fill none are drawn as one."""
    if per == 1:
        return curve
    starts = np.arange(0, len(curve.values), per)
    held = np.diff(np.append(starts, len(curve.values)))
    values = np.add.reduceat(curve.values, starts, dtype=np.float64) / held
    below = None if curve.below is None else np.add.reduceat(curve.below, starts, dtype=np.float64) / held
    return Curve(curve.name, curve.strand, values, below)


def _text(where: Interval) -> str:
    return f"{where.chrom}:{where.start + 1:,}-{where.end:,}"
