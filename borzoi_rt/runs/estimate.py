"""What a run will cost, before it costs anything: some of its units are computed and timed on this machine."""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from .cost import Cost, Stopwatch
from .journal import Journal
from .measure import Sample, measure_here, measure_together, peak_bytes
from .outputs import finish_output
from .plan import Plan
from .tally import Tally


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
        From start to output, on a machine that is as busy as now.
    processor_seconds : float
        Of all cores.
    memory_bytes : int
        Of all processes.
    output_bytes : int
        Of the output.
    workers : int
    measured_workers : int
        Processes that computed at the same time for this. Fewer than ``workers`` and jobs where they are on a cluster,
        or would not fit the free memory: then they are taken not to slow each other down.
    device : str
    units : int
        What is computed and kept by itself, of all jobs: an allele, a window, a block of bases.
    sampled : int
        Units that were computed for this; the others are taken to be like them.
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
    processor_seconds: float
    memory_bytes: int
    output_bytes: int
    workers: int
    measured_workers: int
    device: str
    units: int
    sampled: int
    sampled_seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


Shards = Callable[[], Iterator[pa.Table]]
Write = Callable[[Path, Shards], None]


@dataclass(frozen=True)
class Output:
    """What a run writes in the end.

    Attributes
    ----------
    name : str
    write : callable, optional
        Makes it of the results of some of the jobs; None where nothing is made.
    size : int, optional
        Bytes, where they are known beforehand.
    least : int
        How many results ``write`` needs.
    times : float
        By how much the output is larger than what ``write`` makes.
    finish : callable
        Gives it its name: :func:`borzoi_rt.runs.outputs.finish_output`, or ``finish_directory``.
    """

    name: str
    write: Write | None = None
    size: int | None = None
    least: int = 0
    times: float = 1.0
    finish: Callable[[Path, Journal, Callable[[Path], None]], None] = finish_output


