"""A figure of several maps of the same bases, below each other on one axis, and of how far they agree."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import style
from .attribution import draw_scores
from .figures import short_label


def plot_comparison(
    path: str | os.PathLike[str],
    blocks: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    matrix: Sequence[Sequence[float | None]],
    *,
    title: str,
) -> None:
    """Draw maps and agreement, and save the figure.

    Parameters
    ----------
    path : path
        Image to write; the suffix chooses the format.
    blocks : sequence of mapping
        One for each stretch of bases: ``name``, ``chrom``, ``start`` (0-based), ``letters``, and ``maps``, a mapping
        from what a map is called to float64 (bases,). Maps of a stretch share the axis of the bases; each has its own
        scale.
    names : sequence of str
        Methods, in the order of the maps.
    matrix : sequence of sequence of float or None
        Pearson correlation of every two methods.
    title : str
        Line above all.
    """
    panels = sum(len(block["maps"]) for block in blocks)
    figure = style.new_figure(15, 1.0 + max(1.5 * panels, 3.0))
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(12, 3))[0]
    for part, block in zip(left.subfigures(len(blocks), 1, squeeze=False)[:, 0], blocks, strict=True):
        axes = part.subplots(len(block["maps"]), 1, sharex=True, squeeze=False)[:, 0]
        for axis, (label, scores) in zip(axes, block["maps"].items(), strict=True):
            draw_scores(axis, block["letters"], scores, int(block["start"]))
            axis.set_title(label, fontsize="small", loc="left")
        name = short_label(block["name"])
        axes[-1].set_xlabel(
            f"{name}, {block['chrom']} (position, 1-based); each map has its own scale", fontsize="small"
        )
    _draw_matrix(right.subplots(), names, matrix)
    style.finish(figure, path, title)


def _draw_matrix(axis: Any, names: Sequence[str], matrix: Sequence[Sequence[float | None]]) -> None:
    values = np.array([[np.nan if value is None else value for value in row] for row in matrix])
    axis.imshow(values, cmap="RdBu_r", vmin=-1.0, vmax=1.0)
    ticks = range(len(names))
    axis.set_xticks(ticks, names, rotation=60, ha="right", fontsize="small")
    axis.set_yticks(ticks, names, fontsize="small")
    for (row, column), value in np.ndenumerate(values):
        text = "-" if np.isnan(value) else f"{value:.2f}"
        colour = "white" if abs(value) > 0.7 else "black"
        axis.text(column, row, text, ha="center", va="center", fontsize="small", color=colour)
    axis.set_title("Pearson correlation", fontsize="small")
