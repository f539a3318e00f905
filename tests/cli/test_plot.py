"""``borzoi-rt plot``: a region, an explanation, curves; what none of these heeds is refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import borzoi_rt
from borzoi_rt.errors import InputError
from borzoi_rt.explain.attr_file import StoredRow, write_attributions
from borzoi_rt.explain.panels import read_panels
from borzoi_rt.explain.rows import Row
from borzoi_rt.explain.where import Where, anchored
from borzoi_rt.genome.intervals import Interval
from borzoi_rt.report import attribution, style

if TYPE_CHECKING:
    from conftest import Cli, Desk  # type: ignore[attr-defined]

FIGURES = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}


@pytest.fixture(scope="module")
def attributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three rows of mutagenesis, two of one name."""
    path, random = tmp_path_factory.mktemp("plot") / "a.h5", np.random.default_rng(0)
    rows = []
    for number, name in enumerate(("one", "two", "two")):
        bases = Interval("chr1", 100 * number, 100 * number + 30)
        where = Where(window_start=0, anchor=anchored("chr1", bases.start, bases.end))
        effects = random.normal(size=(4, 30)).astype(np.float32)
        arrays = {"hypothetical": effects - effects.mean(axis=0), "effects": effects}
        rows.append(StoredRow(Row(name=name, bases=bases, where=where), random.integers(0, 4, 30), 1.0, arrays, {}))
    about = {"method": "ism", "target": {"target": "log SUM", "tracks": "cage"}, "options": {"convention": "mean3"}}
    write_attributions(path, iter(rows), 3, 30, about)
    return path


@pytest.mark.parametrize("suffix", FIGURES)
def test_a_region(cli: Cli, desk: Desk, suffix: str) -> None:
    out = desk.folder / f"r{suffix}"
    ended = cli("plot", "chr1:2,001-3,000", *desk.model(), "--tracks", "cage,dnase", "--out", out)
    assert ended.code == 0, ended.err
    assert ended.err == f"chr1:2,001-3,000: 2 tracks -> {out}\n"
    assert out.read_bytes().startswith(FIGURES[suffix])


