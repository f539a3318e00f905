"""How a run is made: device, processes, resumption."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..backends.cores import usable_cores
from ..backends.device import Device
from ..engine.sessions import EngineOptions
from .executors import Progress


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
    """

    device: str | Device = "cpu"
    threads: int | None = None
    engine: EngineOptions | None = None
    workers: int = 1
    resume: bool = False
    progress: Progress | None = None
    total: Progress | None = None

    @property
    def worker_device(self) -> Device:
        """The device of one worker."""
        device = Device.parse(self.device, threads=self.threads)
        if self.workers > 1 and device.kind != "triton" and device.threads is None:
            return replace(device, threads=max(1, usable_cores() // self.workers))
        return device
