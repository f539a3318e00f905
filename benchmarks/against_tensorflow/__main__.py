"""The trainer beside TensorFlow: the same weights, batches and recipe on both sides, loss by loss.

    python3.11 -m venv TF && TF/bin/pip install tensorflow-cpu==2.15.1
    python -m benchmarks.against_tensorflow --python TF/bin/python --data ../shared/data [--steps 200] [--out FILE.tsv]

TensorFlow lives in an environment of its own (2.15 is what baskerville runs on, and the last release with Keras 2);
nothing of the project depends on it. Ours is `borzoi-rt train` as a user calls it. The network is that of
``tiny_model/params.json`` and the data are ``tiny_hg38``, both of calico/baskerville. Handed over are the initial
weights, the order of windows, and which batches are reverse-complemented and shifted; the windows themselves, and what
is done to them, are each side's own. Dropout is off on both sides: its random numbers cannot be shared.

Two runs in float32 part in any case, since every step magnifies the rounding of the last. ``--threads`` gives ours
another number of threads, hence another order of sums: how far it then parts from itself is the yardstick.
"""

from __future__ import annotations

import argparse
import copy
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
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
from borzoi_export.weights.checkpoint import network_state, read_checkpoint

from borzoi_rt.dataset import Data, open_data

from .._common import print_header, print_table

_SHIFT = 3


