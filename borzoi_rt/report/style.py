"""How all figures look: colours, panels, genes, letters, scale bars, and how a figure is written.

Colours can be told apart by people who see few of them (Okabe and Ito); a strand, an allele and a base have the same
colour in every figure. Legends stand outside of what they explain, and every axis has its unit.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ..drafts import draft_of
from ..errors import InputError

REF_COLOUR, ALT_COLOUR = "#4878a8", "#d1495b"
GAIN_COLOUR, LOSS_COLOUR = ALT_COLOUR, REF_COLOUR
STRAND_COLOURS = {"+": "#2b6f77", "-": "#8a5a1f", ".": "0.35"}
BASE_COLOURS = {"A": "#2a9d3a", "C": "#3465a4", "G": "#e9a820", "T": "#cc3333"}
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#8a5a1f")
DIVERGING = "RdBu_r"  # red above 0, blue below

FORMS = (".pdf", ".svg", ".png")
WIDTH_IN = 9.0
_MOST_IN = 60.0  # height of a figure that can still be opened everywhere

GeneModel: TypeAlias = tuple[str, str, Sequence[tuple[int, int]]]
"""Name, strand and exons, 0-based and half-open, ascending."""


def check_form(path: str | os.PathLike[str]) -> None:
    """Refuse a file name that is of no kind of figure, or in no folder.

    Raises
    ------
    InputError
        Naming what is allowed.
    """
    if Path(path).suffix.lower() not in FORMS:
        raise InputError(f"{path}: the suffix names no figure; allowed: {', '.join(FORMS)}")
    if not Path(path).parent.is_dir():
        raise InputError(f"{path}: there is no folder {Path(path).parent}; make it, or choose another")


def new_figure(width_in: float, height_in: float) -> Any:
    """Return an empty figure that needs no display, and none of the global state of pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, min(height_in, _MOST_IN)), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def new_panels(
    count: int, *, height: float, sharex: bool = False, sharey: bool = False, ratios: Sequence[float] | None = None
) -> tuple[Any, Any]:
    """Return a figure and its panels, one above the other; ``height`` is that of a panel in inches.

    With ``ratios`` panels are as many times as high.
    """
    figure = new_figure(WIDTH_IN, 0.6 + height * (count if ratios is None else sum(ratios)))
    panels = figure.subplots(count, 1, squeeze=False, sharex=sharex, sharey=sharey, height_ratios=ratios)[:, 0]
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
    return figure, panels


def panel_height(count: int) -> float:
    """Return the height of one of several panels of coverage, in inches: 1 to 20 fit on a page."""
    return max(0.55, min(1.35, 9.0 / max(count, 1)))


def name_panel(panel: Any, text: str) -> None:
    """Name a panel above it, where a long label takes nothing of its width."""
    panel.set_title(text, loc="left", fontsize="small", pad=3)


def put_legend(figure: Any, panel: Any, *, ncols: int) -> None:
    """Explain the marks of a panel outside of it, so that nothing drawn is hidden."""
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=ncols, frameon=False, fontsize="small")


def put_positions(panel: Any, chrom: str) -> None:
    """Write positions of a contig below a panel, 1-based as browsers do."""
    panel.xaxis.set_major_formatter("{x:,.0f}")
    panel.tick_params(axis="x", labelsize="small")
    text = "position in the sequence, bp" if chrom == "." else f"position on {chrom}, bp"
    panel.set_xlabel(text, fontsize="small")


def put_scale_bar(panel: Any, start: float, end: float) -> None:
    """Draw a bar of a round length above the right end of a panel, and say how long it is."""
    length = round_length((end - start) / 5.0)
    share = length / (end - start)
    from matplotlib.lines import Line2D

    bar = Line2D([1.0 - share, 1.0], [1.04, 1.04], transform=panel.transAxes, color="0.15", linewidth=2.0)
    bar.set_clip_on(False)
    panel.add_artist(bar)
    panel.text(
        0.995 - share, 1.04, in_words(length), transform=panel.transAxes, ha="right", va="center", fontsize="x-small"
    )


def round_length(most: float) -> int:
    """Return the largest of 1, 2, 5, 10, 20, ... that is not above ``most``; 1 for less than 1."""
    if most < 1.0:
        return 1
    power = 10 ** math.floor(math.log10(most) + 1e-9)
    return int(next(step * power for step in (5, 2, 1) if step * power <= most * (1 + 1e-9)))


