"""Who runs the jobs of a plan: this process, or several."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from pathlib import Path

from ..errors import BackendError, InputError, RunInterrupted
from .journal import Journal, write_shard
from .plan import Plan, Worker

Progress = Callable[[int], None]


def run_jobs(plan: Plan, journal: Journal, *, workers: int = 1, progress: Progress | None = None) -> None:
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

    Raises
    ------
    RunInterrupted
        On Ctrl-C; says what is kept.
    """
    if workers < 1:
        raise InputError(f"workers is {workers}; 1 or more is needed")
    missing = [number for number in range(plan.jobs) if number not in journal.done]
    counter = _Counter(sum(plan.items(number) for number in journal.done), progress)
    try:
        if workers == 1 or len(missing) < 2:
            _run_here(plan, journal, missing, counter)
        else:
            _run_processes(plan, journal, missing, min(workers, len(missing)), counter)
    except KeyboardInterrupt:
        raise RunInterrupted(_kept(plan, journal), resumable=bool(journal.done)) from None


def _kept(plan: Plan, journal: Journal) -> str:
    done = sum(plan.items(number) for number in journal.done)
    total = sum(plan.items(number) for number in range(plan.jobs))
    if not done:
        return f"interrupted before any of {total} was kept; run the command again"
    return f"interrupted: {done} of {total} are kept in {journal.directory}"


class _Counter:
    """Items done so far."""

    def __init__(self, done: int, progress: Progress | None) -> None:
        self._done, self._progress = done, progress
        self.add(0)

    def add(self, count: int = 1) -> None:
        self._done += count
        if self._progress is not None:
            self._progress(self._done)


def _run_here(plan: Plan, journal: Journal, missing: list[int], counter: _Counter) -> None:
    if not missing:
        return
    with closing(plan.open()) as worker:
        for number in missing:
            journal.add(number, worker.run(number, counter.add))


def _run_processes(plan: Plan, journal: Journal, missing: list[int], workers: int, counter: _Counter) -> None:
    # Not forked: a fork copies locks that threads of this process may hold.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_open, initargs=(plan, journal.directory))
    try:
        for number in _as_completed(pool, missing, 2 * workers):
            journal.done.add(number)
            counter.add(plan.items(number))
    except BrokenProcessPool as error:
        _end(pool, journal)
        raise BackendError(
            f"a worker process ended unexpectedly, which a lack of memory may cause; {len(journal.done)} of "
            f"{plan.jobs} jobs are kept: resume with fewer workers"
        ) from error
    finally:
        _end(pool, journal)


def _end(pool: ProcessPoolExecutor, journal: Journal) -> None:
    for process in list((getattr(pool, "_processes", None) or {}).values()):
        process.terminate()  # a job under way is lost anyway; its draft is not a result
    pool.shutdown(wait=True, cancel_futures=True)
    journal.recount()  # a job may have been kept whose end was not heard of


def _as_completed(pool: ProcessPoolExecutor, numbers: list[int], waiting: int) -> Iterator[int]:
    """Yield the numbers of jobs as they end, with a bounded number of them on their way."""
    source, running = iter(numbers), set[Future[int]]()
    while True:
        while len(running) < waiting and (number := next(source, None)) is not None:
            running.add(pool.submit(_run_one, number))
        if not running:
            return
        ended, running = wait(running, return_when=FIRST_COMPLETED)
        for future in ended:
            yield future.result()


_opened: tuple[Worker, Path] | None = None  # of this worker process


def _open(plan: Plan, directory: Path) -> None:
    global _opened
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process decides
    _opened = plan.open(), directory


def _run_one(number: int) -> int:
    assert _opened is not None
    worker, directory = _opened
    write_shard(directory, number, worker.run(number, lambda: None))
    return number
