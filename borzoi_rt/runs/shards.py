"""A run in shards, each made anywhere, and the one output that is made of them.

A shard is a share of the jobs of a run. It leaves the folder ``OUT.shard-I-of-N``: a finished journal, and
``shard.json``, which says what was computed. Whoever has the inputs can make the output of all shards.
"""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import FormatError, InputError
from ..reading import read_json
from .identity import differences
from .journal import HEADER, Journal, write_whole
from .plan import Plan

ABOUT = "shard.json"
MOST_SHARDS = 1_000_000
_NAME = re.compile(r"(.+)\.shard-(\d+)-of-(\d+)")


@dataclass(frozen=True, slots=True)
class Shard:
    """Share ``number`` of ``count``, counted from 1: adjacent jobs, so that neighbours stay together."""

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count <= MOST_SHARDS:
            raise InputError(
                f"shard {self.number}/{self.count}: I/N with I from 1 to N, and N up to {MOST_SHARDS}, is needed"
            )

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @classmethod
    def parse(cls, text: str | Shard) -> Shard:
        """Read ``I/N``.

        Raises
        ------
        InputError
            If it has another form.
        """
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", str(text))
        if found is None:
            raise InputError(f"shard {text!r} cannot be read; write it like 3/16, the third of sixteen")
        return cls(int(found[1]), int(found[2]))

    def path(self, out: Path) -> Path:
        """Return the folder that the shard of an output leaves."""
        return out.with_name(f"{out.name}.shard-{self.number}-of-{self.count}")

    def jobs(self, total: int) -> range:
        """Return the numbers of its jobs."""
        return range(total * (self.number - 1) // self.count, total * self.number // self.count)


@dataclass(frozen=True)
class FinishedShard:
    """What a folder says of itself.

    Attributes
    ----------
    folder : Path
    shard : Shard
    jobs : range
        Numbers of the jobs whose results it holds.
    total : int
        Jobs of the whole run.
    arguments : dict
        What its maker was asked for, to be asked again.
    version : str
        Release that made it.
    """

    folder: Path
    shard: Shard
    jobs: range
    total: int
    arguments: dict[str, Any]
    version: str


def shard_journal(out: Path, shard: Shard | None) -> Journal:
    """Open the journal of a run, or of one shard of it.

    Raises
    ------
    InputError
        As :class:`Journal`, and where the name of the finished shard is taken by something else.
    """
    if shard is None:
        return Journal(out)
    folder = shard.path(out)
    if folder.exists() and not (folder / ABOUT).is_file():
        raise InputError(f"{folder}: is no shard of a run and is not written over; move it away")
    return Journal(folder)


def finish_shard(journal: Journal, plan: Plan, shard: Shard, arguments: Mapping[str, Any] | None) -> None:
    """Give the journal of a shard its final name."""
    jobs = shard.jobs(plan.jobs)
    about = {
        "borzoi_rt": __version__,
        "shard": [shard.number, shard.count],
        "jobs": [jobs.start, jobs.stop],
        "total": plan.jobs,
        "arguments": dict(arguments or {}),
    }
    write_whole(journal.directory / ABOUT, (json.dumps(about, indent=2) + "\n").encode())
    journal.move(journal.out)


def read_shard_folder(folder: Path) -> FinishedShard:
    """Read what a finished shard says of itself.

    Raises
    ------
    InputError
        If the folder holds none.
    FormatError
        If it cannot be read.
    """
    path = folder / ABOUT
    if not path.is_file():
        unfinished = folder.with_name(folder.name + ".partial")
        if unfinished.is_dir() or folder.name.endswith(".partial"):
            raise InputError(f"{folder}: is not finished; repeat the run of this shard with resume")
        beside = sorted(path.name for path in folder.parent.glob(f"{glob.escape(folder.name)}.shard-*-of-*"))
        hint = f"; beside it is {beside[0]}" if beside else ""
        raise InputError(f"{folder}: is no shard of a run; a folder like OUT.shard-1-of-4 is needed{hint}")
    try:
        held = read_json(path)
        start, stop = held["jobs"]
        shard, jobs, arguments = Shard(*held["shard"]), range(start, stop), dict(held["arguments"])
        return FinishedShard(folder, shard, jobs, int(held["total"]), arguments, str(held["borzoi_rt"]))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise FormatError(f"{path}: damaged ({error!r}); make this shard again") from error


def output_of(folder: Path) -> Path | None:
    """Return the output whose shard a folder is, by its name."""
    found = _NAME.fullmatch(folder.name)
    return folder.with_name(found[1]) if found else None


def adopt_finished(journal: Journal, identity: Mapping[str, Any], numbers: Iterable[int]) -> None:
    """Take the results of the same shard, where it was finished before: a scheduler may start it a second time."""
    folder = journal.out
    if not (folder / ABOUT).is_file() or differences(folder / HEADER, identity):
        return
    for number in numbers:
        journal.adopt(number, folder)


def adopt_shards(journal: Journal, plan: Plan, folders: Sequence[Path]) -> None:
    """Fill a journal with the results of shards; all of a run are needed, and of no other.

    Raises
    ------
    InputError
        If a shard was made with other inputs or options, or some are missing; says what differs and which.
    """
    shards = [read_shard_folder(folder) for folder in folders]
    for item in shards:
        changed = differences(item.folder / HEADER, plan.identity)
        if changed or item.total != plan.jobs:
            what = " and another ".join(changed) or "number of jobs"
            raise InputError(f"{item.folder}: was made with another {what}; merge shards of one run, inputs unchanged")
    held = {number: item.folder for item in shards for number in item.jobs}
    missing = sorted(set(range(plan.jobs)) - set(held))
    if missing:
        raise InputError(f"{_missing(shards, missing)}; make and name all shards of the run")
    for number, folder in sorted(held.items()):
        journal.adopt(number, folder)


def _missing(shards: Sequence[FinishedShard], jobs: Sequence[int]) -> str:
    """Say which shards are missing where all are of one division, else which jobs."""
    counts = {item.shard.count for item in shards}
    if len(counts) != 1:
        return f"{len(jobs)} jobs are in no shard, the first is job {jobs[0]}"
    count = counts.pop()
    numbers = set(range(1, count + 1)) - {item.shard.number for item in shards}
    lacking = [number for number in sorted(numbers) if Shard(number, count).jobs(shards[0].total)]
    names = ", ".join(f"{number}/{count}" for number in lacking[:10])
    more = f" and {len(lacking) - 10} more" if len(lacking) > 10 else ""
    return f"shard{'s' if len(lacking) > 1 else ''} {names}{more} missing"