def test_a_region_is_what_the_model_predicts(desk: Desk, monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(style, "finish", lambda figure, path, title: drawn.append(figure))
    assert cli("plot", "1:2,001-3,000", *desk.model(), "--tracks", "dnase", "--rc", "--out", "r.png").code == 0
    options = borzoi_rt.CoverageOptions(prediction=borzoi_rt.PredictionOptions(rc=True))
    with borzoi_rt.open_model(desk.bundle, fasta=desk.fasta, threads=1) as model:
        found = model.predict("chr1:2,001-3,000", tracks="dnase", options=options)
    edges = drawn[0].axes[0].patches[0].get_data()
    inside = (found.start >= edges.edges[0]) & (found.start < edges.edges[-1])
    assert edges.edges[0] <= 2000 < edges.edges[1]
    assert edges.edges[-2] < 3000 <= edges.edges[-1]
    assert_allclose(edges.values, found["dnase"][inside], rtol=1e-5)


def test_an_explanation(cli: Cli, desk: Desk, attributions: Path) -> None:
    out = desk.folder / "e.svg"
    ended = cli("plot", attributions, "--out", out)
    assert (ended.code, ended.err) == (0, f"{attributions}: 3 rows -> {out}\n")
    text = out.read_text()
    assert "ism of log SUM, tracks cage" in text
    assert "mean over the three others (mean3)" in text
    ended = cli("plot", attributions, "--out", out, "--row", "two", "--row", "0")
    assert ended.err == f"{attributions}: 3 rows -> {out}\n"
    assert cli("plot", attributions, "--out", out, "--region", "chr1:111-120").err.startswith(f"{attributions}: 1 row ")


def test_panels_are_the_parts_of_the_rows(attributions: Path) -> None:
    whole, title = read_panels(attributions, rows=["2"])
    assert title == "ism of log SUM, tracks cage"
    (part,), _ = read_panels(attributions, region=Interval("chr1", 205, 215))
    assert (part["start"], part["letters"]) == (205, whole[0]["letters"][5:15])
    assert_allclose(part["scores"], whole[0]["scores"][5:15])
    assert_allclose(part["effects"], whole[0]["effects"][:, 5:15])
    letters = [("ACGT".index(base), at) for at, base in enumerate(whole[0]["letters"])]
    effects = whole[0]["effects"].astype(np.float64)
    assert_allclose(whole[0]["scores"], [(effects - effects.mean(axis=0))[cell] for cell in letters], rtol=1e-5)
    for arguments, message in (
        ({"rows": ["three"]}, "no row 'three'; there are one, two, two, numbers 0 to 2"),
        ({"region": Interval("chr1", 50, 60)}, "no row holds region chr1:51-60"),
        ({"rows": ["one"], "region": Interval("chr1", 205, 215)}, "does not lie in row 'one', chr1:1-30"),
    ):
        with pytest.raises(InputError, match=message):
            read_panels(attributions, **arguments)  # type: ignore[arg-type]


def test_options_of_other_figures_are_refused(cli: Cli, desk: Desk, attributions: Path) -> None:
    out, region = desk.folder / "o.png", "chr1:2,001-3,000"
    for words, message, code in (
        ([attributions, "--top", 3], "--top is not of an explanation; leave it out", 2),
        ([attributions, "--bundle", desk.bundle], "--bundle is not of an explanation", 2),
        ([region, *desk.model(), "--row", "x"], "--row is not of a region", 2),
        ([region, *desk.model(), "--width", 5], "--width is not of a region", 2),
        (["chr1:5:A:C", *desk.model(), "--spectrum"], "--spectrum is not of a variant", 2),
        ([region, "--fasta", desk.fasta], "a region is predicted: give --bundle and --fasta", 2),
        ([region, *desk.model(), "--bundle", desk.bundle], "a region is drawn of one model", 1),
        ([desk.folder / "none.h5"], "none.h5: no such file", 1),
        ([desk.fasta], "cannot be read as attributions", 1),
    ):
        ended = cli("plot", *words, "--out", out)
        assert ended.code == code, ended.err
        assert message in ended.err
        assert not out.exists()
    ended = cli("plot", attributions, "--out", attributions)
    assert "is an input, which is never written over" in ended.err
    ended = cli("plot", attributions, "--out", desk.folder / "o.h5")
    assert "the suffix names no figure" in ended.err


def test_results_draw_themselves(desk: Desk) -> None:
    folder = desk.folder
    with borzoi_rt.open_model(desk.bundle, fasta=desk.fasta, threads=1) as model:
        text = model.fasta.fetch("chr1", 2999, 3001)
        variants = [f"chr1:{3000 + at}:{base}:{'C' if base == 'A' else 'A'}" for at, base in enumerate(text)]
        found = model.score(variants, stats="logSED,logD2")
        missed = model.score("chr9:5:A:C", stats="logSED")
        substitutions = model.ism("chr1:3,001-3,004", stats="logSED")
    found.plot(folder / "all.png")
    found[0].plot(folder / "one.svg", scores=["logSED"], top=3)
    assert "logSED" in (folder / "one.svg").read_text()
    substitutions.plot(folder / "ism.pdf", track="dnase")
    for name in ("all.png", "one.svg", "ism.pdf"):
        assert (folder / name).read_bytes().startswith(FIGURES[Path(name).suffix])
    with pytest.raises(InputError, match="no allele has a score 'D9' to draw; the scores are logSED, logD2"):
        found.plot(folder / "x.png", score="D9")
    with pytest.raises(InputError, match="has no score to draw: contig_missing"):
        missed.plot(folder / "x.png")


def test_bars_are_the_strongest_alleles(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(style, "finish", lambda figure, path, title: drawn.append(figure))
    with borzoi_rt.open_model(desk.bundle, fasta=desk.fasta, threads=1) as model:
        found = model.ism("chr1:3,001-3,003", stats="logSED")
    borzoi_rt.ScoreResult.plot(found, "b.png", top=4)
    (axis,) = drawn[0].axes
    best = [(abs(value), str(item.variant), track, value) for item in found for track, value in item["logSED"].top(1)]
    expected = sorted(best, key=lambda one: -one[0])[:4]
    assert [text.get_text() for text in axis.get_yticklabels()] == [f"{one[1]}, {one[2]}" for one in expected]
    assert_allclose([bar.get_width() for bar in axis.patches], [one[3] for one in expected])
    found.plot("i.png", score="logSED", track="dnase")
    matrix = found.matrix("logSED")[:, :, found.tracks.position("dnase")]
    image = drawn[1].axes[1].get_images()[0]
    assert_allclose(np.ma.filled(image.get_array(), np.nan), matrix.T)


def test_both_strands_of_a_pair_are_drawn(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has its own curve, since the score of a pair is made of both scores and not of the added coverage."""
    drawn: list[Any] = []
    monkeypatch.setattr(style, "finish", lambda figure, path, title: drawn.append(figure))
    with borzoi_rt.open_model(desk.bundle, fasta=desk.fasta, threads=1) as model:
        base = model.fasta.fetch("chr1", 2999, 3000)
        found = model.predict_variant(f"chr1:3000:{base}:{'C' if base == 'A' else 'A'}")
    pairs = found.plot("v.png", top=99)
    panels = [axis.get_title(loc="left") for axis in drawn[0].axes]
    names = [title.split()[0] for title in panels if title]  # those of differences have none
    titles = [name for name in found.tracks.identifier if name in names]
    assert any(name.split()[0].endswith("+/-") for name in pairs)
    assert sorted(titles) == sorted(found.tracks.identifier)
    for pair in pairs:
        name = pair.split()[0]
        if name.endswith("+/-"):
            assert names.index(f"{name[:-3]}-") == names.index(f"{name[:-3]}+") + 1


def test_a_file_of_mutagenesis_is_drawn(cli: Cli, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the result in memory draws itself; of several regions the one that is named."""
    drawn: list[Any] = []
    monkeypatch.setattr(attribution, "plot_attributions", lambda path, panels, title: drawn.append((panels, title)))
    table, bed = desk.folder / "i.h5", desk.folder / "i.bed"
    assert cli("ism", "chr1:3,001-3,004", *desk.model(), "--stats", "logSED,D2", "--out", table).code == 0
    ended = cli("plot", table, "--top", 2, "--out", "i.svg")
    assert (ended.code, ended.err) == (0, f"{table}: chr1:3001-3004, 2 tracks -> i.svg\n")
    with borzoi_rt.open_model(desk.bundle, fasta=desk.fasta, threads=1) as model:
        model.ism("chr1:3,001-3,004", stats="logSED,D2").plot("m.svg", top=2)
    (file, title), (memory, same) = drawn
    assert title == same == "logSED of every substitution"
    for one, other in zip(file, memory, strict=True):
        assert (one["name"], one["start"], one["letters"]) == (other["name"], 3000, other["letters"])
        assert_allclose(one["scores"], other["scores"], rtol=1e-6)
        assert_allclose(one["effects"], other["effects"], rtol=1e-6)
    bed.write_text("chr1\t3000\t3004\tone\nchr1\t3100\t3104\ttwo\n")
    several = desk.folder / "s.h5"
    assert cli("ism", "--bed", bed, *desk.model(), "--stats", "logSED", "--out", several).code == 0
    assert cli("plot", several, "--row", "two", "--out", "s.svg").code == 0
    (panel,), _ = drawn[-1]
    assert panel["start"] == 3100
    assert "no row 'three'; there are one, two" in cli("plot", several, "--row", "three", "--out", "s.svg").err
    assert "--region is not of mutagenesis" in cli("plot", table, "--region", "chr1:1-2", "--out", "s.svg").err
