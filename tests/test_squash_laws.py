"""What holds of every squash: round trips, slices, special values, what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import toys
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from borzoi_rt.errors import InputError
from borzoi_rt.squash import KINDS, SUM_STATS, Squash

REAL_KINDS = [kind for kind in KINDS if kind != "none"]
METHODS = ["forward", "inverse", "slope"]


def make(kind: str, sum_stat: tuple[str, ...] = ("sum", "sum_sqrt", "mean"), **changes: object) -> Squash:
    """Return a squash whose tracks differ in every parameter."""
    count = len(sum_stat)
    parameters = {
        "scale": np.linspace(0.5, 2.0, count),
        "clip_soft": np.linspace(10.0, 20.0, count),
        "clip": np.linspace(100.0, 300.0, count),
    }
    return Squash(**{"kind": kind, "sum_stat": sum_stat, **parameters, **changes})


def values(*shape: int, seed: int = 5, top: float = 40.0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, top, shape).astype(np.float32)


@pytest.mark.parametrize("kind", REAL_KINDS)
@given(st.lists(st.floats(0, 2000, width=32), min_size=1, max_size=9))
@settings(deadline=None, max_examples=40)
def test_reads_come_back(kind: str, reads: list[float]) -> None:
    """inverse(forward(y)) is y below the hard clip: 2000 reads squash to less than 2 (10 + sqrt(4000)) = 147."""
    squash = make(kind, clip=np.full(3, 400.0), unscale=True)
    coverage = np.tile(np.array(reads, dtype=np.float32), (3, 1))
    back = squash.inverse(squash.forward(coverage.copy()))
    # The forward result rounds by 6e-8; the way back multiplies that by at most 2 u / (u - c + 1) * 4/3 * scale ratios.
    assert_allclose(back, coverage, rtol=2e-5, atol=2e-6)


def test_sum_exp75_comes_back_only_under_the_kind_that_inverts_it() -> None:
    """The published ``new`` squashes sum_exp75 and its inverse forgets it: kept as it is, not repaired in silence."""
    squash = make("new", ("sum_exp75",), scale=[1.0])
    got = squash.inverse(squash.forward(np.array([[7.0]], dtype=np.float32)))
    assert_allclose(got, [[8**0.75 - 1]], rtol=1e-6)


@pytest.mark.parametrize("kind", ["old", "bp_old", "new", "bp_new"])
def test_the_hard_clip_is_the_ceiling(kind: str) -> None:
    squash = make(kind, scale=[0.5, 1.0, 2.0], clip=[20.0, 21.0, 22.0])
    got = squash.forward(np.full((3, 2), 1e8, dtype=np.float32))
    ceiling = [10.0, 21.0, 44.0] if kind.endswith("old") else [20.0, 21.0, 22.0]  # old multiplies by scale after it
    assert_array_equal(got, np.repeat(np.array(ceiling)[:, None], 2, axis=1))
    if kind in ("old", "new"):  # a track without a power reaches the floor too
        floor = squash.select(np.array([0])).forward(np.full((1, 1), -1e8, dtype=np.float32))
        assert_array_equal(floor, [[-ceiling[0]]])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_nan_stays_and_disturbs_no_neighbour(kind: str, method: str) -> None:
    clean = values(3, 37)
    holed = clean.copy()
    holed[:, ::5] = np.nan
    got, want = getattr(make(kind), method)(holed), getattr(make(kind), method)(clean)
    want[:, ::5] = np.nan
    assert_array_equal(got, want)


@pytest.mark.parametrize("sum_stat", SUM_STATS)
@pytest.mark.parametrize("kind", KINDS)
def test_infinity(kind: str, sum_stat: str) -> None:
    """An infinite value is infinite coverage; infinite coverage is squashed to the hard clip."""
    squash = make(kind, (sum_stat,), clip=[100.0], scale=[1.0])
    assert squash.inverse(np.array([[np.inf]], dtype=np.float32))[0, 0] == np.inf
    want = np.inf if kind == "none" else 100.0
    assert squash.forward(np.array([[np.inf]], dtype=np.float32))[0, 0] == want


@pytest.mark.parametrize("unclip", [False, True])
@pytest.mark.parametrize("kind", REAL_KINDS)
def test_the_largest_values_overflow_to_infinity_and_not_to_nan(kind: str, unclip: bool) -> None:
    largest = np.geomspace(1e15, 3.4e38, 200, dtype=np.float32)[None]
    squash = make(kind, ("sum_sqrt",), scale=[1.0], unclip=unclip)
    got = squash.inverse(largest.copy())[0]
    assert not np.isnan(got).any()
    assert (np.diff(np.minimum(got, np.finfo(np.float32).max)) >= 0).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(3, 0), (3, 1), (0, 3, 4), (2, 3, 33), (2, 2, 3, 5), (3, 6145)])
def test_every_size_is_the_values_one_by_one_in_place(kind: str, method: str, shape: tuple[int, ...]) -> None:
    """Vector bodies and their tails, leading axes and tracks must not change a value."""
    squash = make(kind)
    array = values(*shape)
    before = array.copy()
    got = getattr(squash, method)(array)
    assert got is array
    for place in np.ndindex(*shape[:-2], 3):
        alone = squash.select(np.array(place[-1:]))
        for bin_ in {*range(min(shape[-1], 40)), *range(max(shape[-1] - 40, 0), shape[-1])}:
            single = getattr(alone, method)(before[place][bin_].reshape(1, 1))
            assert_allclose(array[place][bin_], single[0, 0], rtol=1e-6)  # vectors may fuse a product and a sum


def test_none_is_the_identity_with_slope_one() -> None:
    array = values(3, 8)
    assert_array_equal(make("none").forward(array.copy()), array)
    assert_array_equal(make("none").inverse(array.copy()), array)
    assert_array_equal(make("none").slope(array.copy()), np.ones((3, 8)))


@pytest.mark.parametrize("kind", REAL_KINDS)
def test_selected_tracks_give_the_rows_of_the_whole(kind: str) -> None:
    array, order = values(3, 20), np.array([2, 0])
    whole = make(kind, unscale=True, unclip=False)
    assert_array_equal(whole.select(order).inverse(array[order]), whole.inverse(array.copy())[order])


def test_parameters_come_from_the_table() -> None:
    tracks = toys.tracks()
    got = Squash.from_tracks(tracks, kind="old", unscale=True, unclip=False)
    assert (got.kind, got.unscale, got.unclip, len(got)) == ("old", True, False, toys.TRACKS)
    assert got.sum_stat == tracks.sum_stat
    for name in ("scale", "clip_soft", "clip"):
        assert_array_equal(getattr(got, name), getattr(tracks, name))


def test_the_kind_has_no_default() -> None:
    with pytest.raises(TypeError, match="kind"):
        Squash.from_tracks(toys.tracks())  # type: ignore[call-arg]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 4), dtype=np.float16), "float16; a float32 array"),
        (np.zeros((3, 4)), "float64; a float32 array"),
        ([[0.0], [0.0], [0.0]], "list; a float32 array"),
        (np.zeros((4, 3), dtype=np.float32), r"\(4, 3\); \(\.\.\., 3 tracks, bins\)"),
        (np.zeros(3, dtype=np.float32), r"\(3,\); "),
        (np.zeros((3, 8), dtype=np.float32)[:, ::2], "not C-contiguous"),
        (np.zeros((8, 3), dtype=np.float32).T, "not C-contiguous"),
        (np.frombuffer(bytes(48), dtype=np.float32).reshape(3, 4), "writeable"),
    ],
    ids=["half", "double", "list", "transposed", "flat", "strided", "fortran", "readonly"],
)
def test_wrong_arrays_are_refused(kind: str, method: str, array: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        getattr(make(kind), method)(array)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "older"}, "'older' is unknown; allowed: old, new, bp_old, bp_new, none"),
        ({"kind": "none", "unscale": True}, "cannot be unscaled"),
        ({"scale": [1.0, 1.0]}, r"scale has shape \(2,\); one value for each of 3 tracks"),
        ({"clip": 5.0}, "clip has shape"),
        ({"sum_stat": ("sum", "median", "sum")}, "'median' has no inverse; allowed: sum, "),
    ],
)
def test_wrong_parameters_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(make("old"), **changes)


def test_what_has_no_inverse_may_stay_squashed() -> None:
    assert len(make("none", ("median", "peak"))) == 2
