"""Reading variants: every container gives the same records, and every fault names its line."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pysam
import pytest

from borzoi_rt.errors import FormatError
from borzoi_rt.genome.variants import Variant, VariantRecord, is_bcf, read_variants

TEXT = """\
##fileformat=VCFv4.2
##contig=<ID=chr1,length=1000000>
##contig=<ID=2,length=5000>
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO
chr1\t100\trs1\tA\tG\t.\tPASS\t.
chr1\t100\t.\tAT\tA,ATT,*\t.\tPASS\t.
2\t7\tx;y\tC\t<DEL>\t30\tq10\t.
"""
RECORDS = [
    (0, 0, Variant("chr1", 100, "A", "G", "rs1"), None),
    (1, 0, Variant("chr1", 100, "AT", "A"), None),
    (1, 1, Variant("chr1", 100, "AT", "ATT"), None),
    (1, 2, Variant("chr1", 100, "AT", "*"), "symbolic_alt"),
    (2, 0, Variant("2", 7, "C", "<DEL>", "x;y"), "symbolic_alt"),
]


def brief(records) -> list[tuple[int, int, Variant, str | None]]:
    return [(item.record, item.alt_index, item.variant, item.problem) for item in records]


def plain(path: Path) -> Path:
    path.write_text(TEXT)
    return path


def windows(path: Path) -> Path:
    path.write_bytes(TEXT.replace("\n", "\r\n").encode())
    return path


def without_last_newline(path: Path) -> Path:
    path.write_text(TEXT.rstrip("\n"))
    return path


def with_blank_lines(path: Path) -> Path:
    path.write_text(TEXT.replace("\nchr1", "\n\n  \nchr1") + "\n\n")
    return path


def without_header(path: Path) -> Path:
    path.write_text("".join(line for line in TEXT.splitlines(keepends=True) if not line.startswith("#")))
    return path


def five_columns(path: Path) -> Path:
    lines = (line if line.startswith("##") else "\t".join(line.split("\t")[:5]) for line in TEXT.splitlines())
    path.write_text("\n".join(lines) + "\n")
    return path


def windows_five_columns(path: Path) -> Path:
    path.write_bytes(five_columns(path).read_bytes().replace(b"\n", b"\r\n"))
    return path


def marked(path: Path) -> Path:
    """With a byte order mark, as some editors write it."""
    path.write_bytes(codecs.BOM_UTF8 + TEXT.encode())
    return path


def marked_without_header(path: Path) -> Path:
    path.write_bytes(gzip.compress(codecs.BOM_UTF8 + without_header(path).read_bytes()))
    return path


def gzipped(path: Path) -> Path:
    half = TEXT.index("chr1\t100\t.")
    path.write_bytes(gzip.compress(TEXT[:half].encode()) + gzip.compress(TEXT[half:].encode()))
    return path


def bgzipped(path: Path) -> Path:
    pysam.tabix_compress(str(plain(path.with_suffix(".vcf"))), str(path), force=True)
    return path


def convert(path: Path, mode: str) -> Path:
    source = plain(path.with_suffix(".vcf"))
    # BCF codes names by their header lines; pysam adds END to a symbolic allele.
    names = '##ALT=<ID=DEL,Description="">\n##FILTER=<ID=q10,Description="">\n'
    names += '##INFO=<ID=END,Number=1,Type=Integer,Description="">\n'
    source.write_text(TEXT.replace("##contig", f"{names}##contig", 1))
    with pysam.VariantFile(str(source)) as given, pysam.VariantFile(str(path), mode, header=given.header) as out:
        for record in given:
            out.write(record)
    return path


def bcf(path: Path) -> Path:
    return convert(path, "wb")


def bare_bcf(path: Path) -> Path:
    return convert(path, "wb0")


TEXTS = [plain, windows, without_last_newline, with_blank_lines, without_header, five_columns]
TEXTS += [windows_five_columns, marked, marked_without_header, gzipped, bgzipped]


@pytest.mark.parametrize("make", [*TEXTS, bcf, bare_bcf])
def test_the_container_is_told_by_content_and_changes_nothing(tmp_path, make):
    """File names say nothing here: all end alike."""
    path = make(tmp_path / "in.data")
    assert is_bcf(path) == (make in (bcf, bare_bcf))
    assert brief(read_variants(path)) == RECORDS
    assert brief(read_variants(str(path))) == RECORDS


@pytest.mark.parametrize("make", TEXTS)
def test_text_comes_through_stdin(tmp_path, monkeypatch, make):
    content = make(tmp_path / "in.data").read_bytes()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(content))))
    assert brief(read_variants("-")) == RECORDS


def test_a_named_pipe_is_refused_at_once(tmp_path):
    """Nobody writes to it: a reader that opened it would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FormatError, match=r"pipe: a pipe, .*name '-' and pipe into stdin, or make a file"):
        next(read_variants(tmp_path / "pipe"))


@pytest.mark.parametrize("content", [b"", b"##fileformat=VCFv4.2\n", gzip.compress(b"")])
def test_an_empty_file_has_no_variants(tmp_path, content):
    (tmp_path / "in.vcf").write_bytes(content)
    assert list(read_variants(tmp_path / "in.vcf")) == []


