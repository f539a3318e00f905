"""Some units of a run, computed and timed on this machine, in as many processes as the run will have."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol, cast

import pyarrow as pa

from ..errors import BackendError
from .cost import Cost, Stopwatch
from .plan import Plan, Worker
from .processes import VISIBLE
from .tally import Tally
from .worker import sendable

SAMPLE_S = 10.0
_FEWEST = 4  # units, whatever they take
_STEP_S = 0.1
_STRETCHES = 8  # of adjacent units, spread over the run
_KEPT_BYTES = 256 * 2**20  # of results
_OPEN = "open"


class MeasuredWorker(Worker, Protocol):
    """A worker that knows what it has done."""

    @property
    def tally(self) -> Tally:
        """What was computed since it was opened, or told to forget."""

    @property
    def held_bytes(self) -> tuple[int, int]:
        """Bytes of its cache, and their bound."""

    def forget(self) -> None:
        """Empty cache and tally."""


@dataclass
class Sample:
    """Units that one process computed.

    Attributes
    ----------
    opening : Cost
        Until model and genome were open; in a process of its own with the start of that.
    first : Cost
        How much longer the first unit took than it took when it was repeated.
    closing : Cost
    computing : Cost
    units : int
    tables : list of (int, Table)
        Results of the first units, and of how many each is.
    tally : Tally
    held : tuple of int
        Bytes of the cache, and their bound.
    peak_bytes : int
        Most memory that the process has held.
    """

    opening: Cost = field(default_factory=Cost)
    first: Cost = field(default_factory=Cost)
    closing: Cost = field(default_factory=Cost)
    computing: Cost = field(default_factory=Cost)
    units: int = 0
    tables: list[tuple[int, pa.Table]] = field(default_factory=list)
    tally: Tally = field(default_factory=lambda: Tally(0, 0, 0, None))
    held: tuple[int, int] = (0, 0)
    peak_bytes: int = 0


def measure_here(plan: Plan, numbers: Sequence[int]) -> Sample:
    """Compute and time some units of jobs in this process."""
    found = Sample()
    watch = Stopwatch()
    worker = cast("MeasuredWorker", plan.open())
    with closing(worker):
        found.opening = watch.cost
        _warm_up(worker, numbers, found)
        _compute(plan, worker, numbers, found)
        found.tally, found.held, found.peak_bytes = worker.tally, worker.held_bytes, peak_bytes()
        watch = Stopwatch()
    found.closing = watch.cost
    return found


def measure_together(plan: Plan, numbers: Sequence[int], count: int, gpus: Sequence[str] = ()) -> list[Sample]:
    """Compute and time some units in processes of this machine that work at the same time.

    The first is alone until its first unit is computed. Where as many as are asked for would not fit the memory that is
    free then, it stays alone.

    Parameters
    ----------
    plan : Plan
    numbers : sequence of int
        Jobs.
    count : int
        Processes; no more than there are jobs.
    gpus : sequence of str
        GPUs that they take in turn.

    Raises
    ------
    BackendError
        If a process ends.
    Exception
        What a process could not do, as it was raised there.
    """
    context = multiprocessing.get_context("spawn")  # as workers are
    with closing(_Members()) as members:

        def hire(number: int) -> None:
            gpu = gpus[number % len(gpus)] if gpus else None
            members.start(context, (plan, numbers[number::count], gpu, not number))

        hire(0)
        peak = members.heard(0)
        free = _free_bytes()
        if free is None or (count - 1) * peak < free:
            for number in range(1, count):
                hire(number)
            for number in range(1, count):
                members.heard(number)
        members.go()
        samples = [cast("Sample", members.heard(number)) for number in range(len(members))]
        watch = Stopwatch()
    samples[0].closing = watch.cost
    for sample, seconds in zip(samples, members.seconds, strict=True):
        sample.opening = Cost(seconds, sample.opening.processor_seconds)
    return samples


class _Members:
    """Processes that measure."""

    def __init__(self) -> None:
        self._held: list[tuple[Any, Connection, float]] = []
        self.seconds: list[float] = []

    def __len__(self) -> int:
        return len(self._held)

    def start(self, context: Any, given: tuple[Any, ...]) -> None:
        ours, theirs = context.Pipe()
        began = time.perf_counter()
        process = context.Process(target=_serve, args=(theirs, *given), daemon=True)
        process.start()
        theirs.close()
        self._held.append((process, ours, began))

    def heard(self, number: int) -> Any:
        """Return what a process says next; when it is open is noted."""
        process, connection, began = self._held[number]
        try:
            found = connection.recv()
            if found == _OPEN:
                self.seconds.append(time.perf_counter() - began)
                found = connection.recv()
        except EOFError:
            process.join()
            raise BackendError(
                f"a process that measured ended unexpectedly (exit code {process.exitcode}), which a lack of memory "
                "may cause: take fewer workers"
            ) from None
        if isinstance(found, Exception):
            raise found
        return found

    def go(self) -> None:
        for _, connection, _ in self._held:
            with suppress(OSError):
                connection.send(None)

    def close(self) -> None:
        for process, connection, _ in self._held:
            process.terminate()
            process.join()
            connection.close()


def _serve(connection: Connection, plan: Plan, numbers: Sequence[int], gpu: str | None, first: bool) -> None:
    """Open, say so, compute a first unit, say what memory that took, wait for the others, and measure."""
    if gpu is not None:
        os.environ[VISIBLE] = gpu
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        found = Sample()
        worker = cast("MeasuredWorker", plan.open())
        found.opening = Cost(0.0, time.process_time())
        connection.send(_OPEN)
        _warm_up(worker, numbers, found)
        connection.send(peak_bytes())
        connection.recv()
        _compute(plan, worker, numbers, found)
        found.tally, found.held, found.peak_bytes = worker.tally, worker.held_bytes, peak_bytes()
        if not first:
            found.tables = []
        connection.send(found)
    except (EOFError, OSError):
        return
    except Exception as error:
        with suppress(OSError):
            connection.send(sendable(error))


def _warm_up(worker: MeasuredWorker, numbers: Sequence[int], found: Sample) -> None:
    """Compute the first unit, which takes longer than any other, and forget it."""
    if not numbers:
        return
    watch = Stopwatch()
    worker.run(_chosen(numbers)[0], lambda: None, range(1))
    found.first = watch.cost
    worker.forget()


def _chosen(numbers: Sequence[int]) -> list[int]:
    """Return jobs from all over the run."""
    count = min(_STRETCHES, len(numbers))
    return [numbers[(2 * turn + 1) * len(numbers) // (2 * count)] for turn in range(count)]


def _compute(plan: Plan, worker: MeasuredWorker, numbers: Sequence[int], found: Sample) -> None:
    """Compute stretches of adjacent units, as they share tiles, until the time is used up."""
    chosen, room = _chosen(numbers), _KEPT_BYTES
    for turn, number in enumerate(chosen, start=1):
        start, stop = 0, plan.units(number)
        while start < stop and (
            found.computing.seconds < SAMPLE_S * turn / len(chosen) or found.units < _FEWEST * turn / len(chosen)
        ):
            seconds = found.computing.seconds
            step = max(1, int(_STEP_S * found.units / seconds)) if seconds else 1
            part = range(start, min(start + step, stop))
            watch = Stopwatch()
            table = worker.run(number, lambda: None, part)
            took = watch.cost
            if room > 0:
                found.tables.append((len(part), table))
                room -= table.nbytes
            if not found.units:  # the same unit once more
                found.first = found.first.beyond(took)
            found.computing += took
            found.units += len(part)
            start = part.stop


def peak_bytes() -> int:
    """Return the most memory this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _free_bytes() -> int | None:
    """Return the memory that programs could take, where the system says it."""
    with suppress(OSError, IndexError, ValueError):
        return 1024 * int(Path("/proc/meminfo").read_text().split("MemAvailable:")[1].split()[0])
    return None
