"""Latencies, with calls of known length: percentiles count what they say, and an open loop hides no waiting."""

from __future__ import annotations

import threading

import pytest

from borzoi_rt.errors import BackendError, InputError
from borzoi_rt.serving.latency import Latencies, closed_loop, open_loop


def test_percentiles_of_known_latencies() -> None:
    latencies = Latencies(tuple(number / 100 for number in range(101)), failed=0, elapsed_s=50.5)
    assert [latencies.percentile(share) for share in (50, 90, 99)] == pytest.approx([0.5, 0.9, 0.99])
    assert latencies.rate == 2.0  # 101 calls in 50.5 s


def test_every_number_is_called_once_and_failures_are_counted() -> None:
    called: list[int] = []

    def call(number: int) -> None:
        called.append(number)
        if number % 4 == 0:
            raise BackendError("refused")

    latencies = closed_loop(call, calls=22, concurrency=3)
    assert sorted(called) == list(range(22))
    assert (latencies.failed, len(latencies.seconds)) == (6, 16)  # 0, 4, ..., 20 fail


class Clock:
    """Time that passes only in calls."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def call(self, number: int) -> None:
        self.now += 20.0
        if number == 2:
            raise BackendError("refused")


def test_callers_of_a_closed_loop_are_there_at_once() -> None:
    """Five callers meet in every round, or the barrier breaks; a sixth would leave one waiting."""
    barrier = threading.Barrier(5, timeout=60)
    latencies = closed_loop(lambda _: barrier.wait(), calls=30, concurrency=5)
    assert (len(latencies.seconds), latencies.failed, barrier.n_waiting) == (30, 0, 0)


def test_a_closed_loop_counts_the_call_alone() -> None:
    clock = Clock()
    latencies = closed_loop(clock.call, calls=5, clock=clock)
    assert latencies == Latencies((20.0, 20.0, 20.0, 20.0), failed=1, elapsed_s=100.0)


def test_an_open_loop_counts_the_waiting() -> None:
    """Calls that are due at once, one caller: each waits for all before it, the refused one too."""
    clock = Clock()
    latencies = open_loop(clock.call, calls=5, rate=1e12, callers=1, clock=clock)
    assert latencies.seconds == pytest.approx((20.0, 40.0, 80.0, 100.0), rel=1e-6)
    assert (latencies.failed, latencies.elapsed_s) == (1, pytest.approx(100.0))


def test_a_defect_is_no_failure_of_the_server() -> None:
    with pytest.raises(ZeroDivisionError):
        closed_loop(lambda _: 1 // 0, calls=2)


@pytest.mark.parametrize(("calls", "rate"), [(0, 1.0), (1, 0.0)])
def test_loads_that_are_none_are_refused(calls: int, rate: float) -> None:
    with pytest.raises(InputError, match="positive numbers"):
        open_loop(lambda _: None, calls=calls, rate=rate)
