"""Laws of spliced windows: what must not depend on how a variant is written or where its window lies."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from borzoi_rt.bundle.manifest import Geometry
from borzoi_rt.engine.alleles import INDEL_POLICIES, View, allele_pairs, haplotypes
from borzoi_rt.genome.fasta import Fasta, write_fasta
from borzoi_rt.genome.variants import Variant

LENGTH = 16
GEOMETRY = Geometry(sequence_length_bp=LENGTH, bin_size_bp=2, bins=6)
CHROMOSOME = "GATTACCATGNNGGCATTTCCAGTACGTTGCA"  # 32 bases
BASES = st.text(alphabet="ACGT", min_size=1, max_size=5)


@pytest.fixture(scope="module")
def fasta(tmp_path_factory):
    path = tmp_path_factory.mktemp("laws") / "g.fa"
    write_fasta(path, {"chr1": CHROMOSOME})
    with Fasta(path) as opened:
        yield opened


def variant(pos: int, ref_length: int, alt: str, before: int = 0, after: int = 0) -> Variant:
    """Write one edit with so many bases of the chromosome before and after it in both alleles."""
    first, end = pos - 1, pos - 1 + ref_length
    left, right = CHROMOSOME[first - before : first], CHROMOSOME[end : end + after]
    return Variant("chr1", pos - before, left + CHROMOSOME[first:end] + right, left + alt + right)


@settings(max_examples=100, deadline=None)
@given(
    pos=st.integers(1, 25),
    ref_length=st.integers(1, 3),
    alt=BASES,
    after=st.integers(1, 4),
    shift=st.integers(-3, 3),
    indel=st.sampled_from(INDEL_POLICIES),
    edge_fill=st.sampled_from(["genome", "pad"]),
)
def test_equal_bases_at_the_end_of_both_alleles_change_nothing(
    fasta, pos, ref_length, alt, after, shift, indel, edge_fill
):
    """REF TA, ALT T and REF TACC, ALT TCC are one deletion; the shift of the flank must not tell them apart."""
    short, long = variant(pos, ref_length, alt), variant(pos, ref_length, alt, after=after)
    # Bases, known or not: an unknown base has a length, though an allele that holds one is not scored.
    k = len(short.alt) - len(short.ref)
    assert len(long.alt) - len(long.ref) == k
    one, other = (
        haplotypes(fasta, item, GEOMETRY, flank_bp=3, edge_fill=edge_fill, indel=indel) for item in (short, long)
    )
    assert one.window_start == other.window_start
    assert one.n_fraction == other.n_fraction
    for pair in allele_pairs(k, [shift], indel):
        for view in (*pair.ref, *pair.alt):
            assert_array_equal(one.window(view), other.window(view))


@settings(max_examples=100, deadline=None)
@given(
    pos=st.integers(8, 20),
    ref_length=st.integers(1, 3),
    alt=BASES,
    before=st.integers(1, 4),
    edge_fill=st.sampled_from(["genome", "pad"]),
    indel=st.sampled_from(INDEL_POLICIES),
)
def test_equal_bases_before_both_alleles_change_nothing_in_a_fixed_window(
    fasta, pos, ref_length, alt, before, edge_fill, indel
):
    """They move POS, and with it a centred window, but no base of a window that stays."""
    rule = f"at:{pos - 8}"
    for shift in (-2, 0, 2):
        one, other = (
            haplotypes(fasta, item, GEOMETRY, flank_bp=2, edge_fill=edge_fill, indel=indel, window=rule)
            for item in (variant(pos, ref_length, alt), variant(pos, ref_length, alt, before=before))
        )
        for allele in ("ref", "alt"):
            assert_array_equal(one.window(View(allele, shift)), other.window(View(allele, shift)))


@settings(max_examples=100, deadline=None)
@given(pos=st.integers(1, 29), ref_length=st.integers(1, 3), alt=BASES, shift=st.integers(-5, 5))
def test_a_shift_filled_from_the_genome_is_a_window_that_starts_earlier(fasta, pos, ref_length, alt, shift):
    """The sequence moved right by s shows what a window s bases further left shows."""
    item, start = variant(pos, ref_length, alt), pos - 8
    shifted = haplotypes(fasta, item, GEOMETRY, flank_bp=5, window=f"at:{start}")
    moved = haplotypes(fasta, item, GEOMETRY, flank_bp=0, window=f"at:{start - shift}")
    for allele in ("ref", "alt"):
        assert_array_equal(shifted.window(View(allele, shift)), moved.window(View(allele, 0)))


@settings(max_examples=60, deadline=None)
@given(pos=st.integers(1, 29), ref_length=st.integers(1, 3), alt=BASES, shift=st.integers(-3, 3))
def test_alt_is_the_ref_of_the_edited_chromosome_and_back(tmp_path_factory, fasta, pos, ref_length, alt, shift):
    """Swapped alleles on the edited chromosome give swapped windows, ends included."""
    item = variant(pos, ref_length, alt)
    path = tmp_path_factory.mktemp("edited") / "g.fa"
    write_fasta(path, {"chr1": CHROMOSOME[: pos - 1] + alt + CHROMOSOME[pos - 1 + ref_length :]})
    with Fasta(path) as edited:
        back = haplotypes(edited, Variant("chr1", pos, alt, item.ref), GEOMETRY, flank_bp=3)
    made = haplotypes(fasta, item, GEOMETRY, flank_bp=3)
    assert_array_equal(made.window(View("alt", shift)), back.window(View("ref", shift)))
    assert_array_equal(made.window(View("ref", shift)), back.window(View("alt", shift)))
