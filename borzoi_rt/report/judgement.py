"""A figure of how good attributions are: curves against random order, and numbers beside those of chance."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import style

_WIDE, _TICKS = 1.5, (-5, -2, -1, -0.5, 0, 0.5, 1, 2, 5, 10, 20, 50, 100)
_MOST_CURVES = 6  # files whose curves are shown
_COUNTS = ("samples_for_5_percent",)  # how many, beside which all other numbers would look like 0
_MARKS = "green dot: good; red cross: no better than chance; grey dot: nothing is asked of it"
_PASSED = {True: "#009e73", False: style.ALT_COLOUR, None: "0.6"}


def plot_evaluation(
    path: str | os.PathLike[str],
    curves: Sequence[tuple[str, Sequence[Any]]],
    table: Sequence[Mapping[str, Any]],
    *,
    title: str,
) -> None:
    """Draw the judgement of files, and save the figure.

    Parameters
    ----------
    path : path
        Image to write; the suffix chooses the format.
    curves : sequence of (str, sequence of Curves)
        Of each file its name and the curves of its rows (``share``, ``first_large``, ``first_small``, ``random``,
        ``falling``); the mean over rows is drawn, in the order in which the map says the difference is made.
    table : sequence of mapping
        Rows with ``file``, ``metric``, ``quantity``, ``value``, ``random``, ``random_low``, ``random_high`` and
        ``passed``.
    title : str
        Line above all.
    """
    shown = [(name, held) for name, held in curves if held][:_MOST_CURVES]
    files = list(dict.fromkeys(str(line["file"]) for line in table))
    known = [line for line in table if line["value"] is not None and line["quantity"] not in _COUNTS]
    names = list(dict.fromkeys((line["metric"], line["quantity"]) for line in known))
    room = 0.36 * max(len(names), 4) + 0.4
    height = 0.8 + 2.4 * bool(shown) + room
    figure = style.new_figure(style.WIDTH_IN, height)
    parts = figure.subfigures(2, 1, height_ratios=(2.4, room)) if shown else [None, figure]
    if shown:
        panels = parts[0].subplots(1, len(shown), squeeze=False, sharey=True)[0]
        for panel, (name, held) in zip(panels, shown, strict=True):
            _draw_curves(panel, name, held)
        panels[0].set_ylabel("share of the target left", fontsize="small")
        style.put_legend(parts[0], panels[0], ncols=3)
    _draw_numbers(parts[1], files, names, known)
    style.finish(figure, path, title)


def _draw_curves(panel: Any, name: str, held: Sequence[Any]) -> None:
    share = held[0].share
    # Where shuffling all raises the target, what the map says makes the difference are its smallest scores.
    pairs = [(one.first_large, one.first_small) if one.falling else (one.first_small, one.first_large) for one in held]
    first, last = np.mean(pairs, axis=0)
    random = np.mean([one.random for one in held], axis=0)
    panel.fill_between(share, random.min(axis=0), random.max(axis=0), color="0.85", label="random order")
    panel.plot(share, first, color=style.SERIES[1], label="in the map's order")
    panel.plot(share, last, color=style.SERIES[0], label="in the reverse order")
    panel.set_title(name, fontsize="small")
    panel.set_xlabel("share of the bases shuffled; good: the map's order falls first", fontsize="small")
    panel.tick_params(labelsize="small")
    panel.spines[["top", "right"]].set_visible(False)


def _draw_numbers(
    part: Any, files: Sequence[str], names: Sequence[tuple[str, str]], table: Sequence[Mapping[str, Any]]
) -> None:
    panels = part.subplots(1, max(len(files), 1), squeeze=False, sharey=True)[0]
    for panel, file in zip(panels, files, strict=False):
        for line in table:
            key = (line["metric"], line["quantity"])
            if line["file"] != file:
                continue
            row = names.index(key)
            if line["random"] is not None:
                panel.plot([line["random_low"], line["random_high"]], [row, row], color="0.8", linewidth=5, zorder=1)
            mark = "x" if line["passed"] is False else "o"
            panel.plot(line["value"], row, mark, color=_PASSED[line["passed"]], markersize=5, zorder=2)
        panel.axvline(0.0, color="0.5", linewidth=0.6)
        if any(abs(line[name] or 0.0) > _WIDE for line in table for name in ("value", "random_low", "random_high")):
            panel.set_xscale("symlog", linthresh=1.0)  # correlations lie in [-1, 1], other numbers need not
            low, high = panel.get_xlim()
            ticks = [tick for tick in _TICKS if low <= tick <= high]
            panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        panel.set_title(f"{file}: grey, by chance", fontsize="small")
        panel.tick_params(labelsize="small")
        panel.spines[["top", "right"]].set_visible(False)
    good = {(line["metric"], line["quantity"]): line.get("good") for line in table}
    labels = [
        f"{metric}: {quantity}" + (f"\ngood: {good[metric, quantity]}" if good[metric, quantity] else "")
        for metric, quantity in names
    ]
    panels[0].set_yticks(range(len(names)), labels, fontsize="small")
    part.supxlabel(_MARKS, fontsize="small")
    panels[0].set_ylim(max(len(names), 1) - 0.5, -0.5)
