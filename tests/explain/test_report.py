"""The report of an explanation: what it says, what it draws, and what nobody can make it do."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import caller
from numpy.testing import assert_allclose
from pages import data_of

from borzoi_rt.demo import grammar
from borzoi_rt.errors import InputError
from borzoi_rt.explain.attr_file import StoredRow, read_attributions, write_attributions
from borzoi_rt.explain.kept import lost_row
from borzoi_rt.explain.motif_tables import hits_of, seqlets_of
from borzoi_rt.explain.page import write_explanation
from borzoi_rt.explain.panels import read_panels
from borzoi_rt.explain.rows import ALT, Row
from borzoi_rt.explain.where import Where, anchored
from borzoi_rt.genome.fasta import write_fasta
from borzoi_rt.genome.intervals import Interval
from borzoi_rt.motifs.files import write_meme
from borzoi_rt.motifs.matrices import Motif
from borzoi_rt.sequence import encode

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
WORD = "TATAAAAGCA"


def write(path: Path, width: int, *, effects: bool = True, rows: int = 2, first: Sequence[StoredRow] = ()) -> Path:
    random, stored = np.random.default_rng(4), list(first)
    for number in range(rows):
        codes = random.integers(0, 4, width).astype(np.uint8)
        values = random.normal(0.0, 0.02, (4, width)).astype(np.float32)
        codes[60:70] = encode(WORD).argmax(axis=0)
        values[:, 60:70] += encode(WORD) - 0.25
        values -= values.mean(axis=0)
        there = codes == np.arange(4)[:, None]
        arrays = {"hypothetical": values}
        if effects:
            arrays["effects"] = values - (values * there).sum(axis=0)
            arrays["effects"][:, 3] = np.nan
        bases = Interval("chr1", 5000 * number, 5000 * number + width)
        where = Where(window_start=0, anchor=anchored("chr1", bases.start, bases.end))
        row = Row(name=HOSTILE if number else "first", bases=bases, where=where, allele=ALT if number else "genome")
        stored.append(StoredRow(row, codes, 2.5, arrays, {"completeness_error": 0.0125, "folds": [1, 2]}))
    target = {"target": "log SUM@exons", "tracks": HOSTILE, "against": None}
    about = {
        "method": "ism",
        "target": target,
        "options": {"convention": "mean4"},
        "models": [{"name": HOSTILE, "sha256": "0" * 64}],
    }
    write_attributions(path, iter(stored), len(stored), width, about)
    return path


@pytest.fixture(scope="module")
def motifs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("motifs") / "m.meme"
    write_meme(path, [Motif("tata", np.where(encode(WORD) > 0, 0.91, 0.03))])
    return path


def test_lines_are_the_rows_of_the_file(tmp_path: Path, motifs: Path) -> None:
    held = read_attributions(write(tmp_path / "a.h5", 250))
    assert write_explanation(tmp_path / "r.html", tmp_path / "a.h5", motifs=motifs) == 2
    data = data_of((tmp_path / "r.html").read_text())
    for number, row in enumerate(data["rows"]):
        assert [line["start"] - 5000 * number for line in row["lines"]] == [0, 100, 200]
        letters = "".join(line["letters"] for line in row["lines"])
        assert letters == "".join("ACGT"[code] for code in held.arrays["sequence"][number])
        scores = np.concatenate([line["scores"] for line in row["lines"]])
        assert_allclose(scores, held.projected[number], rtol=1e-3, atol=1e-6)
        for line in row["lines"]:
            drawn = np.array(line["effects"], dtype=np.float64).reshape(4, -1)
            at = line["start"] - 5000 * number
            assert_allclose(drawn, held.arrays["effects"][number][:, at : at + drawn.shape[1]], rtol=1e-3, atol=1e-6)
    assert data["limit"] == pytest.approx(np.nanmax(np.abs(held.arrays["effects"])), rel=1e-3)
    named = [dict(zip(data["columns"], item, strict=True)) for item in data["seqlets"] if item[4] is not None]
    assert [(item["row"], item["name"], item["strand"]) for item in named] == [(0, "tata", "+"), (1, "tata", "+")]
    assert all(item["start"] % 5000 <= 62 and item["end"] % 5000 >= 68 for item in named)


@pytest.mark.parametrize(
    ("variant", "ref", "alt"),
    [
        ("chr1:5021 A>C", (5020, 5021), (5020, 5021)),
        ("chr1:5021 ACGT>A", (5021, 5024), (5021, 5021)),  # three bases less: a joint behind the A
        ("chr1:5021 A>ATTT", (5021, 5021), (5021, 5024)),
        ("chr1:5021 AC>GT", (5020, 5022), (5020, 5022)),
    ],
)
def test_the_bases_of_a_variant_are_marked(
    tmp_path: Path, variant: str, ref: tuple[int, int], alt: tuple[int, int]
) -> None:
    def row(allele: str, name: str, value: float = 1.0) -> StoredRow:
        bases = Interval("chr1", 5000, 5250)
        where = Where(window_start=0, anchor=anchored("chr1", bases.start, bases.end))
        values = np.random.default_rng(1).normal(size=(4, 250)).astype(np.float32)
        arrays = {"hypothetical": values, "effects": values}
        return StoredRow(
            Row(name=name, bases=bases, where=where, allele=allele), np.zeros(250, np.uint8), value, arrays, {}
        )

    first = [row("ref", f"{variant} ref"), row("alt", f"{variant} alt", 0.25), row("genome", f"{variant} ref")]
    file = write(tmp_path / "a.h5", 250, first=first)
    write_explanation(tmp_path / "r.html", file)
    page = (tmp_path / "r.html").read_text()
    lines = [item["lines"] for item in data_of(page)["rows"]]
    assert {tuple(line["marked"]) for line in lines[0]} == {ref}
    assert {tuple(line["marked"]) for line in lines[1]} == {alt}
    assert all("marked" not in line for item in lines[2:] for line in item)
    assert "The bases that a variant changes are shaded" in page
    assert re.findall(r"<b>(\S+)</b>(?: \(ALT &minus; REF (\S+)\))?", page)[:3] == [
        ("1", ""),
        ("0.25", "−0.75"),
        ("1", ""),
    ]
    assert [panel["marked"] for panel in read_panels(file)[0][:3]] == [ref, alt, None]


def test_of_long_rows_the_strongest_lines_and_the_whole_are_shown(tmp_path: Path) -> None:
    held = read_attributions(write(tmp_path / "a.h5", 4000, effects=False))
    write_explanation(tmp_path / "r.html", tmp_path / "a.h5")
    page = (tmp_path / "r.html").read_text()
    row = data_of(page)["rows"][0]
    assert len(row["lines"]) == 3
    assert any(line["start"] <= 60 and line["start"] + 100 >= 70 for line in row["lines"])
    assert "effects" not in row["lines"][0]
    scores = held.projected[0]
    assert len(row["whole"]["values"]) == 800
    assert_allclose(row["whole"]["values"], [scores[at] for at in row["whole"]["at"]], rtol=1e-3, atol=1e-6)
    assert max(row["whole"]["values"]) == pytest.approx(scores.max(), rel=1e-3)
    assert 'class="whole"' in page


def test_texts_are_texts_and_only_its_own_script_runs(tmp_path: Path, motifs: Path) -> None:
    write_explanation(tmp_path / "r.html", write(tmp_path / "a.h5", 120), motifs=motifs)
    page = (tmp_path / "r.html").read_text()
    assert "<img" not in page
    assert page.count("<script") == 2
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    for part in (script, style):
        assert base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() in page
    assert "default-src &#39;none&#39;" in page
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
    assert "completeness error</span> 0.0125" in page
    assert "ALT haplotype" in page
    assert "less the mean over all four bases (mean4)" in page


def test_a_row_without_an_answer_is_said_and_drawn_nowhere(tmp_path: Path, motifs: Path) -> None:
    bases = Interval("chr1", 0, 120)
    row = Row(name="lost", bases=bases, where=Where(window_start=0, anchor=anchored("chr1", 0, 120)))
    held = read_attributions(write(tmp_path / "a.h5", 120))
    arrays = {"hypothetical": held.arrays["hypothetical"][0], "effects": held.arrays["effects"][0]}
    kept = StoredRow(row, held.arrays["sequence"][0], 1.0, arrays, {})
    lost = lost_row(row.failed("too_many_n", "every base is unknown"))
    write_attributions(tmp_path / "b.h5", iter([lost, kept]), 2, 120, held.about)
    assert write_explanation(tmp_path / "r.html", tmp_path / "b.h5", motifs=motifs) == 1
    page = (tmp_path / "r.html").read_text()
    assert "1 row could not be explained" in page
    data = data_of(page)
    assert [(shown["row"], len(shown["lines"])) for shown in data["rows"]] == [(1, 2)]
    assert {item[0] for item in data["seqlets"]} == {1}  # the number by which the row finds its own
    assert seqlets_of(tmp_path / "b.h5", tmp_path / "s.bed", {"chr1": 0}, motifs=motifs) > 0
    assert hits_of(tmp_path / "b.h5", tmp_path / "h.tsv", motifs) > 0
    for name in ("s.bed", "h.tsv"):
        cells = [line.split("\t") for line in (tmp_path / name).read_text().splitlines()]
        at = cells[0].index("row")
        assert {line[at] for line in cells[1:]} == {"1"}
    panels, _ = read_panels(tmp_path / "b.h5")
    assert len(panels) == 1
    with pytest.raises(InputError, match="row 'lost' was not explained: every base is unknown"):
        read_panels(tmp_path / "b.h5", rows=["0"])


def test_a_report_of_many_rows_is_small(tmp_path: Path) -> None:
    write_explanation(tmp_path / "r.html", write(tmp_path / "a.h5", 400, rows=60))
    page = (tmp_path / "r.html").read_text()
    assert "The first 40 of 60 rows are shown" in page
    assert len(page) < 3_000_000


def test_from_the_command_line(tmp_path: Path, motifs: Path, monkeypatch: Any, capsys: Any) -> None:
    call, attributions = caller(monkeypatch, capsys), write(tmp_path / "a.h5", 120)
    out = tmp_path / "r.html"
    assert call("report", attributions, "--out", out, "--motifs", motifs) == (0, "", f"report of 2 rows -> {out}\n")
    assert '"tata"' in out.read_text()
    for words, message in (
        (["report", attributions, "--out", tmp_path / "r.txt"], "a report is an HTML file"),
        (["report", attributions, "--out", out, "--top", 2], "--top is not of an explanation"),
        (["report", tmp_path / "none.h5", "--out", out], "none.h5: no such file"),
        (["report", tmp_path / "none.tsv", "--out", out, "--motifs", motifs], "--motifs is of an explanation"),
    ):
        code, _, err = call(*words)
        assert code > 0
        assert message in err
    bundle = Path(grammar.__file__).with_name("bundle")
    write_fasta(tmp_path / "g.fa", {"chr1": "ACGT" * 10})
    words = ["explain", "--region", "chr1:1-9", "--bundle", bundle, "--fasta", tmp_path / "g.fa"]
    words += ["--out", tmp_path / "b.h5"]
    assert "a report is an HTML file" in call(*words, "--report", tmp_path / "r.pdf")[2]


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(BROWSER is None, reason="no Chromium")
def test_in_a_browser(tmp_path: Path, motifs: Path) -> None:
    """No error on the console, the letters and cells are drawn, and the hostile name did nothing."""
    bases = Interval("chr1", 0, 120)
    row = Row(name="lost", bases=bases, where=Where(window_start=0, anchor=anchored("chr1", 0, 120)))
    lost = lost_row(row.failed("too_many_n", "every base is unknown"))
    write_explanation(tmp_path / "r.html", write(tmp_path / "a.h5", 120, first=[lost]), motifs=motifs)
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--virtual-time-budget=2000"]
    words = [str(BROWSER), *flags, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", f"file://{tmp_path}/r.html"]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in ended.stderr
    assert len(re.findall(r'<use href="#base-[ACGT]"', ended.stdout)) > 200
    assert ended.stdout.count('class="there"') == 240
    assert "<td>tata</td>" in ended.stdout
    assert "<title>Explanation: ism" in ended.stdout
    assert not re.search(r"<title>owned", ended.stdout)
