"""The squashed scale against numbers of the reference programs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from borzoi_rt.squash import Squash

# Section 4.4 of the specification: float64 runs of the published functions, six or seven digits.
GOLDEN_INVERSE = [
    # sum_stat, knee, scale, p; old unscaled, old, old without unclip, new unscaled, new, bp_old unscaled, bp_old,
    # bp_new unscaled, bp_new
    ("sum_sqrt", 384, 0.01, 0.5, (184.2016, 1.842016, 1.842016, 125, 1.25, 184.2016, 0.3968503, 71.70714, 0.7170714)),
    ("sum_sqrt", 384, 0.01, 4.0, (5515.353, 55.15353, 29.47225, 2400, 24, 5515.353, 6.349604, 754.988, 7.54988)),
    (
        *("sum_sqrt", 384, 0.01, 4.68),
        (145243.7, 1452.437, 36.33522, 3126.24, 31.2624, 145243.7, 7.828186, 913.4394, 9.134394),
    ),
    ("sum_sqrt", 384, 0.01, 5.0, (332288.1, 3322.881, 39.68503, 3500, 35, 332288.1, 8.54988, 990.2724, 9.902724)),
    ("sum_sqrt", 384, 0.3, 120, (5515.353, 1654.606, 884.1676, 48800, 14640, 5515.353, 591.8909, 1991.589, 597.4766)),
    ("sum", 384, 1, 400, (640, 640, 400, 672, 672, 640, 640, 672, 672)),
    ("sum", 384, 1, 768, (147840, 147840, 768, 148608, 148608, 147840, 147840, 148608, 148608)),
    ("mean", 32, 2, 10, (5, 10, 10, 5, 10, 5, 10, 5, 10)),
    ("mean", 32, 2, 70, (41, 82, 70, 776, 1552, 41, 1476, 776, 1552)),
    ("sum", 96, 0.01, 1.0, (112, 1.12, 1, 100, 1, 112, 1, 100, 1)),
    ("sum", 96, 0.01, 2.0, (10912, 109.12, 2, 200, 2, 10912, 2, 200, 2)),
    ("sum_sqrt", 64, 0.3, 10, (107.2766, 32.18298, 32.18298, 400, 120, 107.2766, 21.54435, 78.2126, 23.46378)),
    ("sum_sqrt", 64, 0.3, 70, (880246.4, 264073.9, 430.9468, 42560, 12768, 880246.4, 464.1589, 1817.695, 545.3085)),
]
GOLDEN_COLUMNS = [
    ("old", True, True),
    ("old", False, True),
    ("old", False, False),
    *[(kind, unscale, True) for kind in ("new", "bp_old", "bp_new") for unscale in (True, False)],
]


@pytest.mark.parametrize(("kind", "unscale", "unclip"), GOLDEN_COLUMNS)
def test_published_inverses(kind, unscale, unclip):
    column = GOLDEN_COLUMNS.index((kind, unscale, unclip))
    stats, knees, scales, values, results = zip(*GOLDEN_INVERSE, strict=True)
    squash = Squash(kind, np.array(scales), np.array(knees), np.full(len(stats), 768), stats, unscale, unclip)
    want = np.array([row[column] for row in results])
    got = squash.inverse(np.array(values, dtype=np.float32)[:, None])[:, 0]
    # rtol: the scale 0.01 in float32, and values just above the knee, where (p / scale - knee)**2 triples rounding.
    assert_allclose(got, want, rtol=1e-5)


# Section 4.2: runs of the published data preparation on constant coverage, stored as float16 (half a step: 5e-4).
# The last column met the float16 limit of 65,504 a base: 65504 * 32 reads a bin.
GOLDEN_SUMS = np.array([1, 10, 100, 1e3, 1e4, 1e5, 1e6, 65504 * 32], dtype=np.float32)
GOLDEN_FORWARD = [
    ("old", "sum_sqrt", 384, 768, 0.01, (0.01, 0.05624, 0.3162, 1.778, 4.090, 4.563, 5.609, 6.180)),
    ("old", "sum_sqrt", 384, 768, 0.3, (0.3, 1.6875, 9.484, 53.34, 122.6, 136.9, 168.25, 185.4)),
    ("old", "sum", 384, 768, 1, (1, 10, 100, 408.75, 482, 699.5, 768, 768)),
    ("old", "mean", 32, 128, 2, (0.0625, 0.625, 6.25, 62.5, 97.5, 175.25, 256, 256)),
    ("old", "sum", 96, 384, 0.01, (0.01, 0.1, 0.98, 1.261, 1.955, 3.84, 3.84, 3.84)),
    ("new", "sum_sqrt", 64, 384, 0.3, (0.1401, 1.0, 4.566, 16.34, 53.78, 73.44, 85.0, 90.0)),
    ("new", "mean", 32, 128, 2, (0.0625, 0.625, 6.25, 36.63, 55.38, 109.9, 128, 128)),
    ("new", "sum_exp75", 64, 384, 0.3, (0.2174, 1.828, 12.14, 65.88, 81.5, 110.1, 175.9, 212.3)),
    ("new", "sum", 64, 384, 1, (1, 10, 69.06, 93.63, 162.6, 379.3, 384, 384)),
]


@pytest.mark.parametrize(("kind", "stat", "knee", "clip", "scale", "want"), GOLDEN_FORWARD)
def test_published_forward(kind, stat, knee, clip, scale, want):
    squash = Squash(kind, np.array([scale]), np.array([knee]), np.array([clip]), (stat,))
    coverage = GOLDEN_SUMS[None] / (32 if stat == "mean" else 1)
    assert_allclose(squash.forward(coverage.astype(np.float32))[0], want, rtol=6e-4)


@pytest.mark.parametrize(
    ("p", "kind", "unscale", "track", "want"),
    [
        (4.0, "old", True, ("sum_sqrt", 384, 0.01), 36769.02),
        (0.5, "old", True, ("sum_sqrt", 384, 0.01), 491.2042),
        (10.0, "new", False, ("sum_sqrt", 64, 0.3), 22),  # 2 * (10 + 1)
        (70.0, "new", False, ("sum_sqrt", 64, 0.3), 3164),  # v = 63 + 49 = 112; 2 * 7 * 2 * 113
        (400.0, "old", False, ("sum", 384, 1), 32),  # 2 * (400 - 384)
        (384.0, "new", False, ("sum", 384, 1), 1),  # at the knee the lower branch holds
        (np.nextafter(np.float32(384), np.float32(385)), "new", False, ("sum", 384, 1), 2 + 2**-14),  # a step is 2**-15
    ],
)
def test_published_slopes(p, kind, unscale, track, want):
    stat, knee, scale = track
    squash = Squash(kind, np.array([scale]), np.array([knee]), np.array([768]), (stat,), unscale)
    # rtol: 4.0 / 0.01 - 384 keeps 5 digits of a float32 scale.
    assert_allclose(squash.slope(np.array([[p]], dtype=np.float32)), want, rtol=1e-5)
