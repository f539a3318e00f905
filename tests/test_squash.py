"""The squashed scale against a float64 oracle and its own laws; test_squash_published.py holds the tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from oracles import squash as oracle

from borzoi_rt.errors import InputError
from borzoi_rt.squash import KINDS, SUM_STATS, Squash

BENT = [kind for kind in KINDS if kind != "none"]
# Powers of two: p / scale is exact, so that both sides agree on which side of the knee a value lies.
SCALES = (1.0, 0.25, 2.0, 0.5, 1.0, 0.0625, 0.5)
KNEES = (384.0, 32.0, 96.0, 64.0, 32.0, 64.0, 48.0)
CLIPS = (768.0, 128.0, 384.0, 384.0, 64.0, 96.0, 256.0)
# Division, square, and 4/3 power lose a few float32 steps; near sqrt(knee) above the knee the square triples them.
RTOL = 4e-6
# (x + 1)**e - 1 cancels near 0: some float32 steps of 1, before the last factor 1 / scale <= 16.
ATOL = 1e-6 * 16


def squash_of(kind: str, **changes: bool) -> Squash:
    return Squash(kind, np.array(SCALES), np.array(KNEES), np.array(CLIPS), SUM_STATS, **changes)


def parameters(track: int) -> dict[str, float | str]:
    return {"scale": SCALES[track], "clip_soft": KNEES[track], "sum_stat": SUM_STATS[track]}


def beside(values: np.ndarray) -> np.ndarray:
    """Return values with the float32 step below and above each, as columns."""
    values = np.asarray(values, dtype=np.float32)
    return np.stack([np.nextafter(values, np.float32(0)), values, np.nextafter(values, np.float32(np.inf))], axis=-1)


def squashed_values(kind: str, *, unscale: bool) -> np.ndarray:
    """Return (tracks, bins): zero, tiny, ordinary and large values, and the knee with its neighbours."""
    rng = np.random.default_rng(5)
    divided = kind == "old" or (kind == "bp_old" and unscale)
    knees = np.array(KNEES) * (np.array(SCALES) if divided else 1.0)
    tails = knees[:, None] * np.concatenate([[0.0, 1e-6, 1e-3], rng.uniform(0, 1, 40), rng.uniform(1, 2, 40)])
    return np.concatenate([beside(knees), tails.astype(np.float32)], axis=1)


@pytest.mark.parametrize("kind", BENT)
@pytest.mark.parametrize("unscale", [False, True])
@pytest.mark.parametrize("unclip", [False, True])
def test_inverse_and_slope_are_those_of_the_oracle(kind, unscale, unclip):
    values = squashed_values(kind, unscale=unscale)
    squash = squash_of(kind, unscale=unscale, unclip=unclip)
    back, slope = squash.inverse(values.copy()), squash.slope(values.copy())
    for track, row in enumerate(values):
        options = {**parameters(track), "unscale": unscale, "unclip": unclip}
        assert_allclose(back[track], oracle.inverse(kind, row, **options), rtol=RTOL, atol=ATOL)
        # One float32 step above an `old` knee the slope 2 (u - knee) is twice that step: exact, no looser limit.
        # atol: the cube root is flushed to 0 below 1e-30, and 0**(1/3) is 1e-10 by a complex step.
        assert_allclose(slope[track], oracle.slope(kind, row, **options), rtol=RTOL, atol=1e-8)


@pytest.mark.parametrize("kind", BENT)
def test_forward_is_that_of_the_oracle(kind):
    rng = np.random.default_rng(6)
    # Coverage from nothing to far beyond the hard clip, and the knee of unpowered tracks with its neighbours.
    knees = np.array(KNEES) / (1.0 if kind in ("old", "bp_old") else np.array(SCALES))
    spread = np.concatenate([[0.0, 1e-6, 1e-3], 10 ** rng.uniform(-2, 8, 80)])
    values = np.concatenate([beside(knees), np.tile(spread, (7, 1)).astype(np.float32)], axis=1)
    got = squash_of(kind).forward(values.copy())
    for track, row in enumerate(values):
        want = oracle.forward(kind, row, **parameters(track), clip=CLIPS[track])
        assert_allclose(got[track], want, rtol=RTOL, atol=1e-6)
    assert (np.abs(got) == np.array(CLIPS)[:, None]).any() or kind in ("old", "bp_old")


@pytest.mark.parametrize("kind", ["old", "bp_old"])
def test_hard_clip_comes_before_the_scale_of_old_and_after_that_of_new(kind):
    huge = np.full((7, 1), 1e12, dtype=np.float32)
    assert_array_equal(squash_of(kind).forward(huge.copy())[:, 0], np.multiply(CLIPS, SCALES))
    assert_array_equal(squash_of(kind.replace("old", "new")).forward(huge.copy())[:, 0], CLIPS)


def test_negative_coverage_is_clipped_from_below_where_no_power_acts():
    got = squash_of("old").forward(np.full((7, 1), -1e6, dtype=np.float32))[:, 0]
    for name, value, clip, scale in zip(SUM_STATS, got, CLIPS, SCALES, strict=True):
        assert np.isnan(value) if "_sqrt" in name else value == -clip * scale


@pytest.mark.parametrize("kind", BENT)
def test_inverse_of_forward_is_the_coverage(kind):
    squash = squash_of(kind, unscale=True)
    coverage = np.tile(np.array([0.0, 0.5, 3.0, 70.0, 900.0], dtype=np.float32), (7, 1))
    got = squash.inverse(squash.forward(coverage.copy()))
    published = np.array([not (kind == "new" and name == "sum_exp75") for name in SUM_STATS])
    # The published inverse of `new` does not know sum_exp75: 70 reads / 2 = 35, 36**(3/4) - 1 = 13.7 at scale 0.5.
    assert_allclose(got[published], coverage[published], rtol=2e-5, atol=ATOL)
    if not published.all():
        assert_allclose(got[-1, 3], (36**0.75 - 1) / 0.5, rtol=RTOL)


@pytest.mark.parametrize("kind", BENT)
@pytest.mark.parametrize("unclip", [False, True])
def test_nan_and_infinity_pass_through(kind, unclip):
    special = np.tile(np.array([1.0, np.nan, np.inf], dtype=np.float32), (7, 1))
    squash = squash_of(kind, unclip=unclip)
    back = squash.inverse(special.copy())
    assert np.isnan(back[:, 1]).all()
    assert np.isposinf(back[:, 2]).all()
    assert np.isnan(squash.slope(special.copy())[:, 1]).all()
    ahead = squash.forward(special.copy())
    assert np.isnan(ahead[:, 1]).all()
    assert_array_equal(ahead[:, 2], np.multiply(CLIPS, SCALES) if kind in ("old", "bp_old") else CLIPS)
    assert np.isfinite(np.stack([back[:, 0], ahead[:, 0]])).all()


@pytest.mark.parametrize("kind", BENT)
def test_what_float32_cannot_hold_becomes_infinity_and_not_nan(kind):
    # The largest values whose unclipped square is still finite: 1.3e19**2 = 1.7e38, and its powers are not.
    back = squash_of(kind).inverse(np.full((7, 1), 1.3e19, dtype=np.float32))
    assert not np.isnan(back).any()
    assert np.isposinf(back[SUM_STATS.index("sum_sqrt")]).all()


@pytest.mark.parametrize("bins", [0, 1, 2, 7, 17, 4099])
@pytest.mark.parametrize("name", ["forward", "inverse", "slope"])
@pytest.mark.parametrize("kind", KINDS)
def test_bins_and_tracks_can_be_chosen_first(kind, name, bins):
    """Any length gives the bits that a longer row, other tracks beside it and leading axes give."""
    whole = np.random.default_rng(7).uniform(0, 900, (2, 3, 7, 5000)).astype(np.float32)
    chosen = np.array([4, 0, 4])
    want = getattr(squash_of(kind), name)(whole.copy())[:, :, chosen, 3 : 3 + bins]
    part = whole[:, :, chosen, 3 : 3 + bins].copy()
    got = getattr(squash_of(kind).select(chosen), name)(part)
    assert got is part
    assert got.shape == (2, 3, 3, bins)
    assert_array_equal(got, want)


def test_none_keeps_the_squashed_scale():
    squash = replace(squash_of("none"), sum_stat=("median",) * 7)
    values = np.random.default_rng(8).normal(0, 1e3, (7, 5)).astype(np.float32)
    values[0, 0] = np.nan
    assert_array_equal(squash.inverse(values.copy()), values)
    assert_array_equal(squash.forward(values.copy()), values)
    assert_array_equal(squash.slope(values.copy()), np.where(np.isnan(values), np.nan, 1))


@pytest.mark.parametrize(
    ("array", "complaint"),
    [
        (np.zeros((7, 4), dtype=np.float16), "float16.*half precision"),
        (np.zeros((7, 4), dtype=np.float64), "float64"),
        ([[0.0]] * 7, "list"),
        (np.zeros((6, 4), dtype=np.float32), r"\(6, 4\).*7 tracks"),
        (np.zeros(7, dtype=np.float32), r"\(7,\)"),
        (np.zeros((4, 7), dtype=np.float32).T, "C-contiguous"),
        (np.zeros((7, 8), dtype=np.float32)[:, ::2], "C-contiguous"),
        (np.broadcast_to(np.float32(1), (7, 1)), "writeable"),
    ],
)
@pytest.mark.parametrize("name", ["forward", "inverse", "slope"])
def test_arrays_that_cannot_be_changed_in_place_are_refused(name, array, complaint):
    with pytest.raises(InputError, match=complaint):
        getattr(squash_of("new"), name)(array)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"kind": "older"}, "'older' is unknown; allowed: old, new"),
        ({"kind": "none", "unscale": True}, "cannot be unscaled"),
        ({"scale": np.ones(6)}, r"scale has shape \(6,\).*7 tracks"),
        ({"clip": np.ones((7, 1))}, r"clip has shape \(7, 1\)"),
        ({"sum_stat": (*SUM_STATS[:6], "median")}, "'median' has no inverse"),
    ],
)
def test_parameters_that_make_no_squash_are_refused(changes, complaint):
    with pytest.raises(InputError, match=complaint):
        replace(squash_of("old"), **changes)
