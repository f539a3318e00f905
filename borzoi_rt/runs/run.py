"""The jobs of a run, whichever way they are done: here, as one shard of several, or taken from finished shards.

A run may also be estimated only: then its journal lies in a folder that is thrown away.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .estimate import Estimate, Output, estimate_run
from .executors import run_jobs
from .journal import Journal
from .plan import Plan
from .processes import visible_gpus
from .settings import RunSettings
from .shards import adopt_finished, adopt_shards, finish_shard, shard_journal


def open_journal(out: Path, settings: RunSettings) -> Journal:
    """Open the journal of a run into ``out``, of the shard that the settings name, or of an estimate."""
    if settings.estimate is not None:
        return _ThrownAway(out.name)
    return shard_journal(out, settings.chosen_shard)


class _ThrownAway(Journal):
    """A journal in a folder of its own, which goes with it."""

    def __init__(self, name: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="borzoi-rt-plan-")
        super().__init__(Path(self._folder.name) / name)

    def __exit__(self, *how: Any) -> None:
        try:
            super().__exit__(*how)
        finally:
            self._folder.cleanup()


def do_jobs(plan: Plan, journal: Journal, settings: RunSettings) -> None:
    """Do the jobs of a plan that the settings name, as far as the journal lacks them, or take them from shards."""
    numbers = _numbers(plan, settings)
    if settings.total is not None:
        settings.total(sum(plan.items(number) for number in numbers))
    if settings.estimate is not None:
        return
    if settings.adopt:
        journal.begin(plan.identity, resume=journal.is_of(plan.identity))
        adopt_shards(journal, plan, [Path(folder) for folder in settings.adopt])
        return
    journal.begin(plan.identity, resume=settings.resume)
    if settings.resume:
        adopt_finished(journal, plan.identity, numbers)
    run_jobs(
        plan,
        journal,
        workers=settings.workers,
        progress=settings.progress,
        numbers=numbers,
        executor=settings.executor,
        address=settings.address,
        tiles=settings.tiles,
        gpus=_gpus(settings),
    )


def is_over(plan: Plan, journal: Journal, settings: RunSettings, output: Output) -> bool:
    """Tell whether there is no output to write: of a shard, which now has its final name, or of an estimate."""
    if settings.estimate is not None:
        settings.estimate(_estimate(plan, settings, output))
        return True
    shard = settings.chosen_shard
    if shard is None:
        return False
    finish_shard(journal, plan, shard, settings.arguments)
    return True


def _estimate(plan: Plan, settings: RunSettings, output: Output) -> Estimate:
    """Estimate a run, or a shard, which writes no output."""
    assert settings.began is not None
    return estimate_run(
        plan,
        output if settings.chosen_shard is None else Output(output.name),
        numbers=_numbers(plan, settings),
        workers=settings.workers,
        until_here=settings.began.cost,
        gpus=_gpus(settings) if settings.executor == "processes" else None,
    )


def _gpus(settings: RunSettings) -> Sequence[str]:
    """Return the GPUs that workers take in turn; of a device with a number it is that one."""
    return visible_gpus() if settings.device in ("cuda", "tensorrt") else ()


def _numbers(plan: Plan, settings: RunSettings) -> Sequence[int]:
    shard = settings.chosen_shard
    return range(plan.jobs) if shard is None else shard.jobs(plan.jobs)
