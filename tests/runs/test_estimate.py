"""What a run will take, put together of what parts of it took; no time is measured here."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pytest

from borzoi_rt.errors import BackendError
from borzoi_rt.runs import measure
from borzoi_rt.runs.cost import Cost, Stopwatch
from borzoi_rt.runs.estimate import Output, _as_jobs, _line, _memory, _working, _written, estimate_run
from borzoi_rt.runs.measure import Sample
from borzoi_rt.runs.tally import Tally

NOTHING = Tally(0, 0, 0, None)


@dataclass(frozen=True)
class Jobs:
    """A plan of jobs with so many units each; a unit is a row with its number. Picklable."""

    sizes: tuple[int, ...]
    fault: str = ""
    identity: dict[str, str] = field(default_factory=dict)
    device: str = "abacus"

    @property
    def jobs(self) -> int:
        return len(self.sizes)

    def units(self, number: int) -> int:
        return self.sizes[number]

    def items(self, number: int) -> int:
        return 2 * self.sizes[number]

    def open(self) -> Abacus:
        if self.fault:
            raise BackendError(self.fault)
        return Abacus(self)


class Abacus:
    """Its worker, which counts passes."""

    def __init__(self, plan: Jobs) -> None:
        self.plan, self.passes = plan, 0
        self.held_bytes = (1000, 5000)

    def run(self, number: int, tick: object, part: range | None = None) -> pa.Table:
        units = list(range(self.plan.sizes[number]) if part is None else part)
        self.passes += len(units)
        return pa.table({"number": pa.array([number] * len(units), pa.int64()), "unit": pa.array(units, pa.int64())})

    @property
    def tally(self) -> Tally:
        return Tally(self.passes, 0, 0, None)

    def forget(self) -> None:
        self.passes = 0

    def close(self) -> None:
        pass


def write(draft: Path, shards: object) -> None:
    """A header of 10 bytes and 3 a row."""
    draft.write_bytes(b"h" * 10 + b"row" * sum(len(table) for table in shards()))  # type: ignore[operator]


@pytest.mark.parametrize(("workers", "gpus"), [(1, ()), (2, ()), (9, ()), (3, None)])
def test_what_a_sample_stands_for(workers: int, gpus: tuple[str, ...] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit is a pass, and the file grows by 3 bytes with each, whatever was computed of them, and by how many."""
    plan = Jobs((5, 5, 5, 2))
    found = estimate_run(
        plan, Output("out", write), numbers=range(4), workers=workers, until_here=Cost(1.0, 2.0), gpus=gpus
    )
    assert (found.jobs, found.items, found.forwards, found.output_bytes) == (4, 34, 17, 10 + 3 * 17)
    assert (found.workers, found.device) == (workers, "abacus")
    assert found.measured_workers == (1 if gpus is None else min(workers, 4))
    assert found.seconds > 1.0
    assert found.processor_seconds > 2.0
    monkeypatch.setattr(measure, "SAMPLE_S", 0.0)
    few = estimate_run(plan, Output("out", write), numbers=[0, 3], workers=1, until_here=Cost(), gpus=())
    assert few.sampled < 7
    assert (few.forwards, few.output_bytes) == (7, 10 + 3 * 7)


def test_a_worker_that_cannot_be_opened_says_why() -> None:
    for workers in (1, 2):
        with pytest.raises(BackendError, match="no abacus"):
            estimate_run(
                Jobs((1, 1), "no abacus"), Output("out"), numbers=range(2), workers=workers, until_here=Cost(), gpus=()
            )


def test_processes_that_would_not_fit_are_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "_free_bytes", lambda: 1000)
    found = estimate_run(Jobs((1, 1, 1)), Output("out"), numbers=range(3), workers=3, until_here=Cost(), gpus=())
    assert (found.workers, found.measured_workers, found.forwards) == (3, 1, 3)


def sample(units: int, seconds: float, **changes: object) -> Sample:
    return Sample(units=units, computing=Cost(seconds, 2 * seconds), tally=NOTHING, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sizes", "workers", "longest"), [((4, 4, 4), 1, 12), ((4, 4, 4), 2, 8), ((4, 4, 4, 1), 2, 8), ((9, 1, 1, 1), 2, 9)]
)
def test_workers_take_the_next_job(sizes: tuple[int, ...], workers: int, longest: int) -> None:
    """The time is that of the longest row of jobs at 0.5 s a unit, after 3 s; the processors' that of all units."""
    measured = [sample(10, 5.0, opening=Cost(2.0, 1.5), first=Cost(1.0, 0.5))] * workers
    found = _working(Jobs(sizes), measured, range(len(sizes)), workers)
    assert found.seconds == pytest.approx(3.0 + 0.5 * longest)
    assert found.processor_seconds == pytest.approx(2.0 * workers + 1.0 * sum(sizes))


def test_memory_is_that_of_full_caches() -> None:
    """Twice the units: a cache of 1,000 bytes grows by 1,000, one with a bound of 1,200 by 200."""
    assert _memory([sample(1, 1.0, held=(1000, 9000), peak_bytes=5000)], 0, 2.0) == 6000
    assert _memory([sample(1, 1.0, held=(1000, 1200), peak_bytes=5000)], 0, 2.0) == 5200
    both = [sample(1, 1.0, held=(0, 0), peak_bytes=4000), sample(1, 1.0, held=(0, 0), peak_bytes=6000)]
    assert _memory(both, 3, 2.0) == 3 * 5000 + measure.peak_bytes()


def test_a_line_through_two_points() -> None:
    assert _line((0, 10.0), (5, 20.0), 50) == 110.0  # 10 and 2 a unit
    assert _line((2, 10.0), (4, 14.0), 10) == 26.0
    assert _line((0, 10.0), (5, 9.0), 50) == 9.0  # noise: it does not fall
    assert _line((3, 6.0), (3, 6.0), 9) == 18.0
    assert _line((0, 4.0), (0, 4.0), 0) == 4.0


def test_results_are_kept_as_jobs() -> None:
    rows = [(count, pa.table({"unit": list(range(count))})) for count in (1, 2, 2, 4, 1)]
    assert [(units, len(table)) for units, table in _as_jobs(Sample(tables=rows), 4)] == [(5, 5), (4, 4), (1, 1)]


def test_an_output_is_made_of_the_least_and_of_all() -> None:
    """Two results are needed at least; its size is that of five; three times as large as what is written."""
    made: list[int] = []

    def note(draft: Path, shards: object) -> None:
        made.append(sum(1 for _ in shards()))  # type: ignore[operator]
        write(draft, shards)

    rows = Sample(tables=[(1, pa.table({"unit": [0]}))] * 5)
    _, size = _written(rows, Output("out", note, least=2, times=3.0), units=20, jobs=20)
    assert made == [2, 5]
    assert size == 3 * (10 + 3 * 20)
    assert _written(rows, Output("out", write, size=77), units=20, jobs=20)[1] == 77
    _, left = _written(rows, Output("out"), units=5, jobs=5)  # a shard: its folder of results
    assert left > 5 * 200


def test_a_stopwatch_of_the_process_began_before() -> None:
    first, now = Stopwatch.of_process(), Stopwatch()
    assert first.cost.seconds > now.cost.seconds
    assert first.cost.processor_seconds >= time.process_time() * 0.9
    assert Cost(3.0, 1.0).beyond(Cost(1.0, 2.0)) == Cost(2.0, 0.0)
