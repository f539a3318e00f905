"""Latencies of a function under load: closed loop (so many callers) and open loop (so many calls a second)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ..errors import BorzoiError, InputError

PERCENTILES = (50, 90, 99)
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Latencies:
    """Seconds of every call that was answered, how many failed, and how long the whole took."""

    seconds: tuple[float, ...]
    failed: int
    elapsed_s: float

    def percentile(self, share: float) -> float:
        """Return the latency that so many percent of the calls kept within; NaN without calls."""
        return float(np.percentile(self.seconds, share)) if self.seconds else float("nan")

    @property
    def rate(self) -> float:
        """Calls answered a second."""
        return len(self.seconds) / self.elapsed_s if self.elapsed_s > 0 else 0.0


def closed_loop(
    call: Callable[[int], object], *, calls: int, concurrency: int = 1, clock: Clock = time.perf_counter
) -> Latencies:
    """Let some callers call again as soon as they have their answer.

    Parameters
    ----------
    call : callable
        Takes the number of the call; an error of this package counts as a failure.
    calls, concurrency : int
        How many calls, and how many callers share them.
    clock : callable
        Seconds since any moment.
    """
    if calls < 1 or concurrency < 1:
        raise InputError(f"{calls} calls by {concurrency} callers: positive numbers are needed")
    numbers, lock = iter(range(calls)), threading.Lock()
    seconds: list[float] = []
    failed = [0]

    def caller() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            _timed(call, number, clock(), seconds, failed, lock, clock)

    started = clock()
    with ThreadPoolExecutor(concurrency) as pool:
        for future in [pool.submit(caller) for _ in range(concurrency)]:
            future.result()
    return Latencies(tuple(seconds), failed[0], clock() - started)


def open_loop(
    call: Callable[[int], object],
    *,
    calls: int,
    rate: float,
    callers: int = 64,
    seed: int = 0,
    clock: Clock = time.perf_counter,
) -> Latencies:
    """Call at random moments, ``rate`` a second on average, whether or not earlier calls are answered.

    A latency counts from the moment the call was due: a server that falls behind cannot hide it.

    Parameters
    ----------
    call, calls
        As in :func:`closed_loop`.
    rate : float
        Calls a second; the gaps are exponential.
    callers : int
        Most calls under way at once; what is due beyond waits, and the waiting counts.
    seed : int
        Random seed by which the moments are drawn.
    clock : callable
        Seconds since any moment.
    """
    if calls < 1 or rate <= 0:
        raise InputError(f"{calls} calls at {rate} a second: positive numbers are needed")
    moments = np.cumsum(np.random.default_rng(seed).exponential(1.0 / rate, calls))
    seconds: list[float] = []
    failed, lock = [0], threading.Lock()
    started = clock()
    with ThreadPoolExecutor(callers) as pool:
        futures = []
        for number, moment in enumerate(moments):
            time.sleep(max(0.0, started + moment - clock()))
            futures.append(pool.submit(_timed, call, number, started + moment, seconds, failed, lock, clock))
        for future in futures:
            future.result()
    return Latencies(tuple(seconds), failed[0], clock() - started)


def _timed(
    call: Callable[[int], object],
    number: int,
    since: float,
    seconds: list[float],
    failed: list[int],
    lock: threading.Lock,
    clock: Clock,
) -> None:
    try:
        call(number)
    except BorzoiError:
        with lock:
            failed[0] += 1
        return
    with lock:
        seconds.append(clock() - since)
