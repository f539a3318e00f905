"""Which figures a DFT score run draws; how they look is in :mod:`borzoi_rt.report.figures`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..tables.dft import ScoredWindow
from .figures import plot_dominant_changes, plot_effect_curves, plot_motif_heatmap, plot_parts, plot_spectra

SHOWN_SITES = 8  # of curves and spectra: the sites with the largest effects
SHOWN_BP = 500.0


class Gallery:
    """Collect scored windows and draw them.

    ``heatmap.png`` (sites by motifs), ``parts.png`` (abundance against positional), ``effects_N.png`` and
    ``spectrum_N.png`` of the sites with the largest effects, and ``changes.png`` where there are variants. Of an
    ensemble and of several tracks the first are drawn.

    Parameters
    ----------
    folder : Path
        Directory to make.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._first: tuple[str, str] | None = None
        self._labels: list[str] = []
        self._scores: list[np.ndarray] = []
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._largest: list[tuple[float, ScoredWindow]] = []
        self._changes: list[tuple[str, str]] = []
        self._reference = ""
        self._motifs: tuple[str, ...] = ()

    def add(self, window: ScoredWindow) -> None:
        """Take a window; only the sites with the largest effects are held whole."""
        self._first = self._first or (window.net, window.track)
        if (window.net, window.track) != self._first:
            return
        scores = window.scores
        self._motifs = window.curves.motifs[: scores.raw.shape[-1]]
        if window.variant is not None:
            self._changes.append((self._reference, window.dominant))
            return
        self._reference = window.dominant
        self._labels.append(window.site.label)
        self._scores.append(scores.score)
        self._parts.append((scores.abundance, scores.positional, np.sign(scores.delta_sum)))
        self._largest.append((float(scores.raw.max()), window))
        self._largest = sorted(self._largest, key=lambda item: -item[0])[:SHOWN_SITES]

    def draw(self) -> list[Path]:
        """Write the figures and return their paths."""
        if not self._labels:
            return []
        self.folder.mkdir(parents=True, exist_ok=True)
        paths = [self.folder / "heatmap.png", self.folder / "parts.png"]
        plot_motif_heatmap(paths[0], np.array(self._scores), sites=self._labels, motifs=self._motifs)
        abundance, positional, sign = (np.array(part) for part in zip(*self._parts, strict=True))
        plot_parts(paths[1], abundance, positional, sign, motifs=self._motifs)
        for number, (_, window) in enumerate(self._largest, start=1):
            curves, order = window.curves, np.argsort(-window.scores.raw)[:6]
            names = [self._motifs[place] for place in order]
            near = np.abs(curves.place_bp) <= max(SHOWN_BP, 8 * curves.dt)
            paths += [self.folder / f"effects_{number}.png", self.folder / f"spectrum_{number}.png"]
            plot_effect_curves(
                paths[-2],
                curves.effect[order, window.row][:, near],
                curves.place_bp[near],
                names=names,
                title=f"{window.site.label}: effect of removal (KO - WT) by position of the base",
            )
            spectrum, omega = window.scores.spectrum, window.scores.omega
            if spectrum is not None and omega is not None:
                plot_spectra(paths[-1], spectrum[order], omega, names=names, title=window.site.label)
        if self._changes:
            paths.append(self.folder / "changes.png")
            plot_dominant_changes(paths[-1], self._changes, motifs=self._motifs)
        return [path for path in paths if path.exists()]
