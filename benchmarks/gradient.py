"""The gradient at the published size: export with its gate, then memory and time of a forward pass and of gradients.

Random weights (seeded), 524,288 bp, 89 tracks, a target of 200 bins. Saliency is a forward pass for the cotangent and
the way back; the ratio is to a forward pass of the same session. Processor seconds count on a busy machine.

    python -m benchmarks.gradient [--tables DIR] [--no-gate]

``--no-gate`` writes the graphs without comparing them with autograd, which takes most of the time of the export.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ._common import in_own_process, peak_rss_gb, print_header, print_table
from .full_size import _SHARED, GTEX, _model, random_window, timed

BINS = (2972, 3172)
STRETCH = (262_144, 263_168)


def main() -> None:
    """Export, run, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, default=_SHARED / "data" / "tables")
    parser.add_argument("--no-gate", action="store_true")
    options = parser.parse_args()
    print_header("python -m benchmarks.gradient" + (" --no-gate" if options.no_gate else ""))
    with tempfile.TemporaryDirectory() as scratch:
        bundle = f"{scratch}/bundle"
        made = in_own_process(__spec__.name, "_export", str(options.tables), bundle, str(int(options.no_gate)))
        print(f"export    {made['seconds']:.0f} s, peak {made['rss']:.1f} GB; {made['figures']}\n")
        found = in_own_process(__spec__.name, "_run", bundle)
    forward = found["forward"]
    rows = [
        (name, run["wall"], run["cpu"], run["rss"], run["wall"] / forward["wall"], run["cpu"] / forward["cpu"])
        for name, run in found.items()
    ]
    print_table(("fp32", "wall s", "cpu s", "peak GB so far", "wall / forward", "cpu / forward"), rows)


def _export(tables: str, out: str, no_gate: str) -> dict[str, Any]:
    from borzoi_export import graphs
    from borzoi_export.graphs import finish

    from borzoi_rt.bundle.manifest import SquashSpec
    from borzoi_rt.tracks import TrackTable

    if no_gate == "1":
        finish.gate = lambda reference, draft: {}
        graphs.gate_once = lambda model: lambda draft: {"gradient": "not compared"}
        graphs.borzoi_reference = lambda model, precision: finish.Reference(
            checks=(),
            golden={
                "sequence": random_window()[None],
                "track_index": np.arange(1),
                "coverage": np.zeros((1, 1, model.config.bins), dtype=np.float32),
            },
            noise=None,
            golden_noise=None,
            inherited=lambda: 0.0,
        )
    model, start = _model(Path(tables)), time.perf_counter()
    tracks = TrackTable.read(Path(tables) / "targets_human.txt")
    squash = SquashSpec(kind="old")
    made = graphs.export_bundle(model, tracks, out, squash=squash, name="random weights", gradient=True)
    return {
        "seconds": time.perf_counter() - start,
        "rss": peak_rss_gb(),
        "figures": f"{made.info.parity.get('gradient')}, allowed {made.info.parity.get('gradient_allowed')}",
    }


def _run(path: str) -> dict[str, Any]:
    from borzoi_rt import open_bundle
    from borzoi_rt.backends.gradient import open_gradient
    from borzoi_rt.engine.gradient import GradientSession

    session = GradientSession(open_gradient(open_bundle(path)))
    tracks, window = np.array(GTEX), random_window().astype(np.float32)
    cotangent = np.full((len(tracks), BINS[1] - BINS[0]), 1.0 / 200.0)
    other = np.ascontiguousarray(window[:, ::-1])  # of which no tile is known
    session.coverage(window, tracks, (0, session.geometry.bins))
    session.pullback(window, tracks, cotangent, bins=BINS, bases=STRETCH)  # loads the graphs

    def pullback(bases: tuple[int, int]) -> np.ndarray:
        return session.pullback(other, tracks, cotangent, bins=BINS, bases=bases)

    forward = timed(lambda: session.coverage(other, tracks, (0, session.geometry.bins)))
    small = timed(lambda: pullback(STRETCH))
    whole = timed(lambda: pullback((0, session.geometry.sequence_length_bp)))

    def with_forward(run: dict[str, float]) -> dict[str, float]:
        return {key: run[key] + forward[key] if key != "rss" else run[key] for key in run}

    return {
        "forward": forward,
        "saliency of 1,024 bp": with_forward(small),
        "saliency of the window": with_forward(whole),
    }


_STEPS: dict[str, Callable[..., dict[str, Any]]] = {"_export": _export, "_run": _run}

if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] in _STEPS:
        print(json.dumps(_STEPS[sys.argv[1]](*sys.argv[2:])))
    else:
        main()
