"""Figure of dissection: the best unit of each concept beside what chance finds."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from . import style

MOST = 40  # concepts of the figure


def plot_dissection(
    path: str | os.PathLike[str],
    concepts: Sequence[tuple[str, int, float]],
    rotated: np.ndarray,
    moved: np.ndarray,
    *,
    title: str,
) -> None:
    """Draw intersection over union of the best unit of each concept, the highest first, and save the figure.

    Parameters
    ----------
    path : path
        Image to write; the suffix chooses the format.
    concepts : sequence of (str, int, float)
        Name, unit and IoU.
    rotated, moved : float64 ndarray of shape (draws, concepts)
        IoU of chance: of rotated units, and of moved labels.
    title : str
        Line above the panel.
    """
    order = sorted(range(len(concepts)), key=lambda number: -concepts[number][2])[:MOST]
    figure, (panel,) = style.new_panels(1, height=0.8 + 0.3 * len(order))
    at = np.arange(len(order))
    panel.barh(at, [concepts[number][2] for number in order], color=style.REF_COLOUR, height=0.6, label="best unit")
    for offset, draws, colour, label in (
        (-0.15, rotated, "black", "best of rotated units"),
        (0.15, moved, "tab:orange", "best unit, labels moved"),
    ):
        for row, number in enumerate(order):
            marks = draws[:, number]
            panel.plot(
                *(marks, np.full(len(marks), row + offset), "|"),
                color=colour,
                label=None if row else label,
                markersize=6,
            )
    panel.set_yticks(at, [f"{concepts[number][0]}, unit {concepts[number][1]}" for number in order], fontsize="x-small")
    panel.invert_yaxis()
    panel.set_xlabel("intersection over union", fontsize="small")
    left_out = len(concepts) - len(order)
    if left_out:
        figure.supxlabel(f"the largest; {left_out:,} more are not shown", fontsize="x-small")
    style.put_legend(figure, panel, ncols=3)
    style.finish(figure, path, title)
