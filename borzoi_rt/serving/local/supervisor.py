"""Keep a server running: one that dies is started again, a bounded number of times, and every time it is said."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from ...errors import BackendError

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
STEADY_S = 600.0  # a server that ran for so long starts with a clean slate


class Server(Protocol):
    """What is kept running."""

    def start(self) -> None:
        """Start and wait until it is ready."""

    def stop(self) -> None:
        """End, and clean up after an end that came by itself."""

    def wait(self) -> int:
        """Wait for its end and return the status."""

    def log_tail(self, lines: int = 25) -> str:
        """Return what it said last."""


def keep_running(
    server: Server,
    *,
    restarts: int,
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Wait for a server that runs, and start it again whenever it ends by itself.

    Parameters
    ----------
    server : Server
        It runs already.
    restarts : int
        How often in a row it is started again; the count begins anew after ``STEADY_S`` seconds without an end.
    say : callable
        Told of every end and every start.
    sleep, clock : callable
        For tests.

    Raises
    ------
    BackendError
        When it has died once more than it may, or does not start.
    """
    died, pause, since = 0, FIRST_PAUSE_S, clock()
    while True:
        status = server.wait()
        if clock() - since >= STEADY_S:
            died, pause = 0, FIRST_PAUSE_S
        died += 1
        reason = _reason(status)
        if died > restarts:
            raise BackendError(
                f"Triton ended by itself ({reason}), {died} times in a row; its log ends with:\n{server.log_tail()}"
            )
        say(f"Triton ended by itself ({reason}); start {died} of {restarts} follows in {pause:g} s")
        sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_S)
        server.stop()
        server.start()
        since = clock()
        say("Triton is ready again")


def _reason(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"status {status}"
