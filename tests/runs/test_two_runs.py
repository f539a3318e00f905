"""Two runs into one output: the second is refused, and the death of the first gives the output free."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.errors import InputError
from borzoi_rt.genome.fasta import write_fasta
from borzoi_rt.genome.intervals import Interval
from borzoi_rt.runs.ism import score_ism
from borzoi_rt.runs.journal import Journal

HEADER = {"input": "a"}
SHARD = pa.table({"status": ["ok"]})
REFUSED = r"out.tsv: another run is writing it .*wait for its end, or choose another name"


@contextmanager
def other_process(out: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that keeps a journal of one shard, until it is killed."""
    code = (
        "import sys, pathlib, pyarrow\n"
        "from borzoi_rt.runs.journal import Journal\n"
        "journal = Journal(pathlib.Path(sys.argv[1]))\n"
        "journal.begin({'input': 'a'}, resume=True)\n"
        "journal.add(0, pyarrow.table({'status': ['ok']}))\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("resume", [False, True])
def test_the_second_of_two_runs_is_refused_and_the_first_keeps_its_work(tmp_path: Path, resume: bool) -> None:
    out = tmp_path / "out.tsv"
    with other_process(out) as process:
        with pytest.raises(InputError, match=REFUSED):
            Journal(out)
        assert (tmp_path / "out.tsv.partial" / "shard-000000.arrow").is_file()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with Journal(out) as journal:
            journal.begin(HEADER, resume=resume)
            assert journal.done == ({0} if resume else set())


def test_a_run_that_is_about_to_end_is_waited_for(tmp_path: Path) -> None:
    out = tmp_path / "out.tsv"
    with other_process(out) as process:
        threading.Timer(0.5, process.kill).start()
        with Journal(out) as journal:
            journal.begin(HEADER, resume=True)
            assert journal.done == {0}
            assert process.wait() < 0


def test_another_output_is_free(tmp_path: Path) -> None:
    with Journal(tmp_path / "a.tsv") as one, Journal(tmp_path / "b.tsv") as other:
        for journal in (one, other):
            journal.begin(HEADER, resume=False)
            assert journal.done == set()


def test_a_removed_journal_leaves_nothing_and_does_not_touch_the_next(tmp_path: Path) -> None:
    out = tmp_path / "out.tsv"
    first = Journal(out)
    first.begin(HEADER, resume=False)
    first.remove()
    assert list(tmp_path.iterdir()) == []
    with Journal(out) as second:
        second.begin(HEADER, resume=False)
        second.add(0, SHARD)
        first.remove()
        assert [table.equals(SHARD) for table in second.tables()] == [True]


def test_a_lock_that_its_owner_removed_is_not_taken_for_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening the lock and holding it, the first run may end and remove it: the file held has no name then."""
    import fcntl

    out, flock = tmp_path / "out.tsv", fcntl.flock
    first = Journal(out)

    def after_the_first_has_ended(handle: int, operation: int) -> None:
        first.remove()
        flock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", after_the_first_has_ended)
    with Journal(out):
        monkeypatch.undo()
        with pytest.raises(InputError, match=REFUSED):
            Journal(out)


def test_ism_into_an_output_that_is_being_written(tmp_path: Path, toy_bundle: Bundle) -> None:
    write_fasta(tmp_path / "g.fa", {"chr1": "".join(np.random.default_rng(8).choice(list("ACGT"), 8000))})
    out = tmp_path / "out.tsv"
    with (
        Journal(out),
        pytest.raises(InputError, match=REFUSED),
    ):
        score_ism(Interval("chr1", 3000, 3002), out, bundle=toy_bundle, fasta=tmp_path / "g.fa")
    assert not out.exists()
