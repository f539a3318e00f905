"""Attention in less memory: values and the whole gradient are those of the plain form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import toys
from borzoi_export.training import attention
from borzoi_export.training.attention import set_attention
from borzoi_export.training.network import MultiHead
from borzoi_export.training.options import TrainOptions

from borzoi_rt.dataset import Data
from borzoi_rt.errors import InputError

from .runs import losses, run, toy_params


def outcome(form: str, *, recompute: bool = False) -> dict[str, torch.Tensor]:
    """Return the output and all gradients of a network in float64, with weights of every kind away from 0."""
    torch.manual_seed(5)
    model = MultiHead([toys.config()])
    model.network.load_state_dict(toys.model().state_dict())
    model = model.double().train()
    set_attention(model.network, form)
    if recompute:
        model.recompute()
    torch.manual_seed(6)
    x = torch.nn.functional.one_hot(torch.randint(0, 4, (2, 2048)), 4).transpose(1, 2)
    y = model(x)
    (y * torch.linspace(-1, 1, y.numel()).reshape(y.shape)).sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {"output": y.detach(), **gradients}


@pytest.mark.parametrize("form", ["sdpa", "chunks"])
@pytest.mark.parametrize("recompute", [False, True])
def test_values_and_gradients_are_the_plain_ones(form: str, recompute: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "CHUNK", 5)  # 16 tokens: three whole chunks and one query
    got, want = outcome(form, recompute=recompute), outcome("plain")
    assert got.keys() == want.keys()
    assert any("position_bias" in name for name in want)
    # The head is float32 whatever the trunk is and rounds all gradients; a bias before a norm has nothing else.
    size = max(float(tensor.abs().max()) for tensor in want.values())
    for name, tensor in want.items():
        torch.testing.assert_close(got[name], tensor, rtol=1e-5, atol=1e-6 * size, msg=name)


@pytest.mark.parametrize("form", ["sdpa", "chunks"])
def test_runs_are_close_to_the_plain_one(make_data: Callable[..., Data], tmp_path: Path, form: str) -> None:
    data, params = make_data(windows=8), toy_params(dropout=0.0)
    plain = np.array(losses(run(params, [data], tmp_path / "plain").parent), dtype=float)
    other = np.array(losses(run(params, [data], tmp_path / form, attention=form).parent), dtype=float)
    np.testing.assert_allclose(other, plain, rtol=1e-4)


@pytest.mark.parametrize("form", ["sdpa", "chunks"])
def test_dropout_repeats_itself(make_data: Callable[..., Data], tmp_path: Path, form: str) -> None:
    data, params = make_data(windows=8), toy_params(dropout=0.2)
    whole = run(params, [data], tmp_path / "whole", attention=form)
    run(params, [data], tmp_path / "parts", max_steps=3, attention=form)
    parts = run(params, [data], tmp_path / "parts", attention=form, resume=True)
    assert losses(parts.parent) == losses(whole.parent)
    with pytest.raises(InputError, match="attention is 'plain' and was"):
        run(params, [data], tmp_path / "parts", attention="plain", resume=True)


def test_unknown_forms() -> None:
    with pytest.raises(InputError, match="attention 'flash' is unknown; allowed: plain, sdpa, chunks"):
        TrainOptions(attention="flash")
