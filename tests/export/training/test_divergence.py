"""A loss or a gradient that is not finite stops the run by name, and spoils nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from borzoi_export.models.config import BorzoiConfig
from borzoi_export.training.module import BorzoiModule, DivergedError
from borzoi_export.training.network import MultiHead
from borzoi_export.training.options import TrainOptions
from borzoi_export.weights.checkpoint import read_checkpoint

from borzoi_rt.dataset import Data

from .runs import losses, run, toy_params


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(checkpoint)[1]


@pytest.mark.parametrize("poisoned", [5])
def test_nan_targets_stop_with_step_and_tracks(make_data: Callable[..., Data], tmp_path: Path, poisoned: int) -> None:
    data = make_data(windows=8, poison=poisoned)
    with pytest.raises(DivergedError, match=r"step \d: the loss of 1 tracks of head_toy is not finite") as caught:
        run(toy_params(augment_rc=False), [data], tmp_path / "run", save_every=1, batch_size=1, max_steps=8)
    assert "rna" in str(caught.value)  # track 2, or its strand where the batch is turned
    assert "targets hold NaN" in str(caught.value)
    done = len(losses(tmp_path / "run"))
    if done:
        meta, state = read_checkpoint(tmp_path / "run" / "last.ckpt")
        assert meta["step"] == done
        assert all(torch.isfinite(tensor).all() for tensor in state.values())


def test_nan_in_validation_is_no_figure(make_data: Callable[..., Data], tmp_path: Path) -> None:
    data = make_data(windows=4, valid=3, poison=1, poisoned="valid")
    with pytest.raises(DivergedError, match=r"validation after step 2: .*'rna-'.*targets hold NaN"):
        run(toy_params(), [data], tmp_path / "run", max_steps=4)


def test_divergence_keeps_the_last_good_checkpoint(make_data: Callable[..., Data], tmp_path: Path) -> None:
    data = make_data(windows=8)
    with pytest.raises(DivergedError, match=r"step \d+: the (loss|gradient).*last good checkpoint is kept"):
        run(toy_params(learning_rate=1e30, global_clipnorm=0.0), [data], tmp_path / "run", save_every=1, max_steps=50)
    state = weights(tmp_path / "run" / "last.ckpt")
    assert all(torch.isfinite(tensor).all() for tensor in state.values() if tensor.is_floating_point())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_makes_no_update(bad: float) -> None:
    model = MultiHead([BorzoiConfig.from_params(toy_params())])
    module = BorzoiModule(model, TrainOptions(), tracks=[["a"] * 6], heads=["head_toy"])
    optimizer = module.configure_optimizers()["optimizer"]
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    model.network.stem.weight.grad[0, 0, 0] = bad
    with pytest.raises(DivergedError, match="the gradient is not finite"):
        module.configure_gradient_clipping(optimizer)
