"""The rule of parity against its formulas in plain float64, and what it must let through and refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from borzoi_rt.bundle.parity import (
    EXPORT_FACTOR,
    TAIL,
    Noise,
    ParityRule,
    differences,
    largest_logit,
    require,
)
from borzoi_rt.errors import ParityError


def softplus(logit: float) -> float:
    return max(logit, 0.0) + math.log1p(math.exp(-abs(logit)))


def coverage_of(logits: np.ndarray) -> np.ndarray:
    return np.vectorize(softplus)(logits)


def random_logits(seed: int = 0, shape: tuple[int, ...] = (5, 40), low: float = -4.0, high: float = 9.0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, shape)


@given(st.floats(-4.5, 80.0), st.floats(-1e-4, 1e-4))
def test_a_difference_of_coverage_becomes_one_of_logits(logit: float, change: float) -> None:
    want, got = np.array([[softplus(logit)]]), np.array([[softplus(logit + change)]])
    # The slope is taken at one of the two: exact to first order in the change. 1e-13: rounding of a coverage of 80.
    assert differences(got, want)[0, 0] == pytest.approx(change, rel=1e-4, abs=1e-12)


def test_below_the_tail_a_difference_is_one_of_coverage() -> None:
    want = np.array([[0.0, 1e-30, 1e-6, 0.009]])
    assert np.allclose(differences(want + 1e-8, want), 1e-8 / TAIL, rtol=1e-6)


@pytest.mark.parametrize(
    ("logits", "want"), [([-1.0, 3.0], 3.0), ([-4.0, 3.0], 4.0), ([-50.0, 3.0], 4.6), ([-300.0, 271.0], 271.0)]
)
def test_the_largest_logit(logits: list[float], want: float) -> None:
    # softplus(-4.6) = 0.01: what lies below counts as that
    assert largest_logit(coverage_of(np.array([logits]))) == pytest.approx(want, rel=2e-4)


def test_noise_is_rms_and_peak_of_the_differences() -> None:
    logits = random_logits()
    errors = np.random.default_rng(1).normal(0, 1e-6, logits.shape)
    noise = Noise.measure(coverage_of(logits + errors), coverage_of(logits))
    assert noise.rms == pytest.approx(math.sqrt(sum(value**2 for value in errors.flat) / errors.size), rel=1e-4)
    assert noise.peak == pytest.approx(max(abs(value) for value in errors.flat), rel=1e-4)
    assert noise.largest == pytest.approx(max(abs(value) for value in logits.flat), rel=1e-9)


def rule(rms: float = 1e-6, peak: float = 4e-6, largest: float = 9.0, **options: object) -> ParityRule:
    noise = Noise(rms=rms, peak=peak, largest=largest)
    return ParityRule(**{"factor": EXPORT_FACTOR, "noise": noise, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize(("times", "passes"), [(1.0, True), (1.9, True), (2.1, False), (-2.1, False)])
def test_twice_the_noise_is_allowed_at_export(times: float, passes: bool) -> None:
    logits = random_logits()
    signs = np.random.default_rng(2).choice([-1.0, 1.0], logits.shape)
    found = rule().compare(coverage_of(logits + times * 1e-6 * signs), coverage_of(logits))
    assert found.rms == pytest.approx(abs(times) * 1e-6, rel=1e-4)
    assert found.passed is passes


@pytest.mark.parametrize(("share", "passes"), [(0.9e-5, True), (1.1e-5, False)])
@pytest.mark.parametrize("scale", [0.01, 1.0, 10.0])
def test_the_second_bound_has_no_scale(share: float, passes: bool, scale: float) -> None:
    """One wrong bin of 100,000: the rms does not see it."""
    logits = random_logits(shape=(10, 10_000), low=-4.0, high=4.0) * scale
    largest = float(np.abs(logits).max())
    wrong = logits.copy()
    row = int(np.argmax(logits.max(axis=1)))
    position = int(np.argmax(logits[row]))
    wrong[row, position] += share * largest
    held = rule(rms=1e-6 * scale, peak=4e-6 * scale, largest=largest)
    found = held.compare(coverage_of(wrong), coverage_of(logits))
    assert found.passed is passes
    assert found.worst == (row, position)


def test_a_network_that_magnifies_rounding_has_bounds_from_its_noise() -> None:
    logits = random_logits()
    held = rule(rms=1e-4, peak=4e-4)  # 4e-5 of the largest logit: above 1e-5
    wrong = logits.copy()
    wrong[2, 3] += 7e-4
    assert held.compare(coverage_of(wrong), coverage_of(logits)).passed
    wrong[2, 3] += 2e-4
    assert not held.compare(coverage_of(wrong), coverage_of(logits)).passed


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_never_passes(value: float) -> None:
    want = coverage_of(random_logits()).astype(np.float32)
    got = want.copy()
    got[1, 7] = value
    for held in (rule(), rule(precision="fp16"), ParityRule.replay({}, "fp32"), ParityRule.pair({}, "fp32")):
        for pair in ((got, want), (want, got), (got, got)):
            assert not held.compare(*pair).passed
        assert held.compare(got, want).worst == (1, 7)
    with pytest.raises(ParityError, match=r"it: difference of logits: rms inf \(allowed .*; look"):
        require(rule().compare(got, want), "it", "look")


def test_log_of_one_plus_exp_in_float32_is_let_through_elsewhere_only() -> None:
    """What CUDA's softplus gives where coverage is small; at export, on a CPU, it would be a fault."""
    logits = random_logits(low=-16.0, high=3.0, shape=(50, 200))
    cuda = np.log(np.float32(1) + np.exp(logits.astype(np.float32)), dtype=np.float32)
    want = coverage_of(logits)
    noise = {"rms": 1e-7, "peak": 5e-7, "largest": largest_logit(want)}
    parity = {"noise": noise, "golden_noise": noise}
    assert ParityRule.replay(parity, "fp32").compare(cuda, want).passed
    assert ParityRule.pair(parity, "fp32").compare(cuda, want).passed
    assert not rule(**noise).compare(cuda, want).passed
    shifted = coverage_of(logits + 1e-3)  # a fault of the same sign in every bin
    assert not ParityRule.replay(parity, "fp32").compare(shifted, want).passed


