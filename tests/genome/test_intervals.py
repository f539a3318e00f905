"""Intervals and BED files."""

from __future__ import annotations

import gzip
import os
from concurrent.futures import ThreadPoolExecutor

import pysam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from borzoi_rt.errors import FormatError, InputError
from borzoi_rt.genome.intervals import Interval, read_bed


def test_an_interval_may_be_empty_or_begin_before_the_chromosome_but_not_end_before_it_starts():
    assert Interval("chr1", -5, -5).end == -5
    with pytest.raises(InputError, match="chr1:5-4: the end lies before the start"):
        Interval("chr1", 5, 4)


@settings(max_examples=60, deadline=None)
@given(start=st.integers(-1000, 1000), width=st.integers(0, 500), length=st.integers(1, 600))
def test_centred_keeps_the_midpoint(start, width, length):
    interval = Interval("chr1", start, start + width, "n", "-")
    window = interval.centred(length)
    assert window.end - window.start == length
    assert window.start + length // 2 == (2 * start + width) // 2
    assert (window.chrom, window.name, window.strand) == ("chr1", "n", "-")
    assert window.centred(length) == window


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("chr1:1,001-2,000", Interval("chr1", 1000, 2000)),
        (" chr1:7-7\n", Interval("chr1", 6, 7)),
        ("HLA-A*01:01:5-9", Interval("HLA-A*01:01", 4, 9)),
    ],
)
def test_parse_reads_what_browsers_write(text, want):
    assert Interval.parse(text) == want


@pytest.mark.parametrize(
    "text",
    [
        "chr1",
        "chr1:5",
        "chr1:0-5",
        "chr1:6-5",
        "chr1:-5-5",
        "chr1:a-b",
        ":1-2",
        "chr1:,-,",
        "chr1 1 2",
        "chr1:\u0661-5",
        "",
    ],
)
def test_parse_refuses_the_rest(text):
    with pytest.raises(InputError, match="region "):
        Interval.parse(text)


def test_bed_of_three_to_six_columns(tmp_path):
    path = tmp_path / "r.bed"
    path.write_bytes(
        b"track name=x\nbrowser position chr1\n#c\n\nchr1\t0\t10\r\nchr2\t5\t6\tone\nchrX\t7\t9\ttwo\t0\t-\tmore\n"
        b"chrX\t7\t9\ttwo\t0\t?\n"
    )
    assert read_bed(path) == [
        Interval("chr1", 0, 10),
        Interval("chr2", 5, 6, "one"),
        Interval("chrX", 7, 9, "two", "-"),
        Interval("chrX", 7, 9, "two", "."),
    ]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, "bgzip"], ids=["plain", "gzip", "bgzip"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_bed_in_any_container(tmp_path, pack, end):
    """A name in Latin-1, and a character at which Python, but no file, ends a line."""
    path = tmp_path / "r.bed"
    content = end.join([b"chr1\t0\t10\tSj\xf6gren", "chr2\t5\t6\ta\u2028b".encode(), b""])
    if pack == "bgzip":
        with pysam.BGZFile(str(path), "wb") as handle:
            handle.write(content)
    else:
        path.write_bytes(pack(content))
    assert read_bed(path) == [Interval("chr1", 0, 10, "Sj\udcf6gren"), Interval("chr2", 5, 6, "a\u2028b")]


def test_a_cut_container_is_an_error_and_never_a_short_list(tmp_path):
    (tmp_path / "r.bed.gz").write_bytes(gzip.compress(b"chr1\t0\t10\n" * 99)[:-9])
    with pytest.raises(FormatError, match=r"r\.bed\.gz: truncated or damaged compression"):
        read_bed(tmp_path / "r.bed.gz")


def test_a_pipe_is_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit((tmp_path / "pipe").write_text, "chr1\t0\t10\n")
        assert read_bed(tmp_path / "pipe") == [Interval("chr1", 0, 10)]
        written.result()


def test_contigs_named_like_header_lines_are_regions(tmp_path):
    path = tmp_path / "r.bed"
    path.write_text("track\nbrowser hide all\ntrack\t1\t2\ntrack7\t3\t4\nbrowser_1\t5\t6\ntrack type=bed\n")
    assert read_bed(path) == [Interval("track", 1, 2), Interval("track7", 3, 4), Interval("browser_1", 5, 6)]


@pytest.mark.parametrize("first", ["track name=x\n", "# comment\n", ""])
def test_a_byte_order_mark_belongs_to_no_name(tmp_path, first):
    path = tmp_path / "r.bed"
    path.write_text(f"\ufeff{first}chr1\t1\t5\n", encoding="utf-8")
    assert read_bed(path) == [Interval("chr1", 1, 5)]


@pytest.mark.parametrize(
    "line",
    [
        "chr1 1 5",
        "chr1\t5",
        "chr1\t5\tx",
        "chr1\t5\t5",
        "chr1\t6\t5",
        "chr1\t-1\t5",
        "\t1\t5",
        "chr1\t1_0\t50",
        "chr1\t\u0661\t5",
        "chr1\t5\udcff\t9",
    ],
)
def test_a_malformed_line_is_named(tmp_path, line):
    path = tmp_path / "r.bed"
    path.write_bytes(f"# regions\nchr1\t1\t5\n{line}\n".encode(errors="surrogateescape"))
    with pytest.raises(FormatError, match=r"r\.bed, line 3: .*tab-separated"):
        read_bed(path)


@pytest.mark.parametrize("content", [b"", b"# nothing\n\n", gzip.compress(b"", mtime=0)])
def test_a_file_without_regions_is_refused(tmp_path, content):
    path = tmp_path / "r.bed"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"r\.bed: no regions"):
        read_bed(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FormatError, match=r"absent\.bed: no such BED file"):
        read_bed(tmp_path / "absent.bed")
