"""How a run is made: device, processes or cluster, shards, resumption."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

from ..backends.cores import usable_cores
from ..backends.device import Device
from ..engine.sessions import EngineOptions
from ..errors import InputError
from ..plain import check_types
from .cost import Stopwatch
from .estimate import Estimate
from .executors import Progress
from .shards import Shard


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """How a run is made, not what it gives.

    Parameters
    ----------
    device : str or Device
        Where the model runs; see :func:`borzoi_rt.open_session`.
    threads : int, optional
        CPU threads inside one operator.
    engine : EngineOptions, optional
        Tiles and checks.
    workers : int
        Processes; each loads the model, and takes its share of the cores where ``threads`` is None.
    resume : bool
        Use what an interrupted run with the same input and options left.
    progress : callable, optional
        Called with the number of items done.
    total : callable, optional
        Called once with the number of items, as soon as it is known.
    reading : callable, optional
        Called now and then with the number of alleles read so far, before their total is known.
    tiles : callable, optional
        Called now and then with the number of tiles that were asked for, and of these computed.
    executor : str
        ``processes`` of this machine, or ``ray``; see :mod:`borzoi_rt.runs.ray`.
    address : str, optional
        Of a Ray cluster; one is started on this machine when None.
    shard : str or Shard, optional
        Do share I of N (``3/16``) alone, and leave it in the folder ``OUT.shard-I-of-N``.
    adopt : sequence of path
        Folders of all shards of the run, whose results are taken instead of computed.
    arguments : mapping, optional
        JSON values that a shard keeps, by which its run can be asked for again.
    estimate : callable, optional
        Called with what the run will cost, instead of running it: nothing is written.
    began : Stopwatch, optional
        Runs since the run was asked for, for the estimate; since these settings were made when None.
    """

    device: str | Device = "cpu"
    threads: int | None = None
    engine: EngineOptions | None = None
    workers: int = 1
    resume: bool = False
    progress: Progress | None = None
    total: Progress | None = None
    reading: Progress | None = None
    tiles: Callable[[int, int], None] | None = None
    executor: str = "processes"
    address: str | None = None
    shard: str | Shard | None = None
    adopt: Sequence[str | PathLike[str]] = ()
    arguments: Mapping[str, Any] | None = None
    estimate: Callable[[Estimate], None] | None = None
    began: Stopwatch | None = None

    def __post_init__(self) -> None:
        check_types(self)
        if self.workers < 1:
            raise InputError(f"workers is {self.workers}; 1 or more is needed")
        if self.chosen_shard is not None and self.adopt:
            raise InputError("shard makes a part of a run, adopt takes parts that are made: leave one of the two out")
        if self.estimate is not None and self.engine is not None and self.engine.tile_cache is not None:
            # An estimate writes nothing, and does not count on what an earlier run has left.
            object.__setattr__(self, "engine", replace(self.engine, tile_cache=None))
        if self.began is None:
            object.__setattr__(self, "began", Stopwatch())

    @property
    def chosen_shard(self) -> Shard | None:
        """The shard, read."""
        return None if self.shard is None else Shard.parse(self.shard)

    @property
    def worker_device(self) -> Device:
        """The device of one worker."""
        device = Device.parse(self.device, threads=self.threads)
        if self.workers > 1 and device.kind != "triton" and device.threads is None:
            return replace(device, threads=max(1, usable_cores() // self.workers))
        return device
