"""--log-json: every line on stderr is an object, whatever is said."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest

from borzoi_rt.cli import _progress
from borzoi_rt.demo.packaged import packaged_bundle

if TYPE_CHECKING:
    from conftest import Cli, Desk  # type: ignore[attr-defined]


def said(err: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in err.splitlines()]


def test_progress_and_the_end(cli: Cli, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = itertools.count(step=31)
    monkeypatch.setattr(_progress.time, "monotonic", lambda: float(next(steps)))
    ended = cli(*desk.score("--stats", "SUM", "--log-json"))
    assert ended.code == 0
    *progress, last = said(ended.err)
    assert last == {"event": "message", "level": "info", "message": f"10 alleles: 10 ok -> {desk.out}"}
    assert [item["done"] for item in progress] == list(range(11))
    assert {item["event"] for item in progress} == {"progress"}
    # One in 31 s by this clock, of ten in all.
    pace = {"per_second": pytest.approx(1 / 31), "seconds_left": pytest.approx(6 * 31), "tiles_from_cache": None}
    assert progress[4] == {"event": "progress", "step": "scoring", "done": 4, "total": 10, **pace}


@pytest.mark.parametrize("kind", ["ism", "predict", "dft"])
def test_other_runs(cli: Cli, desk: Desk, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    steps = itertools.count(step=31)
    monkeypatch.setattr(_progress.time, "monotonic", lambda: float(next(steps)))
    promoters = ["--bundle", packaged_bundle("promoter_bundle").path, "--fasta", desk.fasta, "--threads", 1]
    step, total, words = {
        "ism": ("mutating", 12, ["ism", "chr1:3001-3004", *desk.model(), "--out", desk.folder / "ism.h5"]),
        "predict": ("predicting", 2, desk.predict()),
        "dft": ("scoring", 2, ["dft", "score", "--bed", desk.bed, *promoters, "--out", desk.folder / "dft.tsv"]),
    }[kind]
    ended = cli(*words, "--log-json")
    assert ended.code == 0, ended.err
    *progress, last = said(ended.err)
    assert (last["event"], last["level"]) == ("message", "info")
    assert [(item["step"], item["done"], item["total"]) for item in progress] == [
        (step, done, total) for done in range(total + 1)
    ]
    assert progress[-1]["seconds_left"] == 0


@pytest.mark.parametrize(
    ("more", "code", "level"), [(("--tracks", "none"), 1, "error"), (("--shard", "x"), 2, "error")]
)
def test_errors(cli: Cli, desk: Desk, more: tuple[str, ...], code: int, level: str) -> None:
    ended = cli(*desk.score("--log-json", *more))
    assert ended.code == code
    (message,) = said(ended.err)
    assert (message["event"], message["level"]) == ("message", level)
    assert more[1] in message["message"]


def test_warnings_and_interruptions(cli: Cli, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.vcf.write_text("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
    warning, *_ = said(cli(*desk.score("--log-json")).err)
    assert (warning["level"], "no variants" in warning["message"]) == ("warning", True)

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("borzoi_rt.runs.score_input.write_alleles", interrupt)
    ended = cli(*desk.score("--log-json"))
    assert ended.code == 130
    assert [message["event"] for message in said(ended.err)] == ["message"]
    assert cli(*desk.score()).err == "interrupted\n"


def test_the_next_command_says_it_in_words_again(cli: Cli, desk: Desk) -> None:
    assert said(cli(*desk.score("--log-json")).err)
    assert cli(*desk.score()).err.startswith("10 alleles")
