"""What looking inside costs at the published size: memory and time of one method of each kind.

Random weights (seeded), 524,288 bp, 89 tracks, a target of 200 bins; the graphs are not compared with the network here,
which the tests do for small ones. Every step runs in a process of its own, from an opened bundle on; its window is new
to it. The ratio is to a forward pass of the same program, in processor seconds.

==============  ============================================================================================
``forward``     coverage of 89 tracks: `predict`, `ism`, `design`, `surrogate`, each per sequence
``embedding``   what the head reads, all of the window: `embed`, `neighbours`, `bottleneck`
``stem``        the first convolution over the whole window, in pieces: `filters`, `dissect`, `activations`
``cam``         `cam --method cam`
``gradcam``     `cam --method gradcam` of tokens, and the slopes that `tcav` takes
``rows``        attention of one token in all layers and heads
``rollout``     the same through all layers
``relevance``   the same, weighted by slopes, for the tokens of the target
==============  ============================================================================================

A step is not begun when ``--seconds`` are over, and the table says so; rows are printed as they are done.

    python -m benchmarks.inside [--seconds 840] [--steps forward,gradcam,rows]
    python -m benchmarks.inside --toy        (a small network: a rehearsal, which tests run)
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

from . import gpu_models
from ._common import in_own_process, peak_rss_gb, print_header, print_table
from .full_size import _SHARED, timed

STEPS = ("forward", "embedding", "stem", "cam", "gradcam", "rows", "rollout", "relevance")
COLUMNS = ("fp32", "cpu s", "wall s", "peak GB", "cpu / forward")


def main() -> None:
    """Export, run every step, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, default=_SHARED / "data" / "tables")
    parser.add_argument("--steps", default=",".join(STEPS), help="Names, separated by commas; forward is always run.")
    parser.add_argument("--seconds", type=float, default=840.0, help="No step is begun after these.")
    parser.add_argument("--toy", action="store_true", help="A small network.")
    options = parser.parse_args()
    names = list(dict.fromkeys(["forward", *options.steps.split(",")]))
    unknown = [name for name in names if name not in STEPS]
    if unknown:
        parser.error(f"step {unknown[0]!r} is unknown; allowed: {', '.join(STEPS)}")
    print_header(f"python -m benchmarks.inside --steps {','.join(names)}{' --toy' if options.toy else ''}")
    began, size = time.perf_counter(), "toy" if options.toy else "published"
    rows: list[tuple[Any, ...]] = []
    with tempfile.TemporaryDirectory() as scratch:
        bundle = f"{scratch}/bundle"
        made = in_own_process("benchmarks.inside", "_export", str(options.tables), bundle, size)
        print(f"bundle    {made['mb']:.0f} MB, made in {made['wall']:.0f} s, {made['rss']:.1f} GB\n", flush=True)
        for name in names:
            if time.perf_counter() - began > options.seconds:
                rows.append((name, "not begun", "-", "-", "-"))
                continue
            run = in_own_process("benchmarks.inside", "_run", bundle, name, size)
            whole = rows[0][1] if rows else run["cpu"]
            rows.append((name, run["cpu"], run["wall"], run["rss"], run["cpu"] / whole))
            print(f"{name} {run['wall']:.1f} s, {run['rss']:.1f} GB", flush=True)
    print()
    print_table(COLUMNS, rows)


def _options(size: str, tables: Path = Path()) -> argparse.Namespace:
    """Return what the networks and windows of :mod:`benchmarks.gpu_models` are chosen by."""
    return argparse.Namespace(toy=size == "toy", tables=tables)


def _export(tables: str, out: str, size: str) -> dict[str, Any]:
    from borzoi_export.graphs.unproven import write_unproven

    from borzoi_rt.bundle.manifest import SquashSpec

    began, options = time.perf_counter(), _options(size, Path(tables))
    model, tracks = gpu_models.build(options), gpu_models.table(options)
    made = write_unproven(model, tracks, out, squash=SquashSpec(kind="old"), activations=True)
    mb = sum(entry.bytes for entry in made.files.values()) / 1e6
    return {"mb": mb, "wall": time.perf_counter() - began, "rss": peak_rss_gb()}


def _run(path: str, step: str, size: str) -> dict[str, Any]:
    from borzoi_rt import open_bundle
    from borzoi_rt.explain.target import TargetSpec
    from borzoi_rt.explain.where import Where, anchored
    from borzoi_rt.inside.activations import Activations
    from borzoi_rt.inside.attention import attention_rows, relevance, rollout, tokens_of_target
    from borzoi_rt.inside.maps import map_window

    options = _options(size)
    bundle, window = open_bundle(path, verify=False), gpu_models.sequence(options)
    middle = bundle.geometry.sequence_length_bp // 2
    where = Where(window_start=0, anchor=anchored("chr1", middle, middle + 1))
    tracks = ",".join(str(number) for number in gpu_models.gtex(options))
    target = TargetSpec.parse("SUM@span:6400", tracks=tracks, squashed=True).bind(bundle, where)
    with Activations(bundle) as inside:
        query = np.array([inside.network.plan.tokens // 2])
        steps: dict[str, Callable[[], Any]] = {
            "forward": lambda: inside.reading(window).coverage(target.positions, (0, bundle.geometry.bins)),
            "embedding": lambda: inside.of(window, "embedding"),
            "stem": lambda: sum(piece.values.shape[1] for piece in inside.pieces(window, "stem")),
            "cam": lambda: map_window(inside, window, target, method="cam", layer="embedding"),
            "gradcam": lambda: map_window(inside, window, target),
            "rows": lambda: attention_rows(inside, window, query),
            "rollout": lambda: rollout(inside, window, query),
            "relevance": lambda: relevance(inside, window, target, tokens_of_target(inside, target)),
        }
        return {**timed(steps[step]), "rss": peak_rss_gb()}


_INNER: dict[str, Callable[..., dict[str, Any]]] = {"_export": _export, "_run": _run}

if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] in _INNER:
        print(json.dumps(_INNER[sys.argv[1]](*sys.argv[2:])))
    else:
        main()
