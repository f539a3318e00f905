"""One training step of the trained test model against the reference network in float64, differentiated by itself."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from borzoi_export.models.config import BorzoiConfig
from borzoi_export.training.module import BorzoiModule
from borzoi_export.training.network import MultiHead
from borzoi_export.training.options import TrainOptions
from borzoi_export.training.regularisers import calico_penalties
from borzoi_export.weights.keras_h5 import read_keras_h5
from oracles import training as oracle
from torch import Tensor

from borzoi_rt.dataset import open_data

RATE = 1e-4


def load_reference(shared: Path, params: dict[str, Any]) -> tuple[ModuleType, Any]:
    """Return the reference network in float64, its normalisation changed to that of training: batch statistics."""
    path = shared / "oracle" / "borzoi_reference.py"
    spec = importlib.util.spec_from_file_location("borzoi_reference", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def batch_statistics(weights: list[Tensor], x: Tensor) -> Tensor:
        gamma, beta, *_ = weights
        mean, variance = x.mean(dim=(0, 1)), x.var(dim=(0, 1), correction=0)
        return (x - mean) / torch.sqrt(variance + 1e-3) * gamma + beta

    module._batch_norm = batch_statistics  # type: ignore[attr-defined]
    return module, module.load(shared / "data" / "tiny_model" / "model.h5", params, dtype=torch.float64)


def leaves(step: Any) -> list[Tensor]:
    if isinstance(step, Tensor):
        return [step]
    return [tensor for part in step for tensor in leaves(part)] if isinstance(step, tuple | list) else []


@pytest.fixture(scope="module")
def stepped(shared: Path) -> dict[str, Any]:
    """Make one step both ways, on the first training window, without dropout and augmentation."""
    source = shared / "data" / "tiny_model"
    params = json.loads((source / "params.json").read_text())
    params["model"]["trunk"][2].update(dropout=0.0, attention_dropout=0.0)
    config = BorzoiConfig.from_params(params)
    window = next(open_data(shared / "data" / "tiny_hg38").split("train").in_order())

    _, reference = load_reference(shared, params)
    tensors = [tensor.requires_grad_() for tensor in leaves(reference.steps) + leaves(reference.head)]
    x = torch.nn.functional.one_hot(torch.from_numpy(window.codes.astype("i8")), 5)[None, :, :4].double()
    prediction = reference(x)
    slope = oracle.poisson_multinomial_slope(prediction[0].detach().numpy().T, window.target, 0.2, np.ones(config.bins))
    prediction.backward(torch.from_numpy(slope.T[None] / config.tracks))
    want_loss = oracle.poisson_multinomial(
        prediction[0].detach().numpy().T, window.target, 0.2, np.ones(config.bins)
    ).mean()

    options = TrainOptions.from_params(params, warmup_steps=0, learning_rate=RATE)
    model = MultiHead([config])
    state = read_keras_h5(source / "model.h5", config)
    model.network.load_state_dict(state, strict=False)
    penalties = calico_penalties(params, model)
    names = [str(unit) for unit in range(config.tracks)]
    module = BorzoiModule(model, options, tracks=[names], heads=["head_human"], penalties=penalties)
    module.train()
    batch = {
        "codes": torch.from_numpy(window.codes[None].copy()),
        "target": torch.from_numpy(np.ascontiguousarray(window.target)[None]),
        "head": 0,
        "number": 0,
    }
    outcome = module.training_step(batch, 0)
    outcome["data_gradients"] = torch.autograd.grad(
        module.losses(batch)[0].mean(), list(model.network.parameters()), retain_graph=False
    )
    return {"reference": tensors, "want_loss": want_loss, "module": module, "outcome": outcome, "params": params}


def keras_order(network: Any) -> list[tuple[str, Tensor]]:
    """Return our parameters in the order in which the reference holds its tensors, with moving statistics as None."""

    def norm(name: str) -> list[str]:
        return [f"{name}.weight", f"{name}.bias", "", ""]

    names = ["stem.weight", "stem.bias"]
    for place in range(6):
        names += [*norm(f"tower.{place}.norm"), f"tower.{place}.conv.weight", f"tower.{place}.conv.bias"]
    for place in range(2):
        block = f"transformer.{place}"
        attention = [f"{block}.attention.{part}" for part in ("content_bias", "position_bias")]
        attention += [f"{block}.attention.{part}.weight" for part in ("query", "key", "value", "out")]
        names += [f"{block}.norm_attention.weight", f"{block}.norm_attention.bias", *attention]
        names += [f"{block}.attention.out.bias", f"{block}.attention.relative_key.weight"]
        for part in ("norm_dense", "dense_up", "dense_down"):
            names += [f"{block}.{part}.weight", f"{block}.{part}.bias"]
    for place in range(2):
        block = f"unet.{place}"
        names += [*norm(f"{block}.norm"), *norm(f"{block}.norm_skip")]
        names += [f"{block}.{part}" for part in ("dense.weight", "dense.bias", "dense_skip.weight", "dense_skip.bias")]
        names += [f"{block}.depthwise.weight", f"{block}.pointwise.weight", f"{block}.pointwise.bias"]
    return [(name, None) for name in [*names, "head.weight", "head.bias"]]  # type: ignore[misc]


def ours_as_keras(name: str, tensor: Tensor, like: Tensor) -> Tensor:
    """Turn one of our tensors into Keras' axes."""
    if name.endswith("depthwise.weight"):
        return tensor.permute(2, 0, 1)
    if tensor.ndim == 3:
        turned = tensor.permute(2, 1, 0)
        return turned.reshape(like.shape) if turned.numel() == like.numel() else turned
    return tensor.T if tensor.ndim == 2 else tensor.reshape(like.shape)


