"""The annotated copy of a VCF: nothing is lost, and htslib reads it."""

from __future__ import annotations

import codecs
import gzip
from pathlib import Path

import pysam
import pytest

from borzoi_rt.errors import FormatError
from borzoi_rt.genome.vcf_copy import annotate_vcf, info_value

NEW = [
    '##INFO=<ID=BRT_X,Number=A,Type=Float,Description="x">',
    '##INFO=<ID=BRT_S,Number=A,Type=String,Description="s">',
]
HEADER = [
    "##fileformat=VCFv4.3",
    '##INFO=<ID=AC,Number=A,Type=Integer,Description="count">',
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="genotype">',
    "##contig=<ID=chr1,length=1000000>",
    "##contig=<ID=chr2,length=1000000>",
]
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
WITH_SAMPLES = f"{COLUMNS}\tFORMAT\tme"
RECORDS = [
    "chr2\t100\trs1\tA\tG\t7.5\tPASS\tAC=3\tGT\t0/1",
    "chr2\t100\t.\tac\tA,T\t.\t.\t.\tGT\t1|2",
    "chr1\t7\t.\tC\tT\t.\t.\tAC=1\tGT\t./.",
]


def info_of(record: int) -> dict[str, str]:
    return {"BRT_X": f"{record}.5", "BRT_S": f"r{record}"}


def copy(source: Path) -> tuple[list[str], bool]:
    out = source.with_name("out.vcf.gz")
    indexed = annotate_vcf(source, out, NEW, info_of)
    assert indexed == out.with_name("out.vcf.gz.tbi").exists()
    return gzip.decompress(out.read_bytes()).decode().split("\n"), indexed


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_header_lines_come_before_the_columns_and_fields_after_the_old_ones(tmp_path):
    lines, indexed = copy(write(tmp_path / "in.vcf", [*HEADER, WITH_SAMPLES, *RECORDS]))
    added = ["AC=3;BRT_X=0.5;BRT_S=r0", "BRT_X=1.5;BRT_S=r1", "AC=1;BRT_X=2.5;BRT_S=r2"]
    want = [
        "\t".join([*line.split("\t")[:7], info, *line.split("\t")[8:]])
        for line, info in zip(RECORDS, added, strict=True)
    ]
    assert lines == [*HEADER, *NEW, WITH_SAMPLES, *want, ""]
    assert indexed


def test_htslib_finds_the_fields_by_region(tmp_path):
    copy(write(tmp_path / "in.vcf", [*HEADER, WITH_SAMPLES, *RECORDS]))
    with pysam.VariantFile(str(tmp_path / "out.vcf.gz")) as handle:
        (found,) = handle.fetch("chr1", 0, 50)
        assert (found.pos, found.info["AC"], found.info["BRT_X"], found.info["BRT_S"]) == (7, (1,), (2.5,), ("r2",))
        assert [record.id for record in handle.fetch("chr2")] == ["rs1", None]


@pytest.mark.parametrize("container", ["crlf", "byte order mark", "gzip", "bgzip", "bcf", "blank lines"])
def test_every_container_gives_the_same_copy(tmp_path, container):
    records = [record.replace("ac", "AC") for record in RECORDS]
    source = write(tmp_path / "in.vcf", [*HEADER, WITH_SAMPLES, *records])
    want, _ = copy(source)
    path = tmp_path / "other"
    if container == "crlf":
        path.write_bytes(source.read_bytes().replace(b"\n", b"\r\n"))
    elif container == "byte order mark":
        path.write_bytes(codecs.BOM_UTF8 + source.read_bytes())
    elif container == "blank lines":
        path.write_bytes(source.read_bytes().replace(b"\nchr", b"\n\nchr") + b"\n")
    elif container == "gzip":
        path.write_bytes(gzip.compress(source.read_bytes()))
    elif container == "bgzip":
        pysam.tabix_compress(str(source), str(path))
    else:
        with pysam.VariantFile(str(source)) as given, pysam.VariantFile(str(path), "wb", header=given.header) as out:
            for record in given:
                out.write(record)
    got, _ = copy(path)
    if container == "bcf":  # htslib adds the definition of PASS
        got.remove('##FILTER=<ID=PASS,Description="All filters passed">')
    assert got == want


