"""What the figures compute before they draw."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

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


EFFECTS: list[np.ndarray] = []


def window(site: Site, random: np.random.Generator) -> StoredWindow:
    effect = random.normal(size=(3, 40)).astype(np.float32)
    EFFECTS.append(effect)
    columns = {name: random.random(3) for name in ("score", "abundance", "positional", "delta_sum", "raw")}
    return StoredWindow(site, "", "n", "t", ("a", "b", "c"), 2, columns, "a", "", None, effect)
