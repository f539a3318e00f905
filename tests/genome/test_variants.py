"""Reading variants: every container gives the same records, and every fault names its line."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pysam
import pytest

from borzoi_rt.errors import FormatError, InputError
from borzoi_rt.genome.lines import is_bcf
from borzoi_rt.genome.variants import Variant, VariantRecord, read_variants

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


def stored_bcf(path: Path) -> Path:
    return convert(path, "wb0")


def bare_bcf(path: Path) -> Path:
    """Without any container."""
    path.write_bytes(gzip.decompress(bcf(path).read_bytes()))
    return path


TEXTS = [plain, windows, without_last_newline, with_blank_lines, without_header, five_columns]
BCFS = [bcf, stored_bcf, bare_bcf]
TEXTS += [windows_five_columns, marked, marked_without_header, gzipped, bgzipped]


@pytest.mark.parametrize("make", [*TEXTS, *BCFS])
def test_the_container_is_told_by_content_and_changes_nothing(tmp_path, make):
    """File names say nothing here: all end alike."""
    path = make(tmp_path / "in.data")
    assert is_bcf(path) == (make in BCFS)
    assert brief(read_variants(path)) == RECORDS
    assert brief(read_variants(str(path))) == RECORDS


@pytest.mark.parametrize("make", [*TEXTS, *BCFS])
def test_every_container_comes_through_stdin(tmp_path, monkeypatch, make):
    content = make(tmp_path / "in.data").read_bytes()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(content))))
    assert brief(read_variants("-")) == RECORDS


def test_a_named_pipe_is_refused_at_once(tmp_path):
    """Nobody writes to it: a reader that opened it would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FormatError, match=r"pipe: a pipe, .*name '-' and pipe into stdin, or make a file"):
        next(read_variants(tmp_path / "pipe"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"\r\n\n  \n",
        b"##fileformat=VCFv4.2\n",
        b"#CHROM\tPOS\tID\tREF\tALT",
        gzip.compress(b"", mtime=0),
        codecs.BOM_UTF8,
    ],
)
def test_an_empty_file_has_no_variants(tmp_path, content):
    (tmp_path / "in.vcf").write_bytes(content)
    assert list(read_variants(tmp_path / "in.vcf")) == []


@pytest.mark.parametrize(
    ("ref", "alt", "want"),
    [
        ("a", "g", None),
        ("acGT", "T", None),
        ("N", "A", "invalid_allele"),
        ("R", "A", "invalid_allele"),
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
def test_alleles_are_as_written_and_judged(tmp_path, ref, alt, want):
    (tmp_path / "in.vcf").write_text(f"1\t5\t.\t{ref}\t{alt}\n")
    (item,) = read_variants(tmp_path / "in.vcf")
    assert item.problem == want
    assert (item.variant.ref, item.variant.alt) == (ref, alt)
    assert bool(item.detail) == (want is not None)


def test_one_bad_allele_leaves_its_neighbours_alone(tmp_path):
    (tmp_path / "in.vcf").write_text("1\t5\t.\tA\tC,,N,<X>,g\n1\t6\t.\tA\tT\n")
    items = list(read_variants(tmp_path / "in.vcf"))
    assert [item.problem for item in items] == [None, "invalid_allele", "invalid_allele", "symbolic_alt", None, None]
    assert [(item.record, item.alt_index) for item in items] == [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (1, 0)]
    assert (items[4].variant.alt, items[4].variant.bases) == ("g", ("A", "G"))


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("1 5 . A C", "columns are split by spaces; VCF needs tabs"),
        ("1 5 . A C . . NAME=Sj\udcf6gren", "columns are split by spaces; VCF needs tabs"),
        ("1\t5\t.\tA", "4 columns, 5 are needed.*is the file truncated"),
        ("1", "1 columns, 5 are needed"),
        ("1\tx\t.\tA\tC", "POS is 'x'; a number"),
        ("1\t-5\t.\tA\tC", "POS is '-5'"),
        ("1\t1e5\t.\tA\tC", "POS is '1e5'"),
        ("1\t\u0665\t.\tA\tC", "POS is '\u0665'"),
        ("\t5\t.\tA\tC", "CHROM or REF is empty"),
        ("1\t5\t.\t\tC", "CHROM or REF is empty"),
        ("\udcff", "not text; is this a VCF file"),
        ("1\t5\0", "not text; is this a VCF"),
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


@pytest.mark.parametrize("samples", [3, 10_000])
def test_a_record_of_many_samples_that_lacks_one_is_truncated(tmp_path, samples):
    """Lines of both lengths have their columns counted, in two ways."""
    names, calls = ("\t".join(f"{kind}{n}" for n in range(samples)) for kind in ("s", "0|"))
    lines = [f"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t{names}", f"1\t5\t.\tA\tC\t.\t.\t.\tGT\t{calls}"]
    path = tmp_path / "in.vcf"
    path.write_text("\n".join(lines) + "\n")
    (found,) = read_variants(path)
    assert str(found.variant) == "1:5 A>C"
    path.write_text("\n".join([lines[0], lines[1].rpartition("\t")[0]]) + "\n")
    with pytest.raises(FormatError, match=rf"line 2: {samples + 8} columns, {samples + 9} are needed"):
        list(read_variants(path))


@pytest.mark.parametrize("make", [gzipped, bgzipped, *BCFS])
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


@pytest.mark.parametrize("make", [*TEXTS, *BCFS])
@pytest.mark.parametrize("through", ["file", "stdin"])
def test_the_bytes_are_hashed_while_they_are_read(tmp_path, monkeypatch, make, through):
    path = make(tmp_path / "in.data")
    content = path.read_bytes()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(content))))
    reader = read_variants(path if through == "file" else "-")
    assert reader.source == (str(path) if through == "file" else "stdin")
    next(reader)
    with pytest.raises(InputError, match="is not read to its end"):
        _ = reader.sha256
    assert len(list(reader)) == len(RECORDS) - 1
    assert reader.sha256 == hashlib.sha256(content).hexdigest()


