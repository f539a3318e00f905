"""The DFT score: definitions, laws, closed forms."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from oracles import dft as oracle

from borzoi_rt.errors import InputError
from borzoi_rt.promoter import dft_scores

SIZES = (1, 2, 5, 64, 999, 1350, 4000)
EXACT = 1e-12  # sums of a few thousand float64 terms


def tracks(bins: int, motifs: int = 4, *, sites: tuple[int, ...] = (), seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return a positive track and the same with random changes."""
    random = np.random.default_rng(seed)
    wt = 1.0 + random.random((*sites, bins))
    return wt, wt[..., None, :] + 0.3 * random.normal(size=(*sites, motifs, bins))


def gaussian(bins: int, center: int, *, mean: float, height: float = 2.5, width: float = 12.0) -> np.ndarray:
    position = np.arange(bins) - center
    return height * np.exp(-((position - mean) ** 2) / (2 * width**2))


@pytest.mark.parametrize("bins", [1, 2, 3, 8, 63])
def test_spectrum_is_the_dft_by_definition(bins):
    wt, ko = tracks(bins)
    got = dft_scores(wt, ko)
    want = np.stack([oracle.dft(row - wt)[: bins // 2 + 1] for row in ko])
    assert_allclose(got.spectrum, want, atol=EXACT * bins)
    assert_allclose(got["effect"], ko - wt)
    assert dft_scores(wt, ko, spectra=False).spectrum is None


@pytest.mark.parametrize("bins", SIZES)
def test_scores_are_the_published_ones(bins):
    wt, ko = tracks(bins)
    raw, score = oracle.published_scores(wt, ko)
    got = dft_scores(wt, ko, compat="genoretriever")
    assert_allclose(got.raw, raw, rtol=1e-11)  # the published order cancels the track, not only the effect
    assert_allclose(got.score, score, rtol=1e-11)
    single = dft_scores(wt.astype(np.float32), ko.astype(np.float32))
    assert_allclose(single.score, score, rtol=1e-5)  # float32 input


@pytest.mark.parametrize("bins", SIZES)
def test_parseval(bins):
    wt, ko = tracks(bins, sites=(3,))
    got = dft_scores(wt, ko, spectra=False).raw
    assert_allclose(got, math.sqrt(bins) * np.linalg.norm(ko - wt[:, None], axis=-1), rtol=EXACT)


def test_the_norm_of_the_stored_half_is_another_number():
    wt, ko = tracks(4000)
    half = np.linalg.norm(np.fft.rfft(ko - wt), axis=-1)
    assert_allclose(
        half / dft_scores(wt, ko).raw, math.sqrt(0.5), rtol=1e-3
    )  # noise: the two end bins are few in 2,001


@settings(deadline=None, max_examples=25)
@given(bins=st.integers(1, 300), factor=st.floats(-50, 50).filter(lambda x: abs(x) > 1e-3), seed=st.integers(0, 99))
def test_linearity(bins, factor, seed):
    wt, ko = tracks(bins, seed=seed)
    one, many = dft_scores(wt, ko), dft_scores(wt, wt + factor * (ko - wt))
    assert_allclose(many.spectrum, factor * one.spectrum, rtol=1e-9, atol=1e-9 * bins)  # (wt + f) - wt rounds f
    assert_allclose(many.raw, abs(factor) * one.raw, rtol=1e-10)
    assert_allclose(many.score, one.score, rtol=1e-10)
    assert_allclose(many.delta_sum, factor * one.delta_sum, rtol=1e-9, atol=1e-9 * bins)


@pytest.mark.parametrize("bins", [64, 999, 4000])
def test_what_the_norm_cannot_see(bins):
    wt, ko = tracks(bins)
    f, flat = ko - wt, np.zeros(bins)
    order = np.random.default_rng(1).permutation(bins)
    base = dft_scores(flat, f)
    k, turn = np.arange(bins // 2 + 1), 2j * np.pi / bins
    moved, mirrored = dft_scores(flat, np.roll(f, 7, axis=-1)), dft_scores(flat, f[:, ::-1])
    assert_allclose(moved.spectrum, base.spectrum * np.exp(-turn * k * 7), atol=1e-9)
    assert_allclose(mirrored.spectrum, base.spectrum.conj() * np.exp(turn * k), atol=1e-9)
    for other in (moved, mirrored, dft_scores(flat, f[:, order]), dft_scores(flat, -f)):
        assert_allclose(other.raw, base.raw, rtol=EXACT)
    assert_allclose(dft_scores(flat, -f).delta_sum, -base.delta_sum, rtol=EXACT)


@pytest.mark.parametrize("center", [2000, 3500])
def test_gaussian_has_its_analytic_integral(center):
    f = gaussian(4000, center, mean=-30.0)
    got = dft_scores(np.zeros(4000), f[None], center=center)
    want = 2.5 * 12 * math.sqrt(2 * math.pi) * np.exp(-((12 * got.omega) ** 2) / 2) * np.exp(30j * got.omega)
    assert_allclose(got.spectrum[0], want, atol=EXACT * np.abs(want).max())
    assert_allclose(got.raw, 729.2024103578, rtol=1e-12)  # sqrt(4000) * 2.5 * sqrt(12 * sqrt(pi))


def test_spectrum_is_the_integral_by_quadrature_in_bins_of_any_width():
    position = 32.0 * (np.arange(400) - 150)
    f = np.exp(-((position - 300) ** 2) / (2 * 200.0**2))
    got = dft_scores(np.zeros(400), f[None], dt=32.0, center=150)
    assert_allclose(got.spectrum[0], oracle.integral(f, position, got.omega), atol=1e-9)


def test_a_pure_move():
    wt, ko = gaussian(4000, 2000, mean=0.0), gaussian(4000, 2000, mean=5.0)
    got = dft_scores(wt, ko[None], center=2000)
    r0 = 2.5**2 * 12 * math.sqrt(math.pi)  # the autocorrelation of the Gaussian at 0
    same = math.exp(-25 / (4 * 144))  # and at 5, over it
    assert_allclose(got.raw, math.sqrt(2 * 4000 * (r0 - r0 * same)), rtol=1e-10)
    assert_allclose(got.raw, 212.5330639764, rtol=1e-11)
    base = dft_scores(np.zeros(4000), wt[None], center=2000).spectrum[0]
    assert_allclose(np.abs(got.spectrum[0]), np.abs(base) * 2 * np.abs(np.sin(got.omega * 5 / 2)), atol=1e-10)
    assert_allclose(got.delta_sum[0], 0, atol=1e-9)
    assert_allclose([got.ratio[0], got.tss_shift_bp[0]], [1, 5], rtol=1e-9)
    # What is missing where it was: <f, WT> = r(5) - r(0).
    assert_allclose(got.abundance[0], (1 - same) * math.sqrt(4000 * r0), rtol=1e-10)
    assert_allclose(got.positional[0], math.sqrt(1 - same**2) * math.sqrt(4000 * r0), rtol=1e-10)


@pytest.mark.parametrize("factor", [0.0, 0.25, 1.7])
def test_a_pure_change_of_level(factor):
    wt, _ = tracks(4000)
    got = dft_scores(wt, factor * wt[None], center=2000)
    assert_allclose(got.raw, abs(factor - 1) * math.sqrt(4000) * np.linalg.norm(wt), rtol=EXACT)
    assert_allclose([got.ratio[0], got.abundance[0]], [factor, got.raw[0]], rtol=EXACT, atol=EXACT)
    assert_allclose(got.positional, 0, atol=1e-9)
    with np.errstate(divide="ignore"):
        assert_allclose(got.log2fc, np.log2(got.ratio))


@pytest.mark.parametrize("bins", [1, 2, 999, 4000])
@pytest.mark.parametrize("height", [0.05, 0.3, 3.0])
def test_parts_are_orthogonal(bins, height):
    wt, ko = tracks(bins, sites=(5,))
    ko = wt[:, None] + height / 0.3 * (ko - wt[:, None]) - 0.5 * height * wt[:, None]
    got = dft_scores(wt, ko)
    assert_allclose(got.raw**2, got.abundance**2 + got.positional**2, rtol=EXACT)
    assert (np.maximum(got.abundance, got.positional) <= got.raw * (1 + 1e-12)).all()
    for site, motif in ((0, 0), (4, 3)):
        want = oracle.parts(ko[site, motif] - wt[site], wt[site])
        assert_allclose([got.abundance[site, motif], got.positional[site, motif]], want, rtol=1e-9, atol=1e-9)
    assert_allclose(got.score.sum(-1), 1.0, rtol=EXACT)
    assert (got.score >= 0).all()
    assert_allclose(got.dominant, got.raw.argmax(-1))


def test_parts_of_an_effect_on_an_empty_track():
    f = gaussian(200, 100, mean=0.0)
    got = dft_scores(np.zeros(200), f[None])
    assert_allclose([got.abundance[0], got.positional[0]], [0, got.raw[0]])
    assert np.isnan(got.ratio[0])


def test_delta_cosine_and_constant():
    flat, position = np.zeros(4000), np.arange(4000)
    delta, cosine, constant = np.zeros(4000), np.cos(2 * np.pi * 381 * position / 4000), np.full(4000, 0.5)
    delta[1234] = 3.0
    got = dft_scores(flat, np.stack([delta, cosine, constant]), bands={"turn": (10.4, 10.6), "all": (2, np.inf)})
    assert_allclose(np.abs(got.spectrum[0]), 3.0, rtol=EXACT)
    assert_allclose(got.spectrum[1, 381], 2000, rtol=EXACT)
    assert np.abs(np.delete(got.spectrum[1], 381)).max() < 1e-9
    assert_allclose(got.spectrum[2, 0], 2000, rtol=EXACT)
    assert_allclose(got.band_power["turn"][1:], [1, 0], atol=1e-12)  # 4000 / 381 = 10.499 bp
    assert_allclose(got.band_power["all"], [3999 / 4000, 1, 0], atol=1e-12)  # of a delta all but the constant term


def test_bands_share_out_the_power():
    wt, ko = tracks(999)
    edges = [2.0, 9.5, 11.5, 150.0, np.inf]
    bands = {str(low): (low, high) for low, high in itertools.pairwise(edges)}
    got = dft_scores(wt, ko, bands=bands)
    rest = got.delta_sum**2 / got.raw**2  # the constant term
    assert_allclose(sum(got.band_power.values()) + rest, 1.0, rtol=EXACT)


def test_a_band_that_the_bins_cannot_hold_has_no_share():
    wt, ko = tracks(200)
    got = dft_scores(wt, ko, dt=32.0, bands={"helix": (9.5, 11.5), "far": (64.0, 1e9)})
    assert np.isnan(got.band_power["helix"]).all()
    assert (got.band_power["far"] > 0).all()


def test_small_effects_on_a_high_track_survive():
    wt = 5 + np.random.default_rng(0).random(4000)
    effect = 1e-5 * np.exp(-((np.arange(4000) - 2000.0) ** 2) / (2 * 20.0**2))
    low, high = wt.astype(np.float32), (wt + effect).astype(np.float32)
    want = math.sqrt(4000) * np.linalg.norm(effect)
    ours = abs(dft_scores(low, high[None]).raw[0] / want - 1)
    spectra = [np.fft.fft(track).astype(np.complex64) for track in (high, low)]
    published = abs(np.linalg.norm(spectra[0] - spectra[1]) / want - 1)
    assert ours < 0.05 < published


def test_magnitude_distance_is_blind_to_a_move_only():
    wt, _ = tracks(500)
    moved = np.stack([np.roll(wt, 20), 1.5 * wt])
    got = dft_scores(wt, moved)
    assert got.raw[0] > 1
    assert_allclose(got.magnitude, [0, got.raw[1]], atol=1e-9)


def test_noise_floor():
    wt, ko = tracks(200, sites=(3,))
    noisy = wt + 1e-3
    ko[1, 2] = wt[1] + 2e-3
    got = dft_scores(wt, ko, replica=noisy, noise_factor=3.0)
    assert_allclose(got.noise, 1e-3 * 200, rtol=1e-9)  # sqrt(200) * 1e-3 * sqrt(200)
    assert got.above_noise.sum() == got.raw.size - 1
    assert not got.above_noise[1, 2]


def test_a_site_without_effects_is_degenerate():
    wt, ko = tracks(50, sites=(2,))
    ko[1] = wt[1]
    got = dft_scores(wt, ko)
    assert got.degenerate.tolist() == [False, True]
    assert_allclose(got.score[1], 0)
    assert got.dominant[1] == -1
    assert np.isnan(dft_scores(wt, ko, compat="genoretriever").score[1]).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"compat": "other"}, "genoretriever"),
        ({"dt": 0.0}, "positive width"),
        ({"dt": math.inf}, "positive width"),
        ({"shift_window_bp": 0.0}, "shift_window_bp is 0.0"),
    ],
)
def test_bad_choices_are_refused(change, words):
    wt, ko = tracks(50)
    with pytest.raises(InputError, match=words):
        dft_scores(wt, ko, **change)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["wt", "ko"])
def test_nan_and_infinity_are_refused(value, where):
    wt, ko = tracks(50)
    {"wt": wt, "ko": ko[1]}[where][7] = value
    with pytest.raises(InputError, match="NaN"):
        dft_scores(wt, ko)


@pytest.mark.parametrize("shapes", [((0,), (2, 0)), ((5,), (5,)), ((5,), (2, 6)), ((3, 5), (2, 4, 5))])
def test_shapes_that_do_not_fit_are_refused(shapes):
    with pytest.raises(InputError, match="shape"):
        dft_scores(*(np.ones(shape) for shape in shapes))
