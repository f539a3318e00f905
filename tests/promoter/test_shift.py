"""How far a peak moved: baseline, level, strand and noise must not matter, and what did not move has no number."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from oracles import dft as oracle

from borzoi_rt.promoter import dft_scores

BINS, TSS = 4000, 3500


def bump(at: float, width: float = 12.0, bins: int = BINS) -> np.ndarray:
    return 2.5 * np.exp(-0.5 * ((np.arange(bins) - at) / width) ** 2)


def shift(wt: np.ndarray, ko: np.ndarray, **about):
    about = {"center": TSS, **about}
    got = dft_scores(wt, ko[None], spectra=False, **about)
    return float(got.tss_shift_bp[0]), float(got.tss_shift_se_bp[0]), bool(got.tss_shift_valid[0])


@pytest.mark.parametrize("move", [5, 20, -7, 0, 90, 5.3, -20.5, 0.25])
@pytest.mark.parametrize("baseline", [0.0, 0.05, 1.0, 50.0])
@pytest.mark.parametrize("level", [0.25, 1.0, 3.0])
def test_a_pure_move_reads_what_it_is_at_every_baseline_and_level(move, baseline, level):
    wt, ko = bump(TSS + 3) + baseline, level * (bump(TSS + 3 + move) + baseline)
    bp, se, valid = shift(wt, ko)
    assert valid
    assert_allclose(bp, move, atol=1e-6)
    assert se < 1e-6


@pytest.mark.parametrize("other", [0.0, 0.5, 7.0])
def test_the_baseline_of_ko_may_be_another(other):
    assert_allclose(shift(bump(TSS) + 0.02, bump(TSS + 20) + other)[0], 20, atol=1e-6)


@pytest.mark.parametrize("width", [1.0, 3.0, 40.0, 100.0])
@pytest.mark.parametrize("move", [5, 20])
def test_width_of_the_peak_does_not_matter(width, move):
    bp, _, valid = shift(bump(TSS, width) + 0.3, bump(TSS + move, width) + 0.3)
    assert valid
    assert_allclose(bp, move, atol=1e-6)


def test_any_track_moved_by_whole_bins_is_read_exactly():
    wt = np.random.default_rng(1).gamma(0.3, size=BINS)
    for move in (-90, -1, 1, 20):
        assert_allclose(shift(wt, np.roll(wt, move))[0], move, atol=1e-9)


def test_back_is_the_opposite_of_there():
    there, back = bump(TSS) + 0.1, 0.6 * bump(TSS + 8.4) + 0.2
    assert_allclose(shift(there, back)[0], -shift(back, there)[0], atol=1e-6)
    mirrored = [track[::-1] for track in (there, back)]
    assert_allclose(shift(*mirrored, center=BINS - 1 - TSS)[0], -8.4, atol=1e-6)


@pytest.mark.parametrize("dt", [0.5, 1.0, 8.0, 32.0, 128.0])
def test_moves_are_in_bp_whatever_the_width_of_a_bin(dt):
    wt, ko = bump(200, 2.0, 400) + 0.4, bump(203, 2.0, 400) + 0.4
    assert_allclose(shift(wt, ko, center=200, dt=dt)[0], 3 * dt, rtol=1e-9)


@pytest.mark.parametrize("center", [0, 5, 150, 394, 399])
def test_a_tss_near_an_end_of_the_track(center):
    wt, ko = bump(center, 6.0, 400) + 0.2, bump(center + 4, 6.0, 400) + 0.2
    bp, _, valid = shift(wt, ko, center=center)
    assert valid
    assert_allclose(bp, 4, atol=1 if center in (0, 399) else 0.05)  # half of the peak lies outside


@pytest.mark.parametrize(("level", "valid"), [(0.0, False), (0.1, False), (0.19, False), (0.21, True), (1.0, True)])
def test_a_vanished_peak_did_not_move(level, valid):
    bp, se, found = shift(bump(TSS), level * bump(TSS + 6))
    assert found == valid
    assert np.isfinite([bp, se]).tolist() == [valid, valid]
    assert shift(bump(TSS) + 3.0, level * bump(TSS + 6) + 3.0)[2] == valid  # though the ratio is near 1


def test_what_does_not_look_like_the_peak_did_not_move():
    random = np.random.default_rng(2)
    wt = bump(TSS) + 0.1
    for ko in (5.0 - wt, random.random(BINS), np.full(BINS, 0.1), 0.1 + 2.0 * (np.arange(BINS) % 2)):
        bp, se, valid = shift(wt, ko)
        assert (np.isnan(bp), np.isnan(se), valid) == (True, True, False)
    assert not shift(np.zeros(BINS), wt)[2]
    assert not shift(np.ones(BINS), wt)[2]


def test_only_the_peak_near_the_tss_counts():
    far = 4.0 * bump(1000)
    assert_allclose(shift(bump(TSS) + far, bump(TSS + 9))[0], 9, atol=1e-6)
    wt, ko = bump(TSS), bump(TSS + 60)
    assert_allclose(shift(wt, ko, shift_window_bp=130)[0], 60, atol=1e-6)
    assert not shift(wt, ko, shift_window_bp=100)[2]  # further than is looked for


@pytest.mark.parametrize("height", [0.25, 0.5, 0.7])
@pytest.mark.parametrize(("distance", "width"), [(-90, 12.0), (-90, 20.0), (60, 12.0), (80, 20.0)])
def test_another_peak_that_is_left_is_not_the_one_that_is_gone(height, distance, width):
    other = height * bump(TSS + distance, width)
    wt = bump(TSS) + other + 0.01
    for left in (0.0, 0.05):
        assert not shift(wt, left * bump(TSS) + other + 0.01)[2]
    bp, _, valid = shift(bump(TSS) + 0.01, bump(TSS + distance) + 0.01)  # nothing was there
    assert valid
    assert_allclose(bp, distance, atol=1e-6)


def test_a_peak_beyond_the_end_of_the_track_is_not_taken_for_one_inside():
    low = 0.4 * bump(230, 12.0, 420)
    assert not shift(bump(320, 12.0, 420) + low, low, center=320)[2]


@pytest.mark.parametrize("smooth", [1, 9])
def test_the_error_is_the_spread_of_the_estimates(smooth):
    random = np.random.default_rng(3)
    noise = random.normal(size=(300, BINS + smooth - 1))
    noise = np.stack([np.convolve(row, np.full(smooth, smooth**-0.5), "valid") for row in noise])
    got = dft_scores(bump(TSS) + 1, bump(TSS + 5.4) + 1 + 0.1 * noise, center=TSS, spectra=False)
    assert got.tss_shift_valid.all()
    assert_allclose(got.tss_shift_bp.mean(), 5.4, atol=0.1)
    assert_allclose(got.tss_shift_se_bp.mean(), got.tss_shift_bp.std(), rtol=0.15)


def test_steps_of_the_definition():
    random = np.random.default_rng(4)
    wt = bump(200, 9.0, 400) + 0.3 * random.random(400)
    ko = np.stack(
        [
            level * np.interp(np.arange(400) - move, np.arange(400), wt) + 0.2 + noise * random.random(400)
            for move, level, noise in [(4.4, 0.8, 0.3), (-7.6, 0.5, 0.6), (0, 0.1, 0.3), (11, 1.5, 1.0), (2, 0.6, 3.0)]
        ]
    )
    got = dft_scores(wt, ko, center=200, shift_window_bp=60, spectra=False)
    want = [oracle.peak_shift(wt, row, 200, 60) for row in ko]
    assert got.tss_shift_valid.tolist() == [valid for _, _, valid in want]
    assert 1 < got.tss_shift_valid.sum() < 5
    for row in np.flatnonzero(got.tss_shift_valid):
        assert_allclose(got.tss_shift_bp[row], want[row][0], atol=2e-4)  # the grid of the oracle
        assert_allclose(got.tss_shift_se_bp[row], want[row][1], rtol=1e-3)


def test_motifs_and_sites_keep_to_themselves():
    wt = np.stack([bump(TSS) + 1, bump(TSS - 30) + 0.2])
    ko = np.stack([[bump(TSS + move) + 1, bump(TSS - 30 - move) + 0.1] for move in range(40)], axis=1)
    got = dft_scores(wt, ko, center=TSS, spectra=False)
    assert_allclose(got.tss_shift_bp, [np.arange(40), -np.arange(40)], atol=1e-6)
    assert_array_equal(got.tss_shift_valid, True)


def test_what_changes_nothing_moves_nothing_exactly():
    """A motif without a match leaves WT as it is; 1e-16 bp would be rounding."""
    random = np.random.default_rng(3)
    for wt in (bump(TSS + 3) + 0.05, bump(TSS) + random.random(BINS)):
        bp, _, valid = shift(wt, wt.copy())
        assert (bp, valid) == (0.0, True)
