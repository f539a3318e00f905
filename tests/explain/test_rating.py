"""Logos that people compare: what the page shows and hides, what it gives back, and what choices say together."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import caller, check_error
from numpy.testing import assert_allclose
from oracles import judging
from pages import data_of

from borzoi_rt.errors import FormatError, InputError
from borzoi_rt.explain.attr_file import StoredRow, read_attributions, write_attributions
from borzoi_rt.explain.rating import (
    RatingOptions,
    cohen_kappa,
    fleiss_kappa,
    read_ratings,
    same_share,
    sign_test,
    wilson,
    write_rating,
)
from borzoi_rt.explain.rows import Row
from borzoi_rt.explain.where import Where
from borzoi_rt.genome.intervals import Interval

HOSTILE = "</script><script>document.title='owned'</script>"


def write(path: Path, seed: int, *, rows: int = 6, width: int = 130, method: str = "ism") -> Path:
    letters, random, stored = np.random.default_rng(1), np.random.default_rng(seed), []
    for number in range(rows):
        codes = letters.integers(0, 5, width).astype(np.uint8)
        values = random.normal(size=(4, width)).astype(np.float32)
        values[:, 40:60] *= 5.0
        row = Row(
            name=f"{HOSTILE}{number}",
            bases=Interval("chr1", 500 * number, 500 * number + width),
            where=Where(window_start=0),
        )
        stored.append(StoredRow(row, codes, 1.0, {"hypothetical": values}, {}))
    about = {"method": method, "target": {"target": "log SUM"}, "options": {}, "models": []}
    write_attributions(path, iter(stored), rows, width, about)
    return path


@pytest.fixture
def page(tmp_path: Path) -> dict[str, Any]:
    files = [write(tmp_path / f"{name}.h5", seed, method=name) for name, seed in (("tangent", 2), ("secret", 3))]
    out, key = tmp_path / "r.html", tmp_path / "key.json"
    assert write_rating(out, key, files, RatingOptions()) == 6
    return {"files": files, "out": out, "key": key, "text": out.read_text(), "known": json.loads(key.read_text())}


def test_the_page_tells_nobody_which_is_which(page):
    text = page["text"]
    for word in ("secret", "tangent", ".h5", "owned", "chr1"):
        assert word not in text
    data, known = data_of(text), page["known"]
    assert [pair["id"] for pair in data["pairs"]] == [pair["id"] for pair in known["pairs"]]
    assert {pair["left"] for pair in known["pairs"]} == {"tangent.h5", "secret.h5"}  # sides are by chance
    held = {path.name: read_attributions(path) for path in page["files"]}
    for pair, answer in zip(data["pairs"], known["pairs"], strict=True):
        row = int(answer["row"].removeprefix(HOSTILE))
        letters = "".join(np.array(list("ACGTN"))[held["tangent.h5"].arrays["sequence"][row]])
        for side in ("left", "right"):
            assert len(pair[side]["letters"]) == 100
            start = letters.index(pair[side]["letters"])
            assert start <= 40  # the stretch with the largest scores is in it
            scores = held[answer[side]].projected[row].astype(np.float64)
            assert_allclose(pair[side]["scores"], (scores / np.abs(scores).max())[start : start + 100], atol=1e-3)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)


def test_pairs_follow_the_seed(page, tmp_path):
    def ids(**given: Any) -> list[str]:
        write_rating(tmp_path / "o.html", tmp_path / "o.json", page["files"], RatingOptions(**given))
        return [pair["row"] for pair in json.loads((tmp_path / "o.json").read_text())["pairs"]]

    assert ids() == [pair["row"] for pair in page["known"]["pairs"]]
    assert ids(seed=1) != ids()
    assert ids(pairs=2) == ids()[:2]
    three = [*page["files"], write(tmp_path / "third.h5", 9)]
    assert write_rating(tmp_path / "o.html", tmp_path / "o.json", three, RatingOptions(pairs=100)) == 18


def test_files_that_cannot_be_compared_are_refused(page, tmp_path):
    one = page["files"][0]
    for files, message in (
        ([one], "give two or more"),
        ([one, one], "give two or more"),
        ([one, write(tmp_path / "wide.h5", 3, width=131)], "share no row"),
    ):
        with pytest.raises(InputError, match=message):
            write_rating(tmp_path / "o.html", tmp_path / "o.json", files, RatingOptions())
    with pytest.raises(InputError, match="pairs is 0"):
        RatingOptions(pairs=0)


def test_kappa_is_that_of_its_definition():
    rng = np.random.default_rng(4)
    chosen = rng.integers(0, 2, (4, 30))
    assert cohen_kappa(chosen[0], chosen[1]) == pytest.approx(judging.cohen(list(chosen[0]), list(chosen[1])))
    table = np.stack([(chosen == number).sum(axis=0) for number in (0, 1)], axis=1)
    assert fleiss_kappa(chosen) == pytest.approx(judging.fleiss(table))
    alike = np.repeat(chosen[:1], 3, axis=0)
    assert (fleiss_kappa(alike), same_share(alike), cohen_kappa(alike[0], alike[1])) == (1.0, 1.0, 1.0)
    assert cohen_kappa(chosen[0], 1 - chosen[0]) is not None
    same = np.zeros((2, 5), dtype=np.int64)
    assert (fleiss_kappa(same), cohen_kappa(*same), same_share(same)) == (None, None, 1.0)
    # By hand: 20 subjects, both yes 20 of 50, both no 15, the example of Cohen's kappa in text books.
    one, other = [0] * 25 + [1] * 25, [0] * 20 + [1] * 5 + [0] * 10 + [1] * 15
    assert cohen_kappa(np.array(one), np.array(other)) == pytest.approx(0.4)
    assert_allclose(wilson(5, 10), (0.2366, 0.7634), atol=1e-4)
    assert (sign_test(5, 5), sign_test(10, 0)) == (1.0, pytest.approx(2 / 1024))


def rating(page: dict[str, Any], path: Path, rater: str, favourite: str, *, turned: int = 0) -> Path:
    """Choices of a rater who prefers a file, but for the first ``turned`` pairs."""
    choices = {}
    for number, pair in enumerate(page["known"]["pairs"]):
        side = "left" if pair["left"] == favourite else "right"
        choices[pair["id"]] = {"left": "right", "right": "left"}[side] if number < turned else side
    head = {"format": "borzoi-rt-ratings", "version": 1, "page": page["known"]["page"], "rater": rater}
    path.write_text(json.dumps({**head, "choices": choices, "seconds": {}}))
    return path


def test_choices_are_of_files_and_not_of_sides(page, tmp_path):
    files = [
        rating(page, tmp_path / "a.json", "Ada", "secret.h5", turned=2),
        rating(page, tmp_path / "b.json", "", "secret.h5", turned=3),
    ]
    held = read_ratings(files, page["key"]).to_json()
    assert held["raters"] == ["Ada", "b"]  # a rater without a name has that of the file
    (line,) = held["preference"]
    assert (line["file"], line["against"], line["chosen"], line["choices"]) == ("tangent.h5", "secret.h5", 5, 12)
    assert held["agreement"] == pytest.approx(5 / 6)
    one, other = [0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1]
    assert held["cohen_kappa"][0]["kappa"] == pytest.approx(judging.cohen(one, other))
    assert held["pairs_rated_by_all"] == 6


def test_raters_who_choose_by_luck_agree_on_nothing(tmp_path):
    """Kappa and the sign test of choices by chance, of 3 raters and 40 pairs, against those of people who see."""
    files = [write(tmp_path / f"{name}.h5", seed, rows=40) for name, seed in (("tangent", 2), ("secret", 3))]
    key, rng = tmp_path / "key.json", np.random.default_rng(3)
    assert write_rating(tmp_path / "r.html", key, files, RatingOptions(pairs=40)) == 40
    known = {"known": json.loads(key.read_text())}

    def said(turned: bool) -> dict[str, Any]:
        paths = []
        for rater in "abc":
            path = rating(known, tmp_path / f"{rater}.json", rater, "secret.h5", turned=3)
            if turned:
                held = json.loads(path.read_text())
                held["choices"] = {name: ("left", "right")[rng.integers(2)] for name in held["choices"]}
                path.write_text(json.dumps(held))
            paths.append(path)
        return read_ratings(paths, key).to_json()

    luck, seen = said(turned=True), said(turned=False)
    assert abs(luck["fleiss_kappa"]) < 0.2 < 0.9 < seen["fleiss_kappa"]
    assert luck["preference"][0]["p"] > 0.05 > seen["preference"][0]["p"]


def test_choices_that_make_no_sense_are_refused(page, tmp_path):
    good = rating(page, tmp_path / "a.json", "Ada", "secret.h5")
    held = json.loads(good.read_text())
    for changed, message in (
        ({"page": "other"}, "is of another page"),
        ({"format": "x"}, "is no borzoi-rt-ratings of version 1"),
        ({"choices": {}}, "holds no choices"),
        ({"choices": {"p99": "left"}}, "'p99': 'left'; "),
        ({"choices": {"p1": "middle"}}, "'p1': 'middle'; "),
        ({"choices": {"p1": ["left"]}}, "'p1'"),
    ):
        bad = tmp_path / "bad.json"
        bad.write_text(json.dumps({**held, **changed}))
        with pytest.raises(FormatError, match=message):
            read_ratings([bad], page["key"])
    for text in ("", "[", "[" * 100_000, "[]"):
        bad.write_text(text)
        with pytest.raises(FormatError, match=r"bad\.json: is no"):
            read_ratings([bad], page["key"])
    with pytest.raises(InputError, match="rater 'Ada' comes twice"):
        read_ratings([good, good], page["key"])
    with pytest.raises(InputError, match="no such file"):
        read_ratings([tmp_path / "none.json"], page["key"])


def test_from_the_command_line(page, tmp_path, monkeypatch, capsys):
    call, out = caller(monkeypatch, capsys), tmp_path / "page.html"
    code, _, err = call("explain", "rate", *page["files"], "--pairs", 4, "--question", "Which & why?", "--out", out)
    assert (code, err) == (0, f"4 pairs -> {out}; keep page.html.key.json from raters\n")
    assert "Which &amp; why?" in out.read_text()
    key = tmp_path / "page.html.key.json"
    known = {"known": json.loads(key.read_text())}
    files = [rating(known, tmp_path / f"{name}.json", name, "tangent.h5") for name in ("ada", "max")]
    words = ["explain", "rate", "--read", *files, "--out", tmp_path / "said.json"]
    code, stdout, err = call(*words, "--key", key)
    assert code == 0, err
    assert stdout.splitlines()[1].split("\t")[:5] == ["tangent.h5", "secret.h5", "8", "8", "1"]
    assert "2 raters, 4 pairs rated by all: agreement 1.000, Fleiss' kappa none" in err
    assert json.loads((tmp_path / "said.json").read_text())["preference"][0]["chosen"] == 8
    check_error(call(*words), "--read needs the key of the page")
    check_error(call(*words, "--key", key, "--width", 9), "--width is of a page")
    check_error(call("explain", "rate", *page["files"], "--out", tmp_path / "r.pdf"), "the page is an HTML file")
    check_error(call("explain", "rate", *page["files"], "--key", key, "--out", out), "--key is read with --read")


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# What a rater does; put into a copy of the page without its policy, which allows its own script alone.
ACTS = """<script>
document.getElementById("rater").value = "Ada <b>";
document.getElementById("choose-left").click();
document.getElementById("back").click();
for (let n = 0; n < 5; n += 1) document.getElementById("choose-right").click();
document.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft" }));
</script></body>"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium")
def test_in_a_browser(page, tmp_path):
    """The page runs under its policy without a word; a rater's clicks become choices that can be read."""
    acted = tmp_path / "acted.html"
    acted.write_text(
        re.sub(r'<meta http-equiv="Content-Security-Policy".*?>', "", page["text"]).replace("</body>", ACTS)
    )
    found = []
    for path in (page["out"], acted):
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--virtual-time-budget=2000"]
        words = [str(BROWSER), *flags, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", f"file://{path}"]
        ended = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
        assert "CONSOLE" not in ended.stderr
        found.append(ended.stdout)
    assert len(re.findall(r'<use href="#base-[ACGT]"', found[0])) > 100
    assert "Pair 1 of 6; 0 rated" in found[0]
    assert re.search(r'id="download" disabled', found[0])
    assert "Pair 6 of 6; 6 rated" in found[1]
    assert not re.search(r'id="download" disabled', found[1])
    text = re.search(r'<pre id="result">(.*?)</pre>', found[1], re.DOTALL)
    assert text is not None
    (tmp_path / "ada.json").write_text(text[1].replace("&lt;", "<").replace("&gt;", ">"))
    held = read_ratings([tmp_path / "ada.json"], page["key"])
    assert (held.raters, len(held.pairs), held.left) == (["Ada <b>"], 6, pytest.approx(1 / 6))
    said = json.loads((tmp_path / "ada.json").read_text())
    assert list(said["choices"].values()) == ["right"] * 5 + ["left"]
    assert set(said["seconds"]) == set(said["choices"])
