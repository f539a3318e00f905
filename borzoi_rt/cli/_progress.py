"""How far a run is, on stderr: a bar on a terminal, a line now and then in a log, or JSON for a service."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click

from ._talk import at_terminal, in_json

EVERY_S = 30.0


class Reporter:
    """Takes the number of items, how many are done, tiles asked for and computed, and items read before their number is
    known; see :func:`progress_bar`.
    """

    def __init__(
        self,
        set_total: Callable[[int], None],
        set_done: Callable[[int], None],
        set_tiles: Callable[[int, int], None] = lambda asked, computed: None,
        set_read: Callable[[int], None] = lambda count: None,
    ) -> None:
        self.total, self.done, self.tiles, self.read = set_total, set_done, set_tiles, set_read


@contextmanager
def progress_bar(title: str, total: int | None = None, noun: str = "") -> Iterator[Reporter]:
    """Show on stderr how far a run is: a bar on a terminal, else a line every half minute; with speed and time left.

    Parameters
    ----------
    title : str
        What is being done: a word like ``scoring``.
    total : int, optional
        Number of items; None where only the run will know.
    noun : str
        What an item is, for the speed: ``variants``.
    """
    if at_terminal():
        with _bar(title, total, noun) as reporter:
            yield reporter
    else:
        lines = ProgressLines(title, total, noun=noun)
        yield Reporter(lines.set_total, lines.set_done, lines.set_tiles, lines.set_read)


@dataclass
class Pace:
    """How fast a run is: since its first call, for what an earlier run did took no time.

    Attributes
    ----------
    total : int or None
        Number of items.
    done : int
        Items done, those of an earlier run included.
    tiles, computed : int
        Tiles asked for, and of these computed.
    """

    total: int | None = None
    done: int = 0
    tiles: int = 0
    computed: int = 0
    _first: tuple[float, int] | None = None

    def set_done(self, done: int, now: float) -> None:
        """Take the number of items done at a moment."""
        self.done = done
        self._first = self._first or (now, done)
        self._now = now

    @property
    def rate(self) -> float | None:
        """Items a second; None before it is known."""
        started, before = self._first or (0.0, 0)
        return (self.done - before) / (self._now - started) if self.done > before and self._now > started else None

    @property
    def left_s(self) -> float | None:
        """Seconds left; None where they are not known."""
        return None if self.rate is None or self.total is None else (self.total - self.done) / self.rate

    @property
    def reused(self) -> float | None:
        """Share of tiles that were not computed again; None where there are no tiles."""
        return 1.0 - self.computed / self.tiles if self.tiles else None

    def words(self, noun: str) -> list[str]:
        """Return speed and use of the cache in words."""
        speed = [] if self.rate is None else [f"{self.rate:.3g} {noun}/s" if noun else f"{self.rate:.3g}/s"]
        return speed + ([] if self.reused is None else [f"{self.reused:.0%} of tiles from the cache"])


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
    noun : str
        What an item is.
    """

    def __init__(
        self, title: str, total: int | None, clock: Callable[[], float] | None = None, *, noun: str = ""
    ) -> None:
        self._title, self._noun = title, noun
        self._pace, self._reading = Pace(total), Pace()
        self._clock = clock or time.monotonic
        self._said_at = self._clock()

    def set_total(self, total: int) -> None:
        """Take the number of items."""
        self._pace.total = total

    def set_tiles(self, asked: int, computed: int) -> None:
        """Take how many tiles were asked for, and how many of these had to be computed."""
        self._pace.tiles, self._pace.computed = asked, computed

    def set_done(self, done: int) -> None:
        """Take the number of items done, those of an earlier run included, which say nothing about the speed."""
        self._said(self._title, self._pace, done)

    def set_read(self, count: int) -> None:
        """Take how many items were read so far; their number is not known yet."""
        self._said("reading", self._reading, count)

    def _said(self, title: str, pace: Pace, done: int) -> None:
        now = self._clock()
        pace.set_done(done, now)
        if now - self._said_at >= EVERY_S:
            self._said_at = now
            click.echo(json.dumps(self._fields(title, pace)) if in_json() else self._line(title, pace), err=True)

    def _fields(self, title: str, pace: Pace) -> dict[str, Any]:
        values = {"per_second": pace.rate, "seconds_left": pace.left_s, "tiles_from_cache": pace.reused}
        return {"event": "progress", "step": title, "done": pace.done, "total": pace.total, **values}

    def _line(self, title: str, pace: Pace) -> str:
        share = f"{pace.done}" if pace.total is None else f"{pace.done} of {pace.total}"
        left = [] if pace.left_s is None else [f"{duration(pace.left_s)} left"]
        return f"{title}: {', '.join([share, *pace.words(self._noun), *left])}"


def duration(seconds: float) -> str:
    """Return a duration in words: ``1 h 5 min``, ``2 min 3 s``, ``4 s``."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


@contextmanager
def _bar(title: str, total: int | None, noun: str) -> Iterator[Reporter]:
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
        TextColumn("{task.fields[pace]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
    )
    pace = Pace(total)
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total, pace="")

        def set_done(done: int) -> None:
            pace.set_done(done, time.monotonic())
            bar.update(task, completed=done, pace=", ".join(pace.words(noun)))

        def set_tiles(asked: int, computed: int) -> None:
            pace.tiles, pace.computed = asked, computed

        def set_read(count: int) -> None:
            bar.update(task, description="reading", completed=count)

        def set_total(count: int) -> None:
            bar.update(task, description=title, total=count, completed=pace.done)

        yield Reporter(set_total, set_done, set_tiles, set_read)
