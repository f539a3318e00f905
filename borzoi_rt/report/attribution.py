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
    limits = [_limits(np.asarray(panel["scores"])) for panel in panels]
    for axis, panel in zip(axes, panels, strict=True):
        draw_scores(axis, panel["letters"], panel["scores"], int(panel["start"]))
        axis.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
        axis.set_title(f"{panel['name']}, {panel['chrom']} (position, 1-based)", fontsize="small", loc="left")
    figure.suptitle(title, fontsize="medium")
    figure.savefig(path, dpi=120)


def draw_scores(axis: Any, letters: str, scores: np.ndarray, start: int) -> None:
    """Draw scores of the bases from ``start`` (0-based) on: letters, or a curve where there are too many."""
    scores = np.asarray(scores, dtype=np.float64)
    if len(scores) <= LETTERS_UP_TO:
        _letters(axis, letters, scores, start + 1)
        axis.set_ylim(*_limits(scores))
    else:
        at, curve = extremes(scores, _POINTS)
        axis.plot(start + 1 + at, curve, color="0.25", linewidth=0.6)
    axis.axhline(0.0, color="0.5", linewidth=0.6)
    axis.set_xlim(start + 0.4, start + len(scores) + 0.6)
    axis.ticklabel_format(axis="x", useOffset=False, style="plain")
    axis.set_ylabel("score")
    axis.spines[["top", "right"]].set_visible(False)


def _limits(scores: np.ndarray) -> tuple[float, float]:
    """Return the ends of an axis that holds 0 and all scores."""
    bottom, top = float(scores.min(initial=0.0)), float(scores.max(initial=0.0))
    room = 0.05 * (top - bottom) or 1.0
    return bottom - room, top + room


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
