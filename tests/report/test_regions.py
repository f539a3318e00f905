"""From coverage to the figure of a region; scores as bars."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
from numpy.testing import assert_allclose, assert_array_equal

from borzoi_rt.errors import InputError
from borzoi_rt.genome.gene_index import open_genes
from borzoi_rt.genome.intervals import Interval
from borzoi_rt.report import figures, regions, style
from borzoi_rt.results import CoverageResult

BINS = 40


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every figure that is finished."""
    found: list[Any] = []
    monkeypatch.setattr(style, "finish", lambda figure, path, title: found.append((figure, title)))
    return found


def coverage(count: int = 2) -> CoverageResult:
    tracks = toys.tracks()
    windows = [Interval("chr1", 1000 + 32 * BINS * at, 1000 + 32 * BINS * (at + 1)) for at in range(count)]
    values = np.random.default_rng(0).random((count, len(tracks), BINS)).astype(np.float32)
    return CoverageResult(windows, tracks, values, 32)


@pytest.fixture
def gtf(tmp_path: Path) -> Path:
    path = tmp_path / "g.gtf"
    rows = [("1", 1500, 1600, "+", "ONE"), ("1", 1700, 1800, "+", "ONE"), ("1", 3300, 3400, "-", "TWO")]
    path.write_text(
        "".join(
            f'{chrom}\tx\texon\t{start}\t{end}\t.\t{strand}\t.\tgene_id "{name}"; transcript_id "{name}T";\n'
            for chrom, start, end, strand, name in rows
        )
    )
    return path


def test_pairs_share_a_panel_and_steps_are_whole_bins(drawn: list[Any], gtf: Path) -> None:
    found = coverage()
    names = found.plot("r.png", region="chr1:1,400-3,000", genes=gtf, top=99)
    (figure, title) = drawn[0]
    first, last = (1399 - 1000) // 32, -(-(3000 - 1000) // 32)
    assert title == f"chr1:{1000 + 32 * first + 1:,}-{1000 + 32 * last:,}"
    genes, *panels = figure.axes
    assert genes.get_xlim() == (1000 + 32 * first, 1000 + 32 * last)
    assert [text.get_text() for text in genes.texts][1:] == ["ONE →"]  # the other lies outside
    strands = found.tracks.strand
    assert len(panels) == len(names) == len(strands) - strands.count("-")
    assert names[0].startswith("cage+/-")
    up, down = (patch.get_data().values for patch in panels[0].patches)
    assert_array_equal(up, found["cage+"][first:last])
    assert_array_equal(down, -found["cage-"][first:last])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["+ strand", "- strand", "both strands"]
    assert figure.get_supylabel() == "predicted coverage per bin of 32 bp; scales differ"
    assert panels[-1].get_xlabel() == "position on chr1, bp"


def test_the_tracks_with_the_largest_mean_are_drawn_in_the_order_of_the_table(drawn: list[Any]) -> None:
    found = coverage(1)
    order = [found.tracks.identifier.index(name) for name in ("dnase", "chip")]
    found.values[:, order] += np.array([5.0, 9.0])[:, None].astype(np.float32)
    wanted = [found.tracks.identifier[row] for row in sorted(order)]
    assert [name.split()[0] for name in found.plot("r.svg", top=2)] == wanted


def test_a_strand_without_its_partner_has_the_colour_of_its_strand(drawn: list[Any]) -> None:
    found = coverage(1)
    alone = CoverageResult(found.windows, found.tracks.take([1]), found.values[:, 1:2], 32)
    assert found.tracks.identifier[1] == "cage-"
    alone.plot("r.png")
    figure, _ = drawn[0]
    (patch,) = figure.axes[0].patches
    assert patch.get_facecolor()[:3] == pytest.approx(_rgb(style.STRAND_COLOURS["-"]))
    assert (patch.get_data().values >= 0.0).all()


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))


def test_long_regions_are_drawn_in_steps_that_are_means(drawn: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "MOST_STEPS", 30)
    found = coverage(1)
    found.plot("r.png", top=1)
    figure, _ = drawn[0]
    values = figure.axes[0].patches[0].get_data().values
    assert len(values) == 20
    assert "mean of 2 bins" in figure.get_supylabel()
    shown = figure.axes[0].get_title(loc="left").split()[0].replace("/-", "")
    assert_allclose(values, found[shown].reshape(20, 2).mean(axis=1), rtol=1e-6)


def test_what_cannot_be_drawn_is_refused(gtf: Path, drawn: list[Any]) -> None:
    found = coverage()
    for arguments, message in (
        ({"path": "r.txt"}, "the suffix names no figure"),
        ({"region": "chr1:1-100"}, "does not lie in chr1:1,001-3,560"),
        ({"region": "chr2:1,400-1,500"}, "does not lie in chr1"),
        ({"top": 0}, "top is 0"),
    ):
        with pytest.raises(InputError, match=message):
            found.plot(**{"path": "r.png", **arguments})
    apart = CoverageResult([found.windows[1], found.windows[0]], found.tracks, found.values, 32)
    with pytest.raises(InputError, match="one behind the other"):
        apart.plot("r.png")
    with pytest.raises(InputError, match="no genes on chr9; it has 1"):
        regions.gene_models(open_genes(gtf), "chr9", 0, 5000)


@pytest.mark.parametrize("count", [1, 4, 20])
def test_one_to_twenty_tracks_fit_on_a_page(drawn: list[Any], count: int) -> None:
    curves = [figures.Curve(f"track {number}", ".", np.ones(9)) for number in range(count)]
    figures.plot_coverage("r.png", curves, chrom="chr1", start=0, bin_size_bp=32, title="t")
    figure, _ = drawn[0]
    assert len(figure.axes) == count
    assert figure.get_size_inches()[1] < 13.0


def test_bars_are_sorted_named_and_say_what_is_left_out(drawn: list[Any]) -> None:
    groups = {"logSED": [("a", 2.0), ("b", -1.0)], "D2": [("c", 0.5)]}
    figures.plot_bars("b.png", groups, title="t", left_out=7)
    figure, _ = drawn[0]
    first, second = figure.axes
    assert [text.get_text() for text in first.get_yticklabels()] == ["a", "b"]
    assert [bar.get_width() for bar in first.patches] == [2.0, -1.0]
    assert first.patches[0].get_y() > first.patches[1].get_y()
    assert (first.get_xlabel(), second.get_xlabel()) == ("logSED", "D2")
    assert "7 more are not shown" in figure.get_supxlabel()


def test_a_sequence_has_no_contig(drawn: list[Any]) -> None:
    found = coverage(1)
    CoverageResult([Interval(".", 0, 32 * BINS)], found.tracks, found.values, 32).plot("r.png")
    figure, title = drawn[0]
    assert (title, figure.axes[-1].get_xlabel()) == ("coverage of a sequence", "position in the sequence, bp")
