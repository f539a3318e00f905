"""Which motif a stretch is."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose
from oracles import seqlets as oracle

from borzoi_rt.motifs.match import MotifMatcher
from borzoi_rt.motifs.matrices import Motif
from borzoi_rt.sequence import encode


def word(text: str, certainty: float = 0.91) -> Motif:
    return Motif(text, np.where(encode(text) > 0, certainty, (1 - certainty) / 3).astype(np.float64))


def codes(text: str) -> np.ndarray:
    return np.array(["ACGTN".index(base) for base in text], dtype=np.uint8)


def test_a_match_is_found_on_either_strand_with_the_chance_of_all_words():
    text = "GC" * 10 + "TATAAG" + "GC" * 10 + "CTTATA" + "GC" * 10
    random = np.random.default_rng(2)
    other = Motif("other", random.dirichlet(np.ones(4), 9).T)
    matcher = MotifMatcher([other, word("TATAAG")], pvalue=0.05)
    for start, strand in ((20, "+"), (46, "-")):
        (match, *_) = matcher.matches(codes(text), start + 1, start + 5)
        assert (match.motif, match.start, match.width, match.strand) == (1, start, 6, strand)
        # A stretch of 4 bases shares 2 with motifs that begin at 5 to the left to 3 to the right of it: 7 offsets.
        single = oracle.word_pvalue(np.eye(4)[[3, 0, 3, 0, 0, 2]].T, 6.0)
        assert_allclose(match.p, 1 - (1 - single) ** (2 * 7), rtol=1e-9)
        assert_allclose(match.e, 2 * match.p)
    assert matcher.matches(codes(text), 30, 36) == []


def test_chances_are_those_of_rounded_log_odds_of_any_matrix():
    random = np.random.default_rng(3)
    motif = Motif("m", random.dirichlet(np.ones(4) * 0.5, 5).T)
    odds = np.rint(np.log2((motif.matrix + 1e-3) / (1 + 4e-3) * 4) * 16)
    text = random.integers(0, 4, 5).astype(np.uint8)
    matcher = MotifMatcher([motif], pvalue=1.0)
    for _ in range(5):
        (match,) = matcher.matches(text, 0, 5)
        scores = [odds[text, range(5)].sum(), odds[3 - text[::-1], range(5)].sum()]
        assert match.strand == "+-"[int(np.argmax(scores))]
        assert_allclose(match.p, 1 - (1 - oracle.word_pvalue(odds, max(scores))) ** 2, atol=1e-12)
        text = np.roll(text, 1)


def test_unknown_bases_and_ends_hold_no_match():
    motif = word("TATAAGCA")
    matcher = MotifMatcher([motif])
    assert len(matcher.matches(codes("CC" + "TATAAGCA"), 4, 8)) == 1
    assert matcher.matches(codes("CC" + "TATAAGC"), 4, 8) == []
    assert matcher.matches(codes("CC" + "TATNAGCA"), 4, 8) == []


def test_chance_names_random_stretches_as_often_as_it_says():
    random = np.random.default_rng(4)
    matcher = MotifMatcher([Motif("m", random.dirichlet(np.ones(4) * 0.5, 8).T)], pvalue=0.05)
    text = random.integers(0, 4, 12_000).astype(np.uint8)
    named = [bool(matcher.matches(text, start, start + 8)) for start in range(20, 11_900, 20)]
    assert 0.03 < np.mean(named) < 0.07