def main() -> None:
    """Print the comparison, and write the losses of both sides."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="Python of an environment with TensorFlow.")
    parser.add_argument("--data", required=True, type=Path, help="Directory with tiny_model and tiny_hg38.")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--warmup-steps", type=int, default=20)
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="Of ours; more than one for the yardstick.")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    print_header("python -m benchmarks.against_tensorflow " + " ".join(sys.argv[1:]))
    data = open_data(options.data / "tiny_hg38")
    params = _without_dropout(read_params(options.data / "tiny_model" / "params.json"))
    names = ("batch_size", "learning_rate", "warmup_steps")
    changes = {name: getattr(options, name) for name in names}
    recipe = TrainOptions.from_params(params, max_steps=options.steps, precision="32", **changes)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        theirs = _theirs(options.python, params, data, recipe, folder)
        print(f"reference {theirs['version']}\n")
        _print_first_step(params, data, recipe, theirs)
        ours = [_ours(params, data, recipe, threads, folder) for threads in options.threads]
    _print_run(theirs, ours, options.threads)
    if options.out:
        _write(options.out, theirs, ours, options.threads)


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
    places = {window.codes.tobytes(): place for place, window in enumerate(data.split("train").in_order())}
    order: list[list[int]] = []
    turns: list[bool] = []
    shifts: list[int] = []
    both = zip(_batches(data, recipe, augmented=False), _batches(data, recipe, augmented=True), strict=False)
    for _, (plain, changed) in zip(range(recipe.max_steps), both, strict=False):
        codes, found = plain["codes"].numpy(), changed["codes"].numpy()
        order.append([places[row.tobytes()] for row in codes])
        turn, shift = next(
            (turn, shift)
            for turn in (False, True)
            for shift in range(-_SHIFT, _SHIFT + 1)
            if np.array_equal(shifted(turned(codes) if turn else codes, shift), found)
        )
        turns.append(turn)
        shifts.append(shift)
    return order, turns, shifts


def _theirs(python: str, params: dict[str, Any], data: Data, recipe: TrainOptions, folder: Path) -> dict[str, Any]:
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
    job, result = folder / "job.npz", folder / "result.npz"
    np.savez(job, facts=json.dumps(facts), **weights, **drawn)
    script = Path(__file__).with_name("reference.py")
    done = subprocess.run([python, script, job, result], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the reference ended with {done.returncode}:\n{done.stderr[-3000:]}")
    with np.load(result) as values:
        return {name: values[name] for name in values.files}


def _ours(params: dict[str, Any], data: Data, recipe: TrainOptions, threads: int, folder: Path) -> dict[str, Any]:
    """Run `borzoi-rt train`, and return its log and its last weights."""
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
    _, state = network_state(*read_checkpoint(out / "last.ckpt"))
    return {"log": log, "seconds": seconds, **{f"weights/{name}": tensor.numpy() for name, tensor in state.items()}}


def _print_first_step(params: dict[str, Any], data: Data, recipe: TrainOptions, theirs: dict[str, Any]) -> None:
    """Compare the first batch: prediction, loss, penalty, and the gradient of both."""
    model = _initial(params, recipe)
    penalties = calico_penalties(params, model)
    module = BorzoiModule(model, recipe, tracks=[[""] * model.configs[0].tracks], heads=["human"], penalties=penalties)
    batch = next(iter(_batches(data, recipe, augmented=True)))
    losses, prediction, _ = module.train().losses(batch)
    loss, penalty = losses.mean(), module.penalties()
    (loss + penalty).backward()
    slopes = {
        name: parameter.grad for name, parameter in model.network.named_parameters() if parameter.grad is not None
    }
    pairs = [(slopes[name].numpy(), theirs[f"gradients/{name}"].reshape(slopes[name].shape)) for name in slopes]
    norms = [float(np.sqrt(sum(float((pair[place].astype("f8") ** 2).sum()) for pair in pairs))) for place in (0, 1)]
    apart = np.sqrt(sum(float(((one.astype("f8") - two) ** 2).sum()) for one, two in pairs))
    seen = prediction.detach().numpy()
    rows: list[tuple[Any, ...]] = [
        ("prediction, largest", *(f"{float(x.max()):.8g}" for x in (seen, theirs["prediction"])),
         f"{np.abs(seen / theirs['prediction'] - 1).max():.1e}"),
        *((name, f"{float(mine):.8g}", f"{their:.8g}", f"{abs(float(mine) / their - 1):.1e}")
          for name, mine, their in (("loss", loss, theirs["log"][0, 0]), ("penalty", penalty, theirs["log"][0, 1]))),
        ("gradient, norm of all", *(f"{norm:.8g}" for norm in norms), f"{apart / norms[0]:.1e}"),
    ]  # fmt: skip
    print_table(("first batch", "ours", "TensorFlow", "relative difference"), rows)
    missing = {name.removeprefix("gradients/") for name in theirs if name.startswith("gradients/")} ^ set(slopes)
    print(f"gradients of {len(pairs)} tensors compared; without a partner: {sorted(missing) or 'none'}\n")


def _print_run(theirs: dict[str, Any], ours: Sequence[dict[str, Any]], threads: Sequence[int]) -> None:
    want = theirs["log"]
    steps = [step for step in (1, 50, 100, 200, len(want)) if step <= len(want)]
    rows = [
        (f"loss at step {step}", f"{want[step - 1, 0]:.6f}", *(f"{run['log'][step - 1, 0]:.6f}" for run in ours))
        for step in sorted(set(steps))
    ]
    last = slice(-45, None)
    rows.append(
        ("mean of the last 45", f"{want[last, 0].mean():.6f}", *(f"{r['log'][last, 0].mean():.6f}" for r in ours))
    )
    rows.append(("seconds a step", f"{float(theirs['seconds']):.2f}", *(f"{run['seconds']:.2f}" for run in ours)))
    columns = [f"ours, {count} thread{'s' * (count > 1)}" for count in threads]
    print_table(("run", "TensorFlow", *columns), rows)
    print()
    kinds = {f"{columns[0]}, and TensorFlow": (ours[0], theirs)}
    kinds |= {f"{columns[0]}, and {name[6:]}": (ours[0], run) for name, run in zip(columns[1:], ours[1:], strict=True)}
    table = []
    for name, (one, two) in kinds.items():
        apart = np.abs(one["log"][:, 0] / two["log"][:, 0] - 1)
        shared = [key for key in one if key.startswith("weights/") and "num_batches" not in key]
        gap = np.sqrt(
            sum(float(((one[key].astype("f8") - two[key].reshape(one[key].shape)) ** 2).sum()) for key in shared)
        )
        whole = np.sqrt(sum(float((one[key].astype("f8") ** 2).sum()) for key in shared))
        parts = (apart[:10], apart[:50], apart[:100], apart)
        table.append((name, *(f"{part.max():.1e}" for part in parts), f"{np.median(apart):.1e}", f"{gap / whole:.1e}"))
    print_table(
        ("relative difference of losses, largest", "to 10", "to 50", "to 100", "all", "median", "weights"), table
    )


def _write(path: Path, theirs: dict[str, Any], ours: Sequence[dict[str, Any]], threads: Sequence[int]) -> None:
    names = ["step", "loss_tensorflow", "grad_norm_tensorflow"]
    names += [f"{name}_ours_{count}" for count in threads for name in ("loss", "grad_norm")]
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, delimiter="\t", lineterminator="\n")
        writer.writerow(names)
        for step, row in enumerate(theirs["log"]):
            figures = [row[0], row[2], *(run["log"][step, place] for run in ours for place in (0, 2))]
            writer.writerow([step + 1, *(f"{value:.7g}" for value in figures)])


if __name__ == "__main__":
    main()