def in_words(length_bp: int) -> str:
    """Return a length as people write it: 500 bp, 2 kb, 1 Mb."""
    for unit, name in ((1_000_000, "Mb"), (1_000, "kb")):
        if length_bp >= unit:
            return f"{length_bp / unit:g} {name}"
    return f"{length_bp} bp"


def near_genes(genes: Sequence[GeneModel], start: int, end: int) -> list[GeneModel]:
    """Return the genes that reach into [start, end)."""
    return [gene for gene in genes if gene[2][0][0] < end and gene[2][-1][1] > start]


def lanes_of(genes: Sequence[GeneModel], start: int, end: int) -> list[tuple[int, float]]:
    """Return the lane of each gene, from 0 down, and where its name begins: neither boxes nor names meet."""
    found, ends = [], list[float]()
    for name, _, exons in genes:
        words = 0.013 * (len(name) + 3) * (end - start)
        left = min(max(exons[0][0], start), end - words)
        lane = next((number for number, taken in enumerate(ends) if taken < left), len(ends))
        ends[lane : lane + 1] = [max(min(exons[-1][1], end), left + words) + 0.01 * (end - start)]
        found.append((lane, left))
    return found


def draw_genes(panel: Any, genes: Sequence[GeneModel], start: int, end: int) -> None:
    """Draw genes as boxes (exons) on lines with arrows in the direction of transcription, one above the other."""
    lanes = lanes_of(genes, start, end)
    for (name, strand, exons), (lane, left) in zip(genes, lanes, strict=True):
        low, high = max(exons[0][0], start), min(exons[-1][1], end)
        colour, way = STRAND_COLOURS[strand], {"+": "→", "-": "←", ".": ""}[strand]
        panel.plot([low, high], [-lane, -lane], color=colour, linewidth=1.0, solid_capstyle="butt")
        marks = np.arange(low, high - (end - start) / 80, (end - start) / 40)[1:]
        if strand != ".":
            panel.plot(marks, np.full(len(marks), -lane), {"+": ">", "-": "<"}[strand], color=colour, markersize=3)
        shown = [(max(one, start), min(two, end)) for one, two in exons if one < end and two > start]
        panel.broken_barh([(one, two - one) for one, two in shown], (-lane - 0.18, 0.36), color=colour)
        panel.text(left, -lane + 0.25, f"{name} {way}".strip(), fontsize="x-small", va="bottom", color=colour)
    panel.set_ylim(-max((lane for lane, _ in lanes), default=0) - 0.6, 0.8)
    panel.set_yticks([])
    panel.spines["left"].set_visible(False)


def draw_letter(panel: Any, letter: str, left: float, bottom: float, width: float, height: float) -> None:
    """Draw a base as large as a box; upside down where the height is negative."""
    from matplotlib.patches import PathPatch
    from matplotlib.textpath import TextPath
    from matplotlib.transforms import Affine2D

    if letter not in _OUTLINES:
        outline = TextPath((0, 0), letter, size=1)
        _OUTLINES[letter] = outline, outline.get_extents()
    outline, box = _OUTLINES[letter]
    shape = Affine2D().translate(-box.x0, -box.y0).scale(width / box.width, height / box.height)
    shape = shape.translate(left, bottom) + panel.transData
    panel.add_patch(PathPatch(outline, color=BASE_COLOURS[letter], linewidth=0, transform=shape))


_OUTLINES: dict[str, Any] = {}


def finish(figure: Any, path: str | os.PathLike[str], title: str) -> None:
    """Name a figure and write it."""
    figure.suptitle(title, fontsize="medium")
    save(figure, path)


def save(figure: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure whole; texts of PDF and SVG stay texts, which an editor of drawings can change."""
    from matplotlib import rc_context

    check_form(path)
    texts: Any = {"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "borzoi-rt"}
    with rc_context(texts), draft_of(Path(path)) as draft:
        figure.savefig(draft, dpi=120, format=draft.suffix[1:].lower() or None, metadata=_undated(path))


def _undated(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return metadata without a date, so that equal figures are equal files."""
    dates = {".pdf": "CreationDate", ".svg": "Date"}
    name = dates.get(Path(path).suffix.lower())
    return None if name is None else {name: None}
