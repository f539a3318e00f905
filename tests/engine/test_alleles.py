"""Windows of both alleles against edited Python strings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from oracles import dna

from borzoi_rt.bundle.manifest import Geometry
from borzoi_rt.engine.alleles import (
    INDEL_POLICIES,
    View,
    allele_pairs,
    check_window,
    haplotypes,
    window_start,
)
from borzoi_rt.errors import InputError
from borzoi_rt.genome.fasta import Fasta, write_fasta
from borzoi_rt.genome.variants import Variant
from borzoi_rt.sequence import decode

LENGTH = 16
GEOMETRY = Geometry(sequence_length_bp=LENGTH, bin_size_bp=2, bins=6)
CHROMOSOME = "ACGTTGCAAGGCTTACCGATNNCGTATGGCATTCAGGACT"  # 40 bases


@pytest.fixture(scope="module")
def fasta(tmp_path_factory):
    path = tmp_path_factory.mktemp("alleles") / "g.fa"
    # A contig shorter than the window must be filled on both sides.
    write_fasta(path, {"long": CHROMOSOME, "short": "GATTACA"})
    with Fasta(path) as opened:
        yield opened


def length_change(variant: Variant) -> int:
    """Bases that ALT has more than REF, unknown ones counted."""
    return len(variant.alt) - len(variant.ref)


def variant_at(pos: int, ref_length: int, alt: str, chrom: str = "long") -> Variant:
    text = {"long": CHROMOSOME, "short": "GATTACA"}[chrom]
    return Variant(chrom, pos, text[pos - 1 : pos - 1 + ref_length], alt)


# POS 13 = T at index 12 of ..GGCTTACCGA..: the window is [13 - 8, 13 + 8), and POS its base 16 / 2 - 1 = 7.
@pytest.mark.parametrize(
    ("ref", "alt", "want_ref", "want_alt"),
    [
        ("T", "G", "GCAAGGCTTACCGATN", "GCAAGGCGTACCGATN"),
        ("TTA", "CGC", "GCAAGGCTTACCGATN", "GCAAGGCCGCCCGATN"),
        ("T", "TGG", "GCAAGGCTTACCGATN", "GCAAGGCTGGTACCGA"),
        ("TTA", "T", "GCAAGGCTTACCGATN", "GCAAGGCTCCGATNNC"),
        ("TTAC", "TG", "GCAAGGCTTACCGATN", "GCAAGGCTGCGATNNC"),  # complex
        ("TT", "A", "GCAAGGCTTACCGATN", "GCAAGGCAACCGATNN"),  # not anchored
        ("T", "T", "GCAAGGCTTACCGATN", "GCAAGGCTTACCGATN"),
    ],
)
def test_alleles_are_spliced_and_completed_from_the_right(fasta, ref, alt, want_ref, want_alt):
    made = haplotypes(fasta, Variant("long", 13, ref, alt), GEOMETRY, flank_bp=0)
    assert decode(made.window(View("ref", 0))) == want_ref
    assert decode(made.window(View("alt", 0))) == want_alt
    assert made.window_start == 5
    assert made.n_fraction == 1 / 16


@pytest.mark.parametrize(
    ("view", "edge_fill", "want"),
    [
        (View("ref", 3), "genome", "GTTGCAAGGCTTACCG"),
        (View("ref", 3), "pad", "NNNGCAAGGCTTACCG"),
        (View("ref", -3), "genome", "AGGCTTACCGATNNCG"),
        (View("ref", -3), "pad", "AGGCTTACCGATNNNN"),
        (View("alt", 3), "genome", "GTTGCAAGGCTCCGAT"),
        (View("alt", 0), "pad", "GCAAGGCTCCGATNNN"),  # two bases deleted, and N at the right end instead
        (View("alt", 3), "pad", "NNNGCAAGGCTCCGAT"),
        (View("alt", -3), "pad", "AGGCTCCGATNNNNNN"),
    ],
)
def test_what_enters_at_the_ends_is_genome_or_unknown(fasta, view, edge_fill, want):
    made = haplotypes(fasta, Variant("long", 13, "TTA", "T"), GEOMETRY, flank_bp=3, edge_fill=edge_fill)
    assert decode(made.window(view)) == want


@pytest.mark.parametrize("indel", INDEL_POLICIES)
@pytest.mark.parametrize("edge_fill", ["genome", "pad"])
@settings(max_examples=60, deadline=None)
@given(
    pos=st.integers(1, len(CHROMOSOME)),
    ref_length=st.integers(1, 4),
    alt=st.text(alphabet="ACGT", min_size=1, max_size=5),
    shifts=st.lists(st.integers(-5, 5), min_size=1, max_size=3),
)
@example(pos=13, ref_length=4, alt="C", shifts=[0])
@example(pos=13, ref_length=1, alt="CCCC", shifts=[0])
def test_every_view_of_every_policy_is_that_of_the_oracle(fasta, pos, ref_length, alt, shifts, indel, edge_fill):
    variant = variant_at(pos, ref_length, alt)
    flank = max(map(abs, shifts))
    made = haplotypes(fasta, variant, GEOMETRY, flank_bp=flank, edge_fill=edge_fill, indel=indel)
    views = {view for pair in allele_pairs(length_change(variant), shifts, indel) for view in (*pair.ref, *pair.alt)}
    for view in views:
        allele = variant.ref if view.allele == "ref" else variant.alt
        kept = LENGTH
        if view.allele == "alt" and indel != "centre_trim":
            kept += min(length_change(variant), 0)
        want = dna.allele_window(
            CHROMOSOME,
            pos=pos,
            held=variant.ref,
            allele=allele,
            start=pos - LENGTH // 2,
            length=LENGTH,
            shift=view.shift_bp,
            trim=view.trim_bp,
            cut_first=kept if edge_fill == "pad" else None,
        )
        window = made.window(view)
        assert window.flags.c_contiguous
        assert_array_equal(window, dna.onehot(want))


@settings(max_examples=100, deadline=None)
@given(
    pos=st.integers(1, len(CHROMOSOME)),
    ref_length=st.integers(1, 4),
    alt=st.text(alphabet="ACGT", min_size=1, max_size=5),
    shift=st.integers(-2, 2),
    indel=st.sampled_from(["stitch", "average"]),
)
def test_one_view_agrees_left_of_the_variant_and_one_right_of_it(fasta, pos, ref_length, alt, shift, indel):
    """The reason of both policies: equal bases stand in equal columns, and so in one phase of the pooling."""
    variant = variant_at(pos, ref_length, alt)
    pairs = allele_pairs(length_change(variant), [shift], indel)
    made = haplotypes(fasta, variant, GEOMETRY, flank_bp=2, indel=indel)
    compared = [(ref, alt) for pair in pairs for ref, alt in zip_longest_last(pair.ref, pair.alt)]
    left, right = compared[0], compared[-1]
    first = LENGTH // 2 - 1 + shift  # column of POS where nothing else is moved
    end = first + max(len(variant.ref), len(variant.alt)) + abs(length_change(variant))
    one, other = made.window(left[0]), made.window(left[1])
    assert_array_equal(one[:, : max(first, 0)], other[:, : max(first, 0)])
    one, other = made.window(right[0]), made.window(right[1])
    assert_array_equal(one[:, end:], other[:, end:])


def zip_longest_last(ref: tuple[View, ...], alt: tuple[View, ...]) -> list[tuple[View, View]]:
    """Pair the views of both alleles; the allele with one view is compared with each of the other's."""
    count = max(len(ref), len(alt))
    return list(zip(ref * (count // len(ref)), alt * (count // len(alt)), strict=True))


@pytest.mark.parametrize("held", ["C", "TTACC", "G"])
@pytest.mark.parametrize("edge_fill", ["genome", "pad"])
def test_a_record_whose_alt_the_genome_holds_gets_its_ref_back(fasta, held, edge_fill):
    """The edited genome is the one the record describes: same windows as there, whatever the lengths."""
    pos = CHROMOSOME.index("TTACC") + 1 if held == "TTACC" else CHROMOSOME.index(held) + 1
    for written, alt in (("A", held), ("GATC", held), ("A", "C")):
        variant = Variant("long", pos, written, alt)
        made = haplotypes(fasta, variant, GEOMETRY, flank_bp=2, edge_fill=edge_fill, genome_allele=held)
        for view in (View("ref", 0), View("ref", 2), View("ref", -2), View("alt", -2)):
            is_ref = view.allele == "ref"
            want = dna.allele_window(
                CHROMOSOME,
                pos=pos,
                held=held,
                allele=written if is_ref else alt,
                start=pos - LENGTH // 2,
                length=LENGTH,
                shift=view.shift_bp,
                cut_first=None if edge_fill == "genome" else LENGTH + (0 if is_ref else min(length_change(variant), 0)),
            )
            assert decode(made.window(view)) == want


@pytest.mark.parametrize("pos", [1, 4, 7])
def test_a_contig_shorter_than_the_window_is_filled_on_both_sides(fasta, pos):
    made = haplotypes(fasta, variant_at(pos, 1, "T", "short"), GEOMETRY, flank_bp=0)
    window = "N" * (8 - pos) + "GATTACA" + "N" * (pos + 1)
    assert decode(made.window(View("ref", 0))) == window
    assert decode(made.window(View("alt", 0))) == window[:7] + "T" + window[8:]
    assert made.n_fraction == pytest.approx(9 / 16)


@pytest.mark.parametrize(
    ("rule", "pos", "want"),
    [
        ("centered", 13, 5),  # 13 - 8
        ("centered", 8, 0),  # the left end is met exactly
        ("centered", 1, -7),
        ("grid:4", 13, 4),
        ("grid:4", 14, 8),  # 6 lies between 4 and 8: up
        ("grid:4", 1, -8),
        ("grid:1", 13, 5),
        ("at:3", 13, 3),
        ("at:-2", 13, -2),
    ],
)
def test_window_start(fasta, rule, pos, want):
    check_window(rule)
    assert window_start(pos, LENGTH, rule) == want
    made = haplotypes(fasta, variant_at(pos, 1, "C"), GEOMETRY, flank_bp=0, window=rule)
    first = 100 + want
    assert made.window_start == want
    assert decode(made.window(View("ref", 0))) == ("N" * 100 + CHROMOSOME)[first : first + LENGTH]
    assert decode(made.window(View("alt", 0)))[pos - 1 - want] == "C"


@pytest.mark.parametrize("rule", ["", "centred", "grid", "grid:0", "grid:-4", "at:", "at:x", "grid:4 "])
def test_an_unknown_window_rule_is_refused(rule):
    with pytest.raises(InputError, match="allowed: centered, grid:BP, at:START"):
        check_window(rule)


@pytest.mark.parametrize(("start", "inside"), [(12, True), (13, False), (-1, True), (-2, False)])
def test_all_of_ref_must_lie_in_the_window(fasta, start, inside):
    """REF is bases 13-15: the window [12, 28) holds it, [13, 29) not, [-1, 15) again, [-2, 14) not."""
    variant = variant_at(13, 3, "T")
    if inside:
        made = haplotypes(fasta, variant, GEOMETRY, flank_bp=0, window=f"at:{start}")
        assert decode(made.window(View("ref", 0)))[12 - start :][:3] == variant.ref
    else:
        with pytest.raises(
            InputError, match=rf"long:13 TTA>T does not lie in the window long:{start + 1}-{start + 16}"
        ):
            haplotypes(fasta, variant, GEOMETRY, flank_bp=0, window=f"at:{start}")


def test_the_same_window_of_both_alleles_is_the_same_bytes(fasta):
    """What the cache of predictions and the exact zero of a null variant rest on."""
    made = haplotypes(fasta, variant_at(13, 1, "T"), GEOMETRY, flank_bp=4)
    for shift in (-4, 0, 4):
        assert np.array_equal(made.window(View("ref", shift)), made.window(View("alt", shift)))
