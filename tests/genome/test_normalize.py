"""Left-normalised variants against bcftools norm, and the laws of a spelling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pysam.bcftools
import pytest
import worlds
from hypothesis import given, settings
from hypothesis import strategies as st

from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.normalize import left_normalized
from borzoi_rt.genome.variants import Variant

# Repeats of several kinds, the first at the start of the contig and one longer than a block that is read at once.
TEXT = "CACACACA" + worlds.random_dna(100, 1).replace("G", "A") + "AT" * 200 + "CAG" * 20 + worlds.random_dna(80, 2)


@pytest.fixture(scope="module")
def fasta(tmp_path_factory: pytest.TempPathFactory) -> Fasta:
    folder: Path = tmp_path_factory.mktemp("genome")
    return Fasta(worlds.write_fasta(folder / "g.fa", {"chr1": TEXT, "chr2": "NNNNACACACAC"}))


def variants(seed: int, count: int) -> list[Variant]:
    generator, found = np.random.default_rng(seed), []
    for number in range(count):
        first, held, size = (int(generator.integers(*span)) for span in ((0, len(TEXT) - 20), (1, 9), (1, 9)))
        first = number % 3 if number < 60 else first  # many at the start of the contig
        ref = TEXT[first : first + held]
        inserted = "".join(generator.choice(list("ACGT"), size))
        alt = (ref[0], ref + ref, ref[-1], ref + TEXT[first + held : first + held + size], inserted)[number % 5]
        if alt != ref:
            found.append(Variant("chr1", first + 1, ref, alt, f"v{number}"))
    return sorted(found, key=lambda item: item.pos)


def test_spellings_are_those_of_bcftools(fasta: Fasta, tmp_path: Path) -> None:
    given_ = variants(4, 800)
    vcf = worlds.write_vcf(
        tmp_path / "in.vcf",
        [f"{item.chrom} {item.pos} {item.id} {item.ref} {item.alt}" for item in given_],
        header=[f"##contig=<ID=chr1,length={len(TEXT)}>"],
    )
    out = tmp_path / "out.vcf"
    pysam.bcftools.norm("-f", str(fasta.path), str(vcf), "-o", str(out), catch_stdout=False)
    rows = [line.split("\t") for line in out.read_text().splitlines() if not line.startswith("#")]
    want = {row[2]: (int(row[1]), row[3], row[4]) for row in rows}
    got = {item.id: left_normalized(fasta, item) for item in given_}
    assert {name: (item.pos, item.ref, item.alt) for name, item in got.items()} == want
    assert sum(item.pos < before.pos for before, item in ((one, got[one.id]) for one in given_)) > 100


@settings(max_examples=100, deadline=None)
@given(
    first=st.integers(20, 560),
    held=st.integers(0, 6),
    alt=st.text(alphabet="ACGT", max_size=6),
    left=st.integers(1, 9),
    right=st.integers(0, 9),
)
def test_all_spellings_become_one(fasta: Fasta, first: int, held: int, alt: str, left: int, right: int) -> None:
    """However many equal bases stand around it, an edit has one normalised spelling, which is a fixed point."""
    found = {
        str(
            left_normalized(
                fasta,
                Variant(
                    "chr1",
                    first - before + 1,
                    TEXT[first - before : first + held + after],
                    TEXT[first - before : first] + alt + TEXT[first + held : first + held + after],
                ),
            )
        )
        for before, after in ((1, 0), (left, right), (1, right), (left, 0))
        if alt != TEXT[first : first + held]
    }
    assert len(found) <= 1
    for text in found:
        again = Variant.parse(text)
        assert left_normalized(fasta, again) is again
        edited = TEXT[: again.pos - 1] + again.alt + TEXT[again.pos - 1 + len(again.ref) :]
        assert edited == TEXT[:first] + alt + TEXT[first + held :]


def test_unknown_bases_and_equal_alleles_are_left_alone(fasta: Fasta) -> None:
    moved = left_normalized(fasta, Variant("chr2", 9, "ACA", "A"))
    assert str(moved) == "chr2:5 ACA>A"  # one more step would need the N before it
    null = Variant("chr1", 30, TEXT[29], TEXT[29])
    assert left_normalized(fasta, null) is null
