"""A variant by itself: how it is written, what the judge says of it, and what it refuses to be."""

from __future__ import annotations

import copy
import pickle
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from borzoi_rt.errors import InputError
from borzoi_rt.genome.variants import Variant, VariantRecord

SNV = Variant("chr1", 14677, "G", "A")


@pytest.mark.parametrize(
    "text",
    [
        "chr1:14677 G>A",
        "chr1:14677G>A",
        "chr1:14677:G:A",
        "chr1-14677-G-A",
        "chr1:g.14677G>A",
        "chr1:14,677:G:A",
        "chr1:14,677 G>A",
        " chr1:14677 G>A\n",
    ],
)
def test_one_variant_is_written_in_many_ways(text):
    assert Variant.parse(text) == SNV == Variant.of(text)


@pytest.mark.parametrize(
    "chrom", ["HLA-A*01:01:01:01", "chrUn_KI270742v1", "1", "NC_000001.11", "HLA-DRB1*15:01", "a-b:c"]
)
@pytest.mark.parametrize("form", ["{}:7:GA:T", "{}-7-GA-T", "{}:7GA>T", "{}:7 GA>T", "{}:g.7GA>T"])
def test_contigs_hold_the_separators_themselves(chrom, form):
    assert Variant.parse(form.format(chrom)) == Variant(chrom, 7, "GA", "T")


@pytest.mark.parametrize(
    ("text", "alleles", "problem"),
    [
        ("chr1:5 g>t", ("g", "t"), None),
        ("chr1:5:G:<DEL>", ("G", "<DEL>"), "symbolic_alt"),
        ("chr1-5-G-<INS:ME:Alu>", ("G", "<INS:ME:Alu>"), "symbolic_alt"),
        ("chr1:5G>*", ("G", "*"), "symbolic_alt"),
        ("chr1:5 G>G]chr1:837555]", ("G", "G]chr1:837555]"), "symbolic_alt"),
        ("chr1:5:G:-", ("G", "-"), "invalid_allele"),
        ("chr1-5---A", ("-", "A"), "invalid_allele"),
        ("chr1:5:G:.", ("G", "."), "invalid_allele"),
        ("chr1:5:N:A", ("N", "A"), "invalid_allele"),
    ],
)
def test_what_text_says_is_judged_and_not_changed(text, alleles, problem):
    variant = Variant.parse(text)
    assert ((variant.ref, variant.alt), variant.problem) == (alleles, problem)


@pytest.mark.parametrize(
    "text",
    [
        *("", "rs123", "chr1:14677", "chr1:x G>A", "chr1:1 G>", "chr1:1 >A", "1 2 G A", "chr1:1,23:G:A", "chr1:-5:G:A"),
        *("chr1:1:G", "chr1:1:G:A:T", "chr1:1.0:G:A", "chr1:g.5_6del", ":5:G:A", "chr1:\u0665:G:A"),
    ],
)
def test_text_that_is_no_variant_is_refused(text):
    with pytest.raises(InputError, match="cannot be read; write it like"):
        Variant.parse(text)


NAMES = st.text("chrUn_*:-.01HLA", min_size=1, max_size=12)
ALLELES = st.sampled_from(
    ["A", "acgt", "N", "<DEL>", "<INS:ME:Alu>", "*", "A[chr2:5[", "]HLA-A*01:01:5]T", "A.", "G,T"]
)


@settings(deadline=None)
@given(chrom=NAMES, pos=st.integers(0, 2**31 - 1), ref=st.text("ACGTNacgt", min_size=1, max_size=9), alt=ALLELES)
def test_str_reads_as_the_same_variant(chrom, pos, ref, alt):
    variant = Variant(chrom, pos, ref, alt)
    assert Variant.parse(str(variant)) == variant


@pytest.mark.parametrize("pos", [14677, np.int64(14677), np.uint32(14677), np.int16(14677), np.array(14677)])
def test_a_position_is_any_whole_number(pos):
    variant = Variant("chr1", pos, "G", "A")
    assert variant == SNV
    assert type(variant.pos) is int


@pytest.mark.parametrize("pos", [-1, 2**31, 10**30, "5", 5.0, np.float64(5), True, np.True_, None, np.array([5, 6])])
def test_a_position_is_nothing_else(pos):
    with pytest.raises(InputError, match=r"pos of a variant on '1' is .*a whole number from 0 to 2147483647 is needed"):
        Variant("1", pos, "A", "C")


@pytest.mark.parametrize("chrom", ["", None, 1, np.int64(1), b"chr1"])
def test_a_contig_is_named_by_text(chrom):
    with pytest.raises(InputError, match="the name of a contig is needed"):
        Variant(chrom, 5, "A", "C")


@pytest.mark.parametrize("chrom", ["chr1\t5", "chr1\n", "\r", "a\0b"])
def test_a_contig_is_one_column_of_one_line(chrom):
    with pytest.raises(InputError, match="holds a tab or an end of line"):
        Variant(chrom, 5, "A", "C")


@pytest.mark.parametrize("thing", [SNV, ("chr1", 14677, "G", "A"), ["chr1", np.int64(14677), np.str_("G"), "A"]])
def test_a_variant_of_what_is_at_hand(thing):
    assert Variant.of(thing) == SNV
    assert Variant.of(("chr1", 14677, "G", "A", "rs1")) == replace(SNV, id="rs1")


