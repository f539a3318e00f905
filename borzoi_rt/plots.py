"""Figures; the only door to matplotlib."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

REF_COLOUR, ALT_COLOUR = "#4878a8", "#d1495b"


def plot_alleles(
    path: str | os.PathLike[str],
    ref: np.ndarray,
    alt: np.ndarray,
    *,
    names: Sequence[str],
    start: int,
    bin_size_bp: int,
    position: int,
    title: str,
) -> None:
    """Draw the coverage of both alleles, one panel per track, and save it.

    Parameters
    ----------
    path : path
        Image to write; the suffix chooses the format.
    ref, alt : ndarray of shape (tracks, bins)
        Coverage of the two alleles.
    names : sequence of str
        Labels of the tracks.
    start : int
        0-based start of the first bin.
    bin_size_bp : int
        Width of a bin.
    position : int
        1-based position of the variant, marked by a line.
    title : str
        Line above the panels.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 0.6 + 1.25 * len(names)), layout="constrained")
    FigureCanvasAgg(figure)  # draws without a display, and without pyplot's global state
    panels = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    edges = start + bin_size_bp * np.arange(ref.shape[-1] + 1)
    for panel, name, of_ref, of_alt in zip(panels, names, ref, alt, strict=True):
        panel.stairs(of_ref, edges, fill=True, color=REF_COLOUR, alpha=0.35, label="REF")
        panel.stairs(of_alt, edges, color=ALT_COLOUR, linewidth=1.3, label="ALT")
        panel.axvline(position, color="0.3", linewidth=0.8, linestyle=":")
        panel.set_ylabel(name, rotation=0, ha="right", va="center")
        panel.set_ylim(bottom=0)
        panel.spines[["top", "right"]].set_visible(False)
        panel.margins(x=0)
    panels[0].legend(loc="upper right", frameon=False, ncols=2)
    panels[-1].xaxis.set_major_formatter("{x:,.0f}")
    panels[-1].set_xlabel("position, bp")
    figure.suptitle(title, fontsize="medium")
    figure.savefig(path, dpi=120)
