"""A variant by itself: how it is written, and what it refuses to be."""

from __future__ import annotations

import pytest

from borzoi_rt.errors import InputError
from borzoi_rt.genome.variants import Variant


@pytest.mark.parametrize("text", ["chr1:14677 G>A", "chr1:14677:G:A", "chr1-14677-G-A", " chr1:14677 g>a\n"])
def test_variant_parse(text):
    variant = Variant.parse(text)
    assert variant == Variant("chr1", 14677, "G", "A")
    assert Variant.parse(str(variant)) == variant


@pytest.mark.parametrize("text", ["", "chr1:14677", "chr1:x G>A", "chr1:1 G>", "chr1:1 >A", "chr1:1 G>*", "1 2 G A"])
def test_variant_parse_refuses_the_rest(text):
    with pytest.raises(InputError, match="cannot be read; write it like"):
        Variant.parse(text)


@pytest.mark.parametrize(("ref", "alt", "k"), [("A", "G", 0), ("AT", "A", -1), ("A", "ATT", 2), ("AC", "GT", 0)])
def test_k_is_the_change_of_length(ref, alt, k):
    assert Variant("1", 5, ref, alt).k == k


@pytest.mark.parametrize(("chrom", "pos"), [("", 5), ("1", -1), ("1", "5"), ("1", 5.0)])
def test_a_variant_needs_a_contig_and_a_position(chrom, pos):
    with pytest.raises(InputError, match="a contig name and a 1-based position"):
        Variant(chrom, pos, "A", "C")
