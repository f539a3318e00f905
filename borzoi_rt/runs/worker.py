"""What a worker process does, whichever engine started it: open once, then one task after another."""

from __future__ import annotations

import pickle
from contextlib import suppress
from pathlib import Path

from ..errors import BackendError
from .journal import write_shard
from .plan import Plan, Worker
from .tasks import Task


class Hand:
    """A plan in a worker process, and where its results go.

    Parameters
    ----------
    plan : Plan
    directory : Path
        Of the journal.
    """

    def __init__(self, plan: Plan, directory: Path) -> None:
        self._plan, self._directory = plan, directory
        self._worker: Worker | None = None

    def open(self) -> Exception | None:
        """Open model and genome; return what went wrong, in a form that can be sent."""
        try:
            self._worker = self._plan.open()
        except Exception as error:
            return sendable(error)
        return None

    def do(self, task: Task) -> Exception | None:
        """Write the result of a task; return what went wrong."""
        assert self._worker is not None
        try:
            table = self._worker.run(task.number, lambda: None, task.part)
            write_shard(self._directory, task.number, table, task.part)
        except Exception as error:
            return sendable(error)
        return None

    @property
    def tiles(self) -> tuple[int, int]:
        """Tiles that were asked for, and of these computed."""
        return getattr(self._worker, "tiles", (0, 0))

    def close(self) -> None:
        """Free what was opened."""
        if self._worker is not None:
            self._worker.close()


def sendable(error: Exception) -> Exception:
    """Return an exception that survives the way to another process, with what it says."""
    with suppress(Exception):
        if str(pickle.loads(pickle.dumps(error))) == str(error):
            return error
    return BackendError(f"{type(error).__name__}: {error}")
