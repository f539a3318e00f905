"""Whole runs: learning, the same twice, two heads, accumulation, patience, precision, what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from borzoi_export.training.options import TrainOptions
from borzoi_export.training.regularisers import Penalty
from borzoi_export.training.run import TuneOptions, train
from borzoi_export.training.session import RunOptions
from borzoi_export.weights.checkpoint import read_checkpoint

from borzoi_rt.dataset import Data
from borzoi_rt.errors import BorzoiError, InputError

from .runs import losses, rows, run, toy_params


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(checkpoint)[1]


def test_it_learns_and_logs(make_data: Callable[..., Data], tmp_path: Path) -> None:
    """The target is a function of the sequence, so that correlation on windows never seen must rise from nothing."""
    data = make_data(windows=32, valid=4)
    run(toy_params(dropout=0.0, learning_rate=5e-3), [data], tmp_path / "run", max_steps=112)
    logged = rows(tmp_path / "run" / "train.csv")
    assert [int(row["step"]) for row in logged] == list(range(112))
    assert [float(row["learning_rate"]) for row in logged[:5]] == pytest.approx([0, 5e-3 / 3, 1e-2 / 3, 5e-3, 5e-3])
    checked = rows(tmp_path / "run" / "valid.csv")
    assert [int(row["step"]) for row in checked] == list(range(16, 113, 16))
    pearson = [float(row["pearson"]) for row in checked]
    assert pearson[0] < 0.1
    assert max(pearson) > 0.2
    assert read_checkpoint(tmp_path / "run" / "best.ckpt")[0]["step"] == 16 * (1 + int(np.argmax(pearson)))
    assert list((tmp_path / "run" / "tensorboard").glob("events*"))


def test_a_seed_fixes_a_run(make_data: Callable[..., Data], tmp_path: Path) -> None:
    data = make_data(windows=8)
    outcomes = [run(toy_params(), [data], tmp_path / name, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    first, second, other = (losses(path.parent) for path in outcomes)
    assert first == second
    assert first != other
    one, two = (weights(path) for path in outcomes[:2])
    assert all(torch.equal(one[key], two[key]) for key in one)


def two_head_params(**changes: Any) -> dict[str, Any]:
    params = toy_params(**changes)
    params["model"]["head_other"] = {"name": "final", "units": 6, "activation": "softplus"}
    return params


def test_two_heads(make_data: Callable[..., Data], tmp_path: Path) -> None:
    """``other`` sorts before ``toy``; each batch trains one head, and moves nothing of the other."""
    sets = [make_data(windows=8, valid=2), make_data(windows=4, valid=2, seed=9)]
    params = two_head_params(warmup_steps=0)
    last = run(params, sets, tmp_path / "run", max_steps=12)
    logged = rows(last.with_name("train.csv"))
    assert [row["head"] for row in logged].count("head_toy") == 4  # 2 of 6 batches in each of two epochs
    assert {row["head"] for row in rows(last.with_name("valid.csv"))} == {"head_other", "head_toy"}
    assert last.with_name("best-head_toy.ckpt").is_file()
    one = next(number for number in range(1, 12) if logged[number]["head"] != logged[0]["head"])
    before, after = (weights(run(params, sets, tmp_path / f"part{steps}", max_steps=steps)) for steps in (one, one + 1))
    idle, moved = ("model.network.head.weight", "model.others.0.weight")
    if logged[one]["head"] == "head_other":
        idle, moved = moved, idle
    assert torch.equal(before[idle], after[idle])
    assert not torch.equal(before[moved], after[moved])


def test_heads_by_name(make_data: Callable[..., Data], tmp_path: Path) -> None:
    last = run(two_head_params(), [make_data(windows=4)], tmp_path / "run", max_steps=2, heads=["toy"])
    assert [head["name"] for head in read_checkpoint(last)[0]["heads"]] == ["head_toy"]


def test_accumulation_equals_one_large_batch(make_data: Callable[..., Data], tmp_path: Path) -> None:
    """Equal where windows of a batch do not see each other: normalisation by stored statistics, nothing random."""
    data = make_data(windows=8)
    params = toy_params(dropout=0.0, warmup_steps=0)
    params["model"].update(augment_rc=False, augment_shift=0)
    begin = run(params, [data], tmp_path / "begin", max_steps=1)
    tune = TuneOptions(init=str(begin), keep_head=True, freeze="statistics")
    one = run(params, [data], tmp_path / "one", max_steps=2, batch_size=4, tune=tune)
    two = run(params, [data], tmp_path / "two", max_steps=2, batch_size=2, accumulate=2, tune=tune)
    assert len(losses(two.parent)) == 4
    assert [row["grad_norm"] != "" for row in rows(two.with_name("train.csv"))] == [False, True, False, True]
    for key, tensor in weights(one).items():
        torch.testing.assert_close(weights(two)[key], tensor, rtol=1e-4, atol=2e-5, msg=key)  # Adam's 2e-3 x rounding


def test_patience_stops(make_data: Callable[..., Data], tmp_path: Path) -> None:
    data = make_data(windows=4, valid=2)
    params = toy_params(learning_rate=1e-12, warmup_steps=0)  # nothing gets better
    last = run(params, [data], tmp_path / "run", max_steps=0, patience=2, max_epochs=50)
    pearson = [float(row["pearson"]) for row in rows(last.with_name("valid.csv"))]
    best = int(np.argmax(pearson))
    assert len(pearson) == best + 1 + 3  # more than two in a row without a rise
    longer = run(
        params, [data], tmp_path / "longer", max_steps=0, patience=2, max_epochs=50, min_epochs=len(pearson) + 4
    )
    assert len(rows(longer.with_name("valid.csv"))) >= len(pearson) + 4


def test_penalties_and_recomputation_change_and_keep_the_run(make_data: Callable[..., Data], tmp_path: Path) -> None:
    data = make_data(windows=8)
    plain = run(toy_params(), [data], tmp_path / "plain")
    lean = run(toy_params(), [data], tmp_path / "lean", checkpoint_blocks=True)
    assert losses(lean.parent) == losses(plain.parent)
    heavy = run(toy_params(), [data], tmp_path / "heavy", penalties=[Penalty("l2_sum", "head", 0.5)])
    assert losses(heavy.parent)[0] == losses(plain.parent)[0]
    assert losses(heavy.parent)[-1] != losses(plain.parent)[-1]
    assert float(rows(heavy.with_name("train.csv"))[0]["penalty"]) > 0
    norms = [float(weights(path)["model.network.head.weight"].norm()) for path in (plain, heavy)]
    assert norms[1] < norms[0]


def test_what_does_not_fit_is_refused_before_anything_is_written(
    make_data: Callable[..., Data], tmp_path: Path
) -> None:
    data = make_data(windows=4)
    other = toy_params()
    other["model"]["head_toy"]["units"] = 5
    with pytest.raises(InputError, match="has 6 tracks, head_toy 5 units"):
        run(other, [data], tmp_path / "run")
    narrow = toy_params()
    narrow["model"]["trunk"][-1]["cropping"] = 8
    with pytest.raises(InputError, match="2048 bp -> 32 x 32 bp, the params give 2048 bp -> 48 x 32 bp"):
        run(narrow, [data], tmp_path / "run")
    with pytest.raises(BorzoiError, match="head 1 is not in the params"):
        run(toy_params(), [data, data], tmp_path / "run")
    (data.path / "targets.txt").unlink()
    with pytest.raises(InputError, match="strands of reverse complements are unknown"):
        run(toy_params(), [data], tmp_path / "run")
    whole, block = toy_params(), toy_params()
    whole["model"]["norm_type"] = block["model"]["trunk"][1]["norm_type"] = "batch-sync"
    for shared in (whole, block):
        with pytest.raises(InputError, match="batch-sync shares statistics between GPUs only"):
            run(shared, [data], tmp_path / "run", augment_rc=False, run=RunOptions(accelerator="cpu", devices=2))
    assert not (tmp_path / "run").exists()


def test_squash_of_the_data_is_kept(make_data: Callable[..., Data], tmp_path: Path) -> None:
    data = make_data(windows=4, squash="old")
    options = TrainOptions.from_params(toy_params(), max_steps=1)
    with pytest.raises(InputError, match="was squashed by 'old', not 'new'"):
        train(toy_params(), [data.path], tmp_path / "run", options=options, run=RunOptions(squash="new"))
