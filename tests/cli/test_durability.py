"""Every kind of run, with its disk, its genome or its model gone on the way: one line is said, what was done is kept,
and what is resumed has the bytes of a run that nobody disturbed."""

from __future__ import annotations

import errno
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import worlds

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.demo.packaged import packaged_bundle
from borzoi_rt.engine import tile_cache
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.runs import calibrate, dft_plan, ism, score
from borzoi_rt.runs.journal import Journal
from borzoi_rt.runs.settings import RunSettings
from borzoi_rt.scoring.options import ScoreOptions

if TYPE_CHECKING:
    from conftest import Cli, Desk  # type: ignore[attr-defined]

KINDS = ("score", "ism", "predict", "dft", "calibrate")


@pytest.fixture(autouse=True)
def _small_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (score, ism, calibrate):
        monkeypatch.setattr(module, "job_size", lambda *_: 3)
    monkeypatch.setattr(dft_plan, "JOB_TARGETS", 1)


def command(desk: Desk, kind: str, folder: Path) -> list[object]:
    """Return a run into a folder; the motif scores have three outputs."""
    folder.mkdir(exist_ok=True)
    dft = ["--bundle", packaged_bundle("promoter_bundle").path, "--fasta", desk.fasta, "--threads", 1]
    return {
        "score": ["score", desk.vcf, *desk.model(), "--stats", "SUM", "--out", folder / "out.vcf.gz"],
        "ism": ["ism", "chr1:3001-3004", *desk.model(), "--stats", "SUM", "--out", folder / "out.h5"],
        "predict": ["predict", desk.bed, *desk.model(), "--out", folder / "coverage"],
        "dft": [
            *("dft", "score", "--bed", desk.bed, *dft, "--out", folder / "out.tsv"),
            *("--curves", folder / "curves.h5", "--profiles", folder / "profiles.tsv"),
        ],
        "calibrate": [
            *("calibrate", "--random", 24, "--min-count", 20, *desk.model()),
            *("--stats", "SUM", "--out", folder / "null"),
        ],
    }[kind]


def made(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def wanted(cli: Cli, desk: Desk, kind: str) -> dict[str, bytes]:
    """Return what an undisturbed run writes."""
    ended = cli(*command(desk, kind, desk.folder / "whole"))
    assert ended.code == 0, ended.err
    return made(desk.folder / "whole")


def told(ended: Any, pattern: str) -> None:
    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1), ended.err
    assert ended.err.startswith("error: ")
    assert pattern in ended.err


@pytest.mark.parametrize("share", [0.0, 0.35, 0.7, 0.99])
@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_is_full_at_any_step(
    cli: Cli, desk: Desk, monkeypatch: pytest.MonkeyPatch, kind: str, share: float
) -> None:
    """Every file that is kept is synced; from one of these moments on, no byte more reaches the disk."""
    real, synced = os.fsync, itertools.count()
    monkeypatch.setattr(os, "fsync", lambda handle: (next(synced), real(handle))[1])
    want = wanted(cli, desk, kind)
    first, moments = int(share * next(synced)), itertools.count()

    def full(handle: int) -> None:
        if next(moments) >= first:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    folder = desk.folder / "broken"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        told(cli(*command(desk, kind, folder)), "the disk is full")
    assert not list(folder.rglob("final-*")), "a draft would hold the space that is missing"
    assert not list(folder.rglob("*.new"))
    ended = cli(*command(desk, kind, folder), "--resume")
    assert ended.code == 0, ended.err
    assert made(folder) == want


@pytest.mark.parametrize("kind", KINDS)
def test_a_genome_that_vanishes_with_its_network_drive(
    cli: Cli, desk: Desk, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    real, reads = Fasta.fetch, itertools.count()
    with monkeypatch.context() as patch:
        patch.setattr(Fasta, "fetch", lambda self, *given: (next(reads), real(self, *given))[1])
        want = wanted(cli, desk, kind)
    last, read = next(reads) - 1, itertools.count()

    def fetch(self: Fasta, *given: Any) -> str:
        if next(read) >= last:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(desk.fasta))
        return real(self, *given)

    folder = desk.folder / "broken"
    with monkeypatch.context() as patch:
        patch.setattr(Fasta, "fetch", fetch)
        told(cli(*command(desk, kind, folder)), f"{desk.fasta}: the network drive has lost the file")
    assert list(folder.glob("*.partial/shard-*.arrow")), "what was done is kept"
    ended = cli(*command(desk, kind, folder), "--resume")
    assert ended.code == 0, ended.err
    assert made(folder) == want


