"""Figures of what the removal of motifs does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from . import style

if TYPE_CHECKING:
    from ..promoter.profiles import Profile


_SMOOTHED_UP_TO_BP = 4  # bins: 11 of them are no longer than a core promoter
_HELIX_BP = 10.5
_NOISE = 1e-9  # of the largest magnitude: what is below is rounding


def plot_effect_curves(
    path: str | os.PathLike[str], effect: np.ndarray, position_bp: np.ndarray, *, names: Sequence[str], title: str
) -> None:
    """Draw what the removal of motifs does along a promoter, one panel per motif, all on one scale.

    Parameters
    ----------
    path : path
        Image to write.
    effect : ndarray of shape (motifs, bins)
        KO - WT: gains and losses differ in colour. Where bins are single bases or a few, a line over them is smoothed
        over 11 bins; over wider ones it would contradict the fill.
    position_bp : ndarray of shape (bins,)
        Position relative to the TSS.
    names : sequence of str
        Labels of the motifs.
    title : str
        Line above the panels; should name the site and state the sign and the orientation.
    """
    figure, panels = style.new_panels(len(names), height=1.1, sharex=True, sharey=True)
    fine = len(position_bp) > 1 and abs(position_bp[1] - position_bp[0]) <= _SMOOTHED_UP_TO_BP
    for panel, name, curve in zip(panels, names, effect, strict=True):
        panel.fill_between(
            position_bp, np.maximum(curve, 0), color=style.GAIN_COLOUR, alpha=0.5, linewidth=0, label="gain"
        )
        panel.fill_between(
            position_bp, np.minimum(curve, 0), color=style.LOSS_COLOUR, alpha=0.5, linewidth=0, label="loss"
        )
        if fine:
            panel.plot(position_bp, smoothed(curve), color="0.2", linewidth=1.0, label="smoothed over 11 bins")
        panel.axhline(0, color="0.6", linewidth=0.6)
        panel.axvline(0, color="0.3", linewidth=0.8, linestyle=":")
        style.name_panel(panel, name)
        panel.margins(x=0)
    style.put_legend(figure, panels[0], ncols=3)
    figure.supylabel("KO - WT, predicted signal per bin", fontsize="small")
    panels[-1].set_xlabel("position relative to the TSS, bp")
    style.finish(figure, path, title)


def plot_profiles(path: str | os.PathLike[str], profiles: Sequence[Profile], *, title: str) -> None:
    """Draw mean effect curves with their 95 % bands, one panel per motif, all on one scale.

    Parameters
    ----------
    path : path
        Image to write.
    profiles : sequence of Profile
        Motifs, top to bottom.
    title : str
        Line above the panels.
    """
    figure, panels = style.new_panels(len(profiles), height=1.2, sharex=True, sharey=True)
    for panel, profile in zip(panels, profiles, strict=True):
        low, high = np.nan_to_num(profile.low), np.nan_to_num(profile.high)
        if profile.sites > 1:
            panel.fill_between(profile.position_bp, low, high, color=style.LOSS_COLOUR, alpha=0.35, linewidth=0)
        panel.plot(profile.position_bp, profile.mean, color="0.15", linewidth=1.0)
        panel.axhline(0, color="0.6", linewidth=0.6)
        panel.axvline(0, color="0.3", linewidth=0.8, linestyle=":")
        style.name_panel(panel, profile.motif)
        panel.margins(x=0)
    figure.supylabel("mean KO - WT, predicted signal per bin", fontsize="small")
    panels[-1].set_xlabel("position of the base relative to the TSS, bp (band: 95 % of the mean over sites)")
    style.finish(figure, path, title)


def plot_spectra(
    path: str | os.PathLike[str], spectrum: np.ndarray, omega: np.ndarray, *, names: Sequence[str], title: str
) -> None:
    """Draw magnitude and phase of effect spectra, complex (motifs, frequencies), against the period in bp.

    The phase is drawn where the magnitude is above a hundredth of its largest; elsewhere it is that of rounding. A
    motif without an effect has no curve, which the legend says. The turn of the double helix, 10.5 bp, is dotted where
    the bins are short enough to show it.
    """
    figure, (magnitude, phase) = style.new_panels(2, height=2.6)
    with np.errstate(divide="ignore"):
        period = 2 * np.pi / omega[1:]
    floor = _NOISE * np.abs(spectrum).max(initial=0.0)
    helix = period.min(initial=np.inf) <= _HELIX_BP
    for number, (name, values) in enumerate(zip(names, spectrum[:, 1:], strict=True)):
        size, colour = np.abs(values), style.SERIES[number % len(style.SERIES)]
        size = np.where(size > floor, size, np.nan)
        label = name if np.isfinite(size).any() else f"{name}: no effect"
        magnitude.plot(period, size, linewidth=0.9, label=label, color=colour)
        size = np.nan_to_num(size)
        angle = np.where(size > 0.01 * size.max(), np.angle(values), np.nan)
        phase.plot(period, angle, ".", markersize=2.5, color=colour)
    for panel in (magnitude, phase):
        panel.set_xscale("log")
        panel.invert_xaxis()
        panel.xaxis.set_major_formatter("{x:g}")
        if helix:
            panel.axvline(_HELIX_BP, color="0.3", linewidth=0.8, linestyle=":")
    magnitude.set_yscale("log")
    magnitude.set_ylabel("|F|, signal x bp")
    style.put_legend(figure, magnitude, ncols=6)
    phase.set_ylabel("phase, rad")
    phase.set_ylim(-1.05 * np.pi, 1.05 * np.pi)
    phase.set_yticks([-np.pi, 0, np.pi], ["-π", "0", "π"])
    phase.set_xlabel(f"period, bp{f' (dotted: {_HELIX_BP})' if helix else ''}")
    style.finish(figure, path, f"{title}: spectrum of the effect of removal")


_NAMED_ROWS = 200


def plot_motif_heatmap(
    path: str | os.PathLike[str], scores: np.ndarray, *, sites: Sequence[str], motifs: Sequence[str]
) -> None:
    """Draw scores (sites, motifs), each site scaled by its largest, ordered by dominant motif and its strength.

    Every row has the name of its site; of more than 200 sites every second, third and so on has.
    """
    scores = np.nan_to_num(np.asarray(scores, dtype=np.float64))
    top = scores.max(axis=1, keepdims=True)
    scaled = np.divide(scores, top, out=np.zeros_like(scores), where=top > 0)
    order = np.lexsort((-top[:, 0], scores.argmax(axis=1)))
    height = 2.6 + 0.14 * min(len(sites), _NAMED_ROWS)
    figure = style.new_figure(4.0 + 0.4 * len(motifs), height)
    panel = figure.subplots()
    image = panel.imshow(scaled[order], aspect="auto", cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
    panel.set_xticks(range(len(motifs)), motifs, rotation=90)
    step = -(-len(sites) // _NAMED_ROWS)
    named = range(0, len(sites), step)
    panel.set_yticks(named, [sites[order[row]] for row in named], fontsize="x-small")
    if step > 1:
        panel.set_ylabel(f"{len(sites)} sites, one in {step} named")
    figure.colorbar(image, ax=panel, aspect=30).set_label("score / site's largest", fontsize="small")
    style.finish(figure, path, "DFT score of motif removal")


def plot_parts(
    path: str | os.PathLike[str],
    abundance: np.ndarray,
    positional: np.ndarray,
    sign: np.ndarray,
    *,
    motifs: Sequence[str],
) -> None:
    """Draw the two parts of every effect, (sites, motifs) each: change of level against redistribution.

    ``sign`` is that of the summed effect: filled marks are losses of signal on removal, open ones gains.
    """
    figure, (panel,) = style.new_panels(1, height=4.5)
    for number, name in enumerate(motifs):
        colour = style.SERIES[number % len(style.SERIES)]
        loss = sign[:, number] <= 0
        panel.scatter(abundance[loss, number], positional[loss, number], s=14, color=colour, label=name, alpha=0.7)
        panel.scatter(abundance[~loss, number], positional[~loss, number], s=14, edgecolors=colour, facecolors="none")
    panel.set_xlabel("abundance: change of level")
    panel.set_ylabel("positional: redistribution")
    style.put_legend(figure, panel, ncols=5)
    style.finish(figure, path, "Parts of the effect of motif removal (open: gain on removal)")


def plot_dominant_changes(
    path: str | os.PathLike[str], changes: Sequence[tuple[str, str]], *, motifs: Sequence[str]
) -> None:
    """Draw how often the dominant motif of REF (rows) is that of ALT (columns)."""
    names = [*motifs, "none"]
    table = np.zeros((len(names), len(names)), dtype=int)
    for before, after in changes:
        table[names.index(before or "none"), names.index(after or "none")] += 1
    side = 2.5 + 0.4 * len(names)
    figure = style.new_figure(side, side)
    panel = figure.subplots()
    shade = np.log1p(table)
    image = panel.imshow(shade, cmap="Blues", interpolation="nearest")
    for (row, column), count in np.ndenumerate(table):
        if count:
            colour = readable_on([float(part) for part in image.to_rgba(shade[row, column])])
            panel.text(column, row, str(count), ha="center", va="center", fontsize="small", color=colour)
    panel.set_xticks(range(len(names)), names, rotation=90)
    panel.set_yticks(range(len(names)), names)
    panel.set_xlabel("ALT")
    panel.set_ylabel("REF")
    style.finish(figure, path, "Dominant motif of REF and ALT")


def readable_on(colour: Sequence[float]) -> str:
    """Return the colour of text, black or white, that has the larger contrast with red, green and blue in 0 to 1.

    By the relative luminance of WCAG 2; the larger of both contrasts is never below 4.5.
    """
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in colour[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "black" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "white"


def smoothed(curve: np.ndarray, width: int = 11) -> np.ndarray:
    """Return a Savitzky-Golay smoothing: each value of the parabola fitted to the ``width`` bins around it.

    Bins nearer to an end than half the width take the parabola of the first or last whole window.
    """
    half = width // 2
    if len(curve) < width:
        return np.asarray(curve, dtype=np.float64)
    offset = np.arange(-half, half + 1)
    fit = np.linalg.pinv(np.vander(offset, 3, increasing=True))  # (coefficients, width)
    inner = np.convolve(curve, fit[0][::-1], mode="valid")
    ends = [np.vander(part, 3, increasing=True) @ (fit @ window) for part, window in (
        (offset[:half], curve[:width]), (offset[half + 1 :], curve[-width:])
    )]  # fmt: skip
    return np.concatenate([ends[0], inner, ends[1]])
