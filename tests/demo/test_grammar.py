"""The planted grammar against its own laws and against sequences whose promoters were put there by hand."""

from __future__ import annotations

import numpy as np
import pytest

from borzoi_rt.demo import grammar

QUIET = "C" * 200  # no motif, no near miss of one
CORE = grammar.MOTIFS["tata"] + "C" * 22 + grammar.MOTIFS["inr"]
TSS = 200 + 8 + 22 + grammar.TSS_OFFSET


def one(sequence: str) -> grammar.Promoter:
    found = grammar.promoters(sequence)
    assert len(found) == 1
    return found[0]


def test_a_perfect_core_is_one_promoter() -> None:
    assert one(QUIET + CORE + QUIET) == grammar.Promoter(TSS, "+", 1.0)


def test_the_other_strand_reads_the_same() -> None:
    sequence = QUIET + CORE + QUIET
    mirrored = one(grammar.reverse_complement(sequence))
    assert mirrored == grammar.Promoter(len(sequence) - 1 - TSS, "-", 1.0)


@pytest.mark.parametrize(
    ("upstream", "factor"),
    [
        ("GGGGCGGA", 2.5),  # one GC box
        ("TCCGCCCC", 2.5),  # on the other strand
        ("GGGGCGGA" + "C" * 9 + "GGGGCGGA", 4.0),
        ("GGGGCGGA" + "C" * 9 + "ACGTCATG", 2.5 * 0.2),  # a silencer takes four fifths
    ],
)
def test_context_multiplies(upstream: str, factor: float) -> None:
    assert one(QUIET + upstream + "C" * 20 + CORE + QUIET).strength == pytest.approx(factor)


def test_a_box_too_far_upstream_does_nothing() -> None:
    assert one(QUIET + "GGGGCGGA" + "C" * grammar.ENHANCER_BP + CORE + QUIET).strength == 1.0


@pytest.mark.parametrize("gap", [19, 25])
def test_spacing_is_part_of_the_core(gap: int) -> None:
    assert grammar.promoters(QUIET + "TATAAAAG" + "C" * gap + "TCAGTCTT" + QUIET) == []


def test_mismatches_weaken_then_kill() -> None:
    assert one(QUIET + "TATAAACG" + "C" * 22 + "TCAGTCTT" + QUIET).strength == grammar.ONE_MISMATCH
    assert grammar.promoters(QUIET + "TATAAACG" + "C" * 22 + "TCAGGCTT" + QUIET) == []


def test_coverage_of_the_reverse_complement_is_mirrored_with_strands_swapped() -> None:
    sequence = grammar.plant(np.random.default_rng(3), 4096)
    forward, reverse = grammar.coverage(sequence), grammar.coverage(grammar.reverse_complement(sequence))
    assert forward.max() > 0
    np.testing.assert_allclose(reverse[[1, 0, 3, 2, 4], ::-1], forward, atol=1e-12)
