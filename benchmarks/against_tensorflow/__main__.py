"""The trainer beside TensorFlow: the same weights, batches and recipe on both sides, loss by loss.

    python3.11 -m venv TF && TF/bin/pip install tensorflow-cpu==2.15.1
    python -m benchmarks.against_tensorflow --python TF/bin/python --data ../shared/data [--steps 200] [--out FILE.tsv]

TensorFlow lives in an environment of its own (2.15 is what baskerville runs on, and the last release with Keras 2);
nothing of the project depends on it. Ours is `borzoi-rt train` as a user calls it. The network is that of
``tiny_model/params.json`` and the data are ``tiny_hg38``, both of calico/baskerville. Handed over are the initial
weights, the order of windows, and which batches are reverse-complemented and shifted; the windows themselves, and what
is done to them, are each side's own. Dropout is off on both sides: its random numbers cannot be shared.

Two runs in float32 part in any case, since every step magnifies the rounding of the last. How far each side parts from
itself when it sums in another order is the yardstick: TensorFlow without oneDNN, ours with two threads.
"""

from __future__ import annotations

import argparse
import copy
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from borzoi_export.models.config import BorzoiConfig, read_params
from borzoi_export.training.loader import TrainBatches, shifted, turned
from borzoi_export.training.module import BorzoiModule
from borzoi_export.training.network import MultiHead
from borzoi_export.training.options import TrainOptions
from borzoi_export.training.regularisers import calico_penalties

from borzoi_rt.dataset import Data, open_data

from .._common import print_header, print_table

_SHIFT = 3
_KINDS = (torch.float32, torch.float64)


