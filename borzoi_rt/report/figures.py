"""Figures; the only door to matplotlib."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..promoter.profiles import Profile

REF_COLOUR, ALT_COLOUR = "#4878a8", "#d1495b"


def plot_alleles(
    path: str | os.PathLike[str],
    ref: np.ndarray,
    alt: np.ndarray,
    *,
    names: Sequence[str],
    chrom: str,
    start: int,
    bin_size_bp: int,
    position: int,
    title: str,
    genes: Sequence[tuple[str, str, Sequence[tuple[int, int]]]] = (),
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
    chrom : str
        Contig, named under the axis.
    start : int
        0-based start of the first bin.
    bin_size_bp : int
        Width of a bin.
    position : int
        1-based position of the variant, marked by a line.
    title : str
        Line above the panels.
    genes : sequence of (str, str, sequence of (int, int))
        Name, strand and exons, 0-based and half-open, of genes that are drawn above; those outside are left out.
    """
    end = start + bin_size_bp * ref.shape[-1]
    held = [gene for gene in genes if gene[2][0][0] < end and gene[2][-1][1] > start]
    figure, panels = _panels(len(names) + bool(held), height=1.35, sharex=True)
    if held:
        models, panels = panels[0], panels[1:]
        draw_genes(models, held, start, end)
        models.axvline(position - 0.5, color="0.3", linewidth=0.8, linestyle=":")
    edges = start + bin_size_bp * np.arange(ref.shape[-1] + 1)
    for panel, name, of_ref, of_alt in zip(panels, names, ref, alt, strict=True):
        panel.stairs(of_ref, edges, fill=True, color=REF_COLOUR, alpha=0.35, label="REF")
        panel.stairs(of_alt, edges, color=ALT_COLOUR, linewidth=1.3, label="ALT")
        panel.axvline(position - 0.5, color="0.3", linewidth=0.8, linestyle=":")  # the middle of its base
        _name(panel, name)
        panel.set_ylim(bottom=0)
        panel.margins(x=0)
    panels[0].set_xlim(start, end)
    _legend(figure, panels[0], ncols=2)
    figure.supylabel(f"predicted coverage per bin of {bin_size_bp} bp", fontsize="small")
    panels[-1].xaxis.set_major_formatter("{x:,.0f}")
    panels[-1].set_xlabel(f"position on {chrom}, bp")
    _finish(figure, path, title)


GENE_COLOURS = {"+": "#2b6f77", "-": "#8a5a1f", ".": "0.35"}


def draw_genes(panel: Any, genes: Sequence[tuple[str, str, Sequence[tuple[int, int]]]], start: int, end: int) -> None:
    """Draw genes as boxes (exons) on lines with arrows in the direction of transcription, one above the other."""
    ends: list[float] = []
    for name, strand, exons in genes:
        low, high = max(exons[0][0], start), min(exons[-1][1], end)
        words = 0.013 * (len(name) + 3) * (end - start)
        left = min(low, end - words)
        lane = next((number for number, taken in enumerate(ends) if taken < left), len(ends))
        ends[lane : lane + 1] = [max(high, left + words) + 0.01 * (end - start)]
        colour, way = GENE_COLOURS[strand], {"+": "→", "-": "←", ".": ""}[strand]
        panel.plot([low, high], [-lane, -lane], color=colour, linewidth=1.0, solid_capstyle="butt")
        marks = np.arange(low, high - (end - start) / 80, (end - start) / 40)[1:]
        if strand != ".":
            panel.plot(marks, np.full(len(marks), -lane), {"+": ">", "-": "<"}[strand], color=colour, markersize=3)
        shown = [(max(one, start), min(two, end)) for one, two in exons if one < end and two > start]
        panel.broken_barh([(one, two - one) for one, two in shown], (-lane - 0.18, 0.36), color=colour)
        panel.text(left, -lane + 0.25, f"{name} {way}".strip(), fontsize="x-small", va="bottom", color=colour)
    panel.set_ylim(-len(ends) + 0.4, 0.8)
    panel.set_yticks([])
    panel.spines["left"].set_visible(False)


GAIN_COLOUR, LOSS_COLOUR = ALT_COLOUR, REF_COLOUR


def plot_effect_curves(
    path: str | os.PathLike[str], effect: np.ndarray, position_bp: np.ndarray, *, names: Sequence[str], title: str
) -> None:
    """Draw what the removal of motifs does along a promoter, one panel per motif, all on one scale.

    Parameters
    ----------
    path : path
        Image to write.
    effect : ndarray of shape (motifs, bins)
        KO - WT: gains and losses differ in colour; a line over them is smoothed over 11 bins.
    position_bp : ndarray of shape (bins,)
        Position relative to the TSS.
    names : sequence of str
        Labels of the motifs.
    title : str
        Line above the panels; should name the site and state the sign and the orientation.
    """
    figure, panels = _panels(len(names), height=1.1, sharex=True, sharey=True)
    for panel, name, curve in zip(panels, names, effect, strict=True):
        panel.fill_between(position_bp, np.maximum(curve, 0), color=GAIN_COLOUR, alpha=0.5, linewidth=0, label="gain")
        panel.fill_between(position_bp, np.minimum(curve, 0), color=LOSS_COLOUR, alpha=0.5, linewidth=0, label="loss")
        panel.plot(position_bp, smoothed(curve), color="0.2", linewidth=1.0, label="smoothed over 11 bins")
        panel.axvline(0, color="0.3", linewidth=0.8, linestyle=":")
        _name(panel, name)
        panel.margins(x=0)
    _legend(figure, panels[0], ncols=3)
    figure.supylabel("KO - WT, predicted signal per bin", fontsize="small")
    panels[-1].set_xlabel("position relative to the TSS, bp")
    _finish(figure, path, title)


