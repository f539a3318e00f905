"""Jobs in several processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from ..closing import Closing
from ..errors import BackendError
from .plan import Plan
from .tasks import Task, Tasks
from .worker import Hand

VISIBLE = "CUDA_VISIBLE_DEVICES"
_OPENINGS = 3  # ended one after the other: then the fault is not from outside
_GPUS = Path("/proc/driver/nvidia/gpus")
_GUARD = "; a script that starts workers needs `if __name__ == '__main__':` around its call" if sys.argv[0] else ""


class Processes(Closing):
    """Processes that take tasks, each replaced when it ends; a context manager that ends them all.

    Parameters
    ----------
    plan : Plan
        Sent to every process.
    directory : Path
        Of the journal.
    count : int
    gpus : sequence of str
        GPUs to be taken in turn, as ``CUDA_VISIBLE_DEVICES`` names them; none are chosen where it is empty.
    """

    def __init__(self, plan: Plan, directory: Path, count: int, gpus: Sequence[str] = ()) -> None:
        self._plan, self._directory, self._gpus = plan, directory, gpus
        # Not forked: a fork copies locks that threads of this process may hold.
        self._context = multiprocessing.get_context("spawn")
        self._members: list[_Member] = []
        self._unopened = 0
        self._gone = (0, 0)
        try:
            for number in range(count):
                self._members.append(self._hire(number))
        except BaseException:
            self.close()
            raise

    @property
    def tiles(self) -> tuple[int, int]:
        """Tiles that all processes asked for, and of these computed."""
        counts = [self._gone, *(member.tiles for member in self._members)]
        return sum(asked for asked, _ in counts), sum(computed for _, computed in counts)

    def step(self, tasks: Tasks) -> None:
        """Give out tasks, and wait until something is heard.

        Raises
        ------
        BackendError
            If processes end wherever they are.
        Exception
            What a process could not do, as it was raised there.
        """
        for member in self._members:
            if member.idle and (task := tasks.next()) is not None:
                member.give(task)
        heard = wait([member.connection for member in self._members])
        for number, member in enumerate(self._members):
            if member.connection in heard and not self._listen(member, tasks):
                self._members[number] = self._hire(number)

    def close(self) -> None:
        """End all processes; a job under way is lost, its draft is not a result."""
        for member in self._members:
            member.process.terminate()
        for member in self._members:
            member.process.join(10)
            if member.process.exitcode is None:
                member.process.kill()
                member.process.join()
            member.connection.close()

    def _hire(self, number: int) -> _Member:
        gpu = self._gpus[number % len(self._gpus)] if self._gpus else None
        return _Member(self._context, self._plan, self._directory, gpu)

    def _listen(self, member: _Member, tasks: Tasks) -> bool:
        """Hear what a process says; return whether it lives."""
        try:
            error, member.tiles = member.connection.recv()
        except (EOFError, OSError):
            self._bury(member, tasks)
            return False
        if error is not None:
            raise error
        if member.task is None:
            member.opened = True
            self._unopened = 0
        else:
            tasks.done(member.task)
            member.task = None
        return True

    def _bury(self, member: _Member, tasks: Tasks) -> None:
        member.process.join()
        member.connection.close()
        self._gone = self._gone[0] + member.tiles[0], self._gone[1] + member.tiles[1]
        how = _ending(member.process.exitcode)
        if not member.opened:
            self._unopened += 1
            if self._unopened >= _OPENINGS:
                raise BackendError(
                    f"worker processes end ({how}) before model and genome are open, which a lack of memory may cause: "
                    f"take fewer workers{_GUARD}"
                )
        elif member.task is not None:
            tasks.ended(member.task, how)


class _Member:
    """One process, and how to talk to it."""

    def __init__(self, context: Any, plan: Plan, directory: Path, gpu: str | None) -> None:
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, plan, directory, gpu), daemon=True)
        self.process.start()
        theirs.close()
        self.opened = False
        self.task: Task | None = None
        self.tiles = (0, 0)

    @property
    def idle(self) -> bool:
        return self.opened and self.task is None

    def give(self, task: Task) -> None:
        """Send a task; where the process has just ended, that is heard next and the task given to another."""
        self.task = task
        with suppress(OSError):
            self.connection.send(task)


def visible_gpus() -> list[str]:
    """Return the GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    named = os.environ.get(VISIBLE)
    if named is not None:
        return [name for name in named.split(",") if name.strip()]
    return [str(number) for number, _ in enumerate(_GPUS.iterdir())] if _GPUS.is_dir() else []


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"
    return f"exit code {code}"


def _serve(connection: Connection, plan: Plan, directory: Path, gpu: str | None) -> None:
    """Be a worker: open, then answer tasks until nobody is there to ask."""
    if gpu is not None:
        os.environ[VISIBLE] = gpu
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    hand = Hand(plan, directory)
    try:
        connection.send((hand.open(), (0, 0)))
        while True:
            task = connection.recv()
            connection.send((hand.do(task), hand.tiles))
    except (EOFError, OSError):
        return


def _end_with_parent() -> None:
    """End where the main process was killed: what a worker still wrote would meet the next run in its folder."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