def test_a_large_file_is_hashed_whole(tmp_path):
    """Longer than every buffer on the way; and without a record."""
    lines = b"".join(b"1\t%d\t.\tA\tC\t.\t.\t%d\n" % (pos, pos**9) for pos in range(1, 20_000))
    for name, content in (("a", lines), ("b", gzip.compress(lines, 1)), ("c", b"#\n" * 100_000), ("d", b"")):
        (tmp_path / name).write_bytes(content)
        reader = read_variants(tmp_path / name)
        assert [item.variant.pos for item in reader] == (list(range(1, 20_000)) if name in "ab" else [])
        assert reader.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_bytes_that_are_not_utf8_come_out_as_they_went_in(tmp_path, pack):
    """Latin-1, as in the names of diseases and of people; INFO is not even looked at."""
    line = b"chr\xe9\t5\tSj\xf6gren\tA\tC,G]c\xe9:5]\t.\t.\tNAME=Sj\xf6gren\xff\n"
    (tmp_path / "in.vcf").write_bytes(pack(b"##source=J\xfcrgen\n" + line))
    items = list(read_variants(tmp_path / "in.vcf"))
    variants = [item.variant for item in items]
    assert [item.problem for item in items] == [None, "symbolic_alt"]
    got = [[text.encode("utf-8", "surrogateescape") for text in (v.chrom, v.id, v.alt)] for v in variants]
    assert got == [[b"chr\xe9", b"Sj\xf6gren", b"C"], [b"chr\xe9", b"Sj\xf6gren", b"G]c\xe9:5]"]]
    items[1].detail.encode()  # messages are always text


def test_bcf_is_read_without_its_samples(tmp_path):
    """Contigs numbered otherwise than they come, missing ID and ALT, Latin-1, a long allele, and two samples."""
    long = "ACGT" * 100
    source = tmp_path / "in.vcf"
    head = b"##fileformat=VCFv4.2\n##contig=<ID=chr1,length=99,IDX=7>\n##contig=<ID=2,length=99,IDX=3>\n"
    head += b'##FORMAT=<ID=GT,Number=1,Type=String,Description="">\n##INFO=<ID=X,Number=1,Type=String,Description="">\n'
    columns = b"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tme\tyou\n"
    rows = [
        b"2\t5\tSj\xf6\tA\tG]chr1:5]\t9\tPASS\tX=\xff",
        b"chr1\t0\t.\tN\t.\t.\t.\t.",
        b"2\t9\tx\tc\t%s,T\t.\t.\t." % long.encode(),
    ]
    source.write_bytes(head + columns + b"".join(row + b"\tGT\t0/1\t1/1\n" for row in rows))
    with (
        pysam.VariantFile(str(source)) as given,
        pysam.VariantFile(str(tmp_path / "o"), "wb", header=given.header) as out,
    ):
        for record in given:
            out.write(record)
    want = [Variant("2", 5, "A", "G]chr1:5]", "Sj\udcf6"), Variant("chr1", 0, "N", ".")]
    want += [Variant("2", 9, "c", long, "x"), Variant("2", 9, "c", "T", "x")]
    assert [item.variant for item in read_variants(source)] == want
    assert [item.variant for item in read_variants(tmp_path / "o")] == want


@pytest.mark.parametrize("at", range(0, 60, 3))
def test_a_damaged_bcf_is_an_error_or_its_records(tmp_path, at):
    """Uncompressed, so that nothing but our reader can tell."""
    path = bare_bcf(tmp_path / "in.data")
    content = bytearray(path.read_bytes())
    first = content.index(b"INFO\n\0") + 6
    content[first + at] ^= 0xFF
    path.write_bytes(content)
    try:
        items = list(read_variants(path))
    except FormatError as error:
        assert "in.data" in str(error)  # noqa: PT017
    else:
        assert len(items) <= len(RECORDS) + 255
