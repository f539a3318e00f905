"""Ctrl-C and SIGTERM, sent to a real process: its last words are true, and what it says is kept can be used."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import worlds

from borzoi_rt import demo
from borzoi_rt.demo.data import write_demo_data

if TYPE_CHECKING:
    from conftest import Cli, Desk  # type: ignore[attr-defined]

# The program, which after COUNT jobs says so on stdout and waits to be interrupted.
WAITING = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from borzoi_rt.runs.executors import Journal
real = Journal.add
def add(self, number, table):
    real(self, number, table)
    if len(self.done) == COUNT:
        print("waiting", flush=True)
        time.sleep(600)
Journal.add = add
from borzoi_rt.cli import run
run()
"""
EXITS = {signal.SIGINT: 130, signal.SIGTERM: 143}
FOUND = "ACGT"


def many(desk: Desk) -> None:
    """Replace the variants by so many that they make three jobs."""
    text = desk.fasta.read_text().split("\n", 1)[1].replace("\n", "")
    worlds.write_vcf(
        desk.vcf, [f"chr1 {pos} . {text[pos - 1]} {FOUND.replace(text[pos - 1], '')[0]}" for pos in range(2000, 2150)]
    )


def interrupted(arguments: list[object], number: int, *, jobs: int = 1) -> tuple[int, str]:
    """Run a command, send it a signal after some jobs, and return exit code and stderr."""
    code = WAITING.replace("COUNT", str(jobs))
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n", process.communicate()[1]
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    return process.returncode, err


@pytest.mark.parametrize("number", EXITS)
@pytest.mark.parametrize(
    ("command", "kept"), [("score", "64 of 150 are"), ("ism", r"\d+ of 180 are"), ("predict", "1 of 2 are")]
)
def test_last_words_are_true(cli: Cli, desk: Desk, command: str, kept: str, number: int) -> None:
    many(desk)
    out = desk.folder / {"score": "out.tsv", "ism": "ism.tsv", "predict": "coverage"}[command]
    arguments = {
        "score": desk.score(),
        "ism": ["ism", "chr1:3001-3060", *desk.model(), "--out", out],
        "predict": desk.predict(),
    }[command]
    code, err = interrupted(arguments, number)
    assert code == EXITS[signal.Signals(number)]
    partial = re.escape(f"{out}.partial")
    assert re.fullmatch(rf"interrupted: {kept} kept in {partial}; repeat the command with --resume to go on\n", err), (
        err
    )
    assert out.with_name(f"{out.name}.partial").is_dir()
    assert not out.exists()
    ended = cli(*arguments, "--resume")
    assert ended.code == 0, ended.err
    assert out.exists()
    assert not out.with_name(f"{out.name}.partial").exists()
    if command == "score":
        got = out.read_bytes()
        assert cli(*arguments).code == 0
        assert out.read_bytes() == got


def test_before_anything_is_kept(cli: Cli, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("borzoi_rt.runs.score_plan.ScoreWorker.run", interrupt)
    ended = cli(*desk.score())
    assert (ended.code, ended.err) == (130, "interrupted before any of 10 was kept; run the command again\n")
    assert not list(desk.folder.glob("out*"))


def test_while_the_table_is_written(cli: Cli, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("borzoi_rt.runs.outputs._sync", interrupt)
    ended = cli(*desk.score())
    assert ended.code == 130
    assert ended.err == (
        f"interrupted: what was done is kept in {desk.out}.partial; repeat the command with --resume to go on\n"
    )
    monkeypatch.setattr("borzoi_rt.runs.score_plan.ScoreWorker.run", interrupt)  # nothing is computed a second time
    monkeypatch.undo()
    assert cli(*desk.score("--resume")).code == 0


def test_a_command_that_keeps_nothing_says_so(cli: Cli, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("borzoi_rt.cli.bundle.open_bundle", interrupt)
    ended = cli("bundle", "verify", desk.bundle)
    assert (ended.code, ended.err) == (130, "interrupted\n")
    ended = cli("-v", "bundle", "verify", desk.bundle)
    assert ended.code == 130
    assert "Traceback" in ended.err


def test_the_handler_is_gone_afterwards(cli: Cli) -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert cli("scores").code == 0
    assert signal.getsignal(signal.SIGTERM) is before


# Commands that keep nothing: interrupted in the network, or while the file gets its name, they leave nothing.
KEEP_NOTHING = {
    "activations": "--layer stem --units 0-1 --region synthA:22201-22220 --out OUT.tsv",
    "attention": "--variant synthB:69533:TCAG:T --out OUT.h5",
    "cam": "--region synthA:22201-22220 --out OUT.tsv",
    "design": "--region synthA:22201-22210 --edits 1 --out OUT",
    "dissect": "--layer stem --units 0-1 --windows 1 --motifs MOTIFS --out OUT",
    "embed": "--region synthA:22201-22220 --out OUT.h5",
    "explain compare": "--methods saliency,ism --region synthA:22201-22210 --target logSED --out OUT",
    "filters": "--layer stem --units 0-1 --windows 1 --out OUT",
    "surrogate": "--region synthA:22201-22220 --mutants 200 --out OUT",
}


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    write_demo_data(folder)
    return folder / "genome.fa"


@pytest.mark.parametrize("where", ["onnxruntime.InferenceSession.run", "pathlib.Path.replace"])
@pytest.mark.parametrize("command", KEEP_NOTHING)
def test_nothing_is_left(
    cli: Cli, genome: Path, tmp_path: Path, command: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    if command == "surrogate":
        pytest.importorskip("sklearn", reason="the extra `surrogate` is not installed")
    monkeypatch.setattr(where, interrupt)
    words = KEEP_NOTHING[command].replace("OUT", str(tmp_path / "out"))
    words = words.replace("MOTIFS", str(genome.parent / "motifs.meme"))
    ended = cli(*command.split(), *words.split(), "--bundle", Path(demo.__file__).parent / "bundle", "--fasta", genome)
    out = words.split()[-1]
    assert (ended.code, ended.err.splitlines()[-1]) == (130, f"interrupted: {out} was not written")
    assert not list(tmp_path.iterdir())
