"""What importing the package and asking the command line for help cost.

python -m benchmarks.imports
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from ._common import print_header, print_table

REPEATS = 15
_BESIDE_NUMPY = """
import time, numpy
start = time.perf_counter(), time.process_time()
import borzoi_rt, borzoi_rt.sequence, borzoi_rt.squash
print(time.perf_counter() - start[0], time.process_time() - start[1])
"""


def main() -> None:
    """Print the table: medians of fresh processes, the two measurements taking turns."""
    print_header("python -m benchmarks.imports")
    imports, helps = [], []
    for _ in range(REPEATS):
        imports.append(_output([sys.executable, "-c", _BESIDE_NUMPY]))
        start, cpu = time.perf_counter(), _children()
        _output([sys.executable, "-c", "from borzoi_rt.cli import run; run()", "--help"])
        helps.append((time.perf_counter() - start, _children() - cpu))
    beside = [tuple(1e3 * float(value) for value in text.split()) for text in imports]
    commands = [(1e3 * wall, 1e3 * processor) for wall, processor in helps]
    print_table(
        ("what", "wall ms", "cpu ms", "target ms"),
        [
            ("import borzoi_rt and its kernels, beside NumPy", *_medians(beside), 30),
            ("borzoi-rt --help, whole process", *_medians(commands), 350),
        ],
    )


def _medians(pairs: list[tuple[float, ...]]) -> tuple[float, float]:
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _children() -> float:
    import resource

    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
