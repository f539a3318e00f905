"""REF against the genome: every status, every policy, and what is then predicted."""

from __future__ import annotations

from typing import Any

import pytest
import worlds

from borzoi_rt.bundle.manifest import Geometry
from borzoi_rt.engine.alleles import View, haplotypes
from borzoi_rt.errors import InputError
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.variants import Variant, VariantRecord
from borzoi_rt.scoring.reference import POLICIES, Reference, check_reference
from borzoi_rt.sequence import decode

#        1234567890123456
TEXT = "ACGTTGCAACRMBNTTC"  # R is A or G, M A or C, B C, G or T; 17 bases


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Fasta:
    folder = tmp_path_factory.mktemp("genome")
    return Fasta(worlds.write_fasta(folder / "toy.fa", {"chr1": TEXT.lower(), "chrM": "ACGT", "7": TEXT}))


def check(genome: Fasta, pos: int, ref: str, alt: str, *, chrom: str = "chr1", **choices: Any) -> Reference:
    return check_reference(genome, Variant(chrom, pos, ref, alt), **choices)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    ("pos", "ref", "alt"),
    [
        (1, "A", "G"),
        (17, "C", "G"),
        (1, TEXT[:10], "A"),
        (2, "C", "C"),
        (2, "c", "g"),
        (2, "CG", "CGTT"),
        (16, "TC", "T"),
    ],
)
def test_ref_that_the_genome_holds_is_scored(genome: Fasta, policy: str, pos: int, ref: str, alt: str) -> None:
    """Also where ALT is REF, whatever the case, and to the last base."""
    found = check(genome, pos, ref, alt, policy=policy)
    assert found == Reference("ok", "", Variant("chr1", pos, ref.upper(), alt.upper()))
    assert found.scored


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    ("pos", "ref", "alt", "held"),
    [
        (11, "A", "T", "R"),
        (11, "G", "T", "R"),
        (11, "a", "g", "R"),
        (12, "C", "A", "M"),
        (13, "C", "A", "B"),
        (13, "T", "A", "B"),
        (10, "CGAT", "C", "CRMB"),
    ],
)
def test_a_base_stands_for_the_letter_that_includes_it(
    genome: Fasta, policy: str, pos: int, ref: str, alt: str, held: str
) -> None:
    """The window carries REF: the letter itself would be an unknown base."""
    found = check(genome, pos, ref, alt, policy=policy)
    detail = f"the genome has {held!r} at chr1:{pos}, which REF {ref.upper()!r} stands for"
    assert found == Reference("ok", detail, Variant("chr1", pos, ref.upper(), alt.upper()), held)


@pytest.mark.parametrize(
    ("pos", "ref", "detail"),
    [
        (11, "C", "REF 'C', the genome has 'R' at chr1:11"),
        (13, "A", "the genome has 'B'"),
        (14, "A", "the genome has 'N'"),
        (13, "CA", "the genome has 'BN'"),
        (2, "G", "REF 'G', the genome has 'C' at chr1:2"),
        (2, "CGA", "REF 'CGA', the genome has 'CGT'"),
    ],
)
def test_another_ref_is_a_mismatch(genome: Fasta, pos: int, ref: str, detail: str) -> None:
    found = check(genome, pos, ref, "ACGTACGT")
    assert (found.status, found.variant, found.genome_allele, found.scored) == ("ref_mismatch", None, None, False)
    assert detail in found.detail


@pytest.mark.parametrize(
    ("item", "status", "detail"),
    [
        (Variant("chr1", 14, "N", "A"), "invalid_allele", "REF 'N' holds 'N'"),
        (Variant("chr1", 11, "R", "A"), "invalid_allele", "REF 'R'"),
        (Variant("chr1", 2, "C", "<DEL>"), "symbolic_alt", "'<DEL>' has no sequence"),
        (Variant("chr1", 2, "C", "C]chr1:9]"), "symbolic_alt", "C]chr1:9]"),
        (Variant("chr1", 2, "C", "*"), "symbolic_alt", "has no sequence"),
        (Variant("chr1", 2, "C", "-"), "invalid_allele", "no allele of VCF"),
        (Variant("chr1", 2, "C", "C" * 6), "invalid_allele", "allele of 6 bp; the window allows 5"),
        (Variant("chr1", 2, "CGTTGC", "C"), "invalid_allele", "allele of 6 bp; the window allows 5"),
        (Variant("chr9", 2, "C", "<DEL>"), "symbolic_alt", "has no sequence"),
        (Variant("chr1", 0, "N", "A"), "out_of_bounds", "bases 0-0"),
        (Variant("chr1", 18, "N", "A"), "out_of_bounds", "bases 18-18"),
        (Variant("chr1", 0, "N", "<DEL>"), "symbolic_alt", "has no sequence"),
        (Variant("chr9", 5, "N", "A"), "contig_missing", "no contig"),
        (VariantRecord(0, 0, Variant("chr1", 14, "N", "A"), "invalid_allele", "why"), "invalid_allele", "why"),
        (Variant("chr9", 2, "C", "A"), "contig_missing", "toy.fa has no contig 'chr9'"),
        (Variant("chr\udcff", 2, "C", "A"), "contig_missing", r"toy.fa has no contig 'chr\xff'"),
        (Variant("chr1", 0, "C", "A"), "out_of_bounds", "bases 0-0 do not lie in chr1 (1-17)"),
        (Variant("chr1", 18, "C", "A"), "out_of_bounds", "bases 18-18"),
        (Variant("chr1", 17, "CA", "C"), "out_of_bounds", "bases 17-18"),
        (Variant("chr1", 2**31 - 1, "C", "A"), "out_of_bounds", "2147483647"),
        (VariantRecord(4, 1, Variant("chr1", 2, "C", "A"), "error", "why"), "error", "why"),
        (VariantRecord(4, 1, Variant("chr1", 2, "C", "<X>")), "symbolic_alt", "<X>"),
    ],
)
@pytest.mark.parametrize("policy", POLICIES)
def test_what_cannot_be_scored_says_why(
    genome: Fasta, item: Variant | VariantRecord, status: str, detail: str, policy: str
) -> None:
    found = check_reference(genome, item, policy=policy, flip_deletions=True, longest_bp=5)
    assert (found.status, found.variant, found.genome_allele, found.scored) == (status, None, None, False)
    assert detail in found.detail


