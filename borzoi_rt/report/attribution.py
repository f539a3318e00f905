"""Figures of attributions: letters as high as their scores, or a curve where there are too many."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

LETTERS_UP_TO = 300
_COLOURS = {"A": "#2a9d3a", "C": "#3465a4", "G": "#e9a820", "T": "#cc3333"}
_POINTS = 2000  # of a curve


def plot_attributions(path: str | os.PathLike[str], panels: Sequence[Mapping[str, Any]], *, title: str) -> None:
    """Draw scores of bases, a panel for each stretch, all with the same scale, and save the figure.

    Parameters
    ----------
    path : path
        Image to write; the suffix chooses the format.
    panels : sequence of mapping
        ``name``, ``chrom``, ``start`` (0-based), ``letters`` and ``scores``, float64 (bases,).
    title : str
        Line above the panels.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 0.8 + 1.7 * len(panels)), layout="constrained")
    FigureCanvasAgg(figure)  # draws without a display, and without pyplot's global state
    axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    top = max((float(panel["scores"].clip(0.0).max()) for panel in panels), default=0.0)
    bottom = min((float(panel["scores"].clip(max=0.0).min()) for panel in panels), default=0.0)
    room = 0.05 * (top - bottom) or 1.0
    for axis, panel in zip(axes, panels, strict=True):
        start, scores = int(panel["start"]), np.asarray(panel["scores"], dtype=np.float64)
        if len(scores) <= LETTERS_UP_TO:
            _letters(axis, panel["letters"], scores, start + 1)
        else:
            at, curve = extremes(scores, _POINTS)
            axis.plot(start + 1 + at, curve, color="0.25", linewidth=0.6)
        axis.axhline(0.0, color="0.5", linewidth=0.6)
        axis.set_xlim(start + 0.4, start + len(scores) + 0.6)
        axis.set_ylim(bottom - room, top + room)
        axis.ticklabel_format(axis="x", useOffset=False, style="plain")
        axis.set_ylabel("score")
        axis.set_title(f"{panel['name']}, {panel['chrom']} (position, 1-based)", fontsize="small", loc="left")
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize="medium")
    figure.savefig(path, dpi=120)


def extremes(scores: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where a curve of at most ``points`` points is drawn, and how high: the largest in size of each step."""
    step = -(-len(scores) // points)
    padded = np.pad(scores, (0, -len(scores) % step)).reshape(-1, step)
    best = np.abs(padded).argmax(axis=1)
    rows = np.arange(len(padded))
    return rows * step + best, padded[rows, best]


def _letters(axis: Any, letters: str, scores: np.ndarray, first: int) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.textpath import TextPath
    from matplotlib.transforms import Affine2D

    outlines = {letter: TextPath((0, 0), letter, size=1) for letter in _COLOURS}
    for number, (letter, score) in enumerate(zip(letters, scores.tolist(), strict=True)):
        if letter not in outlines or score == 0.0:
            continue
        box = outlines[letter].get_extents()
        # A negative score turns the letter upside down, as is usual.
        shape = Affine2D().translate(-box.x0, -box.y0).scale(0.95 / box.width, score / box.height)
        shape = shape.translate(first + number - 0.475, 0.0) + axis.transData
        axis.add_patch(PathPatch(outlines[letter], color=_COLOURS[letter], linewidth=0, transform=shape))
