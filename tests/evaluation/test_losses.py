"""The loss against loops, and laws that hold for any coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from oracles import training as oracle

from borzoi_rt.errors import InputError
from borzoi_rt.evaluation.losses import poisson_multinomial, position_weights


def coverage(seed: int, shape: tuple[int, ...] = (4, 33)) -> np.ndarray:
    return np.random.default_rng(seed).gamma(0.3, 5.0, shape).astype(np.float32)


@pytest.mark.parametrize("total_weight", [0.0, 0.2, 1.0])
@pytest.mark.parametrize(("weight_range", "weight_exp"), [(1, 4), (8, 6), (3, 2)])
def test_equals_the_loops(total_weight: float, weight_range: float, weight_exp: float) -> None:
    p, y = coverage(0), coverage(1)
    y[2] = 0  # a track without reads
    p[3, 5:] = 0
    weights = position_weights(33, weight_range, weight_exp)
    got = poisson_multinomial(p, y, total_weight=total_weight, weights=weights)
    want = oracle.poisson_multinomial(p, y, total_weight, weights)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)  # float64 sums in another order


def test_one_bin_by_hand() -> None:
    p, y = np.array([[2.0]]), np.array([[3.0]])
    poisson = 2 - 3 * math.log(2 + 1e-7)
    multinomial = -(3 + 1e-7) * math.log((2 + 1e-7) / 2)  # epsilon above, none below
    assert poisson_multinomial(p, y, total_weight=0.5)[0] == pytest.approx(multinomial + 0.5 * poisson, rel=1e-14)


def test_the_truth_is_a_minimum() -> None:
    y = coverage(2) + 0.5
    best = poisson_multinomial(y, y)
    for factor in (0.9, 1.1):
        assert (poisson_multinomial(y * factor, y) > best).all()
        tilted = y * np.linspace(factor, 2 - factor, 33)
        assert (poisson_multinomial(tilted, y) > best).all()


def test_inputs_are_left_alone() -> None:
    p, y = coverage(3), coverage(4)
    before = p.copy(), y.copy()
    poisson_multinomial(p, y, weights=position_weights(33, 8, 6))
    np.testing.assert_array_equal(p, before[0])
    np.testing.assert_array_equal(y, before[1])


@pytest.mark.parametrize("bins", [1, 2, 33, 2048])
def test_weights_fall_symmetrically_to_one_over_the_range(bins: int) -> None:
    weights = position_weights(bins, 8, 6)
    np.testing.assert_allclose(weights, weights[::-1], rtol=1e-12)
    assert weights.max() == 1
    if bins > 2:
        end = bins / 2 - 0.5
        # Divided by the largest weight, which lies half a bin off the middle where their number is even.
        middle = (0 if bins % 2 else 0.5) / end
        assert weights[0] == pytest.approx(math.exp(-math.log(8) * (1 - middle**6)), rel=1e-9)


@pytest.mark.parametrize(("weight_range", "weight_exp", "message"), [(0.5, 4, "weight_range"), (8, 3, "even")])
def test_weights_refuse(weight_range: float, weight_exp: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        position_weights(8, weight_range, weight_exp)


def test_shapes_must_agree() -> None:
    with pytest.raises(InputError, match=r"\(4, 33\), target \(4, 32\)"):
        poisson_multinomial(coverage(0), coverage(0)[:, 1:])
