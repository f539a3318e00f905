"""What looking inside costs at the published size: memory and processor time of maps and attention.

Random weights (seeded), 524,288 bp, 89 tracks, a target of 200 bins; the graphs are not compared with the network here,
which the tests do for small ones. Every step runs in a process of its own, from an opened bundle on; its window is new
to it. The ratio is to a forward pass of the same program, in processor seconds.

    python -m benchmarks.inside [--tables DIR] [--steps forward,gradcam,rows,rollout,relevance]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ._common import in_own_process, peak_rss_gb, print_header, print_table
from .full_size import _SHARED, GTEX, _model, random_window, timed

STEPS = ("forward", "embedding", "gradcam", "rows", "rollout", "relevance")
QUERY = 2048


def main() -> None:
    """Export, run every step, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, default=_SHARED / "data" / "tables")
    parser.add_argument("--steps", default=",".join(STEPS), help="Names, separated by commas; forward is always run.")
    options = parser.parse_args()
    names = list(dict.fromkeys(["forward", *options.steps.split(",")]))
    print_header(f"python -m benchmarks.inside --steps {','.join(names)}")
    with tempfile.TemporaryDirectory() as scratch:
        bundle = f"{scratch}/bundle"
        made = in_own_process(__spec__.name, "_export", str(options.tables), bundle)
        print(f"bundle    {made['mb']:.0f} MB, of which activations {made['more']:.0f} MB\n", flush=True)
        found = {name: in_own_process(__spec__.name, "_run", bundle, name) for name in names}
    whole = found["forward"]["cpu"]
    rows = [(name, run["cpu"], run["rss"], run["cpu"] / whole) for name, run in found.items()]
    print_table(("fp32", "cpu s", "peak GB", "cpu / forward"), rows)


def _export(tables: str, out: str) -> dict[str, Any]:
    from borzoi_export.graphs.unproven import write_unproven

    from borzoi_rt.bundle.manifest import SquashSpec
    from borzoi_rt.tracks import TrackTable

    model, tracks = _model(Path(tables)), TrackTable.read(Path(tables) / "targets_human.txt")
    sizes = []
    for activations in (False, True):
        made = write_unproven(model, tracks, f"{out}", squash=SquashSpec(kind="old"), activations=activations)
        sizes.append(sum(entry.bytes for entry in made.files.values()) / 1e6)
        if not activations:
            for path in made.path.iterdir():
                path.unlink()
            made.path.rmdir()
    return {"mb": sizes[1], "more": sizes[1] - sizes[0]}


def _run(path: str, step: str) -> dict[str, Any]:
    from borzoi_rt import open_bundle
    from borzoi_rt.explain.target import TargetSpec
    from borzoi_rt.explain.where import Where, anchored
    from borzoi_rt.inside.activations import Activations
    from borzoi_rt.inside.attention import attention_rows, relevance, rollout, tokens_of_target
    from borzoi_rt.inside.maps import map_window

    bundle, window, query = open_bundle(path, verify=False), random_window(), np.array([QUERY])
    where = Where(window_start=0, anchor=anchored("chr1", 262_144, 262_145))
    tracks = ",".join(str(number) for number in GTEX)
    target = TargetSpec.parse("SUM@span:6400", tracks=tracks, squashed=True).bind(bundle, where)
    with Activations(bundle) as inside:
        steps: dict[str, Callable[[], Any]] = {
            "forward": lambda: inside.reading(window).coverage(target.positions, (0, bundle.geometry.bins)),
            "embedding": lambda: inside.of(window, "embedding"),
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
