"""What notebooks show: tables of results, escaped and small; and the notebooks of the manual run as they stand."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import worlds

from borzoi_rt import TrackTable, open_model
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.html import html_table
from borzoi_rt.model import Model

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "docs" / "notebooks").glob("*.ipynb"))
TEXT = worlds.random_dna(6000, seed=6)


class Table(HTMLParser):
    """Reads the cells of a table, by row; fails on a tag that nobody closes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.caption, self._open = "", list[str]()
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        assert tag in ("table", "caption", "thead", "tbody", "tr", "th", "td")
        self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1] == "caption":
            self.caption += data
        else:
            self.rows[-1][-1] += data


def table(shown: Any) -> Table:
    return Table(shown._repr_html_())


@pytest.fixture(scope="module")
def model(toy_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    fasta = worlds.write_fasta(tmp_path_factory.mktemp("genome") / "toy.fa", {"chr1": TEXT})
    with open_model(toy_bundle.path, fasta=fasta, threads=1) as opened:
        yield opened


def other(pos: int) -> str:
    return "ACGT"["CGTA".index(TEXT[pos - 1])]


def test_results_are_tables(model: Model) -> None:
    variants = [("chr1", pos, TEXT[pos - 1], other(pos)) for pos in range(3000, 3025)]
    result = model.score([("chr9", 5, "A", "C"), *variants], stats="SUM, D2@span:64")
    shown = table(result)
    assert shown.rows[0] == ["variant", "status", "score", "strongest track", "value"]
    assert shown.rows[1][:2] == ["chr9:5 A>C", "contig_missing"]
    one = result[1]
    track, value = one["SUM"].top(1)[0]
    assert shown.rows[2] == [str(one.variant), "ok", "SUM", track, f"{value:.4g}"]
    assert shown.rows[3][:3] == ["", "", "D2@span:64"]
    assert shown.rows[-1] == ["... and 6 more"]
    assert "26 alleles (25 ok, 1 contig_missing), SUM, D2@span:64, 4 tracks" in shown.caption
    values = table(one["SUM"])
    assert [row[0] for row in values.rows[1:]] == [name for name, _ in one["SUM"].top(4)]
    assert "SUM" in [row[0] for row in table(one).rows]


def test_model_tracks_and_coverage_are_tables(model: Model) -> None:
    assert ["device", "cpu:1"] in table(model).rows or ["device", "cpu"] in table(model).rows
    assert table(model.tracks).rows[1] == ["0", "cage+", "+", "toy cage+"]
    coverage = model.predict("chr1:3,001-3,100", tracks="cage,dnase")
    rows = table(coverage).rows[1:]
    assert {row[0] for row in rows} == set(coverage.tracks.labels)
    for name, mean, largest in rows:
        assert float(mean) == pytest.approx(coverage[name].mean(dtype=np.float64), rel=1e-3)
        assert float(largest) == pytest.approx(coverage[name].max(), rel=1e-3)
    assert table(model.score([], stats="SUM")).rows == [["variant", "status", "score", "strongest track", "value"]]


def test_texts_are_escaped_and_long_tables_cut() -> None:
    evil = "<script>alert('x')</script>&"
    count = 500
    ones = np.ones(count, dtype=np.float32)
    tracks = TrackTable(
        np.arange(count), (evil,) * count, (evil,) * count, ("sum",) * count, ones, ones, ones, np.arange(count)
    )
    text = tracks._repr_html_()
    assert "<script" not in text
    assert Table(text).rows[1] == ["0", evil, ".", evil]
    assert Table(text).rows[-1] == ["... and 480 more"]
    assert len(text) < 10_000
    assert Table(html_table(evil, (evil,), [(float("nan"),), (2,)], 2)).rows == [[evil], ["nan"], ["2"]]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_runs_and_prints_what_it_shows(path: Path) -> None:
    if path.stem == "train_and_export":
        pytest.importorskip("torch", reason="training needs torch")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    space: dict[str, Any] = {"__name__": "__main__"}
    stored = printed = ""
    for cell in (cell for cell in cells if cell["cell_type"] == "code"):
        stored += "".join("".join(out["text"]) for out in cell["outputs"] if out["output_type"] == "stream")
        said = io.StringIO()
        with redirect_stdout(said):
            exec("".join(cell["source"]), space)
        printed += said.getvalue()
    numbers = r"-?\d+\.\d+"
    assert re.sub(f"{numbers}|#| +", "", printed) == re.sub(f"{numbers}|#| +", "", stored)
    both = [[float(text) for text in re.findall(numbers, part)] for part in (printed, stored)]
    assert both[0] == pytest.approx(both[1], abs=0.02)
    assert any("text/html" in out.get("data", {}) for cell in cells for out in cell.get("outputs", []))


def test_there_are_notebooks() -> None:
    names = ["explain_a_variant.ipynb", "score_and_rank.ipynb", "train_and_export.ipynb"]
    assert [path.name for path in NOTEBOOKS] == names
