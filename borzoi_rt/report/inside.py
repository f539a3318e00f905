"""Figures of what lies inside the network: maps of tokens and bins, and attention of chosen tokens."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import style
from .figures import short_label

ARCS = 40  # the strongest, of each figure
_LAYER_COLOURS = "viridis"


def plot_maps(path: str | os.PathLike[str], panels: Sequence[Mapping[str, Any]], *, title: str) -> None:
    """Draw maps of positions, a panel for each window, all with the same scale, and save the figure.

    Parameters
    ----------
    path : path
        Image to write; the suffix chooses the format.
    panels : sequence of mapping
        ``name``, ``chrom``, ``start`` (0-based, of the first position), ``step_bp``, ``scores`` (positions,),
        ``target`` (first and last + 1 base of its bins) and ``genes`` as :func:`borzoi_rt.report.style.draw_genes`
        takes them.
    title : str
        Line above the panels; says the resolution.
    """
    heights = [height for panel in panels for height in (*_room(panel, len(panel["scores"])), 1.6)]
    figure = style.new_figure(12, 0.9 + sum(heights))
    axes = iter(figure.subplots(len(heights), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0])
    top = max(float(np.abs(panel["scores"]).max()) for panel in panels) or 1.0
    for panel in panels:
        edges = panel["start"] + panel["step_bp"] * np.arange(len(panel["scores"]) + 1)
        if panel["genes"]:
            models = next(axes)
            style.draw_genes(models, panel["genes"], int(edges[0]), int(edges[-1]))
            models.set_xlim(edges[0], edges[-1])
            models.set_xticks([])
            models.spines[["top", "right"]].set_visible(False)
        axis = next(axes)
        scores = np.asarray(panel["scores"], dtype=np.float64)
        axis.axvspan(*panel["target"], color="0.92", linewidth=0, label="bins of the target")
        for part, colour in ((scores.clip(0.0), style.GAIN_COLOUR), (scores.clip(max=0.0), style.LOSS_COLOUR)):
            axis.stairs(part, edges, fill=True, color=colour)
        axis.axhline(0.0, color="0.5", linewidth=0.6)
        axis.set_xlim(edges[0], edges[-1])
        axis.set_ylim(-1.05 * top, 1.05 * top)
        axis.xaxis.set_major_formatter("{x:,.0f}")
        axis.set_ylabel(f"per {panel['step_bp']} bp", fontsize="small")
        axis.set_title(
            f"{short_label(panel['name'])}, {panel['chrom']}; grey: bins of the target", fontsize="small", loc="left"
        )
        axis.spines[["top", "right"]].set_visible(False)
    axis.set_xlabel("position on the contig, bp", fontsize="small")
    figure.suptitle(title, fontsize="medium")
    style.save(figure, path)


def plot_attention(path: str | os.PathLike[str], panel: Mapping[str, Any], *, title: str, note: str) -> None:
    """Draw where some tokens attend to: arcs over a gene model, and a strip for each layer or each head.

    Parameters
    ----------
    path : path
        Image to write; the suffix chooses the format.
    panel : mapping
        ``name``, ``chrom``, ``start`` (0-based, of token 0), ``step_bp``, ``queries`` (tokens), ``arcs`` (queries,
        tokens): how much each token takes from others, ``strips`` (rows, tokens) with ``labels``, and ``genes``.
    title : str
        Line above the panels.
    note : str
        Line below them: what the figure does not say.
    """
    from matplotlib.colors import LogNorm

    strips, genes = np.asarray(panel["strips"], dtype=np.float64), panel["genes"]
    heights = [2.2, *_room(panel, strips.shape[1]), 0.5 + 0.22 * len(strips)]
    figure = style.new_figure(12, 1.3 + sum(heights))
    axes = figure.subplots(len(heights), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    step, tokens = int(panel["step_bp"]), strips.shape[1]
    start, end = int(panel["start"]), int(panel["start"]) + step * tokens
    _arcs(axes[0], np.asarray(panel["arcs"], dtype=np.float64), panel["queries"], start, step)
    if genes:
        style.draw_genes(axes[1], genes, start, end)
        axes[1].set_xticks([])
        axes[1].spines[["top", "right"]].set_visible(False)
    lowest = max(float(strips[strips > 0.0].min(initial=1.0)), 1e-6)
    norm = LogNorm(lowest, max(float(strips.max()), 2.0 * lowest))
    drawn = axes[-1].imshow(
        np.maximum(strips, lowest),
        aspect="auto",
        interpolation="nearest",
        cmap=_LAYER_COLOURS,
        norm=norm,
        extent=(start, end, len(strips) - 0.5, -0.5),
    )
    axes[-1].set_yticks(range(len(strips)), panel["labels"], fontsize="x-small")
    axes[-1].xaxis.set_major_formatter("{x:,.0f}")
    axes[-1].set_xlabel(f"position on {panel['chrom']}, bp; one value for each token of {step} bp")
    figure.colorbar(drawn, ax=axes[-1], label=panel["what"], pad=0.01)
    for axis in axes:
        axis.set_xlim(start, end)
    axes[0].set_title(
        f"{short_label(panel['name'])}: the {ARCS} strongest, from the tokens marked by a line",
        fontsize="small",
        loc="left",
    )
    figure.suptitle(title, fontsize="medium")
    figure.supxlabel(note, fontsize="x-small", color="0.3")
    style.save(figure, path)


def _room(panel: Mapping[str, Any], steps: int) -> list[float]:
    """Return the height of the gene model of a panel, where there is one: every lane has room for its names."""
    if not panel["genes"]:
        return []
    start = int(panel["start"])
    lanes = max(lane for lane, _ in style.lanes_of(panel["genes"], start, start + steps * int(panel["step_bp"]))) + 1
    return [0.3 + 0.35 * lanes]


def _arcs(axis: Any, shares: np.ndarray, queries: Sequence[int], start: int, step: int) -> None:
    """Draw half circles from queries to the tokens they take most from, as wide as what they take."""
    from matplotlib.patches import Arc

    middle = start + step * (np.arange(shares.shape[1]) + 0.5)
    strongest = np.dstack(np.unravel_index(np.argsort(shares, axis=None)[::-1], shares.shape))[0]
    apart = [(int(row), int(token)) for row, token in strongest if int(token) != int(queries[int(row)])][:ARCS]
    most = max((float(shares[pair]) for pair in apart), default=1.0) or 1.0
    reach = 0.0
    for row, token in apart:
        one, other = middle[int(queries[row])], middle[token]
        width, strength = abs(other - one), float(shares[row, token]) / most
        reach = max(reach, width)
        axis.add_patch(
            Arc(
                ((one + other) / 2, 0.0),
                width,
                width,
                theta1=0,
                theta2=180,
                linewidth=0.3 + 2.2 * strength,
                color=style.ALT_COLOUR,
                alpha=0.25 + 0.7 * strength,
            )
        )
    for query in queries:
        axis.axvline(middle[int(query)], color="0.3", linewidth=0.8, linestyle=":")
    axis.set_ylim(0.0, 0.55 * reach or 1.0)
    axis.set_yticks([])
    axis.set_xticks([])
    axis.spines[["top", "right", "left"]].set_visible(False)
