"""Correlations from sums against two passes over everything."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import training as oracle

from borzoi_rt.evaluation.metrics import TrackSums


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_streamed_equals_at_once(offset: float) -> None:
    generator = np.random.default_rng(5)
    y = generator.gamma(0.5, 3.0, (7, 3, 20)) + offset
    p = 0.5 * y + generator.normal(0, 1, y.shape)
    sums = TrackSums(3)
    for part in range(0, 7, 2):  # batches of 2, 2, 2, 1
        sums.add(p[part : part + 2], y[part : part + 2])
    for track in range(3):
        # Sums of squares of numbers near the offset lose the digits that the variance is made of: 1e6 / 1 of 2e-16.
        assert sums.pearson()[track] == pytest.approx(oracle.pearson(p[:, track], y[:, track]), rel=1e-9)
        assert sums.r2()[track] == pytest.approx(oracle.r2(p[:, track], y[:, track]), rel=1e-8)


def test_scale_and_shift_of_a_prediction_change_r2_but_not_r() -> None:
    y = np.random.default_rng(6).gamma(1.0, 1.0, (1, 2, 50))
    plain, moved = TrackSums(2), TrackSums(2)
    plain.add(y, y)
    moved.add(3 * y + 1, y)
    np.testing.assert_allclose(plain.pearson(), 1, rtol=1e-12)
    np.testing.assert_allclose(moved.pearson(), 1, rtol=1e-12)
    np.testing.assert_allclose(plain.r2(), 1, rtol=1e-12)
    assert (moved.r2() < 0).all()


def test_constants() -> None:
    """A constant prediction has r = 0, a constant target none."""
    changing = np.random.default_rng(7).random(40)
    p = np.stack([np.full(40, 0.3), changing])
    y = np.stack([changing, np.full(40, 0.7)])
    sums = TrackSums(2)
    sums.add(p, y)
    assert sums.pearson()[0] == 0
    assert np.isnan(sums.pearson()[1])
    assert np.isnan(sums.r2()[1])
