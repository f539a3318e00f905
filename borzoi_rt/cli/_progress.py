"""How far a run is, on stderr: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

EVERY_S = 30.0


class Reporter:
    """Takes the number of items, how many are done, and tiles asked for and computed; see :func:`progress_bar`."""

    def __init__(self, set_total: Callable[[int], None], set_done: Callable[[int], None]) -> None:
        self.total, self.done = set_total, set_done

    def tiles(self, asked: int, computed: int) -> None:
        """Take how many tiles were asked for, and how many of these had to be computed."""


@contextmanager
def progress_bar(title: str, total: int | None = None) -> Iterator[Reporter]:
    """Show on stderr how far a run is: a bar with the time left on a terminal, else a line every half minute.

    Parameters
    ----------
    title : str
        What is being done: a word like ``scoring``.
    total : int, optional
        Number of items; None where only the run will know.
    """
    if sys.stderr.isatty():
        with _bar(title, total) as reporter:
            yield reporter
    else:
        lines = ProgressLines(title, total)
        yield Reporter(lines.set_total, lines.set_done)


class ProgressLines:
    """A line on stderr whenever half a minute has passed since the last one, with the time left as far as it is known.

    Parameters
    ----------
    title : str
        What is being done.
    total : int, optional
        Number of items.
    clock : callable, optional
        Seconds since any moment.
    """

    def __init__(self, title: str, total: int | None, clock: Callable[[], float] | None = None) -> None:
        self._title, self._total = title, total
        self._clock = clock or time.monotonic
        self._first: tuple[float, int] | None = None
        self._said_at = self._clock()

    def set_total(self, total: int) -> None:
        """Take the number of items."""
        self._total = total

    def set_done(self, done: int) -> None:
        """Take the number of items done, those of an earlier run included, which say nothing about the speed."""
        now = self._clock()
        self._first = self._first or (now, done)
        if now - self._said_at < EVERY_S:
            return
        self._said_at = now
        started, before = self._first
        left = ""
        if self._total is not None and done > before:
            left = f", {duration((now - started) / (done - before) * (self._total - done))} left"
        share = f"{done}" if self._total is None else f"{done} of {self._total}"
        click.echo(f"{self._title}: {share}{left}", err=True)


def duration(seconds: float) -> str:
    """Return a duration in words: ``1 h 5 min``, ``2 min 3 s``, ``4 s``."""
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
