"""What a run will cost, before it costs anything: some of its units are computed and timed on this machine."""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import pyarrow as pa

from .journal import write_shard
from .plan import Plan, Worker
from .tally import Tally

SAMPLE_S = 10.0
_FEWEST = 4  # units, whatever they take
_STEP_S = 0.1
_STRETCHES = 8  # of adjacent units, spread over the run
_PROCESS_BYTES = 250e6  # the process that gives out the jobs
_PROCESS_S = 1.5  # until a worker process has started


@dataclass(frozen=True)
class Estimate:
    """What a run will cost.

    Attributes
    ----------
    jobs, items : int
        Jobs, and alleles, windows or sites.
    forwards : int
        Passes of the network, whole or from tiles.
    tiles, tiles_reused : int
        Tiles of the convolution tower that are asked for, and of these not computed again.
    flops : float or None
        Arithmetic, see :mod:`borzoi_rt.runs.flops`; None where the family of the network has no count.
    seconds : float
        From start to output, with ``workers`` processes that do not slow each other down.
    memory_bytes : int
        Of all processes.
    output_bytes : int
        Of the output.
    workers : int
    device : str
    sampled : int
        Units that were computed for this.
    sampled_seconds : float
        What they took.
    """

    jobs: int
    items: int
    forwards: int
    tiles: int
    tiles_reused: int
    flops: float | None
    seconds: float
    memory_bytes: int
    output_bytes: int
    workers: int
    device: str
    sampled: int
    sampled_seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


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


Shards = Callable[[], Iterator[pa.Table]]
Write = Callable[[Path, Shards], None]


@dataclass(frozen=True)
class Output:
    """What a run writes in the end.

    Attributes
    ----------
    name : str
    write : callable, optional
        Makes it of the results of jobs; None where it cannot be made of some of them.
    fixed_bytes : int
        Size of what does not grow with the results.
    """

    name: str
    write: Write | None = None
    fixed_bytes: int = 0


@dataclass
class _Sample:
    """Units that were computed: how many, in what time, and their tables."""

    units: int = 0
    seconds: float = 0.0
    tables: list[pa.Table] = field(default_factory=list)


def estimate_run(plan: Plan, output: Output, *, numbers: Sequence[int], workers: int) -> Estimate:
    """Compute and time some units of a run.

    Parameters
    ----------
    plan : Plan
        Its workers must be of the kind that is measured.
    output : Output
        What is made of it here is thrown away.
    numbers : sequence of int
        Jobs of the run.
    workers : int
        Processes that it will have.
    """
    units = sum(plan.units(number) for number in numbers)
    started = time.perf_counter()
    worker = cast("MeasuredWorker", plan.open())
    with closing(worker), tempfile.TemporaryDirectory() as name:
        opening_s = time.perf_counter() - started
        sample = _sample(plan, worker, numbers)
        share = units / max(sample.units, 1)
        tally, (held, bound) = worker.tally.times(share), worker.held_bytes
        shard_s, table_s, table_bytes = _written(Path(name), sample, output)
    computing_s = share * sample.seconds + len(numbers) * shard_s
    starting_s = opening_s + (_PROCESS_S if workers > 1 else 0.0)
    memory = _peak_bytes() + max(0.0, min(share * held, bound) - held)
    return Estimate(
        jobs=len(numbers),
        items=sum(plan.items(number) for number in numbers),
        forwards=round(tally.forwards),
        tiles=round(tally.tiles),
        tiles_reused=round(tally.tiles - tally.computed),
        flops=tally.flops,
        seconds=starting_s + computing_s / workers + share * table_s,
        memory_bytes=round(memory if workers == 1 else workers * memory + _PROCESS_BYTES),
        output_bytes=round(output.fixed_bytes + share * table_bytes),
        workers=workers,
        device=str(getattr(plan, "device", "")),
        sampled=sample.units,
        sampled_seconds=sample.seconds,
    )


def _sample(plan: Plan, worker: MeasuredWorker, numbers: Sequence[int]) -> _Sample:
    """Compute stretches of adjacent units, as they share tiles, from all over the run, until the time is used up."""
    sample = _Sample()
    count = min(_STRETCHES, len(numbers))
    chosen = [numbers[(2 * turn + 1) * len(numbers) // (2 * count)] for turn in range(count)]
    if chosen:
        worker.run(chosen[0], lambda: None, range(1))  # the first is slower than all others
        worker.forget()
    for turn, number in enumerate(chosen, start=1):
        start, stop = 0, plan.units(number)
        while start < stop and (sample.seconds < SAMPLE_S * turn / count or sample.units < _FEWEST * turn / count):
            step = max(1, int(_STEP_S * sample.units / sample.seconds)) if sample.seconds else 1
            part = range(start, min(start + step, stop))
            began = time.perf_counter()
            sample.tables.append(worker.run(number, lambda: None, part))
            sample.seconds += time.perf_counter() - began
            sample.units += len(part)
            start = part.stop
    return sample


def _written(folder: Path, sample: _Sample, output: Output) -> tuple[float, float, float]:
    """Return seconds of the result of a job, and seconds and bytes of the output of the sample."""
    if not sample.tables:
        return 0.0, 0.0, 0.0
    joined = pa.concat_tables(sample.tables).combine_chunks()
    shard_s = _timed(lambda: write_shard(folder, 0, joined))
    write, out = output.write, folder / output.name
    if write is None:
        return shard_s, 0.0, 0.0
    table_s = _timed(lambda: write(out, lambda: iter([joined])))
    return shard_s, table_s, out.stat().st_size


def _timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _peak_bytes() -> int:
    """Return the most memory this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
