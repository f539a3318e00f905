"""What the benchmarks share: header, interleaved timing, memory of a process and of a call."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from borzoi_export.models.borzoi import Borzoi

_PACKAGES = ("numpy", "onnxruntime", "torch")


def print_header(command: str) -> None:
    """Print the command, the processor, the cores this process may use, their load and the versions."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    print(f"command   {command}")
    print(f"hardware  {_processor()}, {len(os.sched_getaffinity(0))} cores, {_memory_gb():.0f} GB")
    print(f"load      {os.getloadavg()[0]:.1f} (1-minute average at the start)")
    print(f"versions  Python {platform.python_version()}, {versions}\n")


def print_table(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """Print rows of text and numbers, the first column to the left."""
    lines = [columns, *(tuple(_cell(value) for value in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(columns))]
    for line in lines:
        cells = [
            text.ljust(width) if not column else text.rjust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def interleaved(
    forms: Mapping[str, Callable[[], Any]], *, repeats: int = 15, clock: Callable[[], float] = time.process_time
) -> dict[str, float]:
    """Return the median seconds of each form; the forms take turns, so that a busy moment meets all of them.

    The default clock counts the processor time of this process: other programs on the machine do not enter it.
    """
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for repeat in range(repeats + 1):
        for name, form in forms.items():
            start = clock()
            form()
            if repeat:  # the first turn warms caches
                seconds[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def peak_bytes(call: Callable[[], Any]) -> int:
    """Return the most memory a call holds at once, as NumPy and Python report it."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def peak_rss_gb() -> float:
    """Return the peak resident memory of this process."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20


def in_own_process(module: str, *arguments: str, env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run a step of a benchmark in its own process; its last line of output is a JSON object."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{module} {arguments[0]} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _cell(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def random_network(params: Mapping[str, Any]) -> Borzoi:
    """Return a network whose every parameter takes part, as in a trained one: no bias or attention output is zero."""
    import torch
    from borzoi_export.models.borzoi import Borzoi
    from borzoi_export.models.config import BorzoiConfig

    torch.manual_seed(1)
    model = Borzoi(BorzoiConfig.from_params(params))
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith((".attention.out.weight", "content_bias", "position_bias")):
                tensor.normal_(0.0, 0.02)
            elif name.endswith(("running_mean", "bias")):
                tensor.normal_(0.0, 0.1)
            elif name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
    return model.eval()
