"""Finding motifs and replacing them."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from borzoi_rt.errors import InputError
from borzoi_rt.motifs.matrices import Motif
from borzoi_rt.motifs.scan import (
    PSEUDOCOUNT,
    Hit,
    MotifScanner,
    dinucleotide_shuffle,
    least_pvalue,
    say_unreachable,
    without,
)
from borzoi_rt.sequence import decode, encode


def word(text: str, certainty: float = 0.91) -> Motif:
    rest = (1 - certainty) / 3
    return Motif(text, np.where(encode(text) > 0, certainty, rest).astype(np.float64))


def test_hits_are_those_of_the_loop_over_both_strands():
    random = np.random.default_rng(0)
    motif = Motif("m", random.dirichlet(np.ones(4) * 0.3, 6).T)
    text = "".join(random.choice(list("ACGT"), 400))
    (found,) = MotifScanner([motif], pvalue=5e-3).hits(encode(text))
    odds = np.log2((motif.matrix + PSEUDOCOUNT) / (1 + 4 * PSEUDOCOUNT) / 0.25)
    scores = {}
    for start in range(395):
        codes = ["ACGT".index(base) for base in text[start : start + 6]]
        scores[start, "+"] = sum(odds[code, index] for index, code in enumerate(codes))
        scores[start, "-"] = sum(odds[3 - code, 5 - index] for index, code in enumerate(codes))
    all_scores = sorted(
        (sum(odds[code, index] for index, code in enumerate(codes)) for codes in itertools.product(range(4), repeat=6)),
        reverse=True,
    )
    expected = int(5e-3 * 4**6)
    threshold = all_scores[expected]  # at most 20 of 4,096 words are better: the p-value by counting all words
    assert found
    assert {(hit.start, hit.strand) for hit in found} >= {
        key for key, score in scores.items() if score > threshold + 0.1
    }
    for hit in found:
        assert hit.score >= threshold - 0.1  # the library's distribution has bins
        assert_allclose(hit.score, scores[hit.start, hit.strand], atol=1e-4)


def test_a_planted_word_is_found_on_either_strand_and_not_in_unknown_bases():
    text = "C" * 30 + "TATAAAAG" + "C" * 30 + "CTTTTATA" + "C" * 5 + "N" * 10
    scanner = MotifScanner([word("TATAAAAG"), word("GATTACAG")], pvalue=1e-4)
    first, second = scanner.hits(encode(text))
    assert [(hit.start, hit.width, hit.strand) for hit in first] == [(30, 8, "+"), (68, 8, "-")]
    assert second == []


@pytest.mark.parametrize("pvalue", [0.0, 1.0, -1.0])
def test_pvalues_are_chances(pvalue):
    with pytest.raises(InputError, match="pvalue"):
        MotifScanner([word("TATA")], pvalue=pvalue)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 4), min_size=0, max_size=60), st.integers(0, 9))
def test_shuffles_keep_every_pair_of_neighbours(codes, seed):
    x = np.array(codes, dtype=np.int64)
    y = dinucleotide_shuffle(x, np.random.default_rng(seed))
    assert Counter(itertools.pairwise(y.tolist())) == Counter(itertools.pairwise(codes))
    assert y.tolist()[:1] == codes[:1]


def test_shuffles_are_equally_likely():
    x = np.array([0, 1, 0, 2, 0, 1, 1, 0])
    words = {
        p for p in set(itertools.permutations(x.tolist()))
        if Counter(itertools.pairwise(p)) == Counter(itertools.pairwise(x.tolist()))
    }  # fmt: skip
    generator = np.random.default_rng(1)
    counts = Counter(tuple(dinucleotide_shuffle(x, generator).tolist()) for _ in range(600 * len(words)))
    assert set(counts) == words
    # 600 expected each; 5 deviations of a Poisson count
    assert all(abs(count - 600) < 5 * np.sqrt(600) for count in counts.values())


def test_motifs_that_can_have_no_match_are_named(caplog):
    """The chance of the best word is counted over all words; the scan agrees that there is nothing to find."""
    short, even = word("ACG"), Motif("even", np.array([[0.4, 0.91], [0.4, 0.03], [0.1, 0.03], [0.1, 0.03]]))
    for motif in (short, even):
        words = ["".join(letters) for letters in itertools.product("ACGT", repeat=motif.matrix.shape[1])]
        scores = [sum(np.log2(motif.matrix["ACGT".index(base), at]) for at, base in enumerate(text)) for text in words]
        assert least_pvalue(motif) == np.isclose(scores, max(scores)).mean()
    for pvalue, silent in ((1 / 64, []), (1 / 65, ["ACG"]), (1e-3, ["ACG"])):
        caplog.clear()
        say_unreachable([short, word("ACGTACG")], pvalue)
        assert [name for name in ("ACG (3 bp, 0.016)",) if name in caplog.text] == [
            f"{name} (3 bp, 0.016)" for name in silent
        ]
        assert ("1 of 2 motifs" in caplog.text) == bool(silent)
        (hits, _) = MotifScanner([short, word("ACGTACG")], pvalue=pvalue).hits(encode("TTACGTT"))
        assert bool(hits) != bool(silent)


def test_only_the_hits_are_replaced():
    random = np.random.default_rng(2)
    text = "".join(random.choice(list("ACGT"), 300))
    onehot = encode(text[:150] + "N" + text[151:])
    hits = [Hit(40, 8, "+", 1.0), Hit(44, 8, "-", 1.0), Hit(290, 10, "+", 1.0)]
    outs = [decode(without(onehot, hits, np.random.default_rng(seed))) for seed in range(5)]
    inside = [*range(40, 52), *range(290, 300)]
    for out in outs:
        assert len(out) == 300
        assert {index for index, (a, b) in enumerate(zip(out, decode(onehot), strict=True)) if a != b} <= set(inside)
    assert len({out[40:52] for out in outs}) == 5
    assert decode(without(onehot, [], np.random.default_rng(0))) == decode(onehot)