def estimate_run(
    plan: Plan, output: Output, *, numbers: Sequence[int], workers: int, until_here: Cost, gpus: Sequence[str] | None
) -> Estimate:
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
    until_here : Cost
        What was done already and the run will do too: the start of the program, reading the input.
    gpus : sequence of str, optional
        Of the workers, see :func:`borzoi_rt.runs.processes.visible_gpus`. None: they are not of this machine, and one
        stands for all.
    """
    here, busy = workers == 1 and gpus is not None, max(1, min(workers, len(numbers)))
    if here:
        samples = [measure_here(plan, numbers)]
    else:
        samples = measure_together(plan, numbers, 1 if gpus is None else busy, gpus or ())
    units, sampled = sum(plan.units(number) for number in numbers), sum(sample.units for sample in samples)
    share = units / max(sampled, 1)
    tally = Tally.sum(sample.tally for sample in samples).times(share)
    writing, size = _written(samples[0], output, units=units, jobs=len(numbers))
    cost = until_here + _working(plan, samples, numbers, busy) + writing
    return Estimate(
        jobs=len(numbers),
        items=sum(plan.items(number) for number in numbers),
        forwards=round(tally.forwards),
        tiles=round(tally.tiles),
        tiles_reused=round(tally.tiles - tally.computed),
        flops=tally.flops,
        seconds=cost.seconds,
        processor_seconds=cost.processor_seconds,
        memory_bytes=_memory(samples, 0 if here else busy, share),
        output_bytes=size,
        workers=workers,
        measured_workers=len(samples),
        device=str(getattr(plan, "device", "")),
        units=units,
        sampled=sampled,
        sampled_seconds=max(sample.computing.seconds for sample in samples),
    )


def _working(plan: Plan, samples: Sequence[Sample], numbers: Sequence[int], workers: int) -> Cost:
    """Return what the workers take: they start at once, and each takes the next job when it is done with one."""
    loads = [0] * workers
    for number in numbers:
        heapq.heapreplace(loads, loads[0] + plan.units(number))
    units, opening = sum(loads), [sample.opening + sample.first for sample in samples]
    each = Cost(
        sum(sample.computing.seconds for sample in samples) / max(1, sum(sample.units for sample in samples)),
        sum(sample.computing.processor_seconds for sample in samples) / max(1, sum(sample.units for sample in samples)),
    )
    seconds = max(cost.seconds for cost in opening) + max(loads) * each.seconds
    processor = workers * sum(cost.processor_seconds for cost in opening) / len(opening)
    return samples[0].closing + Cost(seconds, processor + units * each.processor_seconds)


def _memory(samples: Sequence[Sample], workers: int, share: float) -> int:
    """Return the bytes of all processes when their caches are full; without workers, of this one."""
    grown = [
        sample.peak_bytes + max(0.0, min(share * sample.held[0], sample.held[1]) - sample.held[0]) for sample in samples
    ]
    each = sum(grown) / len(grown)
    return round(workers * each + peak_bytes() if workers else each)


def _written(sample: Sample, output: Output, *, units: int, jobs: int) -> tuple[Cost, int]:
    """Keep the results of a sample as a run does and finish its output of them; return what all will take, and bytes.

    The output is made twice, of as little as can be and of the sample: what it takes whatever is in it counts once.
    """
    results = _as_jobs(sample, max(1, round(units / max(jobs, 1))))
    least = _Finished.of(results[: output.least], output)
    whole = _Finished.of(results, output)
    keeping = whole.keeping.times(jobs / max(len(results), 1))
    size = output.size
    if size is None:
        size = round(output.times * _line((least.units, least.size), (whole.units, whole.size), units))
    seconds, processor_seconds = (
        _line((least.units, getattr(least.cost, name)), (whole.units, getattr(whole.cost, name)), units)
        for name in ("seconds", "processor_seconds")
    )
    return keeping + Cost(seconds, processor_seconds).times(output.times), size


def _line(low: tuple[int, float], high: tuple[int, float], units: int) -> float:
    """Return the value at ``units`` on the line through two points; in proportion to the second where they are one."""
    (few, fewer), (many, more) = low, high
    if many > few:
        return more + max(0.0, more - fewer) / (many - few) * (units - many)
    return more * (units / many if many else 1.0)


def _as_jobs(sample: Sample, size: int) -> list[tuple[int, pa.Table]]:
    """Put results together to about as many units as a job has."""
    found: list[tuple[int, pa.Table]] = []
    held: list[pa.Table] = []
    units = 0
    for number, (count, table) in enumerate(sample.tables, start=1):
        held.append(table)
        units += count
        if units >= size or number == len(sample.tables):
            found.append((units, pa.concat_tables(held).combine_chunks()))
            held, units = [], 0
    return found


@dataclass(frozen=True)
class _Finished:
    """An output that was made and thrown away: of how many units, what that took, and how large it was."""

    units: int
    keeping: Cost
    cost: Cost
    size: int

    @classmethod
    def of(cls, results: Sequence[tuple[int, pa.Table]], output: Output) -> _Finished:
        """Make it."""
        with (
            tempfile.TemporaryDirectory(prefix="borzoi-rt-plan-") as name,
            Journal(Path(name) / output.name) as journal,
        ):
            journal.begin({}, resume=False)
            watch = Stopwatch()
            for number, (_, table) in enumerate(results):
                journal.add(number, table)
            keeping, size = watch.cost, _bytes_of(journal.directory)
            watch = Stopwatch()
            for _ in journal.tables():  # statuses are counted
                pass
            write = output.write
            if write is not None:
                output.finish(journal.out, journal, lambda draft: write(draft, journal.tables))
                size = _bytes_of(journal.out)
            return cls(sum(units for units, _ in results), keeping, watch.cost, size)


def _bytes_of(path: Path) -> int:
    files = (item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path]
    return sum(item.stat().st_size for item in files)
