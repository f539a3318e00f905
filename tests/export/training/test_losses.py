"""The loss on tensors and its gradient against float64 formulas written out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from borzoi_export.training.losses import poisson_multinomial
from borzoi_export.training.metrics import track_sums, zero_sums
from oracles import training as oracle

from borzoi_rt.evaluation.losses import position_weights
from borzoi_rt.evaluation.metrics import TrackSums


def coverage(seed: int, shape: tuple[int, ...] = (2, 3, 17)) -> np.ndarray:
    return np.random.default_rng(seed).gamma(0.5, 3.0, shape)


@pytest.mark.parametrize("total_weight", [0.2, 1.0])
@pytest.mark.parametrize(("weight_range", "weight_exp"), [(1, 4), (8, 6)])
def test_value_and_gradient(total_weight: float, weight_range: float, weight_exp: float) -> None:
    p, y = coverage(0), coverage(1)
    weights = position_weights(17, weight_range, weight_exp)
    prediction = torch.from_numpy(p).requires_grad_()
    given = torch.from_numpy(weights) if weight_range > 1 else None
    losses = poisson_multinomial(prediction, torch.from_numpy(y), total_weight=total_weight, weights=given)
    losses.mean().backward()
    for window in range(2):
        want = oracle.poisson_multinomial(p[window], y[window], total_weight, weights)
        np.testing.assert_allclose(losses[window].detach(), want, rtol=1e-12)
        slope = oracle.poisson_multinomial_slope(p[window], y[window], total_weight, weights)
        assert prediction.grad is not None
        np.testing.assert_allclose(prediction.grad[window], slope / 6, rtol=1e-10, atol=1e-15)  # mean over 2 x 3


def test_float32_is_close_and_inputs_stay() -> None:
    p, y = (torch.from_numpy(coverage(seed).astype(np.float32)) for seed in (2, 3))
    before = p.clone(), y.clone()
    got = poisson_multinomial(p, y).numpy()
    want = [oracle.poisson_multinomial(p[b].numpy(), y[b].numpy(), 0.2, np.ones(17)) for b in range(2)]
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)  # sums of 17 float32 terms that cancel in part
    assert torch.equal(p, before[0])
    assert torch.equal(y, before[1])


def test_sums_are_those_of_the_runtime() -> None:
    p, y = coverage(4), coverage(5)
    want = TrackSums(3)
    want.add(p, y)
    got = zero_sums(3, torch.device("cpu"))
    for window in range(2):
        got += track_sums(torch.from_numpy(p[window : window + 1]), torch.from_numpy(y[window : window + 1]))
    np.testing.assert_allclose(got, want.values, rtol=1e-12)
