"""A server that dies is started again, so often and so late as is said."""

from __future__ import annotations

import pytest

from borzoi_rt.errors import BackendError
from borzoi_rt.serving.local.supervisor import STEADY_S, keep_running


class Mortal:
    """A server whose lives have given lengths in seconds; the last one is ended by Ctrl-C."""

    def __init__(self, *lives: float) -> None:
        self.lives, self.now, self.started, self.pauses = list(lives), 0.0, 0, list[float]()

    def start(self) -> None:
        self.started += 1

    def stop(self) -> None:
        pass

    def wait(self) -> int:
        if not self.lives:
            raise KeyboardInterrupt
        self.now += self.lives.pop(0)
        return -11

    def log_tail(self, lines: int = 25) -> str:
        return "the last words"

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def run(server: Mortal, restarts: int) -> list[str]:
    lines: list[str] = []
    keep_running(server, restarts=restarts, say=lines.append, sleep=server.sleep, clock=lambda: server.now)
    return lines


def test_it_is_given_up_after_so_many_starts() -> None:
    server = Mortal(*[1.0] * 9)
    with pytest.raises(BackendError, match=r"(?s)signal 11\), 4 times in a row; its log ends with:.*the last words"):
        run(server, 3)
    assert (server.started, server.pauses) == (3, [1, 2, 4])


def test_without_starts_the_first_end_is_the_last() -> None:
    server = Mortal(1.0)
    with pytest.raises(BackendError, match="1 times in a row"):
        run(server, 0)
    assert server.started == 0


def test_pauses_grow_to_a_bound_and_a_steady_server_begins_anew() -> None:
    server = Mortal(*[1.0] * 8, STEADY_S, 1.0)
    with pytest.raises(KeyboardInterrupt):
        run(server, 8)
    assert server.pauses == [1, 2, 4, 8, 16, 30, 30, 30, 1, 2]


def test_every_end_and_start_is_said() -> None:
    lines: list[str] = []
    server = Mortal(1.0)
    with pytest.raises(KeyboardInterrupt):
        keep_running(server, restarts=2, say=lines.append, sleep=server.sleep, clock=lambda: server.now)
    assert lines == ["Triton ended by itself (signal 11); start 1 of 2 follows in 1 s", "Triton is ready again"]
