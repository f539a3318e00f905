"""What figures of attributions show: every base, its score, what others would change, and on which scale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from numpy.testing import assert_allclose, assert_array_equal

from borzoi_rt.report import attribution, style


def panel(letters: str, start: int = 99, seed: int = 0, scale: float = 1.0) -> dict[str, Any]:
    effects = np.random.default_rng(seed).normal(size=(4, len(letters))) * scale
    there = np.array([[letter == base for letter in letters] for base in "ACGT"])
    effects[there] = 0.0
    scores = -effects.mean(axis=0)
    about = {"name": f"row {seed}", "chrom": "chr7", "start": start, "letters": letters, "scores": scores}
    return {**about, "effects": effects, "target": "log SUM@exons", "convention": "mean4"}


def test_effects_are_drawn_as_they_are_with_the_base_that_is_there_marked(tmp_path: Path, drawn: list[Any]) -> None:
    panels = [panel("ACGTNACCA"), panel("TTGCAACCA", seed=1, scale=3.0)]
    panels[0]["effects"][2, 0] = np.nan
    attribution.plot_attributions(tmp_path / "i.png", panels, title="ism of log SUM@exons")
    (figure,) = drawn
    logos, maps, (bar,) = figure.axes[0:4:2], figure.axes[1:4:2], figure.axes[4:]
    limit = max(np.nanmax(np.abs(one["effects"])) for one in panels)
    for one, logo, heat in zip(panels, logos, maps, strict=True):
        (image,) = heat.get_images()
        assert_allclose(np.ma.filled(image.get_array(), np.nan), one["effects"])  # not centred
        assert image.get_clim() == pytest.approx((-limit, limit))  # 0 is in the middle, one scale for all rows
        assert min(image.cmap(0.5)[:3]) > 0.95  # white there
        assert [text.get_text() for text in heat.get_yticklabels()] == list("ACGT")
        left, right, bottom, top = image.get_extent()
        assert (left, right, bottom, top) == (99.5, 99.5 + 9, 3.5, -0.5)  # base 100, 1-based, lies around 100
        marks = heat.collections[0].get_offsets()
        expected = {(100 + at, "ACGT".index(base)) for at, base in enumerate(one["letters"]) if base in "ACGT"}
        assert {(int(x), int(y)) for x, y in marks} == expected
        assert logo.get_xlim() == heat.get_xlim()
        assert len(logo.patches) == sum(base != "N" for base in one["letters"])
        assert logo.get_title(loc="left") == one["name"]
    assert_array_equal(maps[0].collections[1].get_offsets(), [[100, 2]])  # not known
    assert maps[-1].get_xlabel() == "position on chr7, 1-based"
    assert logos[0].get_ylim() == logos[1].get_ylim()
    assert bar.get_ylabel() == "change of\nlog SUM@exons"
    assert bar.yaxis.label.get_window_extent().height <= bar.get_window_extent().height
    assert "mean over all four bases (mean4)" in figure.get_supxlabel()
    assert "dot: the base that is there" in figure.get_supxlabel()


def test_a_variant_is_marked(tmp_path: Path, drawn: list[Any]) -> None:
    """Bases 12 and 13, 1-based, are shaded; a joint before base 12 is a line between it and base 11."""
    one = {"name": "x", "chrom": "chr7", "start": 9, "letters": "ACGT", "scores": np.ones(4)}
    attribution.plot_attributions(
        tmp_path / "i.svg", [one | {"marked": (11, 13)}, one | {"marked": (11, 11)}], title="t"
    )
    shaded, joint = drawn[0].axes
    boxes = [patch for patch in shaded.patches if patch not in joint.patches and hasattr(patch, "get_width")]
    assert [(box.get_x(), box.get_width()) for box in boxes] == [(11.5, 2.0)]
    assert [11.5, 11.5] in [list(line.get_xdata()) for line in joint.get_lines()]


def test_long_alleles_are_short_in_titles(tmp_path: Path, drawn: list[Any]) -> None:
    one = {**panel("ACGT"), "name": f"chr7:100:{'ACGTG' * 80}:T alt"}
    attribution.plot_attributions(tmp_path / "i.png", [one, {**panel("ACGT"), "name": "chr7:100:A:T ref"}], title="t")
    titles = [axis.get_title(loc="left") for axis in drawn[0].axes]
    assert titles[0] == "chr7:100:ACGTGACGTG… (400 bp):T alt"
    assert "chr7:100:A:T ref" in titles


def test_letters_are_as_high_as_their_scores(tmp_path: Path, drawn: list[Any]) -> None:
    one = {"name": "x", "chrom": "chr7", "start": 9, "letters": "ACNT", "scores": np.array([0.5, -2.0, 0.0, 1.0])}
    attribution.plot_attributions(tmp_path / "i.svg", [one], title="saliency")
    (axis,) = drawn[0].axes
    drawn[0].draw_without_rendering()
    to_data = axis.transData.inverted()
    boxes = [patch.get_window_extent().transformed(to_data) for patch in axis.patches]
    assert_allclose([(box.x0 + box.x1) / 2 for box in boxes], [10, 11, 13], atol=1e-6)
    assert_allclose([[box.y0, box.y1] for box in boxes], [[0, 0.5], [-2, 0], [0, 1]], atol=1e-6)
    assert [to_hex(patch.get_facecolor()) for patch in axis.patches] == [style.BASE_COLOURS[base] for base in "ACT"]
    assert drawn[0].get_supxlabel() == ""


def test_long_rows_are_curves_and_columns_of_extremes(tmp_path: Path, drawn: list[Any]) -> None:
    letters = "".join(np.random.default_rng(2).choice(list("ACGT"), 5000))
    one = panel(letters, start=0, scale=0.01)
    one["effects"][1, 4321] = -7.0
    attribution.plot_attributions(tmp_path / "i.png", [one], title="t")
    heat = drawn[0].axes[1]
    (image,) = heat.get_images()
    values = np.asarray(image.get_array())
    assert values.shape == (4, 1667)  # three bases a column
    assert values[1, 4321 // 3] == -7.0
    assert "the largest effect in size of 3 bases" in drawn[0].get_supxlabel()
    attribution.plot_attributions(tmp_path / "j.png", [panel(letters[:600])], title="t")
    grey = np.ma.filled(drawn[1].axes[1].get_images()[0].get_array(), np.nan)
    assert_array_equal(np.isnan(grey), [[letter == base for letter in letters[:600]] for base in "ACGT"])
    assert "grey: the base that is there" in drawn[1].get_supxlabel()


def test_a_scale_bar_has_a_round_length(tmp_path: Path, drawn: list[Any]) -> None:
    assert [style.round_length(most) for most in (0.3, 1, 19.9, 20, 999, 26_000)] == [1, 1, 10, 20, 500, 20_000]
    assert [style.in_words(length) for length in (500, 2000, 1_000_000)] == ["500 bp", "2 kb", "1 Mb"]
    attribution.plot_attributions(tmp_path / "i.png", [panel("ACGT" * 25)], title="t")
    axis = drawn[0].axes[0]
    (bar,) = [line for line in axis.lines if line.get_transform() == axis.transAxes]
    assert_allclose(np.diff(bar.get_xdata()), 20 / 100)
    assert "20 bp" in [text.get_text() for text in axis.texts]
