"""What something took: time on the clock, and time of processors."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """Time.

    Attributes
    ----------
    seconds : float
        On the clock; on a machine that others use, of theirs too.
    processor_seconds : float
        Of all cores that were busy with it.
    """

    seconds: float = 0.0
    processor_seconds: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.seconds + other.seconds, self.processor_seconds + other.processor_seconds)

    def times(self, factor: float) -> Cost:
        """Return the same, so many times."""
        return Cost(factor * self.seconds, factor * self.processor_seconds)

    def beyond(self, other: Cost) -> Cost:
        """Return by how much this is more."""
        return Cost(max(0.0, self.seconds - other.seconds), max(0.0, self.processor_seconds - other.processor_seconds))


class Stopwatch:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self._started, self._processor = time.perf_counter(), time.process_time()

    @classmethod
    def of_process(cls) -> Stopwatch:
        """Return one that runs since this process was started, where the system says when; else since now."""
        watch = cls()
        watch._processor = 0.0
        with suppress(OSError, IndexError, ValueError):
            ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
            up = float(Path("/proc/uptime").read_text().split()[0])
            watch._started -= max(0.0, up - ticks / os.sysconf("SC_CLK_TCK"))
        return watch

    @property
    def cost(self) -> Cost:
        """What it shows."""
        return Cost(time.perf_counter() - self._started, time.process_time() - self._processor)
