"""Which figures a DFT score run draws; how they look is in :mod:`borzoi_rt.report.promoter_figures`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..promoter.profiles import EffectProfiles
from ..promoter.sites import Site
from ..promoter.spectra import rfft
from ..tables.dft import StoredWindow
from ..types import DoubleArray
from .promoter_figures import (
    plot_dominant_changes,
    plot_effect_curves,
    plot_motif_heatmap,
    plot_parts,
    plot_profiles,
    plot_spectra,
)

SHOWN_SITES = 8  # of curves and spectra: the sites with the largest effects
SHOWN_MOTIFS = 6


class Gallery:
    """Collect scored windows and draw them.

    ``heatmap.png`` (sites by motifs), ``parts.png`` (abundance against positional), ``profiles.png`` (mean effect
    curves), ``effects_N.png`` and ``spectrum_N.png`` of the sites with the largest effects, and ``changes.png`` where
    there are variants. Of an ensemble and of several tracks the first are drawn.

    Parameters
    ----------
    folder : Path
        Directory to make.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._first: tuple[str, str] | None = None
        self._sites: list[str] = []
        self._columns: dict[str, list[DoubleArray]] = {name: [] for name in _DRAWN}
        self._largest: list[tuple[float, StoredWindow]] = []
        self._changes: list[tuple[str, str]] = []
        self._profiles: EffectProfiles | None = None
        self._motifs: tuple[str, ...] = ()

    def add(self, window: StoredWindow, position_bp: DoubleArray) -> None:
        """Take a window and the positions of its bins; only the sites with the largest effects are held whole."""
        self._first = self._first or (window.net, window.track)
        if (window.net, window.track) != self._first:
            return
        if window.variant:
            self._changes.append((window.dominant_ref, window.dominant))
            return
        self._motifs = window.motifs[: window.scored]
        self._sites.append(site_title(window.site))
        for name, values in self._columns.items():
            values.append(window.columns[name][: window.scored])
        if window.effect is not None:
            self._profiles = self._profiles or EffectProfiles(position_bp)
            self._profiles.add(window.net, window.track, window.motifs, window.effect)
            self._largest.append((float(window.columns["raw"][: window.scored].max()), window))
            self._largest = sorted(self._largest, key=lambda item: -item[0])[:SHOWN_SITES]

    def draw(self) -> list[Path]:
        """Write the figures and return their paths."""
        if not self._sites:
            return []
        self.folder.mkdir(parents=True, exist_ok=True)
        paths = [self.folder / "heatmap.png", self.folder / "parts.png"]
        score, abundance, positional, delta_sum = (np.array(self._columns[name]) for name in _DRAWN)
        plot_motif_heatmap(paths[0], score, sites=self._sites, motifs=self._motifs)
        plot_parts(paths[1], abundance, positional, np.sign(delta_sum), motifs=self._motifs)
        if self._profiles is not None:
            profiles = list(self._profiles)
            paths.append(self.folder / "profiles.png")
            assert self._first is not None
            sites = f"{len(self._sites)} site" + "s" * (len(self._sites) > 1)
            plot_profiles(
                paths[-1], profiles, title=f"Mean effect of removal (KO - WT) on {self._first[1]} over {sites}"
            )
            for number, (_, window) in enumerate(self._largest, start=1):
                paths += self._draw_site(number, window, self._profiles.position_bp)
        if self._changes:
            paths.append(self.folder / "changes.png")
            plot_dominant_changes(paths[-1], self._changes, motifs=self._motifs)
        return paths

    def _draw_site(self, number: int, window: StoredWindow, position_bp: DoubleArray) -> list[Path]:
        assert window.effect is not None
        order = np.argsort(-window.columns["raw"][: window.scored])[:SHOWN_MOTIFS]
        names = [self._motifs[index] for index in order]
        effect, title = window.effect[order].astype(np.float64), site_title(window.site)
        paths = [self.folder / f"effects_{number}.png", self.folder / f"spectrum_{number}.png"]
        plot_effect_curves(
            paths[0],
            effect,
            position_bp,
            names=names,
            title=f"{title}, {window.track}: effect of removal (KO - WT) by position of the base",
        )
        bins, dt = len(position_bp), float(position_bp[1] - position_bp[0]) if len(position_bp) > 1 else 1.0
        omega = 2 * np.pi * np.arange(bins // 2 + 1) / (bins * dt)
        plot_spectra(
            paths[1],
            rfft(effect) * dt * np.exp(-1j * omega * position_bp[0]),
            omega,
            names=names,
            title=f"{title}, {window.track}",
        )
        return paths


_DRAWN = ("score", "abundance", "positional", "delta_sum")


def site_title(site: Site) -> str:
    """Return the locus of a site and its name, where it has one: names of BED files need not be unique, loci are."""
    return site.locus if site.label == site.locus else f"{site.locus} {site.label}"
