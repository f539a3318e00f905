"""What a params.json says about training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import toys
from borzoi_export.training.options import TrainOptions

from borzoi_rt.errors import BorzoiError


def test_published_files(shared: Path) -> None:
    """Keys and values of the published recipes."""
    options = {
        name: TrainOptions.from_params(json.loads((shared / "data" / "tables" / f"{name}.json").read_text()))
        for name in ("borzoi_params", "params_mini", "params_micro")
    }
    big, micro = options["borzoi_params"], options["params_micro"]
    assert (big.learning_rate, big.warmup_steps, big.clip_norm, big.batch_size) == (6e-5, 20_000, 0.15, 2)
    assert (big.patience, big.min_epochs, big.max_epochs) == (30, 130, 180)
    assert (micro.learning_rate, micro.clip_norm, micro.weight_range, micro.weight_exp) == (2e-4, 0.2, 8, 6)
    assert all(item.augment_rc and item.augment_shift == 3 and item.total_weight == 0.2 for item in options.values())


def test_arguments_win_and_none_does_not() -> None:
    params = {"train": {"batch_size": 3}, "model": toys.params()}
    options = TrainOptions.from_params(params, batch_size=5, learning_rate=None)
    assert options.batch_size == 5
    assert options.learning_rate == TrainOptions().learning_rate


@pytest.mark.parametrize(("precision", "epsilon"), [("32", 1e-7), ("bf16", 1e-7), ("16", 1e-4)])
def test_epsilon_follows_loss_scaling(precision: str, epsilon: float) -> None:
    assert TrainOptions(precision=precision).epsilon == epsilon


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"loss": "mse"}, "loss 'mse' cannot be used"),
        ({"optimizer": "sgd"}, "optimizer 'sgd'"),
        ({"momentum": 0.9}, "key 'momentum' is unknown"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 1.5}, "batch_size is 1.5; a whole number"),
        ({"learning_rate": -1}, "learning_rate is -1"),
        ({"global_clipnorm": float("nan")}, "clip_norm is nan"),
        ({"adam_beta2": 1.0}, "adam_beta2 is 1.0"),
        ({"weight_range": 0.5}, "weight_range is 0.5"),
        ({"weight_range": 8, "weight_exp": 3}, "even"),
        ({"precision": "8"}, "precision '8' is unknown"),
        ({"schedule": "step"}, "schedule 'step' is unknown"),
    ],
)
def test_nonsense_is_refused(train: dict[str, Any], message: str) -> None:
    with pytest.raises(BorzoiError, match=message):
        TrainOptions.from_params({"train": train, "model": toys.params()})
