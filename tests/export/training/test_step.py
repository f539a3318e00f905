"""One training step of the trained test model against the reference network in float64, differentiated by itself."""

from __future__ import annotations

import json
from pathlib import Path
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

from borzoi_rt.dataset import open_data

from .reference import keras_order, leaves, load_reference, ours_as_keras

RATE = 1e-4


@pytest.fixture(scope="module")
def stepped(shared: Path) -> dict[str, Any]:
    """Make one step both ways, on the first training window, without dropout and augmentation."""
    source = shared / "data" / "tiny_model"
    params = json.loads((source / "params.json").read_text())
    params["model"]["trunk"][2].update(dropout=0.0, attention_dropout=0.0)
    config = BorzoiConfig.from_params(params)
    window = next(open_data(shared / "data" / "tiny_hg38").split("train").in_order())

    reference = load_reference(shared, params)
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


def test_the_loss(stepped: dict[str, Any]) -> None:
    assert float(stepped["outcome"]["data_loss"]) == pytest.approx(stepped["want_loss"], abs=1e-5)


def test_every_gradient(stepped: dict[str, Any]) -> None:
    network = stepped["module"].model.network
    got = dict(zip([name for name, _ in network.named_parameters()], stepped["outcome"]["data_gradients"], strict=True))
    order = keras_order()
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
