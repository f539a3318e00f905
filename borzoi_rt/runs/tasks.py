"""Which jobs are left while several processes work, and what becomes of one whose process was ended.

A process may be killed from outside, or by the row it works on. So its job is done again, then in halves; a row that
ends its process twice when it stands alone has status ``error``, and the rest of the job is kept. The verdict on a
row waits until some process has finished something after it: where every process ends, the machine is at fault.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..errors import BackendError
from .journal import Journal, join_parts, write_shard
from .plan import Plan

ENDED = "the process that computed it was ended each time"
_MOST_ENDED = 6  # in a row, and two more for each worker, none of which finished anything; one bad row ends three

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Task:
    """A job, or some of its units.

    Attributes
    ----------
    number : int
        Of the job.
    part : range or None
        Units; None is all of them.
    again : bool
        Whether a process was ended at it before.
    """

    number: int
    part: range | None = None
    again: bool = False


class Tasks:
    """The jobs of a run that are not done.

    Parameters
    ----------
    plan : Plan
    journal : Journal
    numbers : iterable of int
        Jobs to do.
    workers : int
        Processes that share them.
    """

    def __init__(self, plan: Plan, journal: Journal, numbers: Iterable[int], workers: int = 1) -> None:
        self._plan, self._journal = plan, journal
        self._most_ended = _MOST_ENDED + 2 * workers
        self._fresh = iter(numbers)
        self._waiting: deque[Task] = deque()
        self._parts: dict[int, list[range]] = {}  # of jobs in pieces: what is on disk
        self._verdicts: list[Task] = []
        self._ended = 0
        self.running = 0
        self.finished: list[int] = []  # jobs since last asked

    def next(self) -> Task | None:
        """Return what to do next; None where nothing is left that nobody does."""
        number = None if self._waiting else next(self._fresh, None)
        if not self._waiting and number is None:
            return None
        self.running += 1
        return self._waiting.popleft() if number is None else Task(number)

    @property
    def over(self) -> bool:
        """Whether nothing runs and nothing is left; rows that were given up are kept then."""
        if self.running or self._waiting:
            return False
        number = next(self._fresh, None)
        if number is not None:
            self._waiting.append(Task(number))
            return False
        self._judge()
        return True

    def done(self, task: Task) -> None:
        """Take note that the result of a task is on disk."""
        self.running -= 1
        self._ended = 0
        self._keep(task)
        self._judge()

    def ended(self, task: Task, how: str) -> None:
        """Decide what becomes of a task whose process was ended.

        Raises
        ------
        BackendError
            If processes end wherever they are.
        """
        self.running -= 1
        self._ended += 1
        if self._ended >= self._most_ended:
            raise BackendError(
                f"a worker process ended unexpectedly ({how}), and {self._ended} in a row, which a lack of memory may "
                f"cause; {len(self._journal.done)} of {self._plan.jobs} jobs are kept: resume with fewer workers"
            )
        units = range(self._plan.units(task.number)) if task.part is None else task.part
        if task.part is None and not task.again:
            log.warning("a worker process ended (%s); job %d is done again", how, task.number)
            self._waiting.append(replace(task, again=True))
        elif len(units) > 1:
            middle = units.start + len(units) // 2
            self._waiting += [Task(task.number, part) for part in (units[: len(units) // 2], range(middle, units.stop))]
        elif task.part is None or not task.again:  # it stands alone now, and may have been killed from outside before
            self._waiting.append(Task(task.number, units, again=True))
        else:
            self._verdicts.append(task)

    def _judge(self) -> None:
        """Write the rows of units that were given up."""
        for task in self._verdicts:
            assert task.part is not None
            log.warning("job %d: row %d ends its process; it has status error", task.number, task.part.start + 1)
            table = self._plan.failed(task.number, task.part.start, ENDED)
            write_shard(self._journal.directory, task.number, table, task.part)
            self._keep(task)
        self._verdicts.clear()

    def _keep(self, task: Task) -> None:
        """Count a result, and join the parts of a job once all are there."""
        if task.part is not None:
            parts = self._parts.setdefault(task.number, [])
            parts.append(task.part)
            if sum(map(len, parts)) < self._plan.units(task.number):
                return
            join_parts(self._journal.directory, task.number, sorted(parts, key=lambda part: part.start))
            del self._parts[task.number]
        self._journal.done.add(task.number)
        self.finished.append(task.number)

    def take_finished(self) -> list[int]:
        """Return the jobs that were finished since the last call."""
        found, self.finished = self.finished, []
        return found
