"""Adam in Keras' form, and the schedule."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from borzoi_export.training.optimiser import KerasAdam, rate_factor
from oracles import training as oracle


@pytest.mark.parametrize("epsilon", [1e-7, 1e-2])
def test_updates_equal_the_formula(epsilon: float) -> None:
    generator = np.random.default_rng(0)
    start = generator.normal(size=5)
    gradients = [generator.normal(size=5) * 10.0 ** generator.integers(-4, 1, 5) for _ in range(6)]
    weight = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = KerasAdam([weight], lr=0.01, eps=epsilon)
    for gradient in gradients[:3]:
        weight.grad = torch.from_numpy(gradient)
        optimizer.step()
    # Through a state dict, as on resumption.
    state = optimizer.state_dict()
    optimizer = KerasAdam([weight], lr=0.01, eps=epsilon)
    optimizer.load_state_dict(state)
    for gradient in gradients[3:]:
        weight.grad = torch.from_numpy(gradient)
        optimizer.step()
    want = oracle.keras_adam(start, gradients, [0.01] * 6, epsilon)
    np.testing.assert_allclose(weight.detach().numpy(), want, rtol=1e-12)


def test_warm_up_begins_at_zero_and_ends_at_one() -> None:
    factors = [rate_factor(step, warmup_steps=4, schedule="constant", total_steps=0) for step in range(7)]
    assert factors == [0, 0.25, 0.5, 0.75, 1, 1, 1]


def test_cosine_falls_from_one_to_zero() -> None:
    factors = [rate_factor(step, warmup_steps=2, schedule="cosine", total_steps=10) for step in range(11)]
    assert factors[:2] == [0, 0.5]
    assert factors[2] == 1
    assert factors[6] == pytest.approx(0.5)  # half-way between 2 and 10
    assert factors[10] == pytest.approx(0)
    assert factors[2:] == sorted(factors[2:], reverse=True)
