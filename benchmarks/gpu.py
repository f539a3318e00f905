"""Everything that is to be measured on a GPU, in one command that can be cut off and called again.

Random weights in the published shape (524,288 bp, 186M parameters, 7,611 tracks). Each step runs in a process of its
own and adds a line to OUT/gpu.jsonl; a step that succeeded is not run again, so that what a first call did not reach a
second call does. Times are medians of wall clock; every forward pass is compared with PyTorch in float32 on the card.

    python -m benchmarks.gpu --out OUT [--tables DIR] [--stage torch|runtime] [--seconds 540] [--only WORD]

With ``--toy`` a small network takes part and the CPU provider computes: a rehearsal of every step (tests run it).
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from borzoi_rt.backends import resident

from . import gpu_runtime, gpu_torch
from ._common import print_table

REWRITTEN = 4.354  # TFLOP of a forward pass as written here
STEPS = gpu_torch.STEPS | gpu_runtime.STEPS


@dataclass(frozen=True)
class Step:
    """One measurement: its name, the function that makes it, what it is told, and when it is given up."""

    name: str
    function: str
    arguments: tuple[str, ...] = ()
    seconds: float = 150.0


def torch_steps() -> Iterator[Step]:
    """Yield what needs PyTorch alone."""
    yield Step("rates", "rates")
    yield Step("reference", "reference", seconds=120)
    for mode in ("fp32", "tf32", "bf16"):
        yield Step(f"our network in PyTorch, {mode}", "ours_in_torch", (mode,))
    for mode in ("fp32", "tf32", "bf16", "fp16"):
        yield Step(f"borzoi-pytorch eager, {mode}", "peer", (mode, "eager"))
    for batch in ("1", "2"):
        yield Step(f"training step, bf16, batch {batch}", "training", ("bf16", batch))
    yield Step("borzoi-pytorch compiled, bf16", "peer", ("bf16", "compile"))


def runtime_steps(toy: bool) -> Iterator[Step]:
    """Yield what needs onnxruntime."""
    cuda = (lambda words="": "cpu") if toy else (lambda words="": f"cuda:0{words}")
    yield Step("bundles", "bundles")
    runs = [("gpu-fp16", ""), ("gpu-fp32", ":tf32"), ("gpu-fp32", ""), ("cpu-fp32", ""), ("cpu-fp32", ":tf32")]
    for form, words in runs:
        yield Step(f"forward {form}{words}.", "forward", (form, cuda(words)))
    for form, words in runs[:2]:
        yield Step(f"parts of {form}{words}.", "parts", (form, cuda(words)))
        yield Step(f"variants {form}{words}.", "variants", (form, cuda(words), "resident"))
    yield Step("variants gpu-fp16, tiles on the host", "variants", ("gpu-fp16", cuda(), "host"))
    for graph in ("predict", "body_64" if toy else "body_256"):
        yield Step(f"CUDA graph of {graph}, gpu-fp16", "captured", ("gpu-fp16", cuda(), graph))
    for graph in ("trunk_tile", "body_64" if toy else "body_256"):
        yield Step(f"batches of {graph}, gpu-fp16", "batched", ("gpu-fp16", cuda(), graph))
    yield Step("saliency gpu-fp32:tf32", "saliency", (cuda(":tf32"),))
    for form in ("gpu-fp16", "gpu-fp32"):
        for kind, turn in itertools.product(("whole", "incremental"), ("first", "second")):
            yield Step(f"bits {form}, {kind}, {turn} process", "bits", (form, cuda(), kind))
    for kind in ("fused", "coverage", "host fused"):
        yield Step(f"all tracks gpu-fp16, {kind}", "all_tracks", ("gpu-fp16", cuda(), kind))


def main() -> None:
    """Run the steps that have no result, and print all results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of bundles and results")
    parser.add_argument("--tables", type=Path, help="folder with borzoi_params.json and targets_human.txt")
    parser.add_argument("--stage", choices=("torch", "runtime"), help="only these steps; both by default")
    parser.add_argument("--seconds", type=float, default=540.0, help="begin no step after so long (default 540)")
    parser.add_argument("--only", help="only steps whose name holds this word")
    parser.add_argument("--toy", action="store_true", help="a small network on the CPU, as a rehearsal")
    parser.add_argument("--cuda", action="append", default=[], metavar="KEY=VALUE", help="option of the CUDA provider")
    parser.add_argument("--tiles", type=int, default=resident.TILES, help="tiles a batch of a resident session")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        resident.TILES = options.tiles
        with gpu_runtime.cuda_options(dict(choice.split("=", 1) for choice in options.cuda)):
            print(json.dumps(STEPS[options.step](options, *options.arguments)))
        return
    options.out.mkdir(parents=True, exist_ok=True)
    steps = [] if options.stage == "runtime" else list(torch_steps())
    steps += [] if options.stage == "torch" else list(runtime_steps(options.toy))
    steps = [step for step in steps if not options.only or options.only in step.name]
    changed = [*options.cuda, *([f"tiles={options.tiles}"] if options.tiles != resident.TILES else [])]
    if changed:
        steps = [replace(step, name=f"{step.name} [{' '.join(changed)}]") for step in steps]
    _run(steps, options)
    _print(options.out / "gpu.jsonl", {step.name for step in steps})


def _run(steps: list[Step], options: argparse.Namespace) -> None:
    log, started = options.out / "gpu.jsonl", time.monotonic()
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    done = {line["step"] for line in lines if "failed" not in line}
    for step in steps:
        left = options.seconds - (time.monotonic() - started)
        if step.name in done or left <= 0:
            continue
        begun = time.monotonic()
        found = _in_process(step, options, min(step.seconds, left))
        found["took"] = round(time.monotonic() - begun, 1)
        print(step.name, json.dumps(found), flush=True)
        with log.open("a") as file:
            file.write(json.dumps({"step": step.name, **found}) + "\n")


def _in_process(step: Step, options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.gpu", "--out", str(options.out), "--step", step.function]
    command += ["--tables", str(options.tables)] if options.tables else []
    command += ["--toy"] if options.toy else []
    command += [f"--tiles={options.tiles}", *(f"--cuda={choice}" for choice in options.cuda)]
    try:
        done = subprocess.run(
            [*command, "--", *step.arguments], capture_output=True, text=True, check=False, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"given up after {seconds:.0f} s"}
    if done.returncode:
        return {"failed": " | ".join(done.stderr.strip().splitlines()[-4:])[-600:]}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _print(log: Path, names: Set[str]) -> None:
    """Print the table of these steps."""
    results = {line["step"]: line for line in map(json.loads, log.read_text().splitlines())}
    rates = results.get("rates", {})
    rows = []
    for name, found in ((name, found) for name, found in results.items() if name in names):
        for key, value in found.items():
            if isinstance(value, int | float) and key not in ("took",):
                rows.append((name, key, float(value)))
            elif key == "failed":
                rows.append((name, f"failed: {value[:150]}", float("nan")))
    print()
    print_table(("step", "what", "value"), rows)
    if "bf16" in rates:
        print(f"\nfloor of a forward ({REWRITTEN} TFLOP): {1e3 * REWRITTEN / rates['bf16']:.2f} ms at the rate of bf16")


if __name__ == "__main__":
    main()