def test_the_loss(stepped: dict[str, Any]) -> None:
    assert float(stepped["outcome"]["data_loss"]) == pytest.approx(stepped["want_loss"], abs=1e-5)


def test_every_gradient(stepped: dict[str, Any]) -> None:
    network = stepped["module"].model.network
    got = dict(zip([name for name, _ in network.named_parameters()], stepped["outcome"]["data_gradients"], strict=True))
    order = [name for name, _ in keras_order(network)]
    assert len(order) == len(stepped["reference"])
    for name, tensor in zip(order, stepped["reference"], strict=True):
        if not name:
            continue
        want = tensor.grad.numpy()
        found = ours_as_keras(name, got.pop(name), tensor).numpy()
        # float32 through 20 layers against float64: rounding of the sums over 131,072 positions. A bias before a
        # normalisation has no gradient at all, and float32 leaves the rounding of terms that are 1e6 times larger.
        np.testing.assert_allclose(found, want, rtol=0, atol=2e-4 * np.abs(want).max() + 5e-7, err_msg=name)
    assert not got


def test_the_penalty_is_that_of_the_params(stepped: dict[str, Any]) -> None:
    """2e-7 on convolutions, dense layers of the U-nets and the head; 5e-8 on the transformer; nothing elsewhere."""
    want = 0.0
    for name, parameter in stepped["module"].model.network.named_parameters():
        if not name.endswith("weight") or parameter.ndim < 2 or "depthwise" in name or "pointwise" in name:
            continue
        want += (5e-8 if name.startswith("transformer") else 2e-7) * float(parameter.detach().double().square().sum())
    assert float(stepped["outcome"]["penalty"]) == pytest.approx(want, rel=1e-5)
    assert float(stepped["outcome"]["loss"].detach()) == pytest.approx(stepped["want_loss"] + want, abs=1e-5)


def test_the_update(stepped: dict[str, Any]) -> None:
    """Clip at the params' 0.1, then Adam in Keras' form: the change of every weight from its gradient."""
    module = stepped["module"]
    module.zero_grad()
    parameters = dict(module.model.network.named_parameters())
    before = {name: tensor.detach().double().numpy().copy() for name, tensor in parameters.items()}
    for tensor, gradient in zip(parameters.values(), stepped["outcome"]["data_gradients"], strict=True):
        tensor.grad = gradient.clone()
    norm = np.sqrt(sum(float((g.double() ** 2).sum()) for g in stepped["outcome"]["data_gradients"]))
    assert norm > 0.1  # otherwise the clip would not be seen
    configured = module.configure_optimizers()
    module.configure_gradient_clipping(configured["optimizer"])
    assert module.grad_norm == pytest.approx(norm, rel=1e-5)
    configured["optimizer"].step()
    for (name, tensor), gradient in zip(parameters.items(), stepped["outcome"]["data_gradients"], strict=True):
        clipped = gradient.double().numpy() * 0.1 / (norm + 1e-6)
        want = oracle.keras_adam(before[name], [clipped], [RATE], 1e-7)
        # Adam's first step is nearly the sign of the gradient times the rate: float32 weights hold it to 1e-7.
        np.testing.assert_allclose(tensor.detach().numpy(), want, rtol=2e-7, atol=2e-7, err_msg=name)
