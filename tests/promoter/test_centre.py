"""Where an effect lies: both signs, mixed signs, any TSS bin and any width of a bin."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from oracles import dft as oracle

from borzoi_rt.promoter import dft_scores


def bump(bins: int, at: float, width: float = 12.0, height: float = 2.5) -> np.ndarray:
    return height * np.exp(-0.5 * ((np.arange(bins) - at) / width) ** 2)


def centre(f: np.ndarray, **about) -> float:
    """Return the centre of an effect on a track that it does not take below 0."""
    wt = np.full(len(f), 10.0)
    return float(dft_scores(wt, (wt + f)[None], **about).centroid_bp[0])


@pytest.mark.parametrize("sign", [1.0, -1.0, 1e-4, -1e-4])
@pytest.mark.parametrize("center", [0, 100, 2000, 3500, 3999])
@pytest.mark.parametrize("dt", [1.0, 0.5, 32.0])
def test_centre_of_gains_and_losses(sign, center, dt):
    for at in (100.0, 1970.25, 3470.0, 3899.5):
        assert_allclose(centre(sign * bump(4000, at), center=center, dt=dt), (at - center) * dt, atol=1e-6 * dt)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("at", [0, 1, 499, 500, 998])
@pytest.mark.parametrize("bins", [999, 1000])
def test_one_bin_is_its_own_centre_even_at_the_ends(sign, at, bins):
    f = np.zeros(bins)
    f[at] = sign
    assert_allclose(centre(f, center=7), at - 7, atol=1e-9)


def test_a_shift_of_the_effect_shifts_the_centre():
    f = -bump(4000, 1000.0, 30.0) - 0.3 * bump(4000, 1100.0)
    assert_allclose([centre(np.roll(f, s)) - centre(f) for s in (3, 250, -700)], [3, 250, -700], atol=1e-9)
    assert_allclose(centre(-f), centre(f), atol=1e-9)
    assert_allclose(centre(0.01 * f), centre(f), atol=1e-9)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_mixed_signs_have_no_centre(sign):
    strong, weak = bump(4000, 1900.0), bump(4000, 2100.0)
    assert np.isnan(centre(sign * (strong - weak)))  # as much gain as loss
    assert np.isnan(centre(sign * (strong - 0.06 * weak)))  # 5.7 % of the other sign
    assert_allclose(centre(sign * (strong - 0.04 * weak)), 1900, atol=10)  # 3.8 %


def test_no_effect_and_an_even_one_have_no_centre():
    assert np.isnan(centre(np.zeros(100)))
    assert np.isnan(centre(np.full(100, -0.5)))
    assert np.isnan(centre(np.ones(1)))


def test_centre_is_that_of_the_definition_with_and_without_spectra():
    random = np.random.default_rng(0)
    wt = 5.0 + random.random((40, 120))
    center = random.integers(120)
    f = random.choice([-1, 1], (40, 1)) * np.array([bump(120, at, 6.0) for at in random.uniform(0, 119, 40)])
    f += 0.02 * random.normal(size=f.shape) * random.random((40, 1)) * 4
    got = [dft_scores(wt, (wt + f)[:, None], center=center, dt=8.0, spectra=keep).centroid_bp[:, 0] for keep in (0, 1)]
    want = [oracle.effect_centre(row, center, 8.0) for row in f]
    assert 5 < np.isnan(want).sum() < 35
    assert_allclose(got[0], want, atol=1e-6)
    assert_allclose(got[1], got[0], atol=1e-9)
