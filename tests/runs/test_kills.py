"""SIGKILL at random moments of every kind of run, also while the output is written: what is resumed gives the bytes of
a run that nobody disturbed, and leaves nothing behind."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import worlds

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.demo.packaged import packaged_bundle

TEXT = worlds.random_dna(9000, seed=12)
# The command line with small jobs, so that there are moments to be killed at.
ENTRY = """
from borzoi_rt.runs import calibrate, dft_plan, ism, score
from borzoi_rt.explain import run as explain
score.job_size = ism.job_size = calibrate.job_size = lambda *_: 6
explain.part_bp = lambda *_: 2
dft_plan.JOB_TARGETS = 1
from borzoi_rt.cli import run
if __name__ == "__main__":
    run()
"""


class Kills:
    """A folder with inputs, in which commands are run, and killed."""

    def __init__(self, folder: Path, bundle: Bundle) -> None:
        self.folder = folder
        self.script = folder / "entry.py"
        self.script.write_text(ENTRY)
        fasta = worlds.write_fasta(folder / "genome.fa", {"chr1": TEXT})
        rows = [
            f"chr1 {pos} . {TEXT[pos - 1]} <DEL>,{'ACGT'['CGTA'.index(TEXT[pos - 1])]}" for pos in range(3000, 6000, 60)
        ]
        vcf = worlds.write_vcf(folder / "in.vcf", rows)
        (folder / "in.bed").write_text("".join(f"chr1\t{at}\t{at + 1}\ts{at}\t0\t+\n" for at in range(2000, 7000, 400)))
        model = ["--bundle", bundle.path, "--fasta", fasta, "--threads", 1]
        promoter = ["--bundle", packaged_bundle("promoter_bundle").path, "--fasta", fasta, "--threads", 1]
        self.commands: dict[str, list[object]] = {
            "score": ["score", vcf, *model, "--stats", "SUM,D2", "--out"],
            "ism": ["ism", "chr1:4001-4040", *model, "--stats", "SUM", "--out"],
            "explain": ["explain", "--region", "chr1:4001-4040", *model, "--method", "ism", "--target", "SUM", "--out"],
            "predict": ["predict", folder / "in.bed", *model, "--out"],
            "dft": ["dft", "score", "--bed", folder / "in.bed", *promoter, "--out"],
            "calibrate": ["calibrate", "--random", 60, "--min-count", 20, *model, "--stats", "SUM", "--out"],
        }

    def start(self, kind: str, out: Path, *more: object) -> subprocess.Popen[str]:
        words = [str(word) for word in (sys.executable, self.script, *self.commands[kind], out, *more)]
        return subprocess.Popen(words, stderr=subprocess.PIPE, text=True)

    def finish(self, kind: str, out: Path, *more: object) -> dict[str, bytes]:
        """Run to the end and return what is there then."""
        process = self.start(kind, out, *more)
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
        assert not out.with_name(f"{out.name}.partial").exists()
        files = list(out.iterdir()) if out.is_dir() else [path for path in out.parent.iterdir() if path.is_file()]
        return {path.name: path.read_bytes() for path in files}

    def kill(self, kind: str, out: Path, draw: random.Random, total: int, *more: object) -> None:
        """Start, and kill once some more jobs are kept, or while the output is made."""
        partial, before = out.with_name(f"{out.name}.partial"), kept(out)
        goal = total if draw.random() < 0.3 else min(before + draw.randrange(4), total)
        process = self.start(kind, out, "--resume", *more)
        while process.poll() is None and (not partial.exists() or kept(out) < goal):
            time.sleep(0.001)
        time.sleep(draw.random() * 0.03)
        process.kill()
        process.communicate()
        assert kept(out) >= before or out.exists(), "what was kept stays"


def kept(out: Path) -> int:
    return len(list(out.with_name(f"{out.name}.partial").glob("shard-*.arrow")))


@pytest.fixture
def kills(tmp_path: Path, toy_bundle: Bundle) -> Kills:
    return Kills(tmp_path, toy_bundle)


def check(
    kills: Kills, kind: str, name: str, *, count: int, seed: int, jobs: int, more: tuple[object, ...] = ()
) -> None:
    whole, broken = kills.folder / "whole" / name, kills.folder / "broken" / name
    for out in (whole, broken):
        out.parent.mkdir(exist_ok=True)
    want = kills.finish(kind, whole)
    draw = random.Random(seed)
    for _ in range(count):
        kills.kill(kind, broken, draw, jobs, *more)
        if broken.exists():  # it was too late
            break
    if not broken.exists() or kept(broken):
        assert kills.finish(kind, broken, "--resume", *more) == want
    files = list(broken.iterdir()) if broken.is_dir() else list(broken.parent.iterdir())
    assert {path.name: path.read_bytes() for path in files} == want


SHORT = {
    "score": ("out.parquet", 17),
    "ism": ("out.h5", 20),
    "explain": ("out.h5", 20),
    "predict": ("out", 13),
    "dft": ("out.tsv", 13),
    "calibrate": ("null", 10),
}


@pytest.mark.parametrize("kind", [kind for kind in SHORT if kind != "explain"])  # see tests/explain
def test_two_kills(kills: Kills, kind: str) -> None:
    name, jobs = SHORT[kind]
    check(kills, kind, name, count=2, seed=len(kind), jobs=jobs)


@pytest.mark.full
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *(("score", f"out{suffix}") for suffix in (".tsv", ".tsv.gz", ".parquet", ".h5", ".vcf.gz")),
        *((kind, name) for kind, (name, _) in SHORT.items() if kind != "score"),
    ],
)
def test_fifteen_kills(kills: Kills, kind: str, name: str, workers: int) -> None:
    if kind == "dft" and workers > 1:
        pytest.skip("jobs are small by a constant that worker processes do not see")
    more = ("--workers", workers)
    check(kills, kind, name, count=15, seed=len(name) + workers, jobs=SHORT[kind][1], more=more)
