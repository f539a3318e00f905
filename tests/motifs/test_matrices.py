"""Kernels: published names, similarities, centring and its curves, files."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from oracles import motifs as oracle

from borzoi_rt.motifs.matrices import (
    COMPAT_SHIFTS,
    centre_offset,
    cleaned,
    motif_identity,
    motif_name,
    probabilities,
    recentred,
    recentred_curves,
    similarities,
    unique_names,
)

# The first nine are hard-coded in the published analysis, the others follow from the same code.
PUBLISHED = {
    1: "[T][A][T][A][A][A]",
    2: "[T][T][T][A][A][GT][A]",
    7: "[G][G][G][C][C][C][A]",
    9: "[C][G][T]",
    11: "[C][A][C][G][T][G]",
    12: "[CT][G][G][G][C][C]",
    14: "[A][A][AC].[C][T]",
    15: "[A].[T][A].[T].[AT][A]",
    16: "[A][T][G][G][C]",
    0: "[C].[T][A][C][C]",
    3: "[G][A][A][C]",
    4: "[A][C][G][G][G].[C]",
    10: "[AG][A][T][CT]",
    17: "[C][A][T]",
    19: "[CT][AC]",
    23: "[C][T][C][A]",
    24: "[AT][AT][G]",
    26: "[T][A]",
}


@pytest.fixture(scope="module")
def kernels(shared) -> np.ndarray:
    return np.load(shared / "data" / "genoretriever" / "sorted_cl_motif.npy")


def box(word: str, width: int = 21, start: int = 3, weight: float = 1.0) -> np.ndarray:
    """Return a kernel with one weight per letter of a word."""
    m = np.zeros((4, width))
    for position, letter in enumerate(word, start):
        m["ACGT".index(letter), position] = weight
    return m


@pytest.mark.parametrize("row", PUBLISHED)
def test_published_kernels_have_their_published_names(kernels, row):
    assert motif_name(kernels[row]) == PUBLISHED[row]


def test_published_identities(kernels):
    found = {row: motif_identity(kernels[row]) for row in (1, 2, 7, 11, 14, 15, 16, 3)}
    want = ["TATA", "HHO3-like", "TCP20", "HY5", "TBF1", "ATHB-23", "YY1", "[G][A][A][C]"]
    assert list(found.values()) == want


def test_name_of_a_plain_word():
    assert motif_name(box("GATTACA")) == "[G][A][T][T][A][C][A]"
    assert motif_name(np.zeros((4, 9))) == ""


@pytest.mark.parametrize(
    ("pair", "centred", "plain"),
    [
        ((7, 13), 0.6391181321, 0.6617952141),
        ((13, 7), 0.3953754350, 0.4389016292),
        ((12, 7), 0.6239202124, 0.6365918579),
        ((1, 5), 0.7741913393, 0.8198748500),
        ((11, 9), 0.7305317194, 0.7301315906),
        ((12, 4), 0.8996000311, 0.8870609698),
        ((5, 5), 1.0, 1.0),
    ],
)
def test_published_similarities(kernels, pair, centred, plain):
    first, second = kernels[pair[:1]][None], kernels[pair[1:]][None]
    for want, flag in ((centred, True), (plain, False)):
        got = similarities(first, second, centred=flag, shifts=COMPAT_SHIFTS)[0, 0]
        assert_allclose(got, want, atol=1e-9)  # ten published digits


def test_similarity_is_the_loops_and_symmetric_over_all_shifts():
    m = np.random.default_rng(0).normal(size=(5, 4, 13))
    got = similarities(m, m)
    want = [[oracle.similarity(a, b, 13, centred=True) for b in m] for a in m]
    assert_allclose(got, want, rtol=1e-12)
    assert_allclose(got, got.T, rtol=1e-12)
    assert_allclose(np.diag(similarities(m, m[:, ::-1, ::-1])), 1.0)


@pytest.mark.parametrize("start", [0, 3, 12])
def test_centring_moves_the_energy_to_the_middle_and_leaves_its_argument(start):
    m = box("GATTACAGG", start=start)
    before = m.copy()
    moved = recentred(m)
    assert_array_equal(m, before)
    assert_array_equal(moved, box("GATTACAGG", start=6))  # nine letters in the middle of 21
    assert centre_offset(moved) == 0
    assert_array_equal(cleaned(m), cleaned(moved))
    assert_array_equal(m, before)


@pytest.mark.parametrize("offset", [-3, 0, 4])
def test_curves_follow_a_kernel_that_is_moved(offset):
    random = np.random.default_rng(1)
    x = random.integers(0, 4, 120)
    kernel = np.zeros((4, 21))
    kernel[:, 8:13] = random.normal(size=(4, 5))
    forward, reverse = np.zeros((2, 41))
    forward[10:31], reverse[10:31] = random.normal(size=(2, 21))

    def output(m: np.ndarray, fwd: np.ndarray, rev: np.ndarray) -> np.ndarray:
        onehot = np.eye(4)[x].T
        strands = [sum(np.correlate(onehot[b], w[b], "same") for b in range(4)) for w in (m, m[::-1, ::-1])]
        return np.correlate(strands[0], fwd, "same") + np.correlate(strands[1], rev, "same")

    moved = output(recentred(kernel, offset), *recentred_curves(forward, reverse, offset))
    inner = slice(40, 80)  # away from the ends
    assert_allclose(moved[inner], output(kernel, forward, reverse)[inner], atol=1e-12)
    if offset:
        unmoved = output(recentred(kernel, offset), forward, reverse)
        assert np.abs(unmoved - output(kernel, forward, reverse))[inner].max() > 0.1


def test_probabilities_are_the_softmax_of_what_the_name_keeps():
    got = probabilities(box("TATA", weight=np.log(5.0)))
    assert got.shape == (4, 4)
    assert_allclose(got[[3, 0, 3, 0], range(4)], 5 / 8)  # odds 5 : 1 : 1 : 1
    assert_allclose(got.sum(axis=0), 1)
    assert probabilities(box("TATA"), trim=False).shape == (4, 21)


def test_unique_names():
    assert unique_names(["a", "b", "a", "a"]) == ["a", "b", "a_2", "a_3"]
