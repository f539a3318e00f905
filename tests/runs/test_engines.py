"""Tables of several processes, whoever starts them and whatever ends them: the bytes of one process."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import jobs
import pytest
import worlds
from jobs import KILLED

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.errors import InputError
from borzoi_rt.genome.intervals import Interval
from borzoi_rt.runs import score as run
from borzoi_rt.runs.ism import score_ism
from borzoi_rt.runs.predict import predict_regions
from borzoi_rt.runs.settings import RunSettings
from borzoi_rt.scoring.options import ScoreOptions

OPTIONS = ScoreOptions(stats=("SUM", "D2"), tracks="dnase")
ALLELES = 24


class World:
    """A genome, variants and a model, scored in jobs of five alleles by plans that may kill."""

    def __init__(self, folder: Path, bundle: Bundle, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.bundle, self.patch = folder, bundle, patch
        self.fasta = worlds.write_fasta(folder / "toy.fa", {"chr1": jobs.TEXT})
        self.vcf = worlds.write_vcf(folder / "in.vcf", jobs.vcf_rows(count=ALLELES))
        patch.setattr(run, "job_size", lambda *_: 5)
        patch.setattr(run, "ScorePlan", jobs.KillingPlan)
        patch.setenv("KILL_NOTES", str(folder))

    def score(self, name: str, **how: Any) -> tuple[bytes, Counter[str]]:
        out = self.folder / name
        given = {"bundle": self.bundle, "fasta": self.fasta, "options": OPTIONS}
        counts = run.score_file(self.vcf, out, **given, settings=RunSettings(threads=1, **how))
        assert not out.with_name(f"{out.name}.partial").exists()
        return out.read_bytes(), counts


@pytest.fixture
def world(tmp_path: Path, toy_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, toy_bundle, monkeypatch)


def test_a_kill_in_the_middle_changes_no_byte(world: World) -> None:
    want, counts = world.score("whole.parquet")
    assert counts == {"ok": ALLELES}
    world.patch.setenv("KILL_ONCE", KILLED)
    assert world.score("out.parquet", workers=2) == (want, counts)
    assert (world.folder / KILLED).exists()


@pytest.mark.parametrize("suffix", [".tsv", ".parquet", ".h5", ".vcf.gz"])
def test_ray_changes_no_byte(world: World, ray_here: Path, suffix: str) -> None:
    """The first of these runs loses a worker: all have one folder of notes, as they have one cluster."""
    want = world.score(f"whole{suffix}")
    assert world.score(f"out{suffix}", workers=2, executor="ray") == want
    assert (ray_here / KILLED).exists()


def test_a_variant_that_kills_has_status_error_and_the_others_their_scores(world: World) -> None:
    whole, _ = world.score("whole.tsv")
    world.patch.setenv("KILL_ALWAYS", f"{KILLED} 2000")
    got, counts = world.score("out.tsv", workers=2)
    assert counts == {"ok": ALLELES - 2, "error": 2}
    left = [line for line in whole.splitlines() if line.split(b"\t")[3] not in (b"2063", b"2000")]
    lines = got.splitlines()
    failed = [line for line in lines if b"\terror\t" in line]
    assert [line for line in lines if line not in failed] == left
    assert all(b"the process that computed it was ended each time" in line for line in failed)
    again, _ = world.score("again.tsv", workers=3)
    assert again == got


@pytest.mark.parametrize("workers", [1, 2])
def test_what_nobody_foresaw_costs_a_row(world: World, workers: int) -> None:
    world.patch.setenv("RAISE", KILLED)
    got, counts = world.score("out.tsv", workers=workers)
    assert counts == {"ok": ALLELES - 1, "error": 1}
    (row,) = {line.split(b"\t")[3] for line in got.splitlines() if b"RuntimeError: what nobody foresaw" in line}
    assert row == KILLED.encode()


class Replaced(jobs.KillingPlan):
    """The genome is replaced after the plan was made, and before a worker opens it."""

    def open(self) -> Any:
        worlds.write_fasta(self.fasta, {"chr1": worlds.random_dna(5000, seed=1)})
        return super().open()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_genome_that_is_replaced_while_workers_start_is_refused(world: World, workers: int) -> None:
    world.patch.setattr(run, "ScorePlan", Replaced)
    with pytest.raises(InputError, match=r"toy.fa: was replaced by another genome after the run had begun .*resume"):
        world.score("out.tsv", workers=workers)


def test_other_runs_in_two_processes(world: World) -> None:
    given: dict[str, Any] = {"bundle": world.bundle, "fasta": world.fasta}
    made = []
    for workers in (1, 2):
        settings = RunSettings(threads=1, workers=workers)
        ism, coverage = world.folder / f"ism{workers}.h5", world.folder / f"coverage{workers}"
        score_ism(Interval("chr1", 3000, 3020), ism, **given, options=OPTIONS, settings=settings)
        regions = [Interval("chr1", 1000, 1001), Interval("chr1", 3000, 3001)]
        files = predict_regions(regions, coverage, **given, settings=settings)
        made.append([ism.read_bytes(), *(path.read_bytes() for path in files)])
    assert made[0] == made[1]