def plot_profiles(path: str | os.PathLike[str], profiles: Sequence[Profile], *, title: str) -> None:
    """Draw mean effect curves with their 95 % bands, one panel per motif, each on its own scale.

    Parameters
    ----------
    path : path
        Image to write.
    profiles : sequence of Profile
        Motifs, top to bottom.
    title : str
        Line above the panels.
    """
    figure, panels = _panels(len(profiles), height=1.2, sharex=True)
    for panel, profile in zip(panels, profiles, strict=True):
        low, high = np.nan_to_num(profile.low), np.nan_to_num(profile.high)
        if profile.sites > 1:
            panel.fill_between(profile.position_bp, low, high, color=LOSS_COLOUR, alpha=0.35, linewidth=0)
        panel.plot(profile.position_bp, profile.mean, color="0.15", linewidth=1.0)
        panel.axhline(0, color="0.6", linewidth=0.6)
        panel.axvline(0, color="0.3", linewidth=0.8, linestyle=":")
        _name(panel, profile.motif)
        panel.margins(x=0)
    figure.supylabel("mean KO - WT, predicted signal per bin; scales differ", fontsize="small")
    panels[-1].set_xlabel("position of the base relative to the TSS, bp (band: 95 % of the mean over sites)")
    _finish(figure, path, title)


def plot_spectra(
    path: str | os.PathLike[str], spectrum: np.ndarray, omega: np.ndarray, *, names: Sequence[str], title: str
) -> None:
    """Draw magnitude and phase of effect spectra, complex (motifs, frequencies), against the period in bp.

    The phase is drawn where the magnitude is above a hundredth of its largest; elsewhere it is that of rounding.
    """
    figure, (magnitude, phase) = _panels(2, height=2.6)
    with np.errstate(divide="ignore"):
        period = 2 * np.pi / omega[1:]
    for name, values in zip(names, spectrum[:, 1:], strict=True):
        size = np.abs(values)
        magnitude.plot(period, np.maximum(size, 1e-12), linewidth=0.9, label=name)
        phase.plot(period, np.where(size > 0.01 * size.max(), np.angle(values), np.nan), ".", markersize=2.5)
    for panel in (magnitude, phase):
        panel.set_xscale("log")
        panel.invert_xaxis()
        panel.axvline(10.5, color="0.3", linewidth=0.8, linestyle=":")
    magnitude.set_yscale("log")
    magnitude.set_ylabel("|F|, signal x bp")
    _legend(figure, magnitude, ncols=3)
    phase.set_ylabel("phase, rad")
    phase.set_ylim(-1.05 * np.pi, 1.05 * np.pi)
    phase.set_yticks([-np.pi, 0, np.pi], ["-π", "0", "π"])
    phase.set_xlabel("period, bp (dotted: 10.5)")
    _finish(figure, path, f"{title}: spectrum of the effect of removal")


_NAMED_ROWS = 200


def plot_motif_heatmap(
    path: str | os.PathLike[str], scores: np.ndarray, *, sites: Sequence[str], motifs: Sequence[str]
) -> None:
    """Draw scores (sites, motifs), each site scaled by its largest, ordered by dominant motif and its strength.

    Every row has the name of its site; of more than 200 sites every second, third and so on has.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    scores = np.nan_to_num(np.asarray(scores, dtype=np.float64))
    top = scores.max(axis=1, keepdims=True)
    scaled = np.divide(scores, top, out=np.zeros_like(scores), where=top > 0)
    order = np.lexsort((-top[:, 0], scores.argmax(axis=1)))
    height = 2.6 + 0.14 * min(len(sites), _NAMED_ROWS)
    figure = Figure(figsize=(4.0 + 0.4 * len(motifs), height), layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    image = panel.imshow(scaled[order], aspect="auto", cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
    panel.set_xticks(range(len(motifs)), motifs, rotation=90)
    step = -(-len(sites) // _NAMED_ROWS)
    named = range(0, len(sites), step)
    panel.set_yticks(named, [sites[order[row]] for row in named], fontsize="x-small")
    if step > 1:
        panel.set_ylabel(f"{len(sites)} sites, one in {step} named")
    figure.colorbar(image, ax=panel, aspect=30).set_label("score / site's largest", fontsize="small")
    _finish(figure, path, "DFT score of motif removal")


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
    figure, (panel,) = _panels(1, height=4.5)
    for number, name in enumerate(motifs):
        colour = f"C{number % 10}"
        loss = sign[:, number] <= 0
        panel.scatter(abundance[loss, number], positional[loss, number], s=14, color=colour, label=name, alpha=0.7)
        panel.scatter(abundance[~loss, number], positional[~loss, number], s=14, edgecolors=colour, facecolors="none")
    panel.set_xlabel("abundance: change of level")
    panel.set_ylabel("positional: redistribution")
    _legend(figure, panel, ncols=5)
    _finish(figure, path, "Parts of the effect of motif removal (open: gain on removal)")


def plot_dominant_changes(
    path: str | os.PathLike[str], changes: Sequence[tuple[str, str]], *, motifs: Sequence[str]
) -> None:
    """Draw how often the dominant motif of REF (rows) is that of ALT (columns)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [*motifs, "none"]
    table = np.zeros((len(names), len(names)), dtype=int)
    for before, after in changes:
        table[names.index(before or "none"), names.index(after or "none")] += 1
    side = 2.5 + 0.4 * len(names)
    figure = Figure(figsize=(side, side), layout="constrained")
    FigureCanvasAgg(figure)
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
    _finish(figure, path, "Dominant motif of REF and ALT")


