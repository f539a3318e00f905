"""Null variants: drawn from the genome by a seed, and like those that they stand for."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import pytest
import worlds

from borzoi_rt.errors import InputError
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.variants import Variant, VariantRecord
from borzoi_rt.scoring.backgrounds import matched_variants, random_snvs

LONG, SHORT = worlds.random_dna(9000, seed=3), worlds.random_dna(600, seed=4)


@pytest.fixture
def genome(tmp_path: Path) -> Fasta:
    text = {"long": LONG[:4000] + "N" * 1000 + LONG[5000:], "short": SHORT.lower()}
    return Fasta(worlds.write_fasta(tmp_path / "toy.fa", text))


def bases(genome: Fasta, variant: Variant, more: int = 0) -> str:
    start = variant.pos - 1
    return genome.fetch(variant.chrom, start - more, start + len(variant.ref) + more).upper()


def test_random_snvs(genome: Fasta) -> None:
    found = [item.variant for item in random_snvs(genome, 400, seed=5)]
    assert [item.record for item in random_snvs(genome, 3)] == [0, 1, 2]
    for variant in found:
        assert bases(genome, variant) == variant.ref
        assert len(variant.alt) == 1
        assert variant.alt in set("ACGT") - {variant.ref}
    # Evenly over known bases: 8,000 of one contig and 600 of the other; 400 draws, expected 27.9.
    assert 10 <= sum(variant.chrom == "short" for variant in found) <= 55
    assert not any(variant.chrom == "long" and 4000 < variant.pos <= 5000 for variant in found)
    assert len({(variant.chrom, variant.pos, variant.alt) for variant in found}) > 380
    assert min(Counter(variant.alt for variant in found).values()) > 60
    assert [item.variant for item in random_snvs(genome, 50, seed=5)] == found[:50], "more leave the first alone"
    assert [item.variant for item in random_snvs(genome, 50, seed=6)] != found[:50]
    inner = [item.variant for item in random_snvs(genome, 200, window_bp=2000)]
    assert {variant.chrom for variant in inner} == {"long"}
    assert min(variant.pos for variant in inner) > 1000
    assert max(variant.pos for variant in inner) <= 8000


def test_a_genome_of_unknown_bases_has_none(tmp_path: Path) -> None:
    genome = Fasta(worlds.write_fasta(tmp_path / "n.fa", {"chr1": "N" * 100}))
    with pytest.raises(InputError, match="no known base found"):
        list(random_snvs(genome, 1))


def record(number: int, pos: int, ref: str, alt: str) -> VariantRecord:
    return VariantRecord(number, 0, Variant("long", pos, ref, alt))


def test_matched_variants(genome: Fasta) -> None:
    given = [
        record(0, 1000, LONG[999], "ACGT"["CGTA".index(LONG[999])]),
        record(1, 1100, LONG[1099:1101], "".join("ACGT"["CGTA".index(base)] for base in LONG[1099:1101])),
        record(2, 1200, LONG[1199:1210], LONG[1199]),
        record(3, 1300, LONG[1299], LONG[1299] + "GATTACA"),
        record(5, 1500, LONG[1499:1509], "ACGTACGTAC"),
        record(4, 1400, "ACGT"["CGTA".index(LONG[1399])], LONG[1399]),  # not what the genome holds
    ]
    found = [item.variant for item in matched_variants(genome, given, 6, seed=1)]
    assert len(found) == 5 * 6, "what disagrees with the genome has no match"
    for number, copy in enumerate(found):
        own = given[number // 6].variant
        assert bases(genome, copy) == copy.ref
        assert (copy.chrom, copy.pos) != (own.chrom, own.pos)
        assert (len(copy.ref), len(copy.alt), copy.k) == (len(own.ref), len(own.alt), own.k)
        if own.k == 0 and len(own.ref) < 5:
            assert (copy.ref, copy.alt) == (own.ref, own.alt)
            assert len(own.ref) > 1 or bases(genome, copy, 1) == bases(genome, own, 1)
        elif own.k == 0:
            assert (copy.ref[0], copy.alt) == (own.ref[0], own.alt)
        else:
            assert copy.ref[0] == own.ref[0] == copy.alt[0]
            assert copy.alt == (own.alt if own.k > 0 else copy.ref[0])
    again = [item.variant for item in matched_variants(genome, given[2:3], 2, seed=1)]
    assert again == found[12:14], "a copy depends on the seed, its own variant and its number alone"
    assert len({(copy.chrom, copy.pos) for copy in found}) > 20


def test_what_has_no_match_is_left_out_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    genome = Fasta(worlds.write_fasta(tmp_path / "toy.fa", {"chr1": "A" * 50 + "C" + "A" * 50}))
    given = [
        VariantRecord(number, 0, Variant("chr1", pos, ref, "G"))
        for number, (pos, ref) in enumerate([(51, "C"), (9, "A")])
    ]
    with caplog.at_level(logging.WARNING, logger="borzoi_rt"):
        found = [item.variant for item in matched_variants(genome, given, 2)]
    assert [(item.ref, item.alt) for item in found] == [("A", "G")] * 2
    assert "1 variants are left out: they disagree with toy.fa, or nothing in it matches" in caplog.text