@pytest.mark.parametrize(
    "thing", [None, 5, ("chr1", 5, "G"), ("chr1", 5, "G", "A", "x", "y"), b"abcd", {"chrom": "chr1"}]
)
def test_nothing_else_is_a_variant(thing):
    with pytest.raises(InputError, match=r"is no variant; a Variant, text like"):
        Variant.of(thing)


@pytest.mark.parametrize("ref", ["G", "g", "AC", "ac", "aCgT"])
@pytest.mark.parametrize("alt", ["T", "t", "GTTT", "gt"])
def test_bases_of_any_case_are_bases(ref, alt):
    variant = Variant("1", 5, ref, alt)
    assert (variant.problem, variant.detail, variant.bases) == (None, "", (ref.upper(), alt.upper()))
    assert (variant.ref, variant.alt, variant.k) == (ref, alt, len(alt) - len(ref))
    assert str(variant) == f"1:5 {ref}>{alt}"


@pytest.mark.parametrize(
    ("ref", "alt", "problem", "detail"),
    [
        ("G", "<DEL>", "symbolic_alt", "'<DEL>' has no sequence"),
        ("G", "<INS:ME:Alu>", "symbolic_alt", "'<INS:ME:Alu>'"),
        ("G", "<NON_REF>", "symbolic_alt", "NON_REF"),
        ("G", "<*>", "symbolic_alt", "<"),
        ("G", "*", "symbolic_alt", "has no sequence"),
        ("G", "G]chr1:837555]", "symbolic_alt", "chr1:837555"),
        ("G", "[17:198983[A", "symbolic_alt", "has no sequence"),
        ("G", "G.", "symbolic_alt", "has no sequence"),
        ("G", ".G", "symbolic_alt", "has no sequence"),
        ("G", ".", "invalid_allele", "no ALT allele"),
        ("G", "", "invalid_allele", "no ALT allele"),
        ("", "G", "invalid_allele", "REF is empty"),
        ("", "", "invalid_allele", "no ALT allele"),
        ("G", "-", "invalid_allele", "ALT '-' is no allele of VCF; write the base before"),
        ("-", "G", "invalid_allele", "REF '-'"),
        ("G", "N", "invalid_allele", "ALT 'N' holds 'N'"),
        ("N", "G", "invalid_allele", "REF 'N' holds 'N'"),
        ("R", "G", "invalid_allele", "REF 'R' holds 'R'"),
        ("G", "AU", "invalid_allele", "ALT 'AU' holds 'U'"),
        ("G", "A,T", "invalid_allele", "several alleles"),
        ("G", "A/T", "invalid_allele", "not made of bases"),
        ("G", "T\n", "invalid_allele", "not made of bases"),
        ("G", " T", "invalid_allele", "not made of bases"),
        ("G", "4", "invalid_allele", "not made of bases"),
        ("<DEL>", "G", "invalid_allele", "REF '<DEL>'"),
        ("*", "G", "invalid_allele", "REF '*'"),
        (".", "G", "invalid_allele", "REF '.'"),
        ("G", "\uff21", "invalid_allele", "not made of bases"),  # a full-width A
        ("G", "\ufb06", "invalid_allele", "not made of bases"),  # a ligature, whose capital is ST
        ("G", None, "invalid_allele", "no ALT allele"),
        ("G", float("nan"), "invalid_allele", "no ALT allele"),
        ("G", np.float32("nan"), "invalid_allele", "no ALT allele"),
        (None, "G", "invalid_allele", "REF '.'"),
    ],
)
def test_what_is_not_made_of_bases_has_a_problem(ref, alt, problem, detail):
    variant = Variant("1", 5, ref, alt)
    assert variant.problem == problem
    assert detail in variant.detail
    lettered = all(isinstance(text, str) and re.fullmatch("[A-Z]+", text) for text in (ref, alt))
    assert variant.k == (len(alt) - len(ref) if lettered else None)
    assert VariantRecord(3, 1, variant) == VariantRecord(3, 1, variant, problem, variant.detail)
    for name, given_allele in (("ref", ref), ("alt", alt)):
        assert getattr(variant, name) == (given_allele if isinstance(given_allele, str) else ".")


def test_a_missing_value_of_pandas_is_missing():
    class NAType:
        def __bool__(self):
            raise TypeError("boolean value of NA is ambiguous")

    assert Variant("1", 5, "G", NAType()).alt == "."


@pytest.mark.parametrize("allele", [5, 5.0, b"A", ["A"], True])
@pytest.mark.parametrize("name", ["ref", "alt", "id"])
def test_an_allele_is_text(name, allele):
    with pytest.raises(InputError, match=f"{name} of the variant at 1:5 is .*text is needed"):
        Variant("1", 5, **{"ref": "A", "alt": "C", name: allele})


def test_a_long_allele_is_cut_in_messages():
    assert len(Variant("1", 5, "A", "AX" * 5000).detail) < 120


def test_a_record_may_know_better_than_the_judge():
    assert VariantRecord(0, 0, SNV, "out_of_bounds", "why") == VariantRecord(
        0, 0, SNV, problem="out_of_bounds", detail="why"
    )
    assert VariantRecord(0, 0, SNV).problem is None


@pytest.mark.parametrize("through", [copy.copy, copy.deepcopy, lambda item: pickle.loads(pickle.dumps(item)), replace])
def test_what_was_judged_is_carried_along(through):
    for variant in (SNV, Variant("1", 5, "g", "<DEL>")):
        again = through(variant)
        assert again == variant
        assert hash(again) == hash(variant)
        assert (again.problem, again.bases) == (variant.problem, variant.bases)
