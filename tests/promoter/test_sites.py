"""Windows around TSSs: one base for the TSS, both strands, all alleles."""

from __future__ import annotations

import pytest

from borzoi_rt.errors import InputError
from borzoi_rt.genome.fasta import Fasta, write_fasta
from borzoi_rt.genome.variants import Variant
from borzoi_rt.promoter.sites import Site, allele_window, read_sites, site_window
from borzoi_rt.sequence import decode

WINDOW = {"length_bp": 40, "tss_bp": 25}
COMPLEMENT = str.maketrans("ACGTN", "TGCAN")


@pytest.fixture(scope="module")
def fasta(genome):
    with Fasta(genome[0]) as opened:
        yield opened


def reverse(text: str) -> str:
    return text.translate(COMPLEMENT)[::-1]


def test_the_tss_is_one_base_of_the_window_on_either_strand(fasta, genome):
    text = genome[1]
    plus = decode(site_window(fasta, Site("chr1", 1000, "+"), **WINDOW))
    minus = decode(site_window(fasta, Site("chr1", 1000, "-"), **WINDOW))
    assert plus == text[975:1015]
    assert minus[25] == reverse(text[1000])
    assert minus[:25] == reverse(text[1001:1026])  # upstream of a '-' TSS is to its right


def test_windows_are_filled_with_unknown_bases_beyond_the_chromosome(fasta, genome):
    assert decode(site_window(fasta, Site("chr1", 10, "+"), **WINDOW)) == "N" * 15 + genome[1][:25]
    assert decode(site_window(fasta, Site("chr1", 3990, "+"), **WINDOW))[-5:] == "NNNNN"


def test_bed_gives_the_first_base_on_the_strand(tmp_path):
    (tmp_path / "t.bed").write_text("chr1\t100\t120\ta\t0\t+\nchr1\t100\t120\tb\t0\t-\nchr1\t7\t8\n")
    sites = read_sites(tmp_path / "t.bed")
    assert [(site.pos0, site.strand, site.label) for site in sites] == [
        (100, "+", "a"),
        (119, "-", "b"),
        (7, "+", "chr1:8+"),
    ]
    with pytest.raises(InputError, match="strand"):
        Site("chr1", 3, ".")


@pytest.mark.parametrize("strand", ["+", "-"])
@pytest.mark.parametrize("offset", [-14, -4, 1, 9])
@pytest.mark.parametrize(("ref_bp", "alt"), [(1, "N"), (1, "ACGTACG"), (4, "G"), (3, "TT"), (2, "")])
def test_alleles_keep_the_tss_and_what_lies_on_its_other_side(fasta, genome, strand, offset, ref_bp, alt):
    text, tss = genome[1], 1000
    start = tss + offset
    ref = text[start : start + ref_bp]
    got = decode(allele_window(fasta, Site("chr1", tss, strand), Variant("chr1", start + 1, ref, alt), **WINDOW))
    edited = text[:start] + alt + text[start + ref_bp :]
    moved = tss + (len(alt) - ref_bp if offset < 0 else 0)
    assert edited[moved] == text[tss]
    left, right = (25, 15) if strand == "+" else (14, 26)
    want = edited[moved - left : moved + right]
    assert got == (want if strand == "+" else reverse(want))


def test_a_variant_that_covers_the_tss_keeps_the_offset(fasta, genome):
    text = genome[1]
    site = Site("chr1", 1001, "+")
    got = decode(allele_window(fasta, site, Variant("chr1", 1001, text[1000:1003], "GGG"), **WINDOW))
    assert got == text[976:1000] + "GGG" + text[1003:1016]
    shorter = decode(allele_window(fasta, site, Variant("chr1", 1001, text[1000:1003], "G"), **WINDOW))
    assert shorter[25] == "G"  # the last base that is left of the allele


def test_snv_at_the_end_of_a_short_contig(tmp_path):
    write_fasta(tmp_path / "g.fa", {"c": "ACGTACGTAC"})
    with Fasta(tmp_path / "g.fa") as fasta:
        got = decode(allele_window(fasta, Site("c", 5), Variant("c", 10, "C", "T"), **WINDOW))
    assert got == "N" * 20 + "ACGTACGTAT" + "N" * 10
