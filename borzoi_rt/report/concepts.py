"""Figures of concepts: scores of TCAV beside those of chance, and effects of a concept bottleneck."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import style

_CHANCE = "0.6"
_SAYS = {"raises": "slope up", "lowers": "slope down", "nothing": "not told from chance"}


def plot_tcav(path: str | os.PathLike[str], panels: Sequence[Mapping[str, Any]], *, title: str) -> None:
    """Draw the score of every concept, its repeats and those of chance.

    Parameters
    ----------
    path : path
        Image to write; the suffix chooses the format.
    panels : sequence of mapping
        ``name``, ``scores`` and ``chance``, float64 (repeats,), ``p_bonferroni``, ``accuracy`` and ``says``.
    title : str
        Line above.
    """
    figure = style.new_figure(8.5, 1.4 + 0.55 * len(panels))
    axis = figure.subplots()
    for row, panel in enumerate(panels):
        colour = {"raises": style.GAIN_COLOUR, "lowers": style.LOSS_COLOUR}.get(panel["says"], _CHANCE)
        axis.barh(row, float(np.mean(panel["scores"])), height=0.36, color=colour)
        for at, values, shade in ((row - 0.28, panel["scores"], colour), (row + 0.3, panel["chance"], _CHANCE)):
            # Most are 0 or 1: spread a little, so that one sees how many.
            spread = np.linspace(-0.07, 0.07, len(values))
            axis.plot(values, at + spread, ".", color=shade, markersize=4)
        text = f"{_SAYS[panel['says']]}, p {panel['p_bonferroni']:.2g}, accuracy {panel['accuracy']:.2f}"
        axis.text(1.03, row, text, va="center", fontsize="x-small")
    axis.set_yticks(range(len(panels)), [panel["name"] for panel in panels], fontsize="small")
    axis.invert_yaxis()
    axis.set_xlim(-0.02, 1.02)
    axis.axvline(0.5, color="0.8", linewidth=0.8, zorder=0)
    axis.set_xlabel("TCAV score: bar, mean; dots above, repeats; grey dots below, of chance", fontsize="small")
    axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize="medium")
    style.save(figure, path)
