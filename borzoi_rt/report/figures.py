"""Figures of coverage and scores."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..genome.variants import Variant
from . import style
from .style import GeneModel

_SHORT_BP = 12  # bases of an allele in a title
_CHANGE_SHARE, _LEAST_CHANGE_IN = 0.45, 0.42  # height of the panel of a difference: of its track's, and in inches


def short_name(variant: Variant) -> str:
    """Return what a variant is called in a title: of long alleles the first bases and how many there are."""
    return f"{variant.chrom}:{variant.pos} {_short(variant.ref)}>{_short(variant.alt)}"


def short_label(name: str) -> str:
    """Return the name of a row for a title: ``chr1:14677:G:A alt`` with alleles as short as in :func:`short_name`."""
    return re.sub(r"(?<=[:> ])[ACGTN]+(?=[:> ]|$)", lambda found: _short(found[0]), name, flags=re.IGNORECASE)


def _short(bases: str) -> str:
    return bases if len(bases) <= _SHORT_BP else f"{bases[: _SHORT_BP - 2]}… ({len(bases):,} bp)"


def plot_alleles(
    path: str | os.PathLike[str],
    ref: np.ndarray,
    alt: np.ndarray,
    *,
    names: Sequence[str],
    chrom: str,
    start: int,
    bin_size_bp: int,
    position: int,
    title: str,
    genes: Sequence[GeneModel] = (),
    gap: tuple[int, int] | None = None,
) -> None:
    """Draw the coverage of both alleles, one panel per track with ALT - REF in another below it, and save it.

    Parameters
    ----------
    path : path
        Image to write; the suffix chooses the format.
    ref, alt : ndarray of shape (tracks, bins)
        Coverage of the two alleles.
    names : sequence of str
        Labels of the tracks.
    chrom : str
        Contig, named under the axis.
    start : int
        0-based start of the first bin.
    bin_size_bp : int
        Width of a bin.
    position : int
        1-based position of the variant, marked by a line.
    title : str
        Line above the panels.
    genes : sequence of GeneModel
        Genes that are drawn above; those outside are left out.
    gap : tuple of (int, int), optional
        Where bases have no bin, as they are deleted: the bin before which they lie, and how many they are.
    """
    edges = start + bin_size_bp * np.arange(ref.shape[-1] + 1)
    if gap is not None and 0 < gap[0] < ref.shape[-1]:
        edges = np.concatenate([edges[: gap[0] + 1], edges[gap[0] :] + gap[1]])
        ref, alt = (np.insert(values.astype(np.float64), gap[0], np.nan, axis=-1) for values in (ref, alt))
    end = int(edges[-1])
    height = style.panel_height(round(len(names) * (1.0 + _CHANGE_SHARE)))
    heights = [height, max(_CHANGE_SHARE * height, _LEAST_CHANGE_IN)]
    figure, panels = _frame(heights * len(names), genes, start, end, chrom)
    for panel in figure.axes:
        panel.axvline(position - 0.5, color="0.3", linewidth=0.8, linestyle=":")  # the middle of its base
    for panel, below, name, of_ref, of_alt in zip(panels[::2], panels[1::2], names, ref, alt, strict=True):
        panel.stairs(of_ref, edges, fill=True, color=style.REF_COLOUR, alpha=0.35, label="REF")
        panel.stairs(of_alt, edges, color=style.ALT_COLOUR, linewidth=1.3, label="ALT")
        style.name_panel(panel, name)
        panel.set_ylim(bottom=0)
        _draw_change(below, of_alt.astype(np.float64) - of_ref, edges)
    style.put_legend(figure, panels[0], ncols=2)
    figure.supylabel(f"predicted coverage per bin of {bin_size_bp} bp; below each track ALT - REF", fontsize="small")
    style.finish(figure, path, title)


def _draw_change(panel: Any, change: np.ndarray, edges: np.ndarray) -> None:
    """Draw a difference around 0, as much of the panel for gains as for losses."""
    for values, colour in ((np.fmax(change, 0.0), style.GAIN_COLOUR), (np.fmin(change, 0.0), style.LOSS_COLOUR)):
        panel.stairs(np.where(np.isnan(change), np.nan, values), edges, fill=True, color=colour, linewidth=0)
    panel.axhline(0.0, color="0.4", linewidth=0.6)
    most = float(f"{np.nanmax(np.abs(change)):.2g}")
    far = most or 1.0
    panel.set_ylim(-1.1 * far, 1.1 * far)
    panel.set_yticks([-most, most] if most else [0.0])
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:+g}" if value else "0")
    panel.set_ylabel("ALT - REF", fontsize="x-small")


@dataclass(frozen=True)
class Curve:
    """Coverage of a track, or of a pair of strands.

    Attributes
    ----------
    name : str
    strand : str
        ``+``, ``-`` or ``.``: the colour of ``values``.
    values : ndarray of shape (bins,)
    below : ndarray of shape (bins,), optional
        Coverage of the '-' track of a pair, drawn downwards; ``strand`` is then ``+``.
    """

    name: str
    strand: str
    values: np.ndarray
    below: np.ndarray | None = None


def plot_coverage(
    path: str | os.PathLike[str],
    curves: Sequence[Curve],
    *,
    chrom: str,
    start: int,
    bin_size_bp: int,
    title: str,
    genes: Sequence[GeneModel] = (),
    bins_a_step: int = 1,
) -> None:
    """Draw the coverage of a region, one panel per track or pair of strands, and save it.

    Parameters
    ----------
    path : path
        Image to write; the suffix chooses the format.
    curves : sequence of Curve
        Top to bottom; each panel has its own scale.
    chrom : str
        Contig, named under the axis; ``.`` of a sequence that is on none.
    start : int
        0-based start of the first step.
    bin_size_bp : int
        Width of a bin.
    title : str
        Line above the panels.
    genes : sequence of GeneModel
        Genes that are drawn above; those outside are left out.
    bins_a_step : int
        Bins whose mean a step is.
    """
    step_bp, steps = bin_size_bp * bins_a_step, len(curves[0].values)
    end = start + step_bp * steps
    figure, panels = _frame([style.panel_height(len(curves))] * len(curves), genes, start, end, chrom)
    edges = start + step_bp * np.arange(steps + 1)
    colours, labelled = style.STRAND_COLOURS, dict[str, Any]()
    for panel, curve in zip(panels, curves, strict=True):
        how: dict[str, Any] = {"fill": True, "alpha": 0.8, "linewidth": 0}
        drawn = panel.stairs(curve.values, edges, color=colours[curve.strand], **how)
        labelled.setdefault(curve.strand, drawn)
        panel.set_ylim(bottom=0)
        if curve.below is not None:
            labelled.setdefault("-", panel.stairs(-curve.below, edges, color=colours["-"], **how))
            panel.axhline(0, color="0.4", linewidth=0.6)
            panel.autoscale(axis="y")
            panel.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
        style.name_panel(panel, curve.name)
    names = {"+": "+ strand", "-": "- strand", ".": "both strands"}
    shown = [strand for strand in "+-." if strand in labelled]
    handles, texts = [labelled[strand] for strand in shown], [names[strand] for strand in shown]
    figure.legend(handles, texts, loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    mean = f", mean of {bins_a_step} bins" if bins_a_step > 1 else ""
    figure.supylabel(f"predicted coverage per bin of {bin_size_bp} bp{mean}; scales differ", fontsize="small")
    style.finish(figure, path, title)


def _frame(heights: Sequence[float], genes: Sequence[GeneModel], start: int, end: int, chrom: str) -> tuple[Any, Any]:
    """Return a figure with genes, where there are some, and the panels below them, all of [start, end) of a contig."""
    held = style.near_genes(genes, start, end)
    lanes = max((lane for lane, _ in style.lanes_of(held, start, end)), default=0) + 1
    ratios = [0.3 + 0.35 * lanes, *heights] if held else list(heights)
    figure, panels = style.new_panels(len(ratios), height=1.0, sharex=True, ratios=ratios)
    panels[0].set_xlim(start, end)
    style.put_scale_bar(panels[0], start, end)
    style.put_positions(panels[-1], chrom)
    for panel in panels:
        panel.tick_params(axis="y", labelsize="small")
        panel.locator_params(axis="y", nbins=3 if max(heights) > 0.8 else 1)
    if held:
        style.draw_genes(panels[0], held, start, end)
        panels[0].tick_params(axis="x", length=0)
        panels = panels[1:]
    return figure, panels


def plot_bars(
    path: str | os.PathLike[str], groups: Mapping[str, Sequence[tuple[str, float]]], *, title: str, left_out: int = 0
) -> None:
    """Draw scores as bars, a panel for each score, and save the figure.

    Parameters
    ----------
    path : path
        Image to write; the suffix chooses the format.
    groups : mapping of str to sequence of (str, float)
        What a score is called, and what each bar is called with its value, top to bottom.
    title : str
        Line above the panels.
    left_out : int
        How many more there are than bars, which the figure says.
    """
    heights = [0.35 + 0.22 * max(len(bars), 1) for bars in groups.values()]
    figure, panels = style.new_panels(len(groups), height=1.0, ratios=heights)
    for panel, (name, bars) in zip(panels, groups.items(), strict=True):
        values = np.array([value for _, value in bars], dtype=np.float64)
        rows = -np.arange(len(bars))
        panel.barh(rows, values, color=np.where(values < 0.0, style.LOSS_COLOUR, style.GAIN_COLOUR), height=0.75)
        panel.set_yticks(rows, [label for label, _ in bars], fontsize="x-small")
        panel.axvline(0.0, color="0.4", linewidth=0.6)
        panel.tick_params(axis="x", labelsize="small")
        panel.spines["left"].set_visible(False)
        panel.tick_params(axis="y", length=0)
        panel.set_xlabel(name, fontsize="small")
        panel.margins(y=0.02)
    if left_out:
        figure.supxlabel(f"the largest in size; {left_out:,} more are not shown", fontsize="x-small")
    style.finish(figure, path, title)


def plot_logos(path: str | os.PathLike[str], matrices: Sequence[np.ndarray], *, names: Sequence[str]) -> None:
    """Draw sequence logos of base probabilities (4, width): letters as high as their share of the information.

    Every motif fills its panel, so that soft ones can be read too; the axis says how many bits its top is.
    """
    figure, panels = style.new_panels(len(names), height=1.2)
    for panel, name, matrix in zip(panels, names, matrices, strict=True):
        bits = letter_bits(matrix)
        for position, column in enumerate((matrix * bits).T):
            base = 0.0
            for row in np.argsort(column):
                style.draw_letter(panel, "ACGT"[row], position - 0.475, base, 0.95, column[row])
                base += column[row]
        top = logo_top(bits)
        panel.set_xlim(-0.6, matrix.shape[1] - 0.4)
        panel.set_ylim(0, top)
        panel.set_yticks([0, top], ["0", f"{top:.2g} bits"])
        panel.set_ylabel(name, rotation=0, ha="right", va="center")
    panels[-1].set_xlabel("position, 5' to 3'; each motif has its own scale, of at most 2 bits")
    style.finish(figure, path, "Motifs")


def logo_top(bits: np.ndarray) -> float:
    """Return the top of the axis of a logo: the most informative position, rounded up to two digits, at most 2 bits."""
    most = float(np.max(bits, initial=0.0))
    if most < 1e-3:
        return 2.0  # nothing to see: letters must not be blown up from rounding
    unit = 10.0 ** (math.floor(math.log10(most)) - 1)
    return min(math.ceil(most / unit - 1e-9) * unit, 2.0)


def letter_bits(matrix: np.ndarray) -> np.ndarray:
    """Return the information of each position of base probabilities (4, width): ``2 + sum p log2 p``, in bits."""
    return np.asarray(2.0 + (matrix * np.log2(np.maximum(matrix, 1e-12))).sum(axis=0))
