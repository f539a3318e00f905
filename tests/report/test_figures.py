"""What figures say besides the curves: units, contigs, legends that hide nothing, digits that can be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from borzoi_rt.report import figures as plots
from borzoi_rt.report import promoter_figures as effects


def check_legend(figure: Any, labels: list[str]) -> None:
    """The legend stands outside of every panel."""
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == labels
    box = legend.get_window_extent()
    for panel in figure.axes:
        assert panel.get_legend() is None
        assert not box.overlaps(panel.get_window_extent())


def test_alleles_name_unit_contig_and_tracks(tmp_path: Path, drawn: list[Any]) -> None:
    ref, alt = np.random.default_rng(0).random((2, 2, 30))
    long = "RNA:a very long description of a tissue that would take a third of the width of the figure"
    what: dict[str, Any] = {"names": ["RNA+", long], "chrom": "chr7", "start": 960, "bin_size_bp": 32}
    plots.plot_alleles(tmp_path / "a.png", ref, alt, position=1500, title="T", **what)
    (figure,) = drawn
    check_legend(figure, ["REF", "ALT"])
    assert figure.get_supylabel() == "predicted coverage per bin of 32 bp; below each track ALT - REF"
    assert figure.axes[-1].get_xlabel() == "position on chr7, bp"
    assert [panel.get_title(loc="left") for panel in figure.axes[::2]] == ["RNA+", long]
    width = figure.get_window_extent().width
    for panel in figure.axes:
        assert panel.get_window_extent().width > 0.85 * width
        assert [1499.5, 1499.5] in [list(item.get_xdata()) for item in panel.lines]  # the middle of base 1500
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_below_each_track_is_its_difference(tmp_path: Path, drawn: list[Any]) -> None:
    ref = np.array([[5.0, 5, 5, 5], [1, 1, 1, 1], [2, 2, 2, 2]])
    alt = ref + np.array([[0, 2.5, -1, 0], [0, 0, 0, 0], [0, 1e-4, 0, 0]])
    what: dict[str, Any] = {"names": ["a", "b", "c"], "chrom": "chr7", "start": 0, "bin_size_bp": 32}
    plots.plot_alleles(tmp_path / "a.png", ref, alt, position=50, title="T", gap=(2, 100), **what)
    below = drawn[0].axes[1::2]
    gains, losses = (patch.get_data() for patch in below[0].patches)
    assert gains.values == pytest.approx([0, 2.5, np.nan, 0, 0], nan_ok=True)
    assert losses.values == pytest.approx([0, 0, np.nan, -1, 0], nan_ok=True)
    assert list(gains.edges) == [0, 32, 64, 164, 196, 228]  # the deleted bases have no bin
    ticks = [[text.get_text() for text in panel.get_yticklabels()] for panel in below]
    assert ticks == [["-2.5", "+2.5"], ["0"], ["-0.0001", "+0.0001"]]  # each has its own scale, even around 0
    assert [panel.get_ylabel() for panel in below] == ["ALT - REF"] * 3
    assert all(panel.get_ylim()[0] == -panel.get_ylim()[1] for panel in below)


def test_genes_are_drawn_where_they_are(tmp_path: Path, drawn: list[Any]) -> None:
    ref = np.ones((1, 30))
    genes = [
        ("ONE", "+", [(900, 1000), (1200, 1300)]),  # begins before the figure
        ("TWO", "-", [(1250, 1260), (1270, 1400)]),
        ("FAR", "+", [(1920, 2000)]),  # begins where the figure ends
    ]
    what: dict[str, Any] = {"names": ["RNA"], "chrom": "chr7", "start": 960, "bin_size_bp": 32}
    plots.plot_alleles(tmp_path / "a.pdf", ref, ref, position=1500, title="T", genes=genes, **what)
    models, panel, below = drawn[0].axes
    assert models.get_xlim() == panel.get_xlim() == below.get_xlim() == (960, 1920)
    assert [text.get_text() for text in models.texts] == ["100 bp", "ONE →", "TWO ←"]
    boxes = [
        [(path.vertices[:, 0].min(), path.vertices[:, 0].max()) for path in item.get_paths()]
        for item in models.collections
    ]
    assert boxes == [[(960, 1000), (1200, 1300)], [(1250, 1260), (1270, 1400)]]
    lanes = [item.get_paths()[0].vertices[:, 1].mean() for item in models.collections]
    assert lanes[0] > lanes[1] + 0.5  # their names would stand on one another
    assert models.texts[1].get_color() != models.texts[2].get_color()


def test_curves_of_effects_say_what_the_line_is(tmp_path: Path, drawn: list[Any]) -> None:
    effect = np.random.default_rng(0).normal(size=(3, 60))
    effects.plot_effect_curves(tmp_path / "e.png", effect, np.arange(-30.0, 30), names=["TATA", "SP1", "x"], title="T")
    (figure,) = drawn
    check_legend(figure, ["gain", "loss", "smoothed over 11 bins"])
    assert figure.get_supylabel() == "KO - WT, predicted signal per bin"
    assert len({panel.get_ylim() for panel in figure.axes}) == 1


def test_spectra_and_parts_hide_nothing(tmp_path: Path, drawn: list[Any]) -> None:
    random = np.random.default_rng(0)
    names = [f"motif {number}" for number in range(6)]
    spectrum = random.normal(size=(6, 50)) + 1j * random.normal(size=(6, 50))
    effects.plot_spectra(tmp_path / "s.png", spectrum, np.linspace(0, 3, 50), names=names, title="T")
    parts = random.random((2, 9, 6))
    effects.plot_parts(tmp_path / "p.png", parts[0], parts[1], np.ones((9, 6)) * -1, motifs=names)
    for figure in drawn:
        check_legend(figure, names)
    assert drawn[0].axes[1].get_ylim() == pytest.approx((-1.05 * np.pi, 1.05 * np.pi))


@pytest.mark.parametrize("sites", [1, 40])
def test_the_label_of_a_colour_bar_is_no_longer_than_the_bar(tmp_path: Path, drawn: list[Any], sites: int) -> None:
    scores = np.random.default_rng(0).random((sites, 4))
    names = [f"chr1:{number}+" for number in range(sites)]
    effects.plot_motif_heatmap(tmp_path / "h.png", scores, sites=names, motifs=list("abcd"))
    bar = drawn[0].axes[1]
    assert bar.yaxis.label.get_window_extent().height <= bar.get_window_extent().height


def test_every_digit_can_be_read(tmp_path: Path, drawn: list[Any]) -> None:
    motifs = list("abcdef")
    changes = [(name, name) for number, name in enumerate(motifs) for _ in range(3**number)]
    effects.plot_dominant_changes(tmp_path / "c.png", changes, motifs=motifs)
    (panel,) = drawn[0].axes
    (image,) = panel.get_images()
    assert len(panel.texts) == len(motifs)
    for text in panel.texts:
        column, row = (round(value) for value in text.get_position())
        red, green, blue = image.to_rgba(image.get_array())[row, column, :3]
        channels = np.array([red, green, blue])
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        light = float(linear @ [0.2126, 0.7152, 0.0722]) + 0.05
        contrast = 1.05 / light if text.get_color() == "white" else light / 0.05
        assert contrast >= 4.5
