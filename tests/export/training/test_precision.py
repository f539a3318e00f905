"""Half precision, on the CPU as on a GPU: what stays in float32, and loss scaling with clipping and resumption."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from borzoi_export.models.config import BorzoiConfig
from borzoi_export.training.module import BorzoiModule, DivergedError
from borzoi_export.training.network import MultiHead
from borzoi_export.training.options import TrainOptions
from borzoi_export.weights.checkpoint import read_checkpoint

from borzoi_rt.dataset import Data

from .runs import losses, rows, run, toy_params

# Gradients of a loss this large do not fit float16 until the scale has been halved a few times.
STEEP: dict[str, Any] = {"total_weight": 3000.0, "warmup_steps": 0}


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(checkpoint)[1]


def scaler(checkpoint: Path) -> dict[str, float] | None:
    state: dict[str, float] | None = torch.load(checkpoint, weights_only=True).get("MixedPrecision")
    return state


def test_training_is_close_to_float32(make_data: Callable[..., Data], tmp_path: Path) -> None:
    """Loss and gradient norm as in float32, so the norm is that of the gradient without its scale of 2^16."""
    data, params = make_data(windows=8), toy_params(dropout=0.0, adam_epsilon=1e-4)
    last = {name: run(params, [data], tmp_path / name, precision=name, max_steps=4) for name in ("32", "bf16", "16")}
    found = {name: losses(path.parent) for name, path in last.items()}
    assert len({tuple(values) for values in found.values()}) == 3  # each has a rounding of its own
    for name, rounding in (("bf16", 2**-8), ("16", 2**-11)):
        got, want = np.array(found[name], dtype=float), np.array(found["32"], dtype=float)
        np.testing.assert_allclose(got, want, rtol=4 * rounding)
        norms = [[float(row["grad_norm"]) for row in rows(last[kind].with_name("train.csv"))] for kind in (name, "32")]
        # The gradient passes 20 layers, and from the second update on the weights differ as well.
        np.testing.assert_allclose(*norms, rtol=60 * rounding)
        assert {tensor.dtype for tensor in weights(last[name]).values()} == {torch.float32, torch.int64}


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_head_and_loss_are_in_float32(kind: torch.dtype) -> None:
    """Coverage of 1e5 and sums of it are infinite in float16 (65,504), and 2^-8 of them is lost in bfloat16."""
    torch.manual_seed(2)
    model = MultiHead([BorzoiConfig.from_params(toy_params())])
    with torch.no_grad():
        model.network.head.bias.fill_(100_001.0)
        model.network.head.weight.zero_()
    module = BorzoiModule(model, TrainOptions(), tracks=[["a"] * 6], heads=["head_toy"])
    batch = {"codes": torch.zeros(1, 2048, dtype=torch.uint8), "target": torch.ones(1, 6, 32), "head": 0}
    with torch.autocast("cpu", dtype=kind):
        loss, prediction, _ = module.losses(batch)
    assert prediction.dtype == loss.dtype == torch.float32
    assert torch.equal(prediction, torch.full_like(prediction, 100_001.0))
    # Shares are 1/32 each: -sum(y log(share)) / 32 = log 32; Poisson: (32 p - 32 log(32 p)) / 32.
    want = np.log(32) + 0.2 * (100_001 - np.log(32 * 100_001))
    np.testing.assert_allclose(loss.detach().numpy(), want, rtol=1e-6)


def test_an_overflow_is_skipped_and_halves_the_scale(make_data: Callable[..., Data], tmp_path: Path) -> None:
    data, params = make_data(windows=8), toy_params(dropout=0.0, **STEEP)
    last = run(params, [data], tmp_path / "run", precision="16", max_steps=8)
    norms = [row["grad_norm"] for row in rows(last.with_name("train.csv"))]
    skipped = norms.index(next(norm for norm in norms if norm))
    assert 0 < skipped < 8
    state = scaler(last)
    assert state is not None
    assert state["scale"] == 2.0 ** (16 - norms.count(""))
    begin = run(params, [data], tmp_path / "begin", precision="16", max_steps=skipped)
    torch.manual_seed(0)
    drawn = dict(MultiHead([BorzoiConfig.from_params(params)]).named_parameters())
    assert all(torch.equal(weights(begin)[f"model.{name}"], value) for name, value in drawn.items())
    assert not torch.equal(weights(last)["model.network.stem.weight"], drawn["network.stem.weight"])


@pytest.mark.parametrize("precision", ["16", "bf16"])
def test_a_run_is_taken_up(make_data: Callable[..., Data], tmp_path: Path, precision: str) -> None:
    """The stop lies after the skipped updates: with the scale of a new run they would be skipped again."""
    data, params = make_data(windows=8), toy_params(**STEEP)
    whole = run(params, [data], tmp_path / "whole", precision=precision, max_steps=12)
    run(params, [data], tmp_path / "parts", precision=precision, max_steps=8)
    parts = run(params, [data], tmp_path / "parts", precision=precision, max_steps=12, resume=True)
    assert (parts.with_name("train.csv")).read_text() == (whole.with_name("train.csv")).read_text()
    assert scaler(parts) == scaler(whole)
    assert (scaler(whole) is None) is (precision == "bf16")
    assert all(torch.equal(value, weights(whole)[name]) for name, value in weights(parts).items())


def test_a_gradient_that_never_fits_stops_the_run(make_data: Callable[..., Data], tmp_path: Path) -> None:
    params = toy_params(total_weight=1e30, warmup_steps=0)
    with pytest.raises(DivergedError, match="the gradient is not finite"):
        run(params, [make_data(windows=8)], tmp_path / "run", precision="16", max_steps=100)
