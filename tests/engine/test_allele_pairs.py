"""What is compared for an indel, and where two predictions are joined."""

from __future__ import annotations

import pytest

from borzoi_rt.bundle.manifest import Geometry
from borzoi_rt.engine.alleles import INDEL_POLICIES, Pair, View, allele_pairs, stitch_bin
from borzoi_rt.errors import InputError

GEOMETRY = Geometry(sequence_length_bp=16, bin_size_bp=2, bins=6)


def ref(*moves: int) -> tuple[View, ...]:
    return tuple(View("ref", move) for move in moves)


def alt(*moves: int) -> tuple[View, ...]:
    return tuple(View("alt", move) for move in moves)


@pytest.mark.parametrize(
    ("k", "indel", "want"),
    [
        # A deletion compares REF at {s, s + k} with ALT at s, an insertion ALT at {s, s - k} with REF at s.
        (-3, "average", [Pair(ref(5), alt(5)), Pair(ref(2), alt(5)), Pair(ref(0), alt(0)), Pair(ref(-3), alt(0))]),
        (2, "average", [Pair(ref(5), alt(5)), Pair(ref(5), alt(3)), Pair(ref(0), alt(0)), Pair(ref(0), alt(-2))]),
        (-3, "stitch", [Pair(ref(5, 2), alt(5)), Pair(ref(0, -3), alt(0))]),
        (2, "stitch", [Pair(ref(5), alt(5, 3)), Pair(ref(0), alt(0, -2))]),
        # The longer allele loses floor(|k| / 2) on the left.
        (-3, "centre_trim", [Pair((View("ref", 5, 1),), alt(5)), Pair((View("ref", 0, 1),), alt(0))]),
        (4, "centre_trim", [Pair(ref(5), (View("alt", 5, 2),)), Pair(ref(0), (View("alt", 0, 2),))]),
        (-3, "none", [Pair(ref(5), alt(5)), Pair(ref(0), alt(0))]),
        *((0, indel, [Pair(ref(5), alt(5)), Pair(ref(0), alt(0))]) for indel in INDEL_POLICIES),
    ],
)
def test_pairs_of_each_policy(k, indel, want):
    assert list(allele_pairs(k, [5, 0], indel)) == want


def test_an_unknown_policy_is_refused():
    with pytest.raises(InputError, match="'trim' is unknown; allowed: stitch, average, centre_trim, none"):
        allele_pairs(0, [0], "trim")


@pytest.mark.parametrize(
    ("pos", "start", "want"),
    [
        (13, 5, 3),  # centred: half of the 6 bins, (13 - 5 - 2) // 2
        (14, 5, 3),
        (15, 5, 4),
        (6, 5, 0),  # left of the bins
        (21, 5, 6),  # right of them: (21 - 5 - 2) // 2 = 7
    ],
)
def test_the_stitch_bin_holds_the_base_after_the_anchor(pos, start, want):
    assert stitch_bin(GEOMETRY, pos, start) == want
