"""Figures of attributions: letters as high as their scores, or a curve where there are too many; effects below them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import style
from .figures import short_label

LETTERS_UP_TO = 300
_POINTS = 2000  # of a curve
_INCHES_A_LETTER, _WIDEST_IN = 0.085, 26.0
MEANS = {
    "mean4": "the effect of the base that is there, less the mean over all four bases (mean4)",
    "mean3": "the effect of the base that is there, less the mean over the three others (mean3)",
}


def plot_attributions(path: str | os.PathLike[str], panels: Sequence[Mapping[str, Any]], *, title: str) -> None:
    """Draw scores of bases, a panel for each stretch, all with the same scale, and save the figure.

    Parameters
    ----------
    path : path
        Image to write; the suffix chooses the format.
    panels : sequence of mapping
        ``name``, ``chrom``, ``start`` (0-based), ``letters`` and ``scores``, float64 (bases,). ``effects``, float64 (4,
        bases) in the order A, C, G, T, are drawn below as they are, not centred, the bases that are there marked;
        ``target`` says what they are changes of, and ``convention`` which mean the scores leave out. ``marked``,
        [start, end) or None, is where a variant is; empty, it is a joint.
    title : str
        Line above the panels.
    """
    widest = max((len(panel["letters"]) for panel in panels), default=0)
    width = min(max(12.0, _INCHES_A_LETTER * widest), _WIDEST_IN) if widest <= LETTERS_UP_TO else 12.0
    ratios = [ratio for panel in panels for ratio in ((1.7, 1.05) if "effects" in panel else (1.7,))]
    figure = style.new_figure(width, 0.9 + sum(ratios))
    axes = iter(figure.subplots(len(ratios), 1, squeeze=False, height_ratios=ratios)[:, 0])
    limits = [_limits(np.asarray(panel["scores"])) for panel in panels]
    effects = [np.nan_to_num(panel["effects"]) for panel in panels if "effects" in panel]
    largest = max((float(np.abs(part).max()) for part in effects), default=0.0)
    maps, image, chroms = [], None, {str(panel["chrom"]) for panel in panels}
    for panel in panels:
        axis = next(axes)
        draw_scores(axis, panel["letters"], panel["scores"], int(panel["start"]))
        axis.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
        if panel.get("marked"):
            _mark(axis, *panel["marked"])
        where = f", {panel['chrom']}" if len(chroms) > 1 else ""
        axis.set_title(f"{short_label(panel['name'])}{where}", fontsize="small", loc="left")
        style.put_scale_bar(axis, 0, len(panel["letters"]))
        if "effects" in panel:
            maps.append(next(axes))
            image = draw_effects(maps[-1], panel["letters"], panel["effects"], int(panel["start"]), largest)
            maps[-1].sharex(axis)
            axis.tick_params(axis="x", labelbottom=False)
    lowest = maps[-1] if panels and "effects" in panels[-1] else axis
    lowest.set_xlabel(f"position{f' on {chroms.pop()}' if len(chroms) == 1 else ''}, 1-based", fontsize="small")
    if image is not None:
        target = next(panel.get("target", "the target") for panel in panels if "effects" in panel)
        bar = figure.colorbar(image, ax=figure.axes, aspect=9.0 * sum(ratios), pad=0.01)
        bar.set_label(f"change of\n{target}", fontsize="small")
        bar.ax.tick_params(labelsize="small")
        figure.supxlabel(_legend(panels), fontsize="small")
    style.finish(figure, path, title)


def plot_substitutions(
    path: str | os.PathLike[str],
    values: np.ndarray,
    names: Sequence[str],
    *,
    chrom: str,
    start: int,
    letters: str,
    score: str,
) -> None:
    """Draw a score of every substitution of an interval, a panel for each track, and save the figure.

    Letters are as high as minus the mean of the score over the four bases (0 for the base that is there): what the
    base that is there adds.

    Parameters
    ----------
    path : path
        Image to write; the suffix chooses the format.
    values : ndarray of shape (positions, 4, tracks)
        Bases in the order A, C, G, T; NaN where there is no score.
    names : sequence of str
        What the tracks are called.
    chrom : str
    start : int
        0-based start of the interval.
    letters : str
        Its bases.
    score : str
        What the score is called.
    """
    where = {"chrom": chrom, "start": start, "letters": letters, "target": score, "convention": "mean4"}
    panels = [
        {"name": name, "scores": -np.nan_to_num(part).mean(axis=1), "effects": part.T, **where}
        for name, part in zip(names, np.moveaxis(values.astype(np.float64), 2, 0), strict=True)
    ]
    plot_attributions(path, panels, title=f"{score} of every substitution")


def strongest_rows(values: np.ndarray, count: int) -> list[int]:
    """Return the tracks of (positions, 4, tracks) with the largest score in size, the largest first."""
    sizes = np.nan_to_num(np.abs(values), nan=0.0).max(axis=(0, 1))
    return [int(number) for number in np.argsort(-sizes, kind="stable")[: max(count, 1)]]


def _mark(axis: Any, start: int, end: int) -> None:
    """Shade the bases [start, end) of a variant; of a joint, where bases are missing, a line."""
    if start == end:
        axis.axvline(start + 0.5, color="0.4", linewidth=1.0, linestyle=":", zorder=0)
    else:
        axis.axvspan(start + 0.5, end + 0.5, color="0.88", linewidth=0, zorder=0)


def _legend(panels: Sequence[Mapping[str, Any]]) -> str:
    """Return what scores and marks of a figure with effects mean."""
    conventions = dict.fromkeys(panel.get("convention") for panel in panels if "effects" in panel)
    said = "; ".join(f"score: {MEANS[name]}" for name in conventions if name in MEANS)
    widest = max(len(panel["letters"]) for panel in panels)
    step = -(-widest // _POINTS)
    marks = "dot" if widest <= LETTERS_UP_TO else "grey"
    marks = f"{marks}: the base that is there" if step == 1 else "0 for the base that is there"
    summary = f"; a column is the largest effect in size of {step} bases" if step > 1 else ""
    return f"{said}; below, what each base would change, {marks}{summary}"


def draw_scores(axis: Any, letters: str, scores: np.ndarray, start: int) -> None:
    """Draw scores of the bases from ``start`` (0-based) on: letters, or a curve where there are too many."""
    scores = np.asarray(scores, dtype=np.float64)
    if len(scores) <= LETTERS_UP_TO:
        for number, (letter, score) in enumerate(zip(letters, scores.tolist(), strict=True)):
            if letter in style.BASE_COLOURS and score != 0.0:
                style.draw_letter(axis, letter, start + number + 0.525, 0.0, 0.95, score)
        axis.set_ylim(*_limits(scores))
    else:
        at, curve = extremes(scores, _POINTS)
        axis.plot(start + 1 + at, curve, color="0.25", linewidth=0.6)
    axis.axhline(0.0, color="0.5", linewidth=0.6)
    axis.set_xlim(start + 0.4, start + len(scores) + 0.6)
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.locator_params(axis="x", integer=True)
    axis.tick_params(labelsize="small")
    axis.set_ylabel("score", fontsize="small")
    axis.spines[["top", "right"]].set_visible(False)


def draw_effects(axis: Any, letters: str, effects: np.ndarray, start: int, largest: float) -> Any:
    """Draw effects of all bases (4, bases) as colours, 0 in the middle, and return the image.

    What is not known (NaN) is white with a cross where single bases are drawn; the base that is there has a dot, or is
    grey where there are too many bases for dots.
    """
    effects, bases = np.asarray(effects, dtype=np.float64), len(letters)
    there = np.array([[letter == base for letter in letters] for base in "ACGT"])
    few = bases <= LETTERS_UP_TO
    step = 1 if few else -(-bases // _POINTS)
    if step > 1:
        shown = np.stack([extremes(np.nan_to_num(row), _POINTS)[1] for row in effects])
    else:
        shown = np.where(there & (not few), np.nan, effects)
    limit = largest or 1.0
    image = axis.imshow(
        shown,
        cmap=style.DIVERGING,
        vmin=-limit,
        vmax=limit,
        aspect="auto",
        interpolation="nearest",
        extent=(start + 0.5, start + 0.5 + shown.shape[1] * step, 3.5, -0.5),
    )
    if step == 1 and not few:
        axis.set_facecolor("0.8")  # seen where there is no colour
    if few:
        row, column = np.nonzero(there)
        size = min(9.0, 2000.0 / bases)
        axis.scatter(column + start + 1, row, s=size, color="0.15", linewidths=0, zorder=3)
        row, column = np.nonzero(np.isnan(effects))
        axis.scatter(column + start + 1, row, s=size, color="0.4", marker="x", linewidths=0.5, zorder=3)
    axis.set_yticks(range(4), list("ACGT"))
    for text in axis.get_yticklabels():
        text.set_color(style.BASE_COLOURS[text.get_text()])
        text.set_fontweight("bold")
    axis.tick_params(labelsize="small", axis="both")
    axis.set_xlim(start + 0.4, start + bases + 0.6)
    return image


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