def main() -> None:
    """Print the comparison, and write the losses of both sides."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="Python of an environment with TensorFlow.")
    parser.add_argument("--data", required=True, type=Path, help="Directory with tiny_model and tiny_hg38.")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--warmup-steps", type=int, default=20)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    print_header("python -m benchmarks.against_tensorflow " + " ".join(sys.argv[1:]))
    data = open_data(options.data / "tiny_hg38")
    params = _without_dropout(read_params(options.data / "tiny_model" / "params.json"))
    names = ("batch_size", "learning_rate", "warmup_steps")
    changes = {name: getattr(options, name) for name in names}
    recipe = TrainOptions.from_params(params, max_steps=options.steps, precision="32", **changes)
    runs: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job = _job(params, data, recipe, folder)
        exact = _theirs(options.python, job, kind="float64", steps=1)
        print(f"reference {exact['version']}\n")
        runs["TensorFlow"] = _theirs(options.python, job, steps=options.steps)
        _print_first_step(params, data, recipe, runs["TensorFlow"], exact)
        runs["ours"] = _ours(params, data, recipe, folder, threads=1)
        runs["TensorFlow, no oneDNN"] = _theirs(options.python, job, steps=options.steps, onednn=False)
        runs["ours, 2 threads"] = _ours(params, data, recipe, folder, threads=2)
    _print_runs(runs, data.info.windows["train"] // options.batch_size)
    _print_differences(runs)
    if options.out:
        _write(options.out, runs)


def _without_dropout(params: dict[str, Any]) -> dict[str, Any]:
    params = copy.deepcopy(params)
    for block in params["model"]["trunk"]:
        if block["name"] == "transformer_tower":
            block.update(dropout=0.0, attention_dropout=0.0)
    return params


def _initial(params: dict[str, Any], recipe: TrainOptions) -> MultiHead:
    """Return the network as a run with this seed begins; that the first losses agree is the proof."""
    torch.manual_seed(recipe.seed)
    return MultiHead([BorzoiConfig.from_params(params)])


def _batches(data: Data, recipe: TrainOptions, *, augmented: bool) -> TrainBatches:
    assert data.tracks is not None
    return TrainBatches(
        [data.split("train")],
        [data.tracks.positions_of(data.tracks.strand_pair)],
        batch_size=recipe.batch_size,
        epochs=recipe.max_epochs,
        seed=recipe.seed,
        augment_rc=augmented,
        augment_shift=_SHIFT if augmented else 0,
    )


def _draws(data: Data, recipe: TrainOptions) -> tuple[list[list[int]], list[bool], list[int]]:
    """Return the windows of each batch, whether it is turned, and its shift, all read off the batches themselves."""
    numbers = {window.codes.tobytes(): number for number, window in enumerate(data.split("train").in_order())}
    order: list[list[int]] = []
    turns: list[bool] = []
    shifts: list[int] = []
    both = zip(_batches(data, recipe, augmented=False), _batches(data, recipe, augmented=True), strict=False)
    for _, (plain, changed) in zip(range(recipe.max_steps), both, strict=False):
        codes, found = plain["codes"].numpy(), changed["codes"].numpy()
        order.append([numbers[row.tobytes()] for row in codes])
        turn, shift = next(
            (turn, shift)
            for turn in (False, True)
            for shift in range(-_SHIFT, _SHIFT + 1)
            if np.array_equal(shifted(turned(codes) if turn else codes, shift), found)
        )
        turns.append(turn)
        shifts.append(shift)
    return order, turns, shifts


def _job(params: dict[str, Any], data: Data, recipe: TrainOptions, folder: Path) -> Path:
    """Write what the reference needs."""
    assert data.tracks is not None
    order, turns, shifts = _draws(data, recipe)
    count = len(list((data.path / "tfrecords").glob("train-*.tfr")))
    facts = {
        "params": params,
        "recipe": recipe.to_dict(),
        "files": [str(data.path / "tfrecords" / f"train-{number}.tfr") for number in range(count)],
        "threads": 1,
    }
    state = _initial(params, recipe).network.state_dict()
    weights = {f"weights/{name}": tensor.numpy() for name, tensor in state.items() if "num_batches" not in name}
    pairs = data.tracks.positions_of(data.tracks.strand_pair)
    drawn = {"order": np.array(order), "turns": np.array(turns), "shifts": np.array(shifts), "pairs": pairs}
    job = folder / "job.npz"
    np.savez(job, facts=json.dumps(facts), **weights, **drawn)
    return job


def _theirs(python: str, job: Path, *, steps: int, kind: str = "float32", onednn: bool = True) -> dict[str, np.ndarray]:
    result = job.with_name("result.npz")
    script = Path(__file__).with_name("reference.py")
    env = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": str(int(onednn))}
    command = [python, script, job, result, kind, str(steps)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the reference ended with {done.returncode}:\n{done.stderr[-3000:]}")
    with np.load(result) as values:
        return {name: values[name] for name in values.files}


def _ours(params: dict[str, Any], data: Data, recipe: TrainOptions, folder: Path, *, threads: int) -> dict[str, Any]:
    """Run `borzoi-rt train`, and return its log."""
    file, out = folder / "params.json", folder / f"run-{threads}"
    file.write_text(json.dumps(params))
    choices = {"max-steps": recipe.max_steps, "batch-size": recipe.batch_size, "learning-rate": recipe.learning_rate}
    choices |= {"warmup-steps": recipe.warmup_steps, "seed": recipe.seed, "threads": threads, "accelerator": "cpu"}
    choices["valid-every"] = 10 * recipe.max_steps  # no validation
    command = [sys.executable, "-m", "borzoi_rt", "train", "--params", file, "--data", data.path, "--out", out]
    command += [text for name, value in choices.items() for text in (f"--{name}", str(value))]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the run ended with {done.returncode}:\n{done.stderr[-3000:]}")
    seconds = (time.perf_counter() - start) / recipe.max_steps
    with (out / "train.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    log = np.array([[float(row[name]) for name in ("loss", "penalty", "grad_norm")] for row in rows])
    return {"log": log, "seconds": seconds}


def _print_first_step(
    params: dict[str, Any], data: Data, recipe: TrainOptions, theirs: dict[str, Any], exact: dict[str, Any]
) -> None:
    """Compare the first batch, each side in float32 and in float64 (ours from the head on float32, as always)."""
    batch = next(iter(_batches(data, recipe, augmented=True)))
    ours, our_exact = (_first_step(_initial(params, recipe).to(kind), params, recipe, batch) for kind in _KINDS)
    for found in (theirs, exact):
        found["loss"], found["penalty"], _ = found["log"][0]
    slopes = [name for name in ours if name.startswith("gradients/")]
    if set(slopes) != {name for name in exact if name.startswith("gradients/")}:
        raise SystemExit("the two sides differ in what has a gradient")
    rows = []
    for name, keys in (*((name, [name]) for name in ("prediction", "loss", "penalty")), ("whole gradient", slopes)):
        pairs = ((ours, theirs), (our_exact, exact), (ours, exact), (theirs, exact))
        rows.append((name, *(f"{_apart(one, two, keys):.1e}" for one, two in pairs)))
    columns = ("ours | TensorFlow", "both in float64", "ours | float64", "TensorFlow | float64")
    print_table(("first batch: norm of the difference / norm", *columns), rows)
    print(f"loss {float(ours['loss']):.8f}, {theirs['loss']:.8f}; gradients of {len(slopes)} tensors\n")


def _first_step(
    model: MultiHead, params: dict[str, Any], recipe: TrainOptions, batch: dict[str, Any]
) -> dict[str, np.ndarray]:
    penalties = calico_penalties(params, model)
    module = BorzoiModule(model, recipe, tracks=[[""] * model.configs[0].tracks], heads=["human"], penalties=penalties)
    losses, prediction, _ = module.train().losses(batch)
    loss, penalty = losses.mean(), module.penalties()
    (loss + penalty).backward()
    found = {"prediction": prediction, "loss": loss, "penalty": penalty}
    slopes = {f"gradients/{name}": value.grad for name, value in model.network.named_parameters()}
    return {name: tensor.detach().numpy() for name, tensor in {**found, **slopes}.items() if tensor is not None}


def _apart(one: dict[str, Any], two: dict[str, Any], keys: Iterable[str]) -> float:
    """Return the norm of a difference over the norm of the first, of several arrays as one."""
    gap = whole = 0.0
    for key in keys:
        first = np.asarray(one[key], np.float64)
        gap += float(((first - np.asarray(two[key], np.float64).reshape(first.shape)) ** 2).sum())
        whole += float((first**2).sum())
    return float(np.sqrt(gap / whole))


def _print_runs(runs: dict[str, dict[str, Any]], epoch: int) -> None:
    """Print losses at some steps, and the means of the first and the last whole epoch: single windows differ by far."""
    logs = [run["log"][:, 0] for run in runs.values()]
    count = len(logs[0])
    steps = sorted({step for step in (1, 50, 100, 150, 200, count) if step <= count})
    rows: list[tuple[Any, ...]] = [
        (f"loss at step {step}", *(f"{log[step - 1]:.6f}" for log in logs)) for step in steps
    ]
    for number in sorted({1, count // epoch} - {0}) if count >= epoch else ():
        part = slice((number - 1) * epoch, number * epoch)
        rows.append((f"mean of epoch {number}", *(f"{log[part].mean():.6f}" for log in logs)))
    rows.append(("seconds a step (ours: with the start)", *(f"{float(run['seconds']):.2f}" for run in runs.values())))
    print_table(("run", *runs), rows)
    print()


def _print_differences(runs: dict[str, dict[str, Any]]) -> None:
    rows = []
    for one, two in (
        ("ours", "TensorFlow"),
        ("ours", "TensorFlow, no oneDNN"),
        ("TensorFlow", "TensorFlow, no oneDNN"),
        ("ours", "ours, 2 threads"),
    ):
        apart = np.abs(runs[one]["log"][:, 0] / runs[two]["log"][:, 0] - 1)
        parts = [f"{part.max():.1e}" for part in (apart[:10], apart[:20], apart[:50], apart[:100], apart)]
        rows.append((f"{one} | {two}", *parts, f"{np.median(apart):.1e}"))
    columns = ("to step 10", "to 20", "to 50", "to 100", "all", "median of all")
    print_table(("largest relative difference of losses", *columns), rows)


def _write(path: Path, runs: dict[str, dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, delimiter="\t", lineterminator="\n")
        writer.writerow(["step", *(f"{kind}: {name}" for name in runs for kind in ("loss", "gradient norm"))])
        for step in range(len(runs["ours"]["log"])):
            figures = [run["log"][step, column] for run in runs.values() for column in (0, 2)]
            writer.writerow([step + 1, *(f"{value:.9g}" for value in figures)])


if __name__ == "__main__":
    main()
