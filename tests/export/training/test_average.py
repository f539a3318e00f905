"""The running average of the weights: by its formula, kept on resumption, validated, and exported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from borzoi_export.convert import convert_checkpoint
from borzoi_export.training.average import decay_at
from borzoi_export.weights.checkpoint import read_checkpoint
from command_line import Cli, options

from borzoi_rt.dataset import Data

from .runs import losses, rows, run, toy_params


def raw(checkpoint: Path) -> dict[str, np.ndarray]:
    """Return the weights themselves."""
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    return {name: tensor.double().numpy() for name, tensor in state.items()}


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_average_is_the_formula(make_data: Callable[..., Data], tmp_path: Path, accumulate: int) -> None:
    """From the weights after each update, in float64: decays 2/11, 3/12, 4/13, then 0.3."""
    data = make_data(windows=8)
    same = {"warmup_steps": 0, "accumulate": accumulate, "ema": 0.3}
    states = []
    for steps in range(1, 6):
        last = run(toy_params(), [data], tmp_path / f"{steps}", max_steps=steps, **same)
        states.append(raw(last))
    before = raw(run(toy_params(learning_rate=1e-30), [data], tmp_path / "before", max_steps=1, warmup_steps=0))
    mean = dict(before)
    for update, state in enumerate(states, start=1):
        share = min(0.3, (1 + update) / (10 + update))
        mean = {name: share * mean[name] + (1 - share) * value for name, value in state.items()}
    got = read_checkpoint(last)[1]
    moved = [name for name in got if name.endswith("weight")]
    for name in moved:
        np.testing.assert_allclose(got[name].numpy(), mean[name], rtol=2e-5, atol=1e-6, err_msg=name)
    assert any(not np.allclose(got[name].numpy(), states[-1][name]) for name in moved)


def test_decays() -> None:
    assert [decay_at(update, 0.3) for update in (1, 2, 3, 4)] == [2 / 11, 3 / 12, 0.3, 0.3]


def test_training_itself_is_untouched_and_resumed(make_data: Callable[..., Data], tmp_path: Path) -> None:
    data = make_data(windows=8, valid=2)
    plain = run(toy_params(), [data], tmp_path / "plain", max_steps=10)
    whole = run(toy_params(), [data], tmp_path / "whole", max_steps=10, ema=0.9)
    assert losses(whole.parent) == losses(plain.parent)
    assert rows(whole.parent / "valid.csv") != rows(plain.parent / "valid.csv")  # of the average
    for stop in (3, 4):
        run(toy_params(), [data], tmp_path / f"stop{stop}", max_steps=stop, ema=0.9)
        parts = run(toy_params(), [data], tmp_path / f"stop{stop}", max_steps=10, ema=0.9, resume=True)
        assert (parts.parent / "valid.csv").read_text() == (whole.parent / "valid.csv").read_text()
        one, two = read_checkpoint(whole)[1], read_checkpoint(parts)[1]
        assert all(torch.equal(one[name], two[name]) for name in one)


def test_what_is_frozen_stays_to_the_last_bit(make_data: Callable[..., Data], tmp_path: Path) -> None:
    from borzoi_export.training.run import TuneOptions

    data = make_data(windows=8)
    begun = run(toy_params(), [data], tmp_path / "begun", max_steps=2)
    tune = TuneOptions(init=str(begun), freeze="trunk")
    last = run(toy_params(), [data], tmp_path / "run", max_steps=5, ema=0.9, tune=tune)
    before, after = read_checkpoint(begun)[1], read_checkpoint(last)[1]
    # The counters of batches are not read from a file and play no part.
    learnt = [name for name in before if not name.endswith("num_batches_tracked")]
    changed = {name for name in learnt if not torch.equal(before[name], after[name])}
    assert changed == {"model.network.head.weight", "model.network.head.bias"}


def test_the_average_is_exported_and_said(cli: Cli, make_data: Callable[..., Data], tmp_path: Path) -> None:
    """Evaluation of the bundle agrees with the validation of the run, which saw the average."""
    data = make_data(windows=8, valid=3)
    last = run(toy_params(learning_rate=0.01), [data], tmp_path / "run", max_steps=4, ema=0.6)
    targets = data.path / "targets.txt"
    code, _, err = cli("export", "checkpoint", *options(checkpoint=last, targets=targets, out=tmp_path / "b"))
    assert (code, err) == (0, "last.ckpt: step 4, head_toy, weights averaged by 0.6 (EMA)\n")
    _, _, err = cli("evaluate", *options(bundle=tmp_path / "b", data=data.path, split="valid", out=tmp_path / "m.tsv"))
    logged = rows(last.with_name("valid.csv"))[-1]
    said = [float(word.split()[1]) for word in err.split(": ", 1)[1].split(" -> ")[0].split(", ")]
    assert said == pytest.approx([float(logged[name]) for name in ("loss", "pearson", "r2")], abs=2e-5)
    assert convert_checkpoint(last, targets, tmp_path / "c").info.provenance["ema"] == 0.6
