"""The published size: export, and memory and time of forward passes and of one more SNV against PyTorch.

Random weights (seeded) in the published shape: 524,288 bp, 186M parameters, 7,611 human tracks. Every step runs in a
process of its own; times are wall clock and processor seconds of one pass; the header tells the load.

    python -m benchmarks.full_size [--tables DIR] [--peer DIR] [--bundle DIR] [--only WORD ...] [--repeats N]

``--peer`` is a directory in which ``pip install --target`` has put borzoi-pytorch and, where it is wanted, OpenVINO.
borzoi-pytorch is run eagerly, by ``torch.compile``, and as what ``torch.onnx.export`` makes of it on onnxruntime (which
takes 20 GB) and on OpenVINO; our graphs on OpenVINO too. What another program refuses is printed below the table.
``--bundle`` takes a bundle of this shape instead of exporting one, ``--only`` rows whose name holds a word.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ._common import in_own_process, peak_rss_gb, print_header, print_table, random_network

if TYPE_CHECKING:
    from borzoi_export.models.borzoi import Borzoi

PEERS = "benchmarks.full_size_peers"
PEER = "borzoi-pytorch eager"
TORCH = "PyTorch eager, our network"
WEIGHTS = "model.pt"
WINDOW = "borzoi-rt, tiles of a new window and 89 tracks"
SNV = "borzoi-rt, one SNV more, 200 bins x 89 tracks"
SNVS = 3
GTEX = range(7522, 7611)  # the 89 tracks of a gene-expression run
_SHARED = Path(os.environ.get("BORZOI_RT_SHARED", Path(__file__).resolve().parents[2] / "shared"))


def main() -> None:
    """Run all steps and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, default=_SHARED / "data" / "tables")
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--only", action="append", default=[], metavar="WORD")
    parser.add_argument("--repeats", type=int, default=1, help="rounds of the rows; the fastest counts")
    options = parser.parse_args()
    print_header(" ".join(["python -m benchmarks.full_size", *sys.argv[1:]]))
    peer = PEER if options.peer else TORCH
    with tempfile.TemporaryDirectory() as scratch:
        bundle = str(options.bundle or _exported(options.tables, scratch))
        steps = _steps(options, bundle, scratch)
        if options.only:
            steps = {name: step for name, step in steps.items() if any(word in name for word in (peer, *options.only))}
        if any(step[0][0] in ("plain", "openvino_plain") for step in steps.values()):
            in_own_process(PEERS, "export_plain", f"{scratch}/plain.onnx", env=steps[PEER][1])
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in steps}
        for _ in range(options.repeats):
            for name, (arguments, env) in steps.items():
                module = __spec__.name if arguments[0] in _STEPS else PEERS
                runs[name].append(in_own_process(module, *arguments, env=env))
    _print(runs, peer)


def _exported(tables: Path, scratch: str) -> str:
    """Export a bundle and print how that went."""
    weights, bundle = f"{scratch}/{WEIGHTS}", f"{scratch}/bundle"
    export = in_own_process(__spec__.name, "_export", str(tables), weights, bundle)
    print(
        f"export    {export['seconds']:.0f} s with the parity gate, peak {export['rss']:.1f} GB; "
        f"bundle {export['mb']:.0f} MB\n"
    )
    print("\n".join(export["parity"]), end="\n\n")
    return bundle


def _steps(options: argparse.Namespace, bundle: str, scratch: str) -> dict[str, tuple[tuple[str, ...], dict[str, str]]]:
    """Return every row: the step that measures it with its arguments, and the environment it needs."""
    steps: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
        "borzoi-rt, 7,611 tracks": (("_ours", bundle, "all"), {}),
        "borzoi-rt, 89 tracks": (("_ours", bundle, "gtex"), {}),
        WINDOW: (("_tiles", bundle, "window"), {}),
        "borzoi-rt, tiles of a new window": (("_tiles", bundle, "trunk"), {}),
        "borzoi-rt, one SNV more, 89 tracks": (("_tiles", bundle, "snv"), {}),
        SNV: (("_tiles", bundle, "snv_span"), {}),
    }
    if options.bundle is None:
        steps[TORCH] = (("_torch", str(options.tables), f"{scratch}/{WEIGHTS}"), {})
    if options.peer:
        env = {"PYTHONPATH": os.pathsep.join([str(options.peer), os.environ.get("PYTHONPATH", "")])}
        plain = f"{scratch}/plain.onnx"
        steps[PEER] = (("eager",), env)
        steps["borzoi-pytorch, torch.compile"] = (("compiled",), env)
        steps["borzoi-pytorch, plain ONNX export"] = (("plain", plain), {})
        steps["borzoi-pytorch, plain ONNX export on OpenVINO"] = (("openvino_plain", plain), env)
        steps["borzoi-rt, 89 tracks, on OpenVINO"] = (("openvino_predict", bundle), env)
        steps["borzoi-rt, one tile"] = (("onnxruntime_tile", bundle), {})
        steps["borzoi-rt, one tile, on OpenVINO"] = (("openvino_tile", bundle), env)
    return steps