def readable_on(colour: Sequence[float]) -> str:
    """Return the colour of text, black or white, that has the larger contrast with red, green and blue in 0 to 1.

    By the relative luminance of WCAG 2; the larger of both contrasts is never below 4.5.
    """
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in colour[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "black" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "white"


def plot_logos(path: str | os.PathLike[str], matrices: Sequence[np.ndarray], *, names: Sequence[str]) -> None:
    """Draw sequence logos of base probabilities (4, width): letters as high as their share of the information.

    Every motif fills its panel, so that soft ones can be read too; the axis says how many bits its top is.
    """
    from matplotlib.patches import PathPatch
    from matplotlib.textpath import TextPath
    from matplotlib.transforms import Affine2D

    colours = {"A": "#2a9d3a", "C": "#3465a4", "G": "#e9a820", "T": "#cc3333"}
    outlines = {letter: TextPath((0, 0), letter, size=1) for letter in colours}
    figure, panels = _panels(len(names), height=1.2)
    for panel, name, matrix in zip(panels, names, matrices, strict=True):
        bits = letter_bits(matrix)
        for position, column in enumerate((matrix * bits).T):
            base = 0.0
            for row in np.argsort(column):
                outline = outlines["ACGT"[row]]
                box = outline.get_extents()
                shape = Affine2D().translate(-box.x0, -box.y0).scale(0.95 / box.width, column[row] / box.height)
                shape = shape.translate(position - 0.475, base) + panel.transData
                panel.add_patch(PathPatch(outline, color=colours["ACGT"[row]], linewidth=0, transform=shape))
                base += column[row]
        top = logo_top(bits)
        panel.set_xlim(-0.6, matrix.shape[1] - 0.4)
        panel.set_ylim(0, top)
        panel.set_yticks([0, top], ["0", f"{top:.2g} bits"])
        panel.set_ylabel(name, rotation=0, ha="right", va="center")
    panels[-1].set_xlabel("position, 5' to 3'; each motif has its own scale, of at most 2 bits")
    _finish(figure, path, "Motifs")


def logo_top(bits: np.ndarray) -> float:
    """Return the top of the axis of a logo: the most informative position, rounded up to two digits, at most 2 bits."""
    most = float(np.max(bits, initial=0.0))
    if most < 1e-3:
        return 2.0  # nothing to see: letters must not be blown up from rounding
    unit = 10.0 ** (math.floor(math.log10(most)) - 1)
    return min(math.ceil(most / unit - 1e-9) * unit, 2.0)


def letter_bits(matrix: np.ndarray) -> np.ndarray:
    """Return the information of each position of base probabilities (4, width): ``2 + sum p log2 p``, in bits."""
    return np.asarray(2.0 + (matrix * np.log2(np.maximum(matrix, 1e-12))).sum(axis=0))


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


def _panels(count: int, *, height: float, sharex: bool = False, sharey: bool = False) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 0.6 + height * count), layout="constrained")
    FigureCanvasAgg(figure)  # draws without a display, and without pyplot's global state
    panels = figure.subplots(count, 1, squeeze=False, sharex=sharex, sharey=sharey)[:, 0]
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
    return figure, panels


def _name(panel: Any, text: str) -> None:
    """Name a panel above it, where a long label takes nothing of its width."""
    panel.set_title(text, loc="left", fontsize="small", pad=3)


def _legend(figure: Any, panel: Any, *, ncols: int) -> None:
    """Explain the marks of a panel outside of it, so that nothing drawn is hidden."""
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=ncols, frameon=False, fontsize="small")


def _finish(figure: Any, path: str | os.PathLike[str], title: str) -> None:
    figure.suptitle(title, fontsize="medium")
    figure.savefig(path, dpi=120)
