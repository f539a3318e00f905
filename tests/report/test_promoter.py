"""What the figures compute before they draw."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from borzoi_rt.promoter.profiles import Profile
from borzoi_rt.promoter.sites import Site
from borzoi_rt.report import figures as plots
from borzoi_rt.report import promoter_figures as effects
from borzoi_rt.report import style
from borzoi_rt.report.promoter import Gallery
from borzoi_rt.tables.dft import StoredWindow


@pytest.mark.parametrize("length", [11, 30, 101])
def test_smoothing_is_the_parabola_fitted_around_each_bin(length):
    curve = np.random.default_rng(0).normal(size=length)
    got = effects.smoothed(curve)
    for bin_ in range(length):
        first = min(max(bin_ - 5, 0), length - 11)
        near = np.arange(first, first + 11)
        assert_allclose(got[bin_], np.polyval(np.polyfit(near - bin_, curve[near], 2), 0), atol=1e-9)


def test_smoothing_leaves_parabolas_and_short_curves():
    x = np.arange(40.0)
    assert_allclose(effects.smoothed(0.3 * x**2 - x + 2), 0.3 * x**2 - x + 2, atol=1e-9)
    assert_allclose(effects.smoothed(x[:5]), x[:5])


def test_information_of_a_position():
    matrix = np.array([[1, 0.25, 0.5], [0, 0.25, 0.5], [0, 0.25, 0], [0, 0.25, 0]])
    assert_allclose(plots.letter_bits(matrix), [2, 0, 1], atol=1e-9)


def test_logos_are_as_high_as_their_information(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(style, "finish", lambda figure, path, title: drawn.append(figure))
    plots.plot_logos(tmp_path / "l.png", [np.array([[1.0, 0.5], [0, 0.5], [0, 0], [0, 0]])], names=["m"])
    (panel,) = drawn[0].axes
    drawn[0].draw_without_rendering()
    to_data = panel.transData.inverted()
    tops = [patch.get_window_extent().transformed(to_data).y1 for patch in panel.patches]
    lefts = [patch.get_window_extent().transformed(to_data).x0 for patch in panel.patches]
    first = [top for top, left in zip(tops, lefts, strict=True) if left < 0.5]
    second = [top for top, left in zip(tops, lefts, strict=True) if left >= 0.5]
    assert_allclose([max(first), max(second)], [2, 1], atol=0.02)


@pytest.mark.parametrize(("share", "top"), [(1.0, 2.0), (0.5, 0.21), (0.3, 0.0093)])
def test_a_soft_motif_fills_its_panel_and_says_its_scale(tmp_path, monkeypatch, share, top):
    drawn = []
    monkeypatch.setattr(style, "finish", lambda figure, path, title: drawn.append(figure))
    rest = (1 - share) / 3
    matrix = np.array([[share], [rest], [rest], [rest]])
    plots.plot_logos(tmp_path / "l.png", [matrix, np.full((4, 2), 0.25)], names=["m", "flat"])
    soft, flat = drawn[0].axes
    bits = float(plots.letter_bits(matrix)[0])
    assert bits <= soft.get_ylim()[1] <= 1.1 * bits + 1e-9
    assert_allclose(soft.get_ylim()[1], top, rtol=1e-6)
    assert soft.get_yticklabels()[-1].get_text() == f"{top:.2g} bits"
    assert flat.get_ylim()[1] == 2.0  # not blown up from nothing


def test_rows_and_titles_name_locus_and_site(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(style, "finish", lambda figure, path, title: drawn.append((figure, path.name, title)))
    gallery = Gallery(tmp_path / "plots")
    random = np.random.default_rng(0)
    position = np.arange(-20.0, 20.0)
    for number in range(70):
        gallery.add(window(Site("chr1", 100 + number, "+", "tata" if number % 2 else ""), random), position)
    gallery.draw()
    figures = {name: (figure, title) for figure, name, title in drawn}
    names = [label.get_text() for label in figures["heatmap.png"][0].axes[0].get_yticklabels()]
    assert sorted(names) == sorted(f"chr1:{101 + n}+" + (" tata" if n % 2 else "") for n in range(70))
    titles = [title for name, (_, title) in figures.items() if name.startswith("effects")]
    assert len(set(titles)) == len(titles) == 8
    assert all(title.startswith("chr1:") for title in titles)
    limits = {panel.get_ylim() for panel in figures["effects_1.png"][0].axes}
    assert len(limits) == 1  # panels compare
    profile = figures["profiles.png"][0].axes[1]
    assert profile.get_title(loc="left") == "b"
    mean = profile.get_lines()[0].get_ydata()
    assert_allclose(mean, np.mean([effect[1] for effect in EFFECTS], axis=0), atol=1e-6)


def test_curves_over_wide_bins_are_not_smoothed(tmp_path, monkeypatch):
    """A parabola through 11 bins of 32 bp rises before a drop that the fill shows."""
    drawn = []
    monkeypatch.setattr(style, "finish", lambda figure, path, title: drawn.append(figure))
    curve = np.where(np.arange(40) < 20, 0.0, -1.0)[None]
    for bin_bp in (1, 4, 32):
        effects.plot_effect_curves(tmp_path / "e.png", curve, bin_bp * np.arange(40.0), names=["m"], title="t")
    lines = [[line.get_label() for line in figure.axes[0].get_lines()] for figure in drawn]
    assert ["smoothed over 11 bins" in one for one in lines] == [True, True, False]


def test_mean_curves_share_a_scale(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(style, "finish", lambda figure, path, title: drawn.append(figure))
    x = np.arange(5.0)
    profiles = [Profile("n", "t", name, 1, x, size * x, *[0 * x] * 4) for name, size in (("a", 1), ("b", 9))]
    effects.plot_profiles(tmp_path / "p.png", profiles, title="t")
    assert len({panel.get_ylim() for panel in drawn[0].axes}) == 1


def test_a_spectrum_of_nothing_has_no_curve(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(style, "finish", lambda figure, path, title: drawn.append(figure))
    for bin_bp, helix in ((1.0, True), (32.0, False)):
        curve = np.stack([np.exp(-np.arange(64.0)), np.zeros(64), 1e-14 * np.cos(np.arange(64.0))])
        omega = 2 * np.pi * np.arange(33) / (64 * bin_bp)
        effects.plot_spectra(tmp_path / "s.png", np.fft.rfft(curve), omega, names=["a", "b", "c"], title="t")
        magnitude, phase = drawn.pop().axes
        assert [line.get_label() for line in magnitude.get_lines()[:3]] == ["a", "b: no effect", "c: no effect"]
        assert [bool(np.isfinite(line.get_ydata()).any()) for line in magnitude.get_lines()[:3]] == [True, False, False]
        low, high = magnitude.get_ylim()
        assert high / low < 1e3
        assert ("10.5" in phase.get_xlabel()) == helix == (len(magnitude.get_lines()) == 4)


EFFECTS: list[np.ndarray] = []


def window(site: Site, random: np.random.Generator) -> StoredWindow:
    effect = random.normal(size=(3, 40)).astype(np.float32)
    EFFECTS.append(effect)
    columns = {name: random.random(3) for name in ("score", "abundance", "positional", "delta_sum", "raw")}
    return StoredWindow(site, "", "n", "t", ("a", "b", "c"), 2, columns, "a", "", None, effect)
