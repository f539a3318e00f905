"""What the benchmarks share: the header that says where numbers come from, medians of interleaved runs, peak memory."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("borzoi-rt", "numpy", "onnxruntime", "torch", "borzoi-pytorch")


def header() -> str:
    """Return one line of hardware and one of versions."""
    model = "unknown CPU"
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    cores = len(os.sched_getaffinity(0))
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return f"{model}, {cores} cores, Python {platform.python_version()}\n{', '.join(found)}"


def interleaved(functions: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Run every function once a round, after one round of warm-up, and return the median seconds of each."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(rounds + 1):
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            if number:
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def peak_rss_gb() -> float:
    """Return the largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
