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
SCALES = tuple(float(np.float32(scale)) for scale in (1.0, 0.01, 2.0, 0.3, 1.0, 0.07, 0.5))
KNEES = (384.0, 32.0, 96.0, 64.0, 32.0, 64.0, 48.0)
CLIPS = (768.0, 128.0, 384.0, 384.0, 64.0, 96.0, 256.0)
# Float32 steps, of 2^-24 to 2^-23 of a value: a rounded cube root, a product or two, a division by the scale.
RTOL = 5 * 2.0**-23
# Below 1e-37 the steps of float32 no longer shrink with the value.
ATOL = 5 * 2.0**-149
MAGNITUDES = 10.0 ** np.arange(-30, 7)


def squash_of(kind: str, **changes: bool) -> Squash:
    return Squash(kind, np.array(SCALES), np.array(KNEES), np.array(CLIPS), SUM_STATS, **changes)


def some(squash: Squash, *tracks: int) -> Squash:
    """Return the squash of some tracks, in the order given."""
    chosen = list(tracks)
    names = tuple(squash.sum_stat[track] for track in chosen)
    numbers = {name: getattr(squash, name)[chosen] for name in ("scale", "clip_soft", "clip")}
    return replace(squash, sum_stat=names, **numbers)


def parameters(track: int) -> dict[str, float | str]:
    return {"scale": SCALES[track], "clip_soft": KNEES[track], "sum_stat": SUM_STATS[track]}


def beside(values: np.ndarray) -> np.ndarray:
    """Return values with the float32 step below and above each, as columns."""
    values = np.asarray(values, dtype=np.float32)
    return np.stack([np.nextafter(values, np.float32(0)), values, np.nextafter(values, np.float32(np.inf))], axis=-1)


def knees_of_squashed(kind: str, *, unscale: bool) -> np.ndarray:
    """Return the squashed value of each track above which the soft clip acts, in float64."""
    divided = kind == "old" or (kind == "bp_old" and unscale)
    return np.array(KNEES) * (np.array(SCALES) if divided else 1.0)


def knee_of_coverage(kind: str, track: int) -> float:
    """Return the coverage of one track above which the soft clip acts, in float64."""
    knee, name = KNEES[track], SUM_STATS[track]
    if kind in ("old", "bp_old"):
        return knee ** (4 / 3) if ("_sqrt" in name if kind == "old" else name == "sum_sqrt") else knee
    power = {"sum_sqrt": 2, "mean_sqrt": 2, "avg_sqrt": 2, "sum_exp75": 4 / 3} if kind == "new" else {"sum_sqrt": 4 / 3}
    return float((knee + 1) ** power.get(name, 1) - 1) / SCALES[track]


def squashed_values(kind: str, *, unscale: bool) -> np.ndarray:
    """Return (tracks, bins): zero, every magnitude, ordinary and large values, and the knee with its neighbours."""
    rng = np.random.default_rng(5)
    knees = knees_of_squashed(kind, unscale=unscale)
    tails = knees[:, None] * np.concatenate([[0.0], MAGNITUDES, rng.uniform(0, 1, 40), rng.uniform(1, 2, 40)])
    return np.concatenate([beside(knees), tails.astype(np.float32)], axis=1)


def neighbours(start: float, count: int = 4096) -> np.ndarray:
    """Return the float32 numbers from ``start`` on, each the next of the one before."""
    first = int(np.float32(start).view(np.uint32))
    return np.arange(first, first + count, dtype=np.uint32).view(np.float32)


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
        # atol: the oracle's complex step gives 0**(1/3) = 1e-10.
        assert_allclose(slope[track], oracle.slope(kind, row, **options), rtol=RTOL, atol=1e-8)


@pytest.mark.parametrize("kind", BENT)
def test_forward_is_that_of_the_oracle(kind):
    rng = np.random.default_rng(6)
    # Coverage from nothing to far beyond the hard clip, and the knee of every track with its neighbours.
    knees = np.array([knee_of_coverage(kind, track) for track in range(len(SUM_STATS))])
    spread = np.concatenate([[0.0], MAGNITUDES, 10 ** rng.uniform(-2, 8, 80)])
    values = np.concatenate([beside(knees), np.tile(spread, (7, 1)).astype(np.float32)], axis=1)
    got = squash_of(kind).forward(values.copy())
    for track, row in enumerate(values):
        want = oracle.forward(kind, row, **parameters(track), clip=CLIPS[track])
        assert_allclose(got[track], want, rtol=RTOL, atol=ATOL)
    assert (np.abs(got) == np.array(CLIPS)[:, None]).any() or kind in ("old", "bp_old")


