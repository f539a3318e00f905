"""Figures of dependency maps: the scores of the bases, and below them a triangle of every pair."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import style
from .attribution import draw_scores, plot_attributions
from .figures import short_label


def plot_maps(path: str | os.PathLike[str], panels: Sequence[Mapping[str, Any]], *, title: str) -> None:
    """Draw scores of bases, and what they depend on where ``dependency`` is among what a panel has."""
    if any("dependency" in panel for panel in panels):
        plot_dependencies(path, panels, title=title)
    else:
        plot_attributions(path, panels, title=title)


def plot_dependencies(path: str | os.PathLike[str], panels: Sequence[Mapping[str, Any]], *, title: str) -> None:
    """Draw scores and dependency maps, and save the figure.

    A cell of a triangle lies below the middle of its two bases, as far down as they are apart; it is the mean of both
    directions. The diagonal is left out.

    Parameters
    ----------
    path : path
        Image to write; the suffix chooses the format.
    panels : sequence of mapping
        As :func:`borzoi_rt.report.attribution.plot_attributions` takes them, with ``dependency``, float64 (bases,
        bases).
    title : str
        Line above the panels.
    """
    figure = style.new_figure(12, 0.8 + 6.0 * len(panels))
    for part, panel in zip(figure.subfigures(len(panels), 1, squeeze=False)[:, 0], panels, strict=True):
        above, below = part.subplots(2, 1, sharex=True, height_ratios=(1, 3))
        start, found = int(panel["start"]), np.asarray(panel["dependency"], dtype=np.float64)
        draw_scores(above, panel["letters"], panel["scores"], start)
        above.set_title(
            f"{short_label(panel['name'])}, {panel['chrom']} (position, 1-based)", fontsize="small", loc="left"
        )
        both = triangle(found)
        edges = np.arange(len(found) + 1) + start + 0.5
        across, down = (edges[:, None] + edges) / 2.0, edges - edges[:, None]
        mesh = below.pcolormesh(across, down, both, cmap="magma_r", vmin=0.0, rasterized=True)
        below.set_ylim(len(found), 0.0)
        below.set_ylabel("bases apart")
        below.spines[["top", "right"]].set_visible(False)
        label = "change of the score of one by the other"
        bar = part.colorbar(mesh, ax=below, location="bottom", shrink=0.3, label=label)
        bar.ax.locator_params(nbins=4)
    style.finish(figure, path, title)


def triangle(found: np.ndarray) -> np.ma.MaskedArray[Any, Any]:
    """Return the mean of both directions above the diagonal, float64 (bases, bases); the rest is masked."""
    return np.ma.masked_array((found + found.T) / 2.0, mask=~np.triu(np.ones(found.shape, dtype=bool), k=1))