@pytest.mark.parametrize("gone", ["bundle", "genome"])
def test_a_folder_that_is_gone_when_a_worker_is_replaced(tmp_path: Path, toy_bundle: Bundle, gone: str) -> None:
    """Two processes are killed after the first job, and those that replace them find no bundle, or no genome."""
    text = worlds.random_dna(6000, seed=6)
    (tmp_path / "genome").mkdir()
    fasta = worlds.write_fasta(tmp_path / "genome" / "toy.fa", {"chr1": text})
    (tmp_path / "bundle").mkdir()
    for path in toy_bundle.path.iterdir():
        (tmp_path / "bundle" / path.name).write_bytes(path.read_bytes())
    rows = [f"chr1 {pos} . {text[pos - 1]} {'ACGT'['CGTA'.index(text[pos - 1])]}" for pos in range(2000, 2120, 10)]
    vcf = worlds.write_vcf(tmp_path / "in.vcf", rows)
    given: dict[str, Any] = {"bundle": tmp_path / "bundle", "fasta": fasta, "options": ScoreOptions(stats=("SUM",))}
    score.score_file(vcf, tmp_path / "whole.h5", **given, settings=RunSettings(threads=1))

    def vanish(done: int) -> None:
        if done and (tmp_path / gone).exists():
            (tmp_path / gone).rename(tmp_path / "elsewhere")
            for process in multiprocessing.active_children():
                assert process.pid is not None
                os.kill(process.pid, signal.SIGKILL)

    out = tmp_path / "out.h5"
    with pytest.raises((ValueError, OSError), match=rf"{gone}/.*(?i:no such)"):
        score.score_file(vcf, out, **given, settings=RunSettings(threads=1, workers=2, progress=vanish))
    assert list(out.with_name("out.h5.partial").glob("shard-*.arrow"))
    (tmp_path / "elsewhere").rename(tmp_path / gone)
    score.score_file(vcf, out, **given, settings=RunSettings(threads=1, workers=2, resume=True))
    assert out.read_bytes() == (tmp_path / "whole.h5").read_bytes()


# The program, which kills itself at a moment of the final write.
DYING = """
import os, signal, sys
from borzoi_rt.runs import calibrate, journal, outputs, score
score.job_size = calibrate.job_size = lambda *_: 3
moment = sys.argv.pop(1)
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
def tables(self, real=journal.Journal.tables):
    for number, table in enumerate(real(self)):
        if number == 2 and list(self.directory.glob("final-*")):
            die()
        yield table
if moment == "writing":
    journal.Journal.tables = tables
elif moment == "synced":
    outputs._sync = die
else:
    journal.Journal.remove = die
from borzoi_rt.cli import run
run()
"""


@pytest.mark.parametrize("moment", ["writing", "synced", "renamed"])
@pytest.mark.parametrize("suffix", [".h5", ".vcf.gz"])
def test_a_kill_while_the_output_is_written(cli: Cli, desk: Desk, suffix: str, moment: str) -> None:
    def words(folder: Path) -> list[object]:
        folder.mkdir(exist_ok=True)
        return ["score", desk.vcf, *desk.model(), "--stats", "SUM", "--out", folder / f"out{suffix}"]

    assert cli(*words(desk.folder / "whole")).code == 0
    broken = desk.folder / "broken"
    program = [sys.executable, "-c", DYING, moment, *map(str, words(broken))]
    assert subprocess.run(program, timeout=120, check=False).returncode == -signal.SIGKILL
    assert (broken / f"out{suffix}").exists() == (moment == "renamed")
    assert len(list(broken.glob("*.partial/shard-*.arrow"))) == 4
    computed: list[int] = []
    real = Journal.add
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "add", lambda self, number, table: (computed.append(number), real(self, number, table)))
        ended = cli(*words(broken), "--resume")
    assert ended.code == 0, ended.err
    assert not computed, "every job was kept"
    assert made(broken) == made(desk.folder / "whole")


@pytest.mark.parametrize("kind", ["predict", "calibrate"])
def test_a_kill_between_a_directory_and_the_end(cli: Cli, desk: Desk, kind: str) -> None:
    """The directory stands under its name and the journal beside it: resumed, the run has only to forget the latter."""
    want, folder = wanted(cli, desk, kind), desk.folder / "broken"
    words = command(desk, kind, folder)
    program = [sys.executable, "-c", DYING, "renamed", *map(str, words)]
    assert subprocess.run(program, timeout=120, check=False).returncode == -signal.SIGKILL
    assert list(folder.glob("*.partial/shard-*.arrow"))
    told(cli(*words), "exists and is not an empty directory")
    other = ["--tracks", "dnase"]
    told(cli(*words, *other, "--resume"), "another")
    ended = cli(*words, "--resume")
    assert ended.code == 0, ended.err
    assert made(folder) == want
    told(cli(*words, "--resume"), "exists and is not an empty directory")


@pytest.mark.parametrize("kind", ["score", "ism"])
def test_a_tile_cache_on_a_full_disk_costs_its_tiles_alone(
    cli: Cli, desk: Desk, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    want = wanted(cli, desk, kind)
    packed = itertools.count()

    def full(*given: Any, real: Callable[..., Any] = tile_cache._pack) -> Any:
        if next(packed) >= 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*given)

    monkeypatch.setattr(tile_cache, "_pack", full)
    ended = cli(*command(desk, kind, desk.folder / "broken"), "--tile-cache", desk.folder / "tiles")
    assert ended.code == 0, ended.err
    warnings = [line for line in ended.err.splitlines() if "tiles are no longer written" in line]
    assert len(warnings) == 1
    assert made(desk.folder / "broken") == want
    assert len([path for path in (desk.folder / "tiles").rglob("*") if path.is_file()]) >= 2
