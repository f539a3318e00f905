"""Signs of life: a line every half minute in a log, by a clock of the test's own."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import datasets
import pytest

from borzoi_rt.cli import _progress
from borzoi_rt.cli._progress import ProgressLines, duration
from borzoi_rt.demo.packaged import packaged_bundle
from borzoi_rt.runs.settings import RunSettings

if TYPE_CHECKING:
    from conftest import Cli, Desk  # type: ignore[attr-defined]


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_line_every_half_minute_with_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = ProgressLines("scoring", None, clock)
    lines.set_total(100)
    lines.set_done(40)  # of an earlier run: they took no time
    for done in range(41, 61):  # one in 2 s
        clock.now += 2.0
        lines.set_done(done)
    assert capsys.readouterr().err == "scoring: 55 of 100, 0.5/s, 1 min 30 s left\n"  # 45 to go
    clock.now += 31.0
    lines.set_done(60)
    # 20 in 71 s: 40 more in 142 s
    assert capsys.readouterr().err == "scoring: 60 of 100, 0.282/s, 2 min 22 s left\n"


def test_without_a_total_or_without_progress_nothing_is_promised(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = ProgressLines("scoring", None, clock)
    lines.set_done(3)
    clock.now += 29.9
    lines.set_done(7)
    assert capsys.readouterr().err == ""
    clock.now += 0.1
    lines.set_done(8)
    assert capsys.readouterr().err == "scoring: 8, 0.167/s\n"  # five in 30 s
    lines.set_total(20)
    clock.now += 30.0
    lines.set_done(8)
    assert re.fullmatch(r"scoring: 8 of 20, 0\.0833/s, \d+ .*left\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min 0 s"), (61, "1 min 1 s"), (3600, "1 h 0 min"), (7380, "2 h 3 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let half a minute pass whenever somebody looks at the clock."""
    steps = itertools.count(step=31)
    monkeypatch.setattr(_progress.time, "monotonic", lambda: float(next(steps)))


@pytest.mark.usefixtures("hasty")
def test_runs_show_life(cli: Cli, desk: Desk) -> None:
    promoters = ["--bundle", packaged_bundle("promoter_bundle").path, "--fasta", desk.fasta, "--threads", 1]
    words = {
        r"scoring: \d+ of 10": desk.score(),
        r"mutating: \d+ of 12": ["ism", "chr1:3001-3004", *desk.model(), "--out", desk.folder / "ism.h5"],
        r"predicting: \d of 2": desk.predict(),
        r"scoring: \d of 2": ["dft", "score", "--bed", desk.bed, *promoters, "--out", desk.folder / "dft.tsv"],
        r"calibrating: \d+ of 24": [
            *("calibrate", "--random", 24, "--min-count", 20, *desk.model(), "--stats", "SUM"),
            *("--out", desk.folder / "null"),
        ],
    }
    for pattern, arguments in words.items():
        ended = cli(*arguments)
        assert ended.code == 0, ended.err
        assert re.search(pattern, ended.err), ended.err


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("more", [(), ("--plan",)])
def test_reading_shows_life(cli: Cli, desk: Desk, monkeypatch: pytest.MonkeyPatch, more: tuple[object, ...]) -> None:
    """A long VCF is read before anything is computed, also where the run is only planned."""
    monkeypatch.setattr("borzoi_rt.runs.score._READ_AT_ONCE", 4)
    ended = cli(*desk.score(), *more)
    assert ended.code == 0, ended.err
    said = [line for line in ended.err.splitlines() if line.startswith("reading: ")]
    assert said[0] == "reading: 4"
    assert re.fullmatch(r"reading: 8, \S+ variants/s", said[1])


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("more", [(), ("--workers", 2)])
def test_the_use_of_the_cache_is_shown(
    cli: Cli, desk: Desk, monkeypatch: pytest.MonkeyPatch, more: tuple[object, ...]
) -> None:
    """One window of two tiles for all variants, which lie in the first: the second is computed once a process."""
    monkeypatch.setattr("borzoi_rt.runs.score.job_size", lambda *_: 3)
    given = ["--bundle", packaged_bundle("bundle").path, "--fasta", desk.fasta, "--threads", 1, "--stats", "SUM"]
    ended = cli("score", desk.vcf, *given, "--window", "at:0", "--out", desk.out, *more)
    assert ended.code == 0, ended.err
    shares = [int(share) for share in re.findall(r"(\d+)% of tiles from the cache, ", ended.err)]
    assert shares
    assert 0 < shares[-1] < 100


@pytest.mark.usefixtures("hasty")
def test_an_evaluation_shows_life(cli: Cli, desk: Desk, tmp_path: Path) -> None:
    data = datasets.write_toy_data(tmp_path / "data", windows=4)
    ended = cli(
        *("evaluate", "--bundle", desk.bundle, "--data", data.path, "--split", "train", "--out", tmp_path / "e.tsv")
    )
    assert ended.code == 0, ended.err
    assert re.search(r"evaluating: \d of 4", ended.err)


@pytest.mark.usefixtures("hasty")
def test_the_demo_shows_life(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def few(*_: object, settings: RunSettings, **__: object) -> None:
        assert settings.progress is not None
        settings.progress(5)
        raise KeyboardInterrupt

    monkeypatch.setattr("borzoi_rt.demo.run.score_file", few)
    ended = cli("demo", "--out", tmp_path / "demo")
    assert ended.code == 130
    assert ended.err.splitlines()[0] == "scoring: 5 of 600"
    assert ended.err.splitlines()[-1].startswith(f"interrupted: {tmp_path / 'demo'} is not complete; remove it")


@pytest.mark.usefixtures("hasty")
def test_making_data_shows_life_and_says_what_is_kept(
    cli: Cli, desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(*_: object, progress: Callable[[int], None], **__: object) -> None:
        progress(1)
        raise KeyboardInterrupt

    monkeypatch.setattr("borzoi_rt.cli.data.make_data", make)
    out = tmp_path / "made"
    grid = ["--length", 2048, "--crop", 512]
    files = ["--targets", desk.bundle / "tracks.tsv", "--fasta", desk.fasta, "--regions", desk.bed, "--out", out]
    ended = cli("data", "make", *files, *grid, "--squash", "new")
    assert ended.code == 130
    assert ended.err == (
        f"making data: 1 of 2\ninterrupted: finished shards are kept in {out}.partial; repeat the command to go on\n"
    )
