"""What the figures compute before they draw."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from borzoi_rt.report import figures as plots


@pytest.mark.parametrize("length", [11, 30, 101])
def test_smoothing_is_the_parabola_fitted_around_each_bin(length):
    curve = np.random.default_rng(0).normal(size=length)
    got = plots.smoothed(curve)
    for place in range(length):
        first = min(max(place - 5, 0), length - 11)
        near = np.arange(first, first + 11)
        assert_allclose(got[place], np.polyval(np.polyfit(near - place, curve[near], 2), 0), atol=1e-9)


def test_smoothing_leaves_parabolas_and_short_curves():
    place = np.arange(40.0)
    assert_allclose(plots.smoothed(0.3 * place**2 - place + 2), 0.3 * place**2 - place + 2, atol=1e-9)
    assert_allclose(plots.smoothed(place[:5]), place[:5])


def test_information_of_a_position():
    matrix = np.array([[1, 0.25, 0.5], [0, 0.25, 0.5], [0, 0.25, 0], [0, 0.25, 0]])
    assert_allclose(plots.letter_bits(matrix), [2, 0, 1], atol=1e-9)


def test_logos_are_as_high_as_their_information(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "_finish", lambda figure, path, title: drawn.append(figure))
    plots.plot_logos(tmp_path / "l.png", [np.array([[1.0, 0.5], [0, 0.5], [0, 0], [0, 0]])], names=["m"])
    (panel,) = drawn[0].axes
    drawn[0].draw_without_rendering()
    to_data = panel.transData.inverted()
    tops = [patch.get_window_extent().transformed(to_data).y1 for patch in panel.patches]
    lefts = [patch.get_window_extent().transformed(to_data).x0 for patch in panel.patches]
    first = [top for top, left in zip(tops, lefts, strict=True) if left < 0.5]
    second = [top for top, left in zip(tops, lefts, strict=True) if left >= 0.5]
    assert_allclose([max(first), max(second)], [2, 1], atol=0.02)
