"""Latencies, with calls of known length: percentiles count what they say, and an open loop hides no waiting."""

from __future__ import annotations

import time

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


def test_callers_of_a_closed_loop_are_there_at_once() -> None:
    under_way, most = [0], [0]

    def call(_: int) -> None:
        under_way[0] += 1
        most[0] = max(most[0], under_way[0])
        time.sleep(0.01)
        under_way[0] -= 1

    closed_loop(call, calls=30, concurrency=5)
    assert most[0] == 5


def test_an_open_loop_counts_the_waiting() -> None:
    """One caller, calls of 20 ms, due every 2 ms on average: the last of 20 has waited for all before it."""
    latencies = open_loop(lambda _: time.sleep(0.02), calls=20, rate=500, callers=1)
    assert max(latencies.seconds) > 10 * 0.02  # a closed loop would say 0.02 for each


def test_a_defect_is_no_failure_of_the_server() -> None:
    with pytest.raises(ZeroDivisionError):
        closed_loop(lambda _: 1 // 0, calls=2)


@pytest.mark.parametrize(("calls", "rate"), [(0, 1.0), (1, 0.0)])
def test_loads_that_are_none_are_refused(calls: int, rate: float) -> None:
    with pytest.raises(InputError, match="positive numbers"):
        open_loop(lambda _: None, calls=calls, rate=rate)