@pytest.mark.parametrize("unscale", [False, True])
@pytest.mark.parametrize("name", ["forward", "inverse"])
@pytest.mark.parametrize("kind", BENT)
def test_neither_way_decreases_or_leaves_zero_downwards(kind, name, unscale):
    """Float32 numbers that follow each other: the next of a number never gives less, and none gives less than 0."""
    starts = [0.0, *MAGNITUDES, *(0.9999 * knee_of_coverage(kind, track) for track in range(len(SUM_STATS)))]
    starts += list(0.9999 * knees_of_squashed(kind, unscale=unscale))
    for start in starts:
        row = getattr(squash_of(kind, unscale=unscale), name)(np.tile(neighbours(start), (7, 1)))
        assert (row >= 0).all()
        assert (np.diff(row) >= 0).all()


def test_small_values_of_a_powered_track_keep_their_digits():
    """(1 + p)^(4/3) - 1 = 4/3 p + 2/9 p^2 - ...: at p = 1e-9 the second term is 1e-10 of the first."""
    squash = some(squash_of("bp_new"), SUM_STATS.index("sum_sqrt"))
    small = np.array([[1e-30, 1e-20, 1e-9]], dtype=np.float32)
    assert_allclose(squash.inverse(small.copy()), small.astype(np.float64) * 4 / 3, rtol=RTOL)


@pytest.mark.parametrize(
    ("kind", "p", "want"),
    [
        ("old", -1e-3, np.nan),  # (-0.001 / s)^(4/3)
        ("bp_old", -1e-3, np.nan),
        ("new", -1e-3, -1.999e-3),  # (1 - 0.001)^2 - 1
        ("new", -3.0, 3.0),  # (1 - 3)^2 - 1: the published square turns up again
        ("bp_new", -1e-3, -1.3331111605e-3),  # 0.999^(4/3) - 1
        ("bp_new", -1.0, -1.0),
        ("bp_new", -1.001, np.nan),
        ("old", -0.0, 0.0),
        ("bp_new", -0.0, 0.0),
    ],
)
def test_negative_squashed_values_are_what_the_formulas_make_of_them(kind, p, want):
    for name, expected in (("sum_sqrt", want), ("sum", p)):
        squash = some(squash_of(kind), SUM_STATS.index(name))
        assert_allclose(squash.inverse(np.array([[p]], dtype=np.float32)), expected, rtol=RTOL)


@pytest.mark.parametrize("kind", ["old", "bp_old"])
def test_hard_clip_comes_before_the_scale_of_old_and_after_that_of_new(kind):
    huge = np.full((7, 1), 1e12, dtype=np.float32)
    assert_array_equal(squash_of(kind).forward(huge.copy())[:, 0], np.multiply(CLIPS, SCALES, dtype=np.float32))
    assert_array_equal(squash_of(kind.replace("old", "new")).forward(huge.copy())[:, 0], CLIPS)


def test_negative_coverage_is_clipped_from_below_where_no_power_acts():
    got = squash_of("old").forward(np.full((7, 1), -1e6, dtype=np.float32))[:, 0]
    for name, value, clip, scale in zip(SUM_STATS, got, CLIPS, SCALES, strict=True):
        assert np.isnan(value) if "_sqrt" in name else value == np.float32(-clip * scale)


@pytest.mark.parametrize("kind", BENT)
def test_inverse_of_forward_is_the_coverage(kind):
    squash = squash_of(kind, unscale=True)
    coverage = np.tile(np.array([0.0, 0.5, 3.0, 70.0, 900.0], dtype=np.float32), (7, 1))
    got = squash.inverse(squash.forward(coverage.copy()))
    published = np.array([not (kind == "new" and name == "sum_exp75") for name in SUM_STATS])
    # The published inverse of `new` does not know sum_exp75: 70 reads / 2 = 35, 36**(3/4) - 1 = 13.7 at scale 0.5.
    assert_allclose(got[published], coverage[published], rtol=2e-5)
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
    assert_array_equal(
        ahead[:, 2], np.multiply(CLIPS, SCALES, dtype=np.float32) if kind in ("old", "bp_old") else CLIPS
    )
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
    got = getattr(some(squash_of(kind), *chosen), name)(part)
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
