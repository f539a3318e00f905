"""Options and progress that several commands share."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from ..engine.sessions import EngineOptions

bundle_option = click.option(
    "--bundle", required=True, type=click.Path(path_type=Path), help="Bundle directory made by `borzoi-rt export`."
)
fasta_option = click.option(
    "--fasta", required=True, type=click.Path(path_type=Path), help="Indexed genome, plain or bgzip FASTA."
)
device_option = click.option(
    "--device",
    default="cpu",
    show_default=True,
    metavar="DEVICE",
    help="Where the model runs: cpu, cpu:THREADS, cuda[:N], tensorrt[:N], or triton:grpc://HOST:PORT/MODEL.",
)
threads_option = click.option("--threads", type=click.IntRange(min=1), help="CPU threads [default: all usable cores].")
tracks_option = click.option(
    "--tracks", help="Tracks: comma list of ids or numbers, @FILE with one a line, or a regular expression."
)
rc_option = click.option("--rc", is_flag=True, default=None, help="Average with the reverse complement.")


resume_option = click.option(
    "--resume", is_flag=True, help="Go on where an interrupted run with the same input and options stopped."
)
workers_option = click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes that share the work; each loads the model.",
)


def run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add device, processes, tiles and resumption: how a run is made, not what it gives; see :func:`take_run`."""
    for option in (
        resume_option,
        workers_option,
        click.option("--fused/--no-fused", default=None, help="Sum over bins inside the graph  [default: on GPUs]."),
        click.option(
            "--verify-fraction",
            type=float,
            default=0.0,
            show_default=True,
            help="Share of windows that is computed by a whole pass too; a difference ends the run.",
        ),
        click.option("--tile-cache", type=click.Path(path_type=Path), help="Folder that keeps tiles between runs."),
        click.option("--full", is_flag=True, help="Whole passes: share nothing between variants."),
        threads_option,
        device_option,
    ):
        command = option(command)
    return command


def take_run(choices: dict[str, Any]) -> dict[str, Any]:
    """Take the options of :func:`run_options` out of a command's arguments, as fields of ``RunSettings``."""
    engine = EngineOptions(**{name: choices.pop(name) for name in ("full", "tile_cache", "verify_fraction", "fused")})
    return {"engine": engine, **{name: choices.pop(name) for name in ("device", "threads", "workers", "resume")}}


def say_counts(counts: Counter[str], noun: str, out: Path) -> None:
    """Say on stderr how many had which status."""
    parts = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    click.echo(f"{counts.total()} {noun}: {parts} -> {out}", err=True)


def say_notes(notes: Sequence[str]) -> None:
    """Say on stderr where the options depart from what the bundle says."""
    for note in notes:
        click.echo(f"note: {note}", err=True)


class IntegerList(click.ParamType):
    """A comma list of integers, like ``0,1,-1``."""

    name = "integers"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the integers; click shows the error."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a comma list of integers, like 0,1,-1", param, ctx)


shifts_option = click.option("--shifts", type=IntegerList(), help="Shifts in bp, like 0,1,-1  [default: 0].")


class Reporter:
    """Takes the number of items, once it is known, and how many are done; see :func:`progress_bar`."""

    def __init__(self, set_total: Callable[[int], None], set_done: Callable[[int], None]) -> None:
        self.total, self.done = set_total, set_done


@contextmanager
def progress_bar(title: str, total: int | None = None) -> Iterator[Reporter]:
    """Show on stderr how far a run is: a bar with the time left on a terminal, else a line every half minute."""
    if sys.stderr.isatty():
        with _bar(title, total) as reporter:
            yield reporter
    else:
        lines = _Lines(title, total)
        yield Reporter(lines.set_total, lines.set_done)


class _Lines:
    """A line now and then, for logs."""

    _EVERY_S = 30.0

    def __init__(self, title: str, total: int | None) -> None:
        self._title, self._total = title, total
        self._first: tuple[float, int] | None = None
        self._said = time.monotonic()

    def set_total(self, total: int) -> None:
        self._total = total

    def set_done(self, done: int) -> None:
        now = time.monotonic()
        self._first = self._first or (now, done)
        if now - self._said < self._EVERY_S:
            return
        self._said = now
        started, before = self._first
        left = ""
        if self._total is not None and done > before:
            left = f", {_duration((now - started) / (done - before) * (self._total - done))} left"
        share = f"{done}" if self._total is None else f"{done} of {self._total}"
        click.echo(f"{self._title}: {share}{left}", err=True)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


@contextmanager
def _bar(title: str, total: int | None) -> Iterator[Reporter]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total)
        yield Reporter(
            lambda count: bar.update(task, total=count),
            lambda done: bar.update(task, completed=done),
        )
