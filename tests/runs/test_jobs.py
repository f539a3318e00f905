"""Jobs in one process or several: the same results, whatever order they end in and whatever ends a process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import worlds
from jobs import TEXT as GENOME
from jobs import SquaresPlan, vcf_rows

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.errors import BackendError, InputError, RunInterrupted
from borzoi_rt.runs import score as run
from borzoi_rt.runs.executors import run_jobs
from borzoi_rt.runs.journal import Journal
from borzoi_rt.runs.processes import visible_gpus
from borzoi_rt.runs.settings import RunSettings
from borzoi_rt.scoring.options import ScoreOptions

OPTIONS = ScoreOptions(stats=("SUM", "D2"), tracks="dnase")


def run_anew(plan: SquaresPlan, out: Path, **how: Any) -> None:
    """Run a plan into a journal of its own."""
    with Journal(out) as journal:
        journal.begin(plan.identity, resume=False)
        run_jobs(plan, journal, **how)


def results(journal: Journal) -> list[int]:
    return [value for shard in journal.tables() for value in shard["square"].to_pylist()]


def ended(journal: Journal) -> list[int]:
    """Return the numbers of the results on disk, in the order in which they were written."""
    shards = sorted(journal.directory.glob("shard-*.arrow"), key=lambda path: path.stat().st_mtime_ns)
    return [int(re.findall(r"\d+", path.name)[0]) for path in shards]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_come_in_the_order_of_their_numbers(tmp_path: Path, workers: int) -> None:
    """Job 0 waits until another is written, where there is more than one process."""
    plan = SquaresPlan(8, tmp_path / "out.partial", first_waits=workers > 1)
    seen: list[int] = []
    with Journal(tmp_path / "out") as journal:
        journal.begin(plan.identity, resume=False)
        run_jobs(plan, journal, workers=workers, progress=seen.append)
        assert results(journal) == [number**2 for number in range(8)]
        assert (ended(journal)[0] == 0) is (workers == 1)
    assert (seen[0], seen[-1]) == (0, 8)
    assert seen == sorted(seen)


@pytest.mark.parametrize("workers", [1, 2])
def test_gaps_are_filled_and_nothing_is_done_twice(tmp_path: Path, workers: int) -> None:
    plan = SquaresPlan(6, tmp_path / "out.partial")
    with Journal(tmp_path / "out") as journal:
        journal.begin(plan.identity, resume=False)
        run_jobs(plan, journal)
        for number in (2, 4):
            (journal.directory / f"shard-{number:06d}.arrow").unlink()
        kept = {path.name: path.stat().st_mtime_ns for path in journal.directory.glob("shard-*.arrow")}
    seen: list[int] = []
    with Journal(tmp_path / "out") as journal:
        journal.begin(plan.identity, resume=True)
        assert journal.done == {0, 1, 3, 5}
        run_jobs(plan, journal, workers=workers, progress=seen.append)
        assert results(journal) == [number**2 for number in range(6)]
        after = {path.name: path.stat().st_mtime_ns for path in journal.directory.glob("shard-*.arrow")}
    assert {name: after[name] for name in kept} == kept
    assert (seen[0], seen[-1]) == (4, 6)


@pytest.mark.parametrize("workers", [0, -1])
def test_workers_are_positive(tmp_path: Path, workers: int) -> None:
    with Journal(tmp_path / "out") as journal, pytest.raises(InputError, match=f"workers is {workers}"):
        run_jobs(SquaresPlan(1, journal.directory), journal, workers=workers)


def values(journal: Journal) -> list[int | None]:
    return [value for shard in journal.tables() for value in shard["square"].to_pylist()]


def test_a_killed_process_is_replaced_and_its_job_done_again(tmp_path: Path, engine: dict[str, Any]) -> None:
    """Beside a row that kills every process."""
    plan = SquaresPlan(5, tmp_path / "out.partial", kills=((5, 1),), poison=(8,), size=3)
    seen: list[int] = []
    with Journal(tmp_path / "out") as journal:
        journal.begin(plan.identity, resume=False)
        run_jobs(plan, journal, **engine, progress=seen.append)
        assert values(journal) == [None if unit == 8 else unit**2 for unit in range(15)]
        assert not list(journal.directory.glob("part-*"))
    assert seen == sorted(seen)
    assert seen[-1] == 15
    assert (tmp_path / "deaths-5").read_text() == "x"
    assert (tmp_path / "deaths-8").read_text() == "x" * 5  # the job twice, two units of it, and it alone twice


def test_a_row_that_kills_its_process_is_found_and_costs_no_other(tmp_path: Path) -> None:
    """Two, at other positions of their jobs; and one that is a job of its own."""
    plan = SquaresPlan(5, tmp_path / "out.partial", poison=(5, 10), size=4)
    with Journal(tmp_path / "out") as journal:
        journal.begin(plan.identity, resume=False)
        run_jobs(plan, journal, workers=2)
        assert values(journal) == [None if unit in plan.poison else unit**2 for unit in range(20)]
        assert sorted(ended(journal)) == list(range(5))
        assert not list(journal.directory.glob("part-*"))
    plan = SquaresPlan(2, tmp_path / "one.partial", kills=((1, 2),), poison=(0,))  # one is killed from outside, twice
    with Journal(tmp_path / "one") as journal:
        journal.begin(plan.identity, resume=False)
        run_jobs(plan, journal, workers=2)
        assert values(journal) == [None, 1]


def test_where_every_process_ends_no_row_is_blamed(tmp_path: Path) -> None:
    plan = SquaresPlan(8, tmp_path / "out.partial", poison=tuple(range(8, 32)), size=4)
    with pytest.raises(BackendError, match=r"a worker process ended unexpectedly.* in a row.*2 of 8 jobs are kept"):
        run_anew(plan, tmp_path / "out", workers=2)
    with Journal(tmp_path / "out") as journal:
        journal.begin(plan.identity, resume=True)
        assert journal.done == {0, 1}
        run_jobs(SquaresPlan(8, tmp_path / "out.partial", size=4), journal, workers=2)
        assert values(journal) == [unit**2 for unit in range(32)]


def test_what_cannot_be_opened_ends_the_run_at_once(tmp_path: Path, engine: dict[str, Any]) -> None:
    plan = SquaresPlan(8, tmp_path / "out.partial", cannot_open="no such provider")
    with pytest.raises(BackendError, match=r"^no such provider$"):
        run_anew(plan, tmp_path / "out", **engine)
    assert len((tmp_path / "openings").read_text().split()) <= 2
    assert not (tmp_path / "out.partial").exists()


def test_what_ends_processes_while_they_open_is_not_tried_for_ever(tmp_path: Path) -> None:
    plan = SquaresPlan(8, tmp_path / "out.partial", cannot_open="kill")
    with pytest.raises(BackendError, match=r"worker processes end \(SIGKILL\) before model and genome are open"):
        run_anew(plan, tmp_path / "out", workers=2)
    assert len((tmp_path / "openings").read_text().split()) <= 4


def test_processes_take_the_gpus_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-ab")
    plan = SquaresPlan(4, tmp_path / "out.partial", first_waits=True)
    run_anew(plan, tmp_path / "out", workers=2, gpus=visible_gpus())
    assert {path.read_text() for path in tmp_path.glob("gpu-*")} == {"3", "GPU-ab"}


def test_no_worker_outlives_a_killed_run(tmp_path: Path) -> None:
    """It would write into the folder of the next one."""
    code = (
        "import pathlib, sys, jobs\n"
        "from borzoi_rt.runs.executors import run_jobs\n"
        "from borzoi_rt.runs.journal import Journal\n"
        "if __name__ == '__main__':\n"
        "    out = pathlib.Path(sys.argv[1])\n"
        "    plan = jobs.SquaresPlan(1, out.with_name('out.partial'), first_waits=True)\n"
        "    with Journal(out) as journal:\n"
        "        journal.begin(plan.identity, resume=False)\n"
        "        run_jobs(plan, journal, workers=2)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    with subprocess.Popen([sys.executable, script, tmp_path / "out"], env=environment) as process:
        while not (tmp_path / "openings").exists() or not (tmp_path / "openings").read_text().strip():
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
    (worker,) = map(int, (tmp_path / "openings").read_text().split())
    until = time.monotonic() + 30
    while Path(f"/proc/{worker}").exists() and time.monotonic() < until:
        time.sleep(0.02)
    assert not Path(f"/proc/{worker}").exists()


def test_the_fault_of_a_job_comes_out_of_its_process(tmp_path: Path) -> None:
    plan = SquaresPlan(4, tmp_path / "out.partial", fails_at=3)
    with pytest.raises(BackendError, match="job 3 is broken"):
        run_anew(plan, tmp_path / "out", workers=2)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interruption_counts_what_is_on_disk(tmp_path: Path, workers: int) -> None:
    """Also what another process wrote while the interruption came."""
    plan = SquaresPlan(8, tmp_path / "out.partial")

    def stop(done: int) -> None:
        if done >= 3:
            raise KeyboardInterrupt

    with pytest.raises(RunInterrupted) as caught:
        run_anew(plan, tmp_path / "out", workers=workers, progress=stop)
    kept = len(list((tmp_path / "out.partial").glob("shard-*.arrow")))
    assert kept >= 2
    assert str(caught.value).startswith(f"interrupted: {kept} of 8 are kept in {tmp_path / 'out.partial'}")


@pytest.fixture
def world(tmp_path: Path) -> tuple[Path, Path]:
    fasta = worlds.write_fasta(tmp_path / "toy.fa", {"chr1": GENOME})
    return worlds.write_vcf(tmp_path / "in.vcf", vcf_rows(count=24)), fasta


@pytest.mark.parametrize("suffix", [".tsv", ".parquet", ".h5", ".vcf.gz"])
def test_the_number_of_workers_changes_no_byte(
    toy_bundle: Bundle, world: tuple[Path, Path], tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "job_size", lambda *_: 5)
    made = []
    for workers in (1, 2, 3) if suffix == ".tsv" else (1, 2):
        out = tmp_path / f"out{workers}{suffix}"
        settings = RunSettings(workers=workers, threads=1)
        given = {"bundle": toy_bundle, "fasta": world[1], "options": OPTIONS, "settings": settings}
        assert run.score_file(world[0], out, **given) == {"ok": 24}
        made.append(out.read_bytes())
        assert not out.with_name(f"{out.name}.partial").exists()
    assert len(set(made)) == 1


def test_a_missing_job_is_done_again_to_the_same_bytes(
    toy_bundle: Bundle, world: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "job_size", lambda *_: 5)
    out = tmp_path / "out.tsv"

    def score(resume: bool, workers: int = 1) -> None:
        settings = RunSettings(threads=1, resume=resume, workers=workers)
        run.score_file(world[0], out, bundle=toy_bundle, fasta=world[1], options=OPTIONS, settings=settings)

    score(resume=False)
    want = out.read_bytes()
    out.unlink()
    with monkeypatch.context() as patch:

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        patch.setitem(run.WRITERS, ".tsv", full)
        with pytest.raises(OSError, match="No space left"):
            score(resume=False)
    (tmp_path / "out.tsv.partial" / "shard-000002.arrow").unlink()
    score(resume=True, workers=2)
    assert out.read_bytes() == want


def test_workers_share_the_cores_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("borzoi_rt.runs.settings.usable_cores", lambda: 8)
    threads = [
        RunSettings(**choices).worker_device.threads  # type: ignore[arg-type]
        for choices in (
            {},
            {"workers": 3},
            {"workers": 20},
            {"workers": 3, "threads": 5},
            {"workers": 3, "device": "cpu:4"},
        )
    ]
    assert threads == [None, 2, 1, 5, 4]
    assert RunSettings(workers=3, device="triton:grpc://host:1/m").worker_device.threads is None


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_on_the_command_line(toy_bundle: Bundle, tmp_path: Path, workers: int) -> None:
    """One true line, code 130, no process left behind, and the run goes on from there."""
    fasta = worlds.write_fasta(tmp_path / "toy.fa", {"chr1": GENOME})
    vcf = worlds.write_vcf(
        tmp_path / "in.vcf", [f"chr1 {pos} . {GENOME[pos - 1]} <DEL>,A" for pos in range(1100, 3900)]
    )
    out = tmp_path / "out.tsv"
    command = ["score", vcf, "--bundle", toy_bundle.path, "--fasta", fasta, "--out", out, "--threads", 1, "--full"]
    entry = [sys.executable, "-c", "from borzoi_rt.cli import run; run()", *map(str, command), "--stats", "SUM"]
    with subprocess.Popen(
        [*entry, "--workers", str(workers)], stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        while not list(tmp_path.glob("out.tsv.partial/shard-*.arrow")):
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.wait(60) == 130
    # click ends the line that a terminal has written ^C into
    found = re.fullmatch(
        r"\n?interrupted: (\d+) of 5600 are kept in (\S+); repeat the command with --resume .*\n", said
    )
    assert found, repr(said)
    shards = list((tmp_path / "out.tsv.partial").glob("shard-*.arrow"))
    assert int(found[1]) == 64 * len(shards)
    assert not out.exists()