@pytest.mark.parametrize(
    ("given", "header"),
    [
        ([], ["##fileformat=VCFv4.2", *NEW, COLUMNS]),
        (["##fileformat=VCFv4.1"], ["##fileformat=VCFv4.1", *NEW, COLUMNS]),
        (["##fileformat=VCFv4.1", COLUMNS], ["##fileformat=VCFv4.1", *NEW, COLUMNS]),
        ([COLUMNS[: COLUMNS.index("\tQUAL")]], ["##fileformat=VCFv4.2", *NEW, COLUMNS]),
    ],
    ids=["none", "no columns", "whole", "five columns"],
)
@pytest.mark.parametrize(
    "records", [[], ["chr1\t5\t.\tA\tG"], ["chr1\t5\tx\tA\tG\t.\t."]], ids=["empty", "five", "seven"]
)
def test_a_missing_header_is_made_up(tmp_path, given, header, records):
    lines, indexed = copy(write(tmp_path / "in.vcf", [*given, *records]))
    name = "x" if "x" in "".join(records) else "."
    want = [f"chr1\t5\t{name}\tA\tG\t.\t.\tBRT_X=0.5;BRT_S=r0"] if records else []
    assert lines == [*header, *want, ""]
    assert indexed == bool(records)
    with pysam.VariantFile(str(tmp_path / "out.vcf.gz")) as handle:
        assert [record.info["BRT_X"] for record in handle] == [(0.5,)] * len(records)


@pytest.mark.parametrize("line_number", [0, 3, len(HEADER), len(HEADER) + 2])
def test_a_comment_of_one_hash_is_no_column_line(tmp_path, line_number):
    """It is left out; the header and the samples around it stay."""
    whole = [*HEADER, WITH_SAMPLES, *RECORDS]
    want, _ = copy(write(tmp_path / "in.vcf", whole))
    assert copy(write(tmp_path / "in.vcf", [*whole[:line_number], "# made by hand", *whole[line_number:]])) == (
        want,
        True,
    )


def test_joined_files_have_one_header(tmp_path):
    head = [*HEADER, WITH_SAMPLES]
    want, _ = copy(write(tmp_path / "in.vcf", [*head, *RECORDS]))
    assert copy(write(tmp_path / "in.vcf", [*head, *RECORDS[:2], *head, *RECORDS[2:]])) == (want, True)


def test_samples_without_a_column_line_are_numbered(tmp_path):
    contigs = [line for line in HEADER if "INFO" not in line]
    source = write(tmp_path / "in.vcf", [*contigs, *(f"{record}\t0/0" for record in RECORDS[1:2])])
    lines, _ = copy(source)
    assert lines[-3] == f"{COLUMNS}\tFORMAT\tsample1\tsample2"
    with pysam.VariantFile(str(tmp_path / "out.vcf.gz")) as handle:
        assert [sample["GT"] for record in handle for sample in record.samples.values()] == [(1, 2), (0, 0)]


@pytest.mark.parametrize(
    ("positions", "indexed"),
    [
        ([("chr1", 5), ("chr1", 5), ("chr1", 6)], True),
        ([("chr2", 9), ("chr1", 5)], True),
        ([("chr1", 6), ("chr1", 5)], False),
        ([("chr1", 5), ("chr2", 5), ("chr1", 6)], False),
    ],
)
def test_only_a_sorted_file_is_indexed_and_no_order_is_changed(tmp_path, positions, indexed):
    records = [f"{chrom}\t{pos}\t.\tA\tG\t.\t.\t." for chrom, pos in positions]
    lines, got = copy(write(tmp_path / "in.vcf", [*HEADER, COLUMNS, *records]))
    assert got == indexed
    assert [tuple(line.split("\t")[:2]) for line in lines[len(HEADER) + 3 : -1]] == [
        (chrom, str(pos)) for chrom, pos in positions
    ]


