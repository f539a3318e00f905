"""What a run is: jobs with numbers, each a function of the plan and its number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import pyarrow as pa

Tick = Callable[[], None]


class Worker(Protocol):
    """A plan made ready in one process: model loaded, genome open.

    A fault of one unit (an allele, a site) becomes rows of status ``error``; what is raised ends the run.
    """

    def run(self, number: int, tick: Tick, part: range | None = None) -> pa.Table:
        """Return the result of a job, or of some of its units; ``tick`` is called after each of its items."""

    def close(self) -> None:
        """Free what was opened."""


class Plan(Protocol):
    """What is computed, in which order, and what identifies it; must be picklable for worker processes."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """JSON values that must be equal for results of an earlier run to be used again."""

    @property
    def jobs(self) -> int:
        """Number of jobs; they are numbered from 0."""

    def items(self, number: int) -> int:
        """Return how many items (alleles, windows, sites) a job holds."""

    def units(self, number: int) -> int:
        """Return into how many pieces a job can be cut, each of which gives rows of its own."""

    def open(self) -> Worker:
        """Open model and genome in this process."""

    def failed(self, number: int, unit: int, detail: str) -> pa.Table:
        """Return the rows, of status ``error``, of a unit that cannot be computed.

        Raises
        ------
        BackendError
            If results of this plan have no status.
        """
