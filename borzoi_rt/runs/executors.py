"""Who runs the jobs of a plan: this process, several, or a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Protocol

from ..errors import InputError, RunInterrupted
from .journal import Journal
from .plan import Plan
from .processes import Processes
from .tasks import Tasks

Progress = Callable[[int], None]
EXECUTORS = ("processes", "ray")


class Crew(Protocol):
    """Worker processes, wherever they are."""

    @property
    def tiles(self) -> tuple[int, int]:
        """Tiles that were asked for, and of these computed."""

    def step(self, tasks: Tasks) -> None:
        """Give out tasks, and wait until something is heard."""

    def close(self) -> None:
        """End all processes."""


def run_jobs(
    plan: Plan,
    journal: Journal,
    *,
    workers: int = 1,
    progress: Progress | None = None,
    numbers: Sequence[int] | None = None,
    executor: str = "processes",
    address: str | None = None,
    tiles: Callable[[int, int], None] | None = None,
    gpus: Sequence[str] = (),
) -> None:
    """Run the jobs whose results the journal lacks.

    Parameters
    ----------
    plan : Plan
        What to compute.
    journal : Journal
        Where results are kept.
    workers : int
        Processes; each opens model and genome itself. Results do not depend on their number.
    progress : callable, optional
        Called with the number of items done, those of an earlier run included.
    numbers : sequence of int, optional
        The jobs to run; all when None.
    executor : str
        ``processes`` of this machine, or ``ray``.
    address : str, optional
        Of a Ray cluster; one is started on this machine when None.
    tiles : callable, optional
        Called with the number of tiles that were asked for, and of these computed.
    gpus : sequence of str
        GPUs that the processes of this machine take in turn; see :func:`borzoi_rt.runs.processes.visible_gpus`.

    Raises
    ------
    RunInterrupted
        On Ctrl-C; says what is kept.
    """
    if workers < 1:
        raise InputError(f"workers is {workers}; 1 or more is needed")
    if executor not in EXECUTORS:
        raise InputError(f"executor is {executor!r}; allowed: {', '.join(EXECUTORS)}")
    if address is not None and executor != "ray":
        raise InputError("address is that of a Ray cluster; choose executor 'ray', or leave it out")
    wanted = range(plan.jobs) if numbers is None else numbers
    missing = [number for number in wanted if number not in journal.done]
    counter = _Counter(sum(plan.items(number) for number in wanted if number in journal.done), progress, tiles)
    try:
        if not missing:
            return
        if executor == "processes" and workers == 1:
            _run_here(plan, journal, missing, counter)
        else:
            count = min(workers, len(missing))
            tasks = Tasks(plan, journal, missing, count)
            crew = _crew(plan, journal, count, executor, address, gpus)
            _run_crew(crew, plan, journal, tasks, counter)
    except KeyboardInterrupt:
        raise RunInterrupted(_kept(plan, journal, wanted), resumable=bool(journal.done)) from None


def _kept(plan: Plan, journal: Journal, wanted: Sequence[int]) -> str:
    done = sum(plan.items(number) for number in journal.done)
    total = sum(plan.items(number) for number in wanted)
    if not done:
        return f"interrupted before any of {total} was kept; run the command again"
    return f"interrupted: {done} of {total} are kept in {journal.directory}"


class _Counter:
    """Items done so far."""

    def __init__(self, done: int, progress: Progress | None, tiles: Callable[[int, int], None] | None) -> None:
        self._done, self._progress, self._tiles = done, progress, tiles
        self.add(0)

    def add(self, count: int = 1) -> None:
        self._done += count
        if self._progress is not None:
            self._progress(self._done)

    def count_tiles(self, counts: tuple[int, int]) -> None:
        if self._tiles is not None:
            self._tiles(*counts)


def _run_here(plan: Plan, journal: Journal, missing: list[int], counter: _Counter) -> None:
    with closing(plan.open()) as worker:
        for number in missing:
            journal.add(number, worker.run(number, counter.add))
            counter.count_tiles(getattr(worker, "tiles", (0, 0)))


def _crew(plan: Plan, journal: Journal, workers: int, executor: str, address: str | None, gpus: Sequence[str]) -> Crew:
    if executor == "ray":
        from .ray import RayCrew

        return RayCrew(plan, journal.directory, workers, address)
    return Processes(plan, journal.directory, workers, gpus)


def _run_crew(crew: Crew, plan: Plan, journal: Journal, tasks: Tasks, counter: _Counter) -> None:
    try:
        with closing(crew):
            while not tasks.over:
                crew.step(tasks)
                counter.count_tiles(crew.tiles)
                for number in tasks.take_finished():
                    counter.add(plan.items(number))
    finally:
        journal.recount()  # a job may have been kept whose end was not heard of
    for number in tasks.take_finished():
        counter.add(plan.items(number))