def _print(runs: dict[str, list[dict[str, Any]]], peer: str) -> None:
    """Print the fastest run of every row, beside the peer's."""
    refused = {name: run["failed"] for name, results in runs.items() for run in results if "failed" in run}
    runs = {name: results for name, results in runs.items() if name not in refused}
    best = {name: {key: min(run[key] for run in results) for key in results[0]} for name, results in runs.items()}
    rows = [
        (
            name,
            run["load"],
            run["wall"],
            run["cpu"],
            run["rss"],
            run["wall"] / best[peer]["wall"],
            run["cpu"] / best[peer]["cpu"],
        )
        for name, run in best.items()
    ]
    print_table(("fp32", "load s", "wall s", "cpu s", "peak GB", "wall / peer", "cpu / peer"), rows)
    for name, reason in refused.items():
        print(f"{name}: {reason}")
    print(f"\npeer: {peer}\n")
    if {WINDOW, SNV} <= best.keys():
        _print_many(best, peer)


def _print_many(best: dict[str, dict[str, float]], peer: str) -> None:
    """Print what many variants of one window cost, against a program that runs both alleles, or every one, anew."""
    whole, window, snv = (best[name]["wall"] for name in (peer, WINDOW, SNV))
    substitutions = 3 * 1024
    rows = [
        ("SNV of 100 in one window", (window + 100 * snv) / 100, 2 * whole),
        ("ISM of 1,024 bp", window + substitutions * snv, (1 + substitutions) * whole),
    ]
    print_table(("200 bins x 89 tracks", "s", "peer s", "ratio"), [(*row, row[1] / row[2]) for row in rows])
    print(f"\nextrapolated from the rows above, the third and the median of {SNVS} SNVs; the peer from one forward")


def _export(tables: str, weights: str, out: str) -> dict[str, Any]:
    import torch
    from borzoi_export.graphs import export_bundle
    from borzoi_export.graphs.finish import table

    from borzoi_rt.bundle.manifest import SquashSpec
    from borzoi_rt.tracks import TrackTable

    model = _model(Path(tables))
    torch.save(model.state_dict(), weights)
    start = time.perf_counter()
    tracks = TrackTable.read(Path(tables) / "targets_human.txt")
    bundle = export_bundle(model, tracks, out, squash=SquashSpec(kind="old"), name="random weights")
    size = sum(path.stat().st_size for path in Path(out).iterdir())
    return {
        "seconds": time.perf_counter() - start,
        "rss": peak_rss_gb(),
        "mb": size / 1e6,
        "parity": table(bundle.info.parity["checks"]),
    }


def _model(tables: Path) -> Borzoi:
    """Return a network of the published shape."""
    from borzoi_export.models.config import read_params

    return random_network(read_params(tables / "borzoi_params.json"))


def _ours(path: str, tracks: str) -> dict[str, Any]:
    from borzoi_rt import open_bundle, open_session

    bundle = open_bundle(path)
    start = time.perf_counter()
    session = open_session(bundle, "onnx:cpu")
    load = time.perf_counter() - start
    index = np.array(GTEX) if tracks == "gtex" else None
    sequence = random_window()[None]
    return {"load": load, **timed(lambda: session.run(sequence, index))}


def _tiles(path: str, case: str) -> dict[str, Any]:
    """Time the incremental session: a window it has not seen, or an SNV in one it has."""
    from borzoi_rt import open_bundle
    from borzoi_rt.engine.incremental import IncrementalSession
    from borzoi_rt.engine.sessions import open_engine

    start = time.perf_counter()
    session = open_engine(open_bundle(path))
    load = time.perf_counter() - start
    index, window = np.array(GTEX), random_window()
    bins = (2972, 3172) if case == "snv_span" else None
    if case == "window":
        return {"load": load, **timed(lambda: session.run(window[None], index))}
    if case == "trunk":
        assert isinstance(session, IncrementalSession)
        spans = session._parts.tiling.bodies["body"].skips
        return {"load": load, **timed(lambda: session.trunk(window, 0.0, spans))}
    session.run(window[None], index, bins=bins)
    runs = []
    for number in range(SNVS):
        changed = window.copy()
        changed[:, 262_144 + 40 * number] = np.roll(changed[:, 262_144 + 40 * number], 1)
        runs.append(timed(lambda changed=changed: session.run(changed[None], index, bins=bins)))  # type: ignore[misc]
    return {"load": load, **{key: statistics.median(run[key] for run in runs) for key in runs[0]}}


def _torch(tables: str, weights: str) -> dict[str, Any]:
    import torch
    from borzoi_export.models.borzoi import Borzoi
    from borzoi_export.models.config import BorzoiConfig, read_params

    start = time.perf_counter()
    config = BorzoiConfig.from_params(read_params(Path(tables) / "borzoi_params.json"))
    with torch.device("meta"), torch.no_grad():
        model = Borzoi(config)
    model.load_state_dict(torch.load(weights), assign=True)
    for block in model.transformer:
        block.attention.set_positions(config)  # type: ignore[operator, union-attr]
    model.eval()
    load = time.perf_counter() - start
    x = torch.from_numpy(random_window()[None])
    with torch.inference_mode():
        return {"load": load, **timed(lambda: model(x))}


def random_window() -> np.ndarray:
    """Return a random window, uint8 (4, 524288)."""
    letters = np.random.default_rng(0).integers(0, 4, 524_288)
    return (letters == np.arange(4)[:, None]).astype(np.uint8)


def timed(call: Callable[[], Any]) -> dict[str, float]:
    """Return wall clock and processor seconds of a call, and the peak of memory."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "rss": peak_rss_gb()}


_STEPS: dict[str, Callable[..., dict[str, Any]]] = {
    "_export": _export,
    "_ours": _ours,
    "_tiles": _tiles,
    "_torch": _torch,
}

if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] in _STEPS:
        print(json.dumps(_STEPS[sys.argv[1]](*sys.argv[2:])))
    else:
        main()
