"""The squashed scale against its formulas in float64, the published numbers and its own laws."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from oracles import squash as oracle

from borzoi_rt.squash import KINDS, Squash

REAL_KINDS = [kind for kind in KINDS if kind != "none"]
ENDS = [(False, True), (True, True), (False, False), (True, False)]  # unscale, unclip

# Every sum_stat with the parameters of a published track that has, or could have, it: scale, clip_soft, clip.
TRACKS = {
    "sum": (1.0, 384.0, 768.0),
    "mean": (2.0, 32.0, 128.0),
    "avg": (0.5, 64.0, 256.0),
    "sum_sqrt": (0.01, 384.0, 768.0),
    "mean_sqrt": (0.3, 64.0, 384.0),
    "avg_sqrt": (2.003, 96.0, 384.0),
    "sum_exp75": (0.3, 64.0, 384.0),
}
SCALE, CLIP_SOFT, CLIP = (np.array(column, dtype=np.float32) for column in zip(*TRACKS.values(), strict=True))

# Float32 arithmetic: a handful of roundings of 6e-8, times 4/3 or 2 by the powers, times up to 5 where u - clip_soft
# cancels. (x + 1)^e - 1 cancels near zero: one rounding of 1, times the factor 1/scale that follows.
RTOL, ATOL = 4e-6, 3e-7


def make(kind: str, *, unscale: bool = False, unclip: bool = True) -> Squash:
    return Squash(
        kind=kind,
        scale=SCALE,
        clip_soft=CLIP_SOFT,
        clip=CLIP,
        sum_stat=tuple(TRACKS),
        unscale=unscale,
        unclip=unclip,
    )


def one(kind: str, sum_stat: str, clip_soft: float, scale: float, *, clip: float = 1e9, **ends: bool) -> Squash:
    return Squash(kind=kind, scale=[scale], clip_soft=[clip_soft], clip=[clip], sum_stat=(sum_stat,), **ends)


def around(value: float) -> list[np.float32]:
    """Return the float32 nearest to a value, and one step to each side of it."""
    middle = np.float32(value)
    return [np.nextafter(middle, np.float32(-np.inf)), middle, np.nextafter(middle, np.float32(np.inf))]


def squashed_values(kind: str, unscale: bool) -> np.ndarray:
    """Return (tracks, bins) of squashed values; the last three surround the knee of the track."""
    rows = []
    for scale, knee in zip(SCALE, CLIP_SOFT, strict=True):
        factor = float(scale) if kind == "old" or (kind == "bp_old" and unscale) else 1.0
        rows.append([*np.geomspace(1e-3, 2 * knee * factor, 61), 0.0, *around(knee * factor)])
    return np.array(rows, dtype=np.float32)


def by_track(function: object, kind: str, values: np.ndarray, **more: object) -> np.ndarray:
    """Apply an oracle to each row with the float32 parameters that the package holds."""
    rows = [
        function(kind, row, sum_stat=name, scale=float(scale), clip_soft=float(knee), **more)  # type: ignore[operator]
        for name, row, scale, knee in zip(TRACKS, values, SCALE, CLIP_SOFT, strict=True)
    ]
    return np.array(rows)


@pytest.mark.parametrize(("unscale", "unclip"), ENDS)
@pytest.mark.parametrize("kind", REAL_KINDS)
def test_inverse_is_the_formula(kind: str, unscale: bool, unclip: bool) -> None:
    values = squashed_values(kind, unscale)
    want = by_track(oracle.inverse, kind, values, unscale=unscale, unclip=unclip)
    got = make(kind, unscale=unscale, unclip=unclip).inverse(values)
    assert (np.abs(got - want) <= RTOL * np.abs(want) + ATOL / np.minimum(SCALE, 1)[:, None]).all()


@pytest.mark.parametrize("kind", REAL_KINDS)
def test_forward_is_the_formula(kind: str) -> None:
    tops = [(2 * clip) ** 2 / scale for clip, scale in zip(CLIP, SCALE, strict=True)]  # far beyond the hard clip
    values = np.array([[0.0, *np.geomspace(1e-3, top, 90)] for top in tops], dtype=np.float32)
    want = np.array(
        [
            oracle.forward(kind, row, sum_stat=name, scale=float(s), clip_soft=float(c), clip=float(C))
            for name, row, s, c, C in zip(TRACKS, values, SCALE, CLIP_SOFT, CLIP, strict=True)
        ]
    )
    assert_allclose(make(kind).forward(values), want, rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize(("unscale", "unclip"), ENDS)
@pytest.mark.parametrize("kind", REAL_KINDS)
def test_slope_is_the_derivative_of_the_inverse(kind: str, unscale: bool, unclip: bool) -> None:
    # Without zero and the knee, where a difference quotient is wrong.
    values = squashed_values(kind, unscale)[:, :61].copy()
    want = by_track(oracle.slope, kind, values, unscale=unscale, unclip=unclip)
    got = make(kind, unscale=unscale, unclip=unclip).slope(values)
    assert_allclose(got, want, rtol=2e-5)  # near the knee u - clip_soft cancels: 20 of 384 are left, 6e-8 * 384 / 20


@pytest.mark.parametrize(
    ("squash", "p", "want"),
    [
        # Published by hand: GTEx and a small RNA table.
        (one("old", "sum_sqrt", 384, 0.01, unscale=True), 4.0, 36769.02),
        (one("old", "sum_sqrt", 384, 0.01, unscale=True), 0.5, 491.2042),
        (one("new", "sum_sqrt", 64, 0.3), 10.0, 22.0),  # 2 (10 + 1)
        (one("new", "sum_sqrt", 64, 0.3), 70.0, 3164.0),  # 2 (70 - 64 + 1) * 2 (63 + 7^2 + 1)
        (one("old", "sum", 384, 1.0), 400.0, 32.0),  # 2 (400 - 384)
        # At the knee the lower branch holds; one float32 step (2^-15 at 384) above it the old slope is 2 * 2^-15.
        (one("old", "sum", 384, 1.0), 384.0, 1.0),
        (one("old", "sum", 384, 1.0), around(384)[2], 2 * 2**-15),
        (one("old", "sum", 384, 1.0), around(384)[0], 1.0),
        (one("new", "sum", 384, 1.0), 384.0, 1.0),
        (one("new", "sum", 384, 1.0), around(384)[2], 2.0),  # 2 (2^-15 + 1)
        (one("old", "sum", 384, 1.0, unclip=False), 400.0, 1.0),
    ],
)
def test_slopes_by_hand(squash: Squash, p: float, want: float) -> None:
    got = squash.slope(np.array([[p]], dtype=np.float32))
    # 1e-4: the published figures start from p in float64, and 2 * 2^-15 is what is left of 2.
    assert_allclose(got, [[want]], rtol=1e-4)


def test_the_inverse_steps_over_the_knee_without_a_jump_in_old() -> None:
    got = one("old", "sum", 384, 1.0).inverse(np.array([around(384)], dtype=np.float32))
    assert_array_equal(got, [[around(384)[0], 384, 384]])  # 384 + (2^-15)^2 rounds to 384


# squash of (kind, unscale, unclip) for the columns below: float64 results of the published programs.
COLUMNS = [
    ("old", True, True),
    ("old", False, True),
    ("old", False, False),
    ("new", True, True),
    ("new", False, True),
    ("bp_old", True, True),
    ("bp_old", False, True),
    ("bp_new", True, True),
    ("bp_new", False, True),
]
GTEX, ENCODE, CAGE = ("sum_sqrt", 384, 0.01), ("sum_sqrt", 384, 0.3), ("sum", 384, 1)
CHIP, ATAC, TINY = ("mean", 32, 2), ("sum", 96, 0.01), ("sum_sqrt", 64, 0.3)
GOLDEN = [
    (GTEX, 0.5, 184.2016, 1.842016, 1.842016, 125, 1.25, 184.2016, 0.3968503, 71.70714, 0.7170714),
    (GTEX, 4.0, 5515.353, 55.15353, 29.47225, 2400, 24, 5515.353, 6.349604, 754.988, 7.54988),
    (GTEX, 4.68, 145243.7, 1452.437, 36.33522, 3126.24, 31.2624, 145243.7, 7.828186, 913.4394, 9.134394),
    (GTEX, 5.0, 332288.1, 3322.881, 39.68503, 3500, 35, 332288.1, 8.54988, 990.2724, 9.902724),
    (ENCODE, 120, 5515.353, 1654.606, 884.1676, 48800, 14640, 5515.353, 591.8909, 1991.589, 597.4766),
    (CAGE, 400, 640, 640, 400, 672, 672, 640, 640, 672, 672),
    (CAGE, 768, 147840, 147840, 768, 148608, 148608, 147840, 147840, 148608, 148608),
    (CHIP, 10, 5, 10, 10, 5, 10, 5, 10, 5, 10),
    (CHIP, 70, 41, 82, 70, 776, 1552, 41, 1476, 776, 1552),
    (ATAC, 1.0, 112, 1.12, 1, 100, 1, 112, 1, 100, 1),
    (ATAC, 2.0, 10912, 109.12, 2, 200, 2, 10912, 2, 200, 2),
    (TINY, 10, 107.2766, 32.18298, 32.18298, 400, 120, 107.2766, 21.54435, 78.2126, 23.46378),
    (TINY, 70, 880246.4, 264073.9, 430.9468, 42560, 12768, 880246.4, 464.1589, 1817.695, 545.3085),
]


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: f"{row[0][0]}-{row[0][1]}-{row[0][2]}-{row[1]}")
def test_inverse_gives_the_published_numbers(row: tuple) -> None:
    track, p, *wanted = row
    for (kind, unscale, unclip), want in zip(COLUMNS, wanted, strict=True):
        squash = one(kind, *track, unscale=unscale, unclip=unclip)
        # p and scale are rounded to float32, and near the knee (ATAC, p = 1: u = 100 of 96) that error is 2 (u - c)
        # times as large as the value.
        assert_allclose(squash.inverse(np.array([[p]], dtype=np.float32)), [[want]], rtol=5e-6, err_msg=str(squash))


COVERAGE = [1, 10, 100, 1e3, 1e4, 1e5, 1e6, 65504 * 32]  # sum of the 32 bases of a bin; the last is float16's limit
STORED = [  # what the published data preparation stored for them, in float16
    ("old", "sum_sqrt", 384, 768, 0.01, [0.01, 0.05624, 0.3162, 1.778, 4.090, 4.563, 5.609, 6.180]),
    ("old", "sum_sqrt", 384, 768, 0.3, [0.3, 1.6875, 9.484, 53.34, 122.6, 136.9, 168.25, 185.4]),
    ("old", "sum", 384, 768, 1, [1, 10, 100, 408.75, 482, 699.5, 768, 768]),
    ("old", "mean", 32, 128, 2, [0.0625, 0.625, 6.25, 62.5, 97.5, 175.25, 256, 256]),
    ("old", "sum", 96, 384, 0.01, [0.01, 0.1, 0.98, 1.261, 1.955, 3.84, 3.84, 3.84]),
    ("new", "sum_sqrt", 64, 384, 0.3, [0.1401, 1.0, 4.566, 16.34, 53.78, 73.44, 85.0, 90.0]),
    ("new", "mean", 32, 128, 2, [0.0625, 0.625, 6.25, 36.63, 55.38, 109.9, 128, 128]),
    ("new", "sum_exp75", 64, 384, 0.3, [0.2174, 1.828, 12.14, 65.88, 81.5, 110.1, 175.9, 212.3]),
    ("new", "sum", 64, 384, 1, [1, 10, 69.06, 93.63, 162.6, 379.3, 384, 384]),
]


@pytest.mark.parametrize(("kind", "sum_stat", "clip_soft", "clip", "scale", "stored"), STORED)
def test_forward_gives_what_the_training_data_hold(
    kind: str, sum_stat: str, clip_soft: float, clip: float, scale: float, stored: list[float]
) -> None:
    bins = np.array([COVERAGE], dtype=np.float32) / (32 if sum_stat == "mean" else 1)
    got = one(kind, sum_stat, clip_soft, scale, clip=clip).forward(bins)
    assert_allclose(got[0], stored, rtol=6e-4)  # half a float16 step of 2^-10, and four printed digits
