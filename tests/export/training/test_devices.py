"""Several processes: what they share, and what each has for itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from borzoi_export.models.config import BorzoiConfig
from borzoi_export.training.loader import TrainBatches
from borzoi_export.training.module import BorzoiModule
from borzoi_export.training.network import MultiHead
from borzoi_export.training.options import TrainOptions
from borzoi_export.training.run import TuneOptions
from borzoi_export.weights.checkpoint import read_checkpoint

from borzoi_rt.dataset import Data
from borzoi_rt.errors import InputError

from .runs import CPU, rows, run, toy_params


def two_processes(params: dict[str, Any], sets: Sequence[Data], out: Path, *more: str) -> Path:
    """Run the command with ``--devices 2``; Lightning starts the second process with the words of the first."""
    file = out.with_suffix(".json")
    file.write_text(json.dumps(params))
    words = ["train", "--params", str(file), *(word for data in sets for word in ("--data", str(data.path)))]
    words += ["--out", str(out), "--devices", "2", "--accelerator", "cpu", "--threads", "1", *more]
    done = subprocess.run([sys.executable, "-m", "borzoi_rt", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out / "last.ckpt"


def figures(path: Path) -> tuple[list[str], np.ndarray]:
    """Return heads, and numbers of a log."""
    logged = rows(path)
    return [row["head"] for row in logged], np.array([[float(row[k]) for k in row if k != "head"] for row in logged])


def test_two_processes_equal_one_of_twice_the_batch(make_data: Callable[..., Data], tmp_path: Path) -> None:
    """Two heads in turn, validation of an odd number of windows, and a stop: equal where windows do not see each other.

    That is with stored statistics, without dropout, and without augmentation, which each process draws for itself.
    """
    params = toy_params(dropout=0.0)
    params["model"]["head_other"] = {"name": "final", "units": 6, "activation": "softplus"}
    params["model"].update(augment_rc=False, augment_shift=0)
    sets = [make_data(windows=8, valid=3), make_data(windows=4, valid=2, seed=9)]
    begin = run(params, sets, tmp_path / "begin", max_steps=2)
    tune = TuneOptions(init=str(begin), keep_head=True, freeze="statistics")
    one = run(params, sets, tmp_path / "one", max_steps=9, batch_size=2, tune=tune)
    words = ["--init", str(begin), "--keep-head", "--freeze", "statistics", "--batch-size", "1"]
    two_processes(params, sets, tmp_path / "two", *words, "--max-steps", "5")
    two = two_processes(params, sets, tmp_path / "two", *words, "--max-steps", "9", "--resume")
    for log, count in (("train.csv", 9), ("valid.csv", 2)):  # an epoch has 6 updates
        heads, numbers = figures(two.with_name(log))
        want_heads, want = figures(one.with_name(log))
        assert len(heads) == count
        assert heads == want_heads
        assert set(heads) == {"head_other", "head_toy"}
        np.testing.assert_allclose(numbers, want, rtol=2e-4, atol=2e-5)  # order of sums in float32, over 9 updates
    for name, tensor in read_checkpoint(one)[1].items():
        # Adam divides by the size of the gradient: where that is rounding, updates of 2e-3 differ by a share.
        torch.testing.assert_close(read_checkpoint(two)[1][name], tensor, rtol=1e-3, atol=1e-4, msg=name)


def test_each_process_normalises_by_its_own_batch(make_data: Callable[..., Data], tmp_path: Path) -> None:
    """Gradients are averaged; the running statistics are those of the first process, for both."""
    data, params = make_data(windows=8, valid=3), toy_params(dropout=0.0)
    two = two_processes(params, [data], tmp_path / "two", "--batch-size", "2", "--max-steps", "4", "--valid-every", "1")

    options = TrainOptions.from_params(params, max_steps=4)
    torch.manual_seed(options.seed)
    model = MultiHead([BorzoiConfig.from_params(params)])
    module = BorzoiModule(model, options, tracks=[["a"] * 6], heads=["head_toy"]).train()
    assert data.tracks is not None
    pairs = [data.tracks.positions_of(data.tracks.strand_pair)]
    loaders = [
        iter(TrainBatches([data.split("train")], pairs, batch_size=2, epochs=2, seed=options.seed, rank=rank, world=2))
        for rank in (0, 1)
    ]
    configured = module.configure_optimizers()
    for _ in range(4):
        kept = {name: value.clone() for name, value in model.named_buffers()}
        gradients = []
        for loader in reversed(loaders):  # the first process last, so that its statistics stay
            model.load_state_dict(kept, strict=False)
            module.zero_grad()
            module.losses(next(loader))[0].mean().backward()
            gradients.append([parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None])
        for parameter, one, other in zip(model.parameters(), *gradients, strict=True):
            parameter.grad = (one + other) / 2
        module.configure_gradient_clipping(configured["optimizer"])
        configured["optimizer"].step()
        configured["lr_scheduler"]["scheduler"].step()
    state = read_checkpoint(two)[1]
    for name, value in model.state_dict().items():
        torch.testing.assert_close(state[f"model.{name}"], value, rtol=1e-3, atol=1e-4, msg=name)


def test_fewer_validation_windows_than_processes_are_refused(make_data: Callable[..., Data], tmp_path: Path) -> None:
    data, both = make_data(windows=8, valid=1), type(CPU)(accelerator="cpu", devices=2)
    with pytest.raises(InputError, match="has 1 validation windows, fewer than the 2 processes"):
        run(toy_params(), [data], tmp_path / "run", run=both)
    assert not (tmp_path / "run").exists()