@pytest.mark.parametrize(
    ("ref", "alt", "want"),
    [
        ("a", "g", None),
        ("acGT", "T", None),
        ("N", "A", None),
        ("R", "A", None),
        ("A", "A", None),
        ("A", ".", "invalid_allele"),
        ("A", "", "invalid_allele"),
        ("A", "N", "invalid_allele"),
        ("A", "AR", "invalid_allele"),
        ("A", "A-", "invalid_allele"),
        ("A", "G T", "invalid_allele"),
        (".", "A", "invalid_allele"),
        ("A/C", "A", "invalid_allele"),
        ("A", "*", "symbolic_alt"),
        ("A", "<DUP:TANDEM>", "symbolic_alt"),
        ("A", "<*>", "symbolic_alt"),
        ("A", "A[chr2:5[", "symbolic_alt"),
        ("A", "]chr2:5]A", "symbolic_alt"),
        ("A", "A.", "symbolic_alt"),
        ("A", ".A", "symbolic_alt"),
    ],
)
def test_alleles_are_upper_case_bases_or_have_a_problem(tmp_path, ref, alt, want):
    (tmp_path / "in.vcf").write_text(f"1\t5\t.\t{ref}\t{alt}\n")
    (item,) = read_variants(tmp_path / "in.vcf")
    assert item.problem == want
    assert (item.variant.ref, item.variant.alt) == (ref.upper(), alt.upper())
    assert bool(item.detail) == (want is not None)


def test_one_bad_allele_leaves_its_neighbours_alone(tmp_path):
    (tmp_path / "in.vcf").write_text("1\t5\t.\tA\tC,,N,<X>,g\n1\t6\t.\tA\tT\n")
    items = list(read_variants(tmp_path / "in.vcf"))
    assert [item.problem for item in items] == [None, "invalid_allele", "invalid_allele", "symbolic_alt", None, None]
    assert [(item.record, item.alt_index) for item in items] == [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (1, 0)]
    assert items[4].variant.alt == "G"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("1 5 . A C", "columns are split by spaces; VCF needs tabs"),
        ("1\t5\t.\tA", "4 columns, 5 are needed.*is the file truncated"),
        ("1", "1 columns, 5 are needed"),
        ("1\tx\t.\tA\tC", "POS is 'x'; a number"),
        ("1\t-5\t.\tA\tC", "POS is '-5'"),
        ("1\t1e5\t.\tA\tC", "POS is '1e5'"),
        ("1\t\u0665\t.\tA\tC", "POS is '\u0665'"),
        ("\t5\t.\tA\tC", "CHROM or REF is empty"),
        ("1\t5\t.\t\tC", "CHROM or REF is empty"),
        ("\udcff", "not text; is this a VCF"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_malformed_line_is_named_after_the_lines_before_it(tmp_path, line, complaint, pack):
    path = tmp_path / "in.vcf"
    path.write_bytes(pack(f"##x\n\n1\t4\t.\tG\tT\n{line}\n".encode(errors="surrogateescape")))
    records = read_variants(path)
    assert next(records) == VariantRecord(0, 0, Variant("1", 4, "G", "T"))
    with pytest.raises(FormatError, match=rf"in\.vcf, line 4: .*{complaint}"):
        next(records)


@pytest.mark.parametrize("first", [0, TEXT.index("chr1\t")], ids=["with header", "without"])
def test_lines_that_end_with_carriage_returns_alone_are_not_one_comment(tmp_path, first):
    (tmp_path / "in.vcf").write_bytes(TEXT[first:].replace("\n", "\r").encode())
    with pytest.raises(FormatError, match=r"in\.vcf, line 1: holds carriage returns"):
        list(read_variants(tmp_path / "in.vcf"))


def test_a_record_shorter_than_the_header_is_a_truncated_one(tmp_path):
    (tmp_path / "in.vcf").write_text(TEXT[: -len("\tq10\t.\n")])
    with pytest.raises(FormatError, match=r"in\.vcf, line 7: 6 columns, 8 are needed"):
        list(read_variants(tmp_path / "in.vcf"))


@pytest.mark.parametrize("make", [gzipped, bgzipped, bcf, bare_bcf])
@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_truncated_file_is_an_error_and_never_a_short_list(tmp_path, make, cut):
    path = make(tmp_path / "in.data")
    assert len(list(read_variants(path))) == len(RECORDS)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(FormatError, match=r"in\.data"):
        list(read_variants(path))


@pytest.mark.parametrize("through", ["file", "stdin"])
def test_a_bgzip_file_that_only_lacks_its_end_block_is_truncated(tmp_path, monkeypatch, through):
    """Cut between two blocks it is whole gzip: only the empty last block tells."""
    path = bgzipped(tmp_path / "in.data")
    path.write_bytes(path.read_bytes()[:-28])
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(path.read_bytes()))))
    with pytest.raises(FormatError, match="the bgzip end block is missing"):
        list(read_variants(path if through == "file" else "-"))


def test_damaged_compression_is_named(tmp_path, monkeypatch):
    content = bytearray(gzip.compress(TEXT.encode()))
    content[40] ^= 0xFF
    (tmp_path / "in.vcf").write_bytes(content)
    with pytest.raises(FormatError, match=r"in\.vcf.*copy the file again"):
        list(read_variants(tmp_path / "in.vcf"))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(content[:60]))))
    with pytest.raises(FormatError, match="stdin"):
        list(read_variants("-"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FormatError, match=r"absent\.vcf: no such VCF file"):
        list(read_variants(tmp_path / "absent.vcf"))


def test_published_files_have_seven_columns_and_no_column_line(shared):
    items = list(read_variants(shared / "data/variants/eqtl.vcf"))
    assert brief(items)[0] == (0, 0, Variant("chr1", 14677, "G", "A", "chr1_14677_G_A_b38"), None)
    assert [item.record for item in items] == list(range(8))
