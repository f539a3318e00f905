"""Genotypes of chosen samples, and which variants make a haplotype: distances, phase, gaps in what is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pysam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from borzoi_rt.errors import BorzoiError, FormatError, InputError
from borzoi_rt.genome.genotypes import Call, GenotypeReader, GenotypeRecord
from borzoi_rt.genome.haplotypes import haplotype_records
from borzoi_rt.genome.variants import VariantRecord

HEADER = [
    "##fileformat=VCFv4.3",
    "##contig=<ID=chr1,length=100000>",
    "##contig=<ID=chr2,length=100000>",
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="g">',
    '##FORMAT=<ID=PS,Number=1,Type=Integer,Description="p">',
    '##FORMAT=<ID=DP,Number=1,Type=Integer,Description="d">',
]


def write(path: Path, samples: Sequence[str], rows: Sequence[str]) -> Path:
    """Rows are ``CHROM POS REF ALT FORMAT CALL ...`` separated by blanks."""
    lines = [*HEADER, "\t".join(["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *samples])]
    for row in rows:
        chrom, pos, ref, alt, *rest = row.split()
        lines.append("\t".join([chrom, pos, ".", ref, alt, ".", ".", ".", *rest]))
    path.write_text("\n".join(lines) + "\n")
    return path


def read(path: Path, *samples: str) -> list[GenotypeRecord]:
    return list(GenotypeReader(path, samples))


def groups(
    path: Path, *samples: str, within_bp: int = 100, longest_bp: int = 1000
) -> list[tuple[str, str, str, str, str | None]]:
    found = made(path, *samples, within_bp=within_bp, longest_bp=longest_bp)
    named = [(item, item.haplotype) for item in found]
    return [(one.sample, one.name, one.against, one.variants, item.problem) for item, one in named if one is not None]


def made(path: Path, *samples: str, within_bp: int = 100, longest_bp: int = 1000) -> list[VariantRecord]:
    return list(haplotype_records(read(path, *samples), samples, within_bp=within_bp, longest_bp=longest_bp))


def test_genotypes_are_read_with_their_phase(tmp_path: Path) -> None:
    vcf = write(
        tmp_path / "in.vcf",
        ["A", "B"],
        [
            "chr1 10 A C,G GT:PS 0|2:7 1/1:.",
            "chr1 20 A C DP:GT 3:0|0 4:0/0",
            "chr1 30 A C DP:GT 3 4:.|1",
            "chr1 40 A C GT 1 /0/1",
            "chr1 50 A C DP 3 4",
        ],
    )
    found = read(vcf, "B", "A")
    assert [item.record for item in found] == [0, 2, 3, 4]  # of a record without ALT in them nothing is said
    assert found[0].alts == ("C", "G")
    assert [item.calls for item in found] == [
        (Call((1, 1), False), Call((0, 2), True, "7")),
        (Call((None, 1), True), Call((None,), True)),
        (Call((0, 1), False), Call((1,), True)),
        (Call((None,)), Call((None,))),
    ]


def test_columns_of_other_samples_are_not_looked_at(tmp_path: Path) -> None:
    vcf = write(tmp_path / "in.vcf", ["A", "B", "C"], ["chr1 10 A C GT what 0|1 ever"])
    assert [item.calls for item in read(vcf, "B")] == [(Call((0, 1), True),)]
    with pytest.raises(FormatError, match="line 8: genotype 'what' cannot be read"):
        read(vcf, "A")


def test_bcf_and_bgzip_give_what_text_gives(tmp_path: Path) -> None:
    rows = ["chr1 10 A C,G GT:PS 0|2:7 1/1:. 0|1:3", "chr2 20 AT A GT:PS .|1:2 0|0:. 1|0:4"]
    vcf = write(tmp_path / "in.vcf", ["A", "B", "C"], rows)
    with pysam.VariantFile(str(vcf)) as given:
        for suffix, mode in (("bcf", "wb"), ("vcf.gz", "wz")):
            with pysam.VariantFile(str(tmp_path / f"in.{suffix}"), mode, header=given.header) as out:
                given.reset()
                for record in given:
                    out.write(record)
    want = read(vcf, "C", "A")
    for name in ("in.bcf", "in.vcf.gz"):
        reader = GenotypeReader(tmp_path / name, ("C", "A"))
        assert list(reader) == want
        assert len(reader.sha256) == 64
    with pytest.raises(InputError, match="no sample 'D'; it has 3: A, B, C"):
        read(tmp_path / "in.bcf", "D")


@pytest.mark.parametrize(
    ("samples", "rows", "asked", "message"),
    [
        (["A"], [], ("B",), "no sample 'B'; it has 1: A"),
        ([], [], ("B",), "no sample 'B'; it has 0: none"),
        (["A", "A"], [], ("A",), "two columns are named 'A'"),
        (["A"], ["chr1 10 A C GT 0|1 0|1"], ("A",), "line 8: 11 columns, 10 are needed"),
        (["A"], ["chr1 10 A C GT 0|2"], ("A",), "line 8: a genotype names allele 2, the record has 1 ALT"),
        (["A"], ["chr1 x A C GT 0|1"], ("A",), "line 8: POS is 'x'"),
    ],
)
def test_what_cannot_be_read_is_said(
    tmp_path: Path, samples: list[str], rows: list[str], asked: tuple[str, ...], message: str
) -> None:
    with pytest.raises(BorzoiError, match=message):
        read(write(tmp_path / "in.vcf", samples, rows), *asked)


def test_a_file_without_names_of_samples_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.vcf"
    path.write_text("chr1\t10\t.\tA\tC\t.\t.\t.\tGT\t0|1\n")
    with pytest.raises(FormatError, match="line 1: no #CHROM line, so that samples have no names"):
        read(path, "A")


def test_distance_decides_what_belongs_together(tmp_path: Path) -> None:
    """The end of REF counts: from 1010, the last base of the deletion, 100 bp lie before 1111 and 101 before 1112."""
    for pos, one in ((1111, True), (1112, False)):
        vcf = write(tmp_path / "in.vcf", ["A"], ["chr1 1000 ACCCCCCCCCC A GT 0|1", f"chr1 {pos} A C GT 1|0"])
        found = groups(vcf, "A")
        first, second = "chr1:1000 ACCCCCCCCCC>A", f"chr1:{pos} A>C"
        together = [("A", "1", "reference", second, None), ("A", "2", "reference", first, None)]
        apart = [("A", "1", "reference", "", None), ("A", "2", "reference", first, None)]
        assert found[:2] == (together if one else apart)
        assert len(found) == (3 if one else 6)


def test_three_comparisons_in_the_order_of_their_first_record(tmp_path: Path) -> None:
    vcf = write(
        tmp_path / "in.vcf",
        ["A", "B"],
        ["chr1 100 A C GT 0|1 1|1", "chr1 150 A C GT 1|0 0|0", "chr2 10 A C GT 0|0 0|1", "chr2 500 A C GT 1|0 0|0"],
    )
    found = made(vcf, "B", "A")
    assert [(item.record, item.alt_index) for item in found] == [
        *[(0, number) for number in range(3)] * 2,
        *[(2, number) for number in range(3)],
        *[(3, number) for number in range(3)],
    ]
    assert groups(vcf, "B", "A")[:6] == [
        ("B", "1", "reference", "chr1:100 A>C", None),
        ("B", "2", "reference", "chr1:100 A>C", None),
        ("B", "2", "1", "chr1:100 A>C", None),
        ("A", "1", "reference", "chr1:150 A>C", None),
        ("A", "2", "reference", "chr1:100 A>C", None),
        ("A", "2", "1", "chr1:100 A>C", None),
    ]
    both = [item.haplotype for item in found][5]
    assert both is not None
    assert [(part.in_ref, part.in_alt) for part in both.parts] == [(False, True), (True, False)]


@settings(max_examples=60, deadline=None)
@given(
    calls=st.lists(
        st.tuples(st.integers(1, 150), st.sampled_from(["0|0", "0|1", "1|0", "1|1"]), st.sampled_from(["0|0", "1|1"])),
        min_size=1,
        max_size=20,
    )
)
def test_other_samples_have_no_part_in_a_haplotype(calls: list[tuple[int, str, str]]) -> None:
    """Every variant is in one group of its sample; groups are those that the sample has alone."""
    records, pos = [], 0
    for number, (step, *texts) in enumerate(calls):
        pos += step
        both = tuple(Call(tuple(int(letter) for letter in text.split("|")), True) for text in texts)
        records.append(GenotypeRecord(number, "chr1", pos, ".", "A", ("C",), both))
    how = {"within_bp": 60, "longest_bp": 300}
    together = list(haplotype_records(records, ["A", "B"], **how))
    for number, name in enumerate("AB"):
        alone = [
            GenotypeRecord(item.record, item.chrom, item.pos, item.id, item.ref, item.alts, (item.calls[number],))
            for item in records
        ]
        own = list(haplotype_records(alone, [name], **how))
        assert [item for item in together if item.haplotype and item.haplotype.sample == name] == own
        carried = [item.pos for item in alone if any(item.calls[0].alleles)]
        found = {part.variant.pos for item in own if item.haplotype for part in item.haplotype.parts}
        assert found == set(carried)
    keys = [(item.record, "AB".index(item.haplotype.sample), item.alt_index) for item in together if item.haplotype]
    assert keys == sorted(keys)


@pytest.mark.parametrize(
    ("rows", "problems", "detail"),
    [
        (["chr1 10 A C GT 0/1"], ["unphased"] * 3, "chr1:10 A>C is heterozygous without phase"),
        (["chr1 10 A C GT 1/1"], [None] * 3, ""),
        (["chr1 10 A C GT 1/1", "chr1 20 A C GT 0|1"], [None] * 3, ""),
        (["chr1 10 A C GT 0|1", "chr1 20 A C GT 0/1"], ["unphased"] * 3, "chr1:20 A>C is heterozygous"),
        (
            ["chr1 10 A C GT:PS 0|1:10", "chr1 20 A C GT:PS 0|1:20"],
            ["unphased"] * 3,
            "phase sets 10 and 20 in one group",
        ),
        (["chr1 10 A C GT:PS 0|1:10", "chr1 20 A C GT 0|1"], ["unphased"] * 3, "phase sets 10 and none"),
        (["chr1 10 A C GT:PS 0|1:10", "chr1 20 A C GT:PS 1|1:20"], [None] * 3, ""),
        (["chr1 10 A C GT .|."], ["missing_genotype"] * 3, "an allele of chr1:10 A>C is missing"),
        (["chr1 10 A C GT ./."], ["missing_genotype"] * 3, "an allele of chr1:10 A>C is missing"),
        (["chr1 10 A C GT ."], ["missing_genotype"], "an allele of chr1:10 A>C is missing"),
        (["chr1 10 A C GT .|1"], ["missing_genotype", None, "missing_genotype"], "an allele of chr1:10 A>C"),
        (["chr1 10 A C GT ./1"], ["missing_genotype"] * 3, "and which haplotype lacks it"),
        (["chr1 10 A C GT 1"], [None], ""),
        (["chr1 10 A C GT 1", "chr1 20 A C GT 0|1"], ["error"] * 3, "one copy and two copies in one group"),
        (["chr1 10 A C GT 0|0|1"], ["error"], "3 copies at chr1:10; 1 or 2 can be scored"),
        (["chr1 10 A <DEL> GT 0|1"], [None, "symbolic_alt", "symbolic_alt"], "chr1:10 A><DEL>: ALT '<DEL>'"),
        (["chr1 10 A N GT 0|1"], [None, "invalid_allele", "invalid_allele"], "holds 'N'"),
        (
            ["chr1 10 ACG A GT 0|1", "chr1 11 C T GT 0|1"],
            [None, *["overlapping_edits"] * 2],
            "overlap on one haplotype",
        ),
        (["chr1 10 ACG A GT 0|1", "chr1 11 C T GT 1|0"], [None] * 3, ""),
        (["chr1 10 A T GT 0|1", "chr1 10 ACG A GT 0|1"], [None] * 3, ""),  # the anchor alone is shared
        (["chr1 10 A AT GT 0|1", "chr1 10 A AG GT 0|1"], [None, *["overlapping_edits"] * 2], "overlap"),
        (["chr1 10 A AT GT 0|1", "chr1 11 C G GT 0|1"], [None] * 3, ""),
        (["chr1 10 A C GT 0|1", "chr1 10 A C GT 0|1"], [None, *["overlapping_edits"] * 2], "overlap"),
        (["chr1 10 ACG A GT 0|1", "chr1 11 C *,T GT 2|1"], [None] * 3, ""),
        (["chr1 10 ACG A GT 1|0", "chr1 11 C *,T GT 2|1"], ["overlapping_edits", "symbolic_alt", "symbolic_alt"], ""),
    ],
)
def test_what_is_not_known_is_a_status(
    tmp_path: Path, rows: list[str], problems: list[str | None], detail: str
) -> None:
    found = made(write(tmp_path / "in.vcf", ["A"], rows), "A")
    assert [item.problem for item in found] == problems
    assert detail in "".join(item.detail for item in found)
    assert all(item.detail == "" for item in found if item.problem is None)


def test_a_haplotype_that_grows_too_long_is_cut_and_says_so(tmp_path: Path) -> None:
    vcf = write(tmp_path / "in.vcf", ["A"], [f"chr1 {pos} A C GT 1|1" for pos in range(100, 1000, 90)])
    found = made(vcf, "A", longest_bp=300)
    whole = [item for item in found if item.alt_index == 0]
    assert [len(item.haplotype.parts) for item in whole if item.haplotype] == [4, 4, 2]
    assert [item.detail for item in whole] == [
        "goes on after 300 bp, where it is cut",
        "goes on after 300 bp, where it is cut; began earlier, and was cut",
        "began earlier, and was cut",
    ]


def test_records_must_be_sorted(tmp_path: Path) -> None:
    rows = ["chr1 20 A C GT 0|1", "chr1 10 A C GT 0|1"]
    with pytest.raises(InputError, match="chr1:10 comes after chr1:20; haplotypes need variants sorted"):
        groups(write(tmp_path / "in.vcf", ["A"], rows), "A")
    rows = ["chr1 20 A C GT 0|1", "chr2 10 A C GT 0|1", "chr1 30 A C GT 0|1"]
    with pytest.raises(InputError, match="contig 'chr1' comes a second time"):
        groups(write(tmp_path / "in.vcf", ["A"], rows), "A")