def test_a_bundle_without_noise_is_held_to_a_share_of_its_largest_logit() -> None:
    logits = random_logits(low=-2.0)
    largest = float(np.abs(logits).max())
    signs = np.random.default_rng(2).choice([-1.0, 1.0], logits.shape)
    for times, passes in ((1.0, True), (3.5, True), (10.0, False)):
        got = coverage_of(logits + times * 1e-6 * largest * signs)
        assert ParityRule.replay({}, "fp32").compare(got, coverage_of(logits)).passed is passes


def test_half_precision_has_the_same_rule_times_the_ratio_of_roundings() -> None:
    logits = random_logits(low=-2.0)
    got = coverage_of(logits + 0.02)
    held = {"rms": 0.02, "peak": 0.08, "largest": 9.0}
    assert rule(**held, precision="fp16").compare(got, coverage_of(logits)).allowed_peak == pytest.approx(
        1e-5 * 8192 * max(9.0, float(np.abs(logits).max()))
    )
    assert rule(**held, precision="fp16").compare(got, coverage_of(logits)).passed
    assert not ParityRule.replay({}, "fp32").compare(got, coverage_of(logits)).passed


def test_a_few_bins_of_another_window_may_all_be_among_the_worst() -> None:
    """The largest difference of the gate's window, alone in a request of one bin."""
    parity = {"noise": {"rms": 3e-6, "peak": 4e-5, "largest": 27.0}}
    want = coverage_of(np.array([[20.0]]))
    assert ParityRule.pair(parity, "fp32").compare(coverage_of(np.array([[20.0 + 5e-5]])), want).passed
    assert not ParityRule.pair(parity, "fp32").compare(coverage_of(np.array([[20.0 + 5e-4]])), want).passed
