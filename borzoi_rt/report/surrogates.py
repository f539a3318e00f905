"""Figure of surrogates: what each says of mutants it has not seen, against what the network says."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import style

_COLOUR, _CHANCE = style.REF_COLOUR, "0.6"


def plot_surrogates(path: str | os.PathLike[str], panels: Sequence[dict[str, Any]], *, title: str) -> None:
    """Draw predicted against true scores of held-out mutants, a panel for each surrogate, and their R2 beside chance.

    Parameters
    ----------
    path : path
        Image to write; the suffix chooses the format.
    panels : sequence of dict
        ``title``, ``scores`` and ``predicted``, float64 (mutants,), ``r2``, and ``chance``, the R2 of shuffled labels.
    title : str
        Line above the panels.
    """
    columns = min(4, len(panels) + 1)
    rows = -(-(len(panels) + 1) // columns)
    figure = style.new_figure(3.2 * columns, 0.5 + 3.1 * rows)
    grid = figure.add_gridspec(rows, columns)
    axes = [figure.add_subplot(grid[divmod(number, columns)]) for number in range(len(panels))]
    row, column = divmod(len(panels), columns)
    axes.append(figure.add_subplot(grid[row, column:]))  # as wide as what is left of its row
    for axis, panel in zip(axes, panels, strict=False):
        both = np.concatenate([panel["scores"], panel["predicted"]])
        ends = [float(both.min()), float(both.max())]
        axis.plot(ends, ends, color=_CHANCE, linewidth=0.8)
        axis.plot(panel["scores"], panel["predicted"], ".", color=_COLOUR, markersize=3, alpha=0.6)
        axis.set_title(f"{panel['title']}, R2 {panel['r2']:.2f}", fontsize="small", loc="left")
        axis.set_xlabel("score of the network", fontsize="small")
        axis.set_ylabel("score of the surrogate", fontsize="small")
    summary = axes[len(panels)]
    at = np.arange(len(panels))
    summary.barh(at, [max(panel["r2"], 0.0) for panel in panels], color=_COLOUR, height=0.6)
    for row, panel in enumerate(panels):
        chance = np.clip(panel["chance"], 0.0, None)
        summary.plot(chance, np.full(len(chance), row), "|", color="black", markersize=12)
    summary.set_yticks(at, [panel["title"] for panel in panels], fontsize="x-small")
    summary.set_xlim(0.0, 1.0)
    summary.invert_yaxis()
    summary.set_title("held-out R2 (bars); of shuffled labels (|)", fontsize="small", loc="left")
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize="medium")
    style.save(figure, path)
