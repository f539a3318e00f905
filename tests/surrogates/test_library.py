"""Mutants: what is drawn, what is written into a window, and what is seen of them."""

from __future__ import annotations

import numpy as np
import pytest
import toy_objectives
from numpy.testing import assert_allclose, assert_array_equal

from borzoi_rt.errors import InputError
from borzoi_rt.motifs.matrices import Motif
from borzoi_rt.motifs.scan import MotifScanner
from borzoi_rt.sequence import edited, encode
from borzoi_rt.surrogates.features import kept_of, motifs_of, substitutions_of
from borzoi_rt.surrogates.library import Library, LibraryOptions, draw_mutants, make_library

TEXT = "ACGTNACGGTCATTGCAAGCTTGANCGTACCA"
REFERENCE = np.array(["ACGTN".index(base) for base in TEXT], dtype=np.uint8)


def test_mutants_are_written_into_one_window():
    codes, _ = draw_mutants(REFERENCE[3:20], LibraryOptions(mutants=100, rate=0.3))
    window = encode(TEXT)
    for mutant, held in zip(codes, edited(window, codes, start=3), strict=True):
        text = TEXT[:3] + "".join("ACGTN"[code] for code in mutant) + TEXT[20:]
        assert_array_equal(held, encode(text))
    assert_array_equal(window, encode(TEXT))
    with pytest.raises(InputError, match=r"\[20, 37\) do not lie in a window of 32"):
        next(edited(window, codes, start=20))


def test_mutants_differ_and_follow_the_seed():
    options = LibraryOptions(mutants=4000, rate=0.2, held=0.25, seed=3)
    codes, held = draw_mutants(REFERENCE, options)
    assert len({mutant.tobytes() for mutant in codes}) == 4000
    assert not (codes == REFERENCE).all(axis=1).any()
    assert held.sum() == 1000
    again, held_again = draw_mutants(REFERENCE, options)
    assert_array_equal(codes, again)
    assert_array_equal(held, held_again)
    other, _ = draw_mutants(REFERENCE, LibraryOptions(mutants=4000, rate=0.2, seed=4))
    assert (codes != other).any()
    # Unknown bases stay; every other is exchanged in a fifth of the mutants, for each of the three others alike.
    known = REFERENCE < 4
    assert (codes[:, ~known] == 4).all()
    changed = codes != REFERENCE
    assert_allclose(changed.mean(axis=0)[known], 0.2, atol=0.03)  # 5 standard errors of 4,000 draws
    step = (codes.astype(int) - REFERENCE)[changed] % 4
    assert_allclose(np.bincount(step, minlength=4)[1:] / changed.sum(), 1 / 3, atol=0.02)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"mutants": 0}, "mutants is 0"),
        ({"rate": 0.0}, "rate is 0.0"),
        ({"rate": 0.8}, r"rate is 0\.8; a number above 0, at most 0\.75"),
        ({"held": 1.0}, r"held is 1\.0"),
        ({"mutants": 20, "held": 0.2}, "4 are held out and 16 fitted to; 10 of each"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_nonsense_is_refused(more, message):
    with pytest.raises(InputError, match=message):
        LibraryOptions(**more)


def test_a_region_that_is_too_short_is_refused():
    with pytest.raises(InputError, match=r"3 bases at rate 0\.5 gave 63 different mutants, not 100"):
        draw_mutants(REFERENCE[:3], LibraryOptions(mutants=100, rate=0.5))


def test_scores_are_those_of_the_mutants():
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(4, len(TEXT)))
    done: list[int] = []
    library = make_library(
        toy_objectives.linear(weights), encode(TEXT), (5, 25), LibraryOptions(mutants=60), progress=done.append
    )
    padded = np.vstack([weights, np.zeros(len(TEXT))])  # an unknown base adds nothing
    outside = sum(padded[REFERENCE[p], p] for p in (*range(5), *range(25, 32)))
    expected = [outside + sum(padded[code, 5 + p] for p, code in enumerate(mutant)) for mutant in library.codes]
    assert_allclose(library.scores, expected, rtol=1e-12)
    assert library.value == pytest.approx(sum(padded[code, p] for p, code in enumerate(REFERENCE)))
    assert done == list(range(1, 61))


def written(*texts: str, reference: str) -> Library:
    codes = np.array([["ACGTN".index(base) for base in text] for text in texts], dtype=np.uint8)
    letters = np.array(["ACGTN".index(base) for base in reference], dtype=np.uint8)
    return Library(letters, codes, np.zeros(len(codes), dtype=bool), 0.0, np.zeros(len(codes)))


def test_features_of_bases_can_be_counted():
    library = written("ACN", "TCN", "AGN", "TGN", reference="ACN")
    found = substitutions_of(library, 101)
    assert found.names == ("101A>T", "102C>G")
    assert found.dropped == ("101A>C", "101A>G", "102C>A", "102C>T")
    assert_array_equal(found.values, [[0, 0], [1, 0], [0, 1], [1, 1]])
    kept = kept_of(library, 101)
    assert kept.names == ("101A", "102C")
    assert_array_equal(kept.values, [[1, 1], [0, 1], [1, 0], [0, 0]])
    with pytest.raises(InputError, match="substitutions are the same in all mutants"):
        substitutions_of(written("AC", "AC", reference="AC"), 1)


def test_features_of_motifs_count_matches_by_strand():
    pytest.importorskip("lightmotif")
    site = "GATTACAG"  # its reverse complement is CTGTAATC
    matrix = np.array([[float(base == letter) for letter in site] for base in "ACGT"])
    scanner = MotifScanner([Motif("m", matrix)])
    inner = ("TTTTTTTTTTTT", "GATTACAGTTTT", "TTCTGTAATCTT", "ACAGTTTTTTTT")
    library = written(*inner, reference=inner[0])
    letters = {side: np.array(["ACGT".index(base) for base in text], dtype=np.uint8) for side, text in SIDES.items()}
    found = motifs_of(library, scanner, **letters)
    assert found.names == ("m+", "m-")
    assert_array_equal(found.values, [[0, 0], [1, 0], [0, 1], [1, 0]])  # the last begins left of the region


SIDES = {"left": "CCGATT", "right": "CCCCCC"}