@pytest.mark.parametrize(
    ("pos", "indexed"),
    [(0, True), (2**29, True), (2**29 + 1, False), (2**31 - 1, False)],
    ids=["telomere", "last of tabix", "beyond tabix", "last of VCF"],
)
def test_the_copy_is_written_where_tabix_cannot_hold_the_position(tmp_path, pos, indexed):
    """A tabix index ends at 2^29 bases of a contig; wheat and lungfish have longer ones."""
    lines, got = copy(write(tmp_path / "in.vcf", ["##fileformat=VCFv4.3", COLUMNS, f"chr1\t{pos}\t.\tA\tG\t.\t.\t."]))
    assert got == indexed
    assert lines[-2] == f"chr1\t{pos}\t.\tA\tG\t.\t.\tBRT_X=0.5;BRT_S=r0"


@pytest.mark.parametrize(
    ("text", "want"),
    [("CAGE:liver, adult", "CAGE:liver_adult"), ("a=b;c", "a_b_c"), ("\t", "_"), ("", "."), ("x", "x")],
)
def test_info_values_hold_no_separator(text, want):
    assert info_value(text) == want


@pytest.mark.parametrize("container", ["plain", "gzip", "bcf"])
def test_bytes_that_are_not_utf8_are_copied(tmp_path, container):
    """Latin-1 in a header, an ID and INFO: every byte of the input is in the copy."""
    head = b'##fileformat=VCFv4.2\n##INFO=<ID=NAME,Number=1,Type=String,Description="J\xfcrgen">\n'
    head += b"##contig=<ID=chr1,length=1000000>\n"
    content = head + COLUMNS.encode() + b"\nchr1\t5\tSj\xf6gren\tA\tG\t.\t.\tNAME=Sj\xf6gren\xff\n"
    source, out = tmp_path / "in.vcf", tmp_path / "out.vcf.gz"
    source.write_bytes(gzip.compress(content) if container == "gzip" else content)
    if container == "bcf":
        with (
            pysam.VariantFile(str(source)) as given,
            pysam.VariantFile(str(tmp_path / "o"), "wb", header=given.header) as o,
        ):
            for record in given:
                o.write(record)
        source = tmp_path / "o"
    assert annotate_vcf(source, out, [], lambda record: {"BRT": "1"})
    want = content.replace(b"\xff\n", b"\xff;BRT=1\n")
    if container == "bcf":  # htslib adds the definition of PASS
        want = want.replace(b"##INFO", b'##FILTER=<ID=PASS,Description="All filters passed">\n##INFO', 1)
    assert gzip.decompress(out.read_bytes()) == want


def test_a_bcf_that_is_cut_is_no_short_copy(tmp_path):
    source = write(
        tmp_path / "in.vcf", [*HEADER, COLUMNS, *(f"chr1\t{pos}\t.\tA\tG\t.\t.\tAC=1" for pos in range(1, 99))]
    )
    with (
        pysam.VariantFile(str(source)) as given,
        pysam.VariantFile(str(tmp_path / "o"), "wb0", header=given.header) as out,
    ):
        for record in given:
            out.write(record)
    (tmp_path / "o").write_bytes(gzip.decompress((tmp_path / "o").read_bytes())[:-7])
    with pytest.raises(FormatError, match="cannot be read as BCF"):
        annotate_vcf(tmp_path / "o", tmp_path / "out.vcf.gz", NEW, info_of)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"##fileformat=VCFv4.2\n"])
def test_a_file_without_records_gives_a_header(tmp_path, content):
    (tmp_path / "in.vcf").write_bytes(content)
    lines, indexed = copy(tmp_path / "in.vcf")
    assert (lines, indexed) == (["##fileformat=VCFv4.2", *NEW, COLUMNS, ""], False)
