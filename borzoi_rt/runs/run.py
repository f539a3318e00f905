"""The jobs of a run, whichever way they are done: here, as one shard of several, or taken from finished shards."""

from __future__ import annotations

from pathlib import Path

from .executors import run_jobs
from .journal import Journal
from .plan import Plan
from .processes import visible_gpus
from .settings import RunSettings
from .shards import adopt_shards, finish_shard, shard_journal


def open_journal(out: Path, settings: RunSettings) -> Journal:
    """Open the journal of a run into ``out``, or of the shard that the settings name."""
    return shard_journal(out, settings.chosen_shard)


def do_jobs(plan: Plan, journal: Journal, settings: RunSettings) -> None:
    """Do the jobs of a plan that the settings name, as far as the journal lacks them, or take them from shards."""
    shard = settings.chosen_shard
    numbers = range(plan.jobs) if shard is None else shard.jobs(plan.jobs)
    if settings.total is not None:
        settings.total(sum(plan.items(number) for number in numbers))
    if settings.adopt:
        journal.begin(plan.identity, resume=journal.is_of(plan.identity))
        adopt_shards(journal, plan, [Path(folder) for folder in settings.adopt])
        return
    journal.begin(plan.identity, resume=settings.resume)
    run_jobs(
        plan,
        journal,
        workers=settings.workers,
        progress=settings.progress,
        numbers=numbers,
        executor=settings.executor,
        address=settings.address,
        tiles=settings.tiles,
        gpus=visible_gpus() if settings.device in ("cuda", "tensorrt") else (),  # with a number it is that one
    )


def is_shard(plan: Plan, journal: Journal, settings: RunSettings) -> bool:
    """Tell whether the run was one shard, whose journal is its result; it then has its final name."""
    shard = settings.chosen_shard
    if shard is None:
        return False
    finish_shard(journal, plan, shard, settings.arguments)
    return True
