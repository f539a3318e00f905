"""All benchmarks one after another: ``python -m benchmarks.run [--peer DIR]``; about half an hour, 9 GB.

``--peer`` is a directory in which ``pip install --target`` has put borzoi-pytorch. Outputs go to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
SCRIPTS = ("imports", "kernels", "trained", "dft", "full_size")


def main() -> None:
    """Run every script in a process of its own and keep what it prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--only", choices=SCRIPTS, action="append", help="some of them")
    options = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    for script in options.only or SCRIPTS:
        extra = ["--peer", str(options.peer)] if script == "full_size" and options.peer else []
        command = [sys.executable, "-m", f"benchmarks.{script}", *extra]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        sys.stdout.write(done.stdout)
        if done.returncode:
            raise SystemExit(f"benchmarks.{script} failed:\n{done.stderr[-2000:]}")
        (RESULTS / f"{script}-{len(os.sched_getaffinity(0))}core-cpu.txt").write_text(done.stdout, encoding="utf-8")


if __name__ == "__main__":
    main()
