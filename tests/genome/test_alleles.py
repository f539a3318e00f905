"""What a letter of a genome stands for."""

from __future__ import annotations

import itertools

import pytest

from borzoi_rt.genome.alleles import covers

# The table of the nomenclature committee (1984), by base.
HOLDING = {"A": "ARWMDHV", "C": "CYSMBHV", "G": "GRSKBDV", "T": "TYWKBDH"}


@pytest.mark.parametrize(("letter", "base"), list(itertools.product("ACGTRYSWKMBDHVN", "ACGT")))
def test_a_letter_covers_the_bases_it_includes(letter, base):
    assert covers(letter, base) == (letter in HOLDING[base])


@pytest.mark.parametrize(
    ("genome", "allele", "want"),
    [
        ("ARC", "AGC", True),
        ("ARC", "ATC", False),
        ("AR", "A", False),
        ("", "", True),
        ("NN", "NN", True),
        ("R", "N", False),
    ],
)
def test_letter_by_letter(genome, allele, want):
    assert covers(genome, allele) == want