@pytest.mark.parametrize(
    ("written", "contig"), [("1", "chr1"), ("MT", "chrM"), ("M", "chrM"), ("chrMT", "chrM"), ("chr7", "7")]
)
def test_a_contig_under_another_name_is_said(genome: Fasta, written: str, contig: str) -> None:
    found = check(genome, 2, "C", "A", chrom=written)
    assert found == Reference("ok", f"scored as {contig}", Variant(contig, 2, "C", "A"))
    assert check(genome, 2, "C", "A", chrom=contig).detail == ""


def test_what_else_was_found_comes_before_the_name_of_the_contig(genome: Fasta) -> None:
    found = check(genome, 11, "A", "T", chrom="1")
    assert found.detail == "the genome has 'R' at chr1:11, which REF 'A' stands for; scored as chr1"
    assert check(genome, 2, "G", "C", chrom="1", policy="flip").detail.endswith("'C' at chr1:2; scored as chr1")
    assert check(genome, 2, "G", "A", chrom="1").detail == "REF 'G', the genome has 'C' at chr1:2"


@pytest.mark.parametrize(
    ("pos", "ref", "alt"), [(2, "G", "C"), (2, "g", "c"), (2, "A", "CGT"), (2, "GT", "CG"), (16, "AA", "TC")]
)
def test_a_genome_that_holds_alt_is_turned_or_edited(genome: Fasta, pos: int, ref: str, alt: str) -> None:
    """Alleles as long as REF, or longer: the whole ALT lies in the genome."""
    assert check(genome, pos, ref, alt).status == "ref_mismatch"
    flipped = check(genome, pos, ref, alt, policy="flip")
    assert (flipped.status, flipped.variant) == ("flipped", Variant("chr1", pos, alt.upper(), ref.upper()))
    assert flipped.genome_allele is None
    edited = check(genome, pos, ref, alt, policy="edit")
    assert (edited.status, edited.variant) == ("ref_edited", Variant("chr1", pos, ref.upper(), alt.upper()))
    assert edited.genome_allele == alt.upper()
    assert f"REF {ref.upper()!r}" in flipped.detail


@pytest.mark.parametrize("policy", ["flip", "edit"])
@pytest.mark.parametrize(("ref", "alt"), [("G", "T"), ("G", "CGA"), ("A", "CGTA"), ("AA", "CGTA")])
def test_a_genome_that_holds_neither_is_a_mismatch(genome: Fasta, policy: str, ref: str, alt: str) -> None:
    """An ALT whose first bases lie there is not there; nor is one that the end of the contig cuts."""
    found = check(genome, 2, ref, alt, chrom="chrM", policy=policy)
    assert found.status == "ref_mismatch"
    assert "which is not ALT" in found.detail


def test_a_deletion_is_turned_only_on_demand(genome: Fasta) -> None:
    """Genome CGT at 2, record CAA > C: the anchor fits, which it does for every wrong REF."""
    found = check(genome, 2, "CAA", "C", policy="flip")
    assert found.status == "ref_mismatch"
    assert "a deletion is not flipped unless flip_deletions is set" in found.detail
    found = check(genome, 2, "CAA", "C", policy="flip", flip_deletions=True)
    assert (found.status, found.variant) == ("flipped", Variant("chr1", 2, "C", "CAA"))


@pytest.mark.parametrize(("policy", "status"), [("flip", "flipped"), ("edit", "ref_edited")])
def test_a_letter_may_stand_for_alt(genome: Fasta, policy: str, status: str) -> None:
    """Genome R, record C > A: the window must carry the base that is predicted first."""
    found = check(genome, 11, "C", "A", policy=policy)
    assert (found.status, found.genome_allele) == (status, "R")
    assert found.variant is not None
    assert found.variant.bases == (("A", "C") if policy == "flip" else ("C", "A"))


def test_the_id_is_carried_along(genome: Fasta) -> None:
    found = check_reference(genome, Variant("1", 2, "C", "A", "rs1"))
    assert found.variant is not None
    assert found.variant.id == "rs1"


def test_a_policy_has_a_name(genome: Fasta) -> None:
    with pytest.raises(InputError, match="ref_policy 'skip' is unknown; allowed: strict, flip, edit"):
        check(genome, 2, "C", "A", policy="skip")


def test_a_window_of_a_letter_carries_ref(genome: Fasta) -> None:
    """What is returned is what the windows are made of: no unknown base where the genome has R."""
    found = check(genome, 11, "A", "T")
    assert found.variant is not None
    geometry = Geometry(sequence_length_bp=8, bin_size_bp=2, bins=4)
    pair = haplotypes(genome, found.variant, geometry, flank_bp=0, genome_allele=found.genome_allele)
    ref, alt = (decode(pair.window(View(allele, 0))) for allele in ("ref", "alt"))
    assert (ref, alt) == ("AACANNNT", "AACTNNNT")
