"""From scratch, step by step beside the reference: its network in float64; loss, clip, warm-up and Adam by formula."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from borzoi_export.models.config import BorzoiConfig
from borzoi_export.training.module import BorzoiModule
from borzoi_export.training.network import MultiHead
from borzoi_export.training.options import TrainOptions
from oracles import training as oracle
from torch import Tensor

from borzoi_rt.dataset import open_data

from .reference import keras_order, leaves, load_reference, ours_as_keras

STEPS, RATE, WARMUP, CLIP = 5, 2e-3, 2, 0.1


class Adam:
    """Keras' Adam on a list of float64 tensors, after a clip of their whole norm."""

    def __init__(self, tensors: list[Tensor]) -> None:
        self.tensors = tensors
        self.start = [tensor.detach().numpy().copy() for tensor in tensors]
        self.gradients: list[list[np.ndarray]] = [[] for _ in tensors]
        self.rates: list[float] = []

    def step(self, rate: float) -> None:
        norm = np.sqrt(sum(float((tensor.grad**2).sum()) for tensor in self.tensors if tensor.grad is not None))
        self.rates.append(rate)
        for number, tensor in enumerate(self.tensors):
            assert tensor.grad is not None
            self.gradients[number].append(tensor.grad.numpy().copy() * min(1.0, CLIP / norm))
            with torch.no_grad():
                moved = oracle.keras_adam(self.start[number], self.gradients[number], self.rates, 1e-7)
                tensor.copy_(torch.from_numpy(moved))
            tensor.grad = None


@pytest.mark.full
def test_losses_follow_the_reference(shared: Path) -> None:
    params = json.loads((shared / "data" / "tiny_model" / "params.json").read_text())
    params["model"]["trunk"][2].update(dropout=0.0, attention_dropout=0.0)
    params["model"].pop("l2_scale")
    window = next(open_data(shared / "data" / "tiny_hg38").split("train").in_order())
    target = np.ascontiguousarray(window.target)

    config = BorzoiConfig.from_params(params)
    torch.manual_seed(6)
    model = MultiHead([config])
    changes = {"learning_rate": RATE, "warmup_steps": WARMUP, "clip_norm": CLIP}
    options = TrainOptions.from_params(params, **changes)
    module = BorzoiModule(model, options, tracks=[[""] * config.tracks], heads=["head_human"]).train()

    reference = load_reference(shared, params)
    ours = dict(model.network.named_parameters())
    tensors = []
    for name, tensor in zip(keras_order(), leaves(reference.steps) + leaves(reference.head), strict=True):
        if name:
            tensor.copy_(ours_as_keras(name, ours[name].detach(), tensor))
            tensors.append(tensor.requires_grad_())
    adam = Adam(tensors)

    codes = torch.from_numpy(window.codes[None].copy())
    onehot = torch.nn.functional.one_hot(codes.long(), 5)[..., :4].double()
    batch = {"codes": codes, "target": torch.from_numpy(target[None]), "head": 0, "number": 0}
    configured = module.configure_optimizers()
    got, want = [], []
    for step in range(STEPS):
        prediction = reference(onehot)
        now = prediction[0].detach().numpy().T
        want.append(oracle.poisson_multinomial(now, target, 0.2, np.ones(config.bins)).mean())
        slope = oracle.poisson_multinomial_slope(now, target, 0.2, np.ones(config.bins)) / config.tracks
        prediction.backward(torch.from_numpy(slope.T[None].copy()))
        adam.step(RATE * min(step / WARMUP, 1.0))

        outcome = module.training_step(batch, step)
        got.append(float(outcome["data_loss"]))
        configured["optimizer"].zero_grad()
        outcome["loss"].backward()
        module.configure_gradient_clipping(configured["optimizer"])
        configured["optimizer"].step()
        configured["lr_scheduler"]["scheduler"].step()
    assert want[0] == want[1]  # the first update has a rate of 0
    assert want[-1] < want[0] - 0.05
    # Rounding of float32 grows a little with every step.
    np.testing.assert_allclose(got, want, rtol=2e-3, atol=1e-4)
