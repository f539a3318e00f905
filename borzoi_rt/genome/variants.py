"""Variants from VCF or BCF, one item per ALT allele.

Text VCF is split by our own line reader and not by htslib, because published variant files hold a ``##fileformat`` line
and seven columns and no ``#CHROM`` line, which htslib refuses; five columns are enough here. BCF goes through pysam.
"""

from __future__ import annotations

import codecs
import gzip
import os
import re
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import pysam

from ..errors import FormatError, InputError
from .bgzf import EOF_BLOCK, GZIP_MAGIC, has_eof_block, is_bgzf, starts_bgzf

_LAST_POS = 2**31 - 1  # POS is a 32-bit integer in VCF
_BASES = re.compile(r"[ACGT]+")
_REF_LETTERS = re.compile(r"[ACGTRYSWKMBDHVN]+")


@dataclass(frozen=True, slots=True)
class Variant:
    """REF and ALT at a position; ``pos`` is 1-based, as in VCF, and the only 1-based number of this package."""

    chrom: str
    pos: int
    ref: str
    alt: str
    id: str = "."

    def __post_init__(self) -> None:
        if not self.chrom or not isinstance(self.pos, int) or self.pos < 0:
            raise InputError(f"variant at {self.chrom!r}:{self.pos!r}: a contig name and a 1-based position are needed")

    def __str__(self) -> str:
        return f"{self.chrom}:{self.pos} {self.ref}>{self.alt}"

    @property
    def k(self) -> int:
        """Length of ALT minus length of REF."""
        return len(self.alt) - len(self.ref)

    @classmethod
    def parse(cls, text: str) -> Variant:
        """Read ``chr1:14677 G>A``, ``chr1:14677:G:A`` or ``chr1-14677-G-A``."""
        found = re.fullmatch(r"(\S+?)[:-](\d+)[\s:-]([A-Za-z]+)[>:-]([A-Za-z]+)", text.strip())
        if not found:
            raise InputError(f"variant {text!r} cannot be read; write it like 'chr1:14677 G>A'")
        return cls(found[1], int(found[2]), found[3].upper(), found[4].upper())


@dataclass(frozen=True, slots=True)
class VariantRecord:
    """One ALT of one record.

    Attributes
    ----------
    record : int
        0-based number of the record in its file.
    alt_index : int
        0-based number of the ALT in its record.
    variant : Variant
        Alleles in upper case.
    problem : str or None
        ``symbolic_alt`` or ``invalid_allele`` where the alleles are not plain bases.
    detail : str
        What was found.
    """

    record: int
    alt_index: int
    variant: Variant
    problem: str | None = None
    detail: str = ""


def read_variants(path: str | os.PathLike[str]) -> Iterator[VariantRecord]:
    """Stream the variants of a file in its order.

    Parameters
    ----------
    path : path
        VCF, plain or compressed, or BCF; told apart by content. ``-`` reads text VCF (plain or compressed) from stdin.

    Raises
    ------
    FormatError
        Naming file and line, when the file is truncated or malformed.
    """
    if str(path) == "-":
        yield from _records(_stdin_lines(), "stdin")
        return
    source = Path(path)
    if source.is_fifo():  # what tells the container apart would be gone
        raise FormatError(f"{source}: a pipe, which cannot be read twice; name '-' and pipe into stdin, or make a file")
    if not source.is_file():
        raise FormatError(f"{source}: no such VCF file")
    if is_bcf(source):
        yield from _records(bcf_lines(source), str(source))
    else:
        yield from _records(text_lines(source), str(source))


def is_bcf(path: Path) -> bool:
    """Tell whether a file is BCF, compressed or not."""
    try:
        with path.open("rb") as handle:
            head = handle.read(2)
            handle.seek(0)
            return (gzip.GzipFile(fileobj=handle) if head == GZIP_MAGIC else handle).read(3) == b"BCF"
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(f"{path}: cannot be read ({error}); copy the file again") from error


def text_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a plain or compressed text file; a compressed file that ends early is an error."""
    if is_bgzf(path) and not has_eof_block(path):
        raise FormatError(f"{path}: truncated, the bgzip end block is missing; copy the file again")
    with path.open("rb") as handle:
        head = handle.read(2)
        handle.seek(0)
        yield from _lines(handle, compressed=head == GZIP_MAGIC, source=str(path))


def bcf_lines(path: Path) -> Iterator[bytes]:
    """Yield a BCF file as VCF lines."""
    verbosity = pysam.set_verbosity(0)
    try:
        if is_bgzf(path) and not has_eof_block(path):
            raise FormatError(f"{path}: truncated, the bgzip end block is missing; copy the file again")
        with pysam.VariantFile(str(path)) as handle:
            yield from str(handle.header).encode().splitlines(keepends=True)
            for record in handle:
                yield str(record).encode()
    except (OSError, ValueError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{path}: cannot be read as BCF ({error}); copy the file again") from error
    finally:
        pysam.set_verbosity(verbosity)


def _stdin_lines() -> Iterator[bytes]:
    stream = sys.stdin.buffer
    head = stream.peek(2)[:2]  # type: ignore[union-attr]
    if head != GZIP_MAGIC:
        yield from _lines(stream, compressed=False, source="stdin")
        return
    ends = _Ends(stream)
    yield from _lines(ends, compressed=True, source="stdin")  # type: ignore[arg-type]
    if starts_bgzf(ends.head) and ends.tail != EOF_BLOCK:
        raise FormatError("stdin: truncated, the bgzip end block is missing; copy the file again")


class _Ends:
    """A stream that remembers its first 16 bytes and as many last ones as a bgzip end block has."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.head = self.tail = b""

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.head = (self.head + data[:16])[:16]
        self.tail = (self.tail + data[-len(EOF_BLOCK) :])[-len(EOF_BLOCK) :]
        return data


def _lines(handle: BinaryIO, *, compressed: bool, source: str) -> Iterator[bytes]:
    lines = iter(gzip.GzipFile(fileobj=handle) if compressed else handle)
    try:
        yield from (line.removeprefix(codecs.BOM_UTF8) for line in islice(lines, 1))
        yield from lines
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(f"{source}: truncated or damaged compression ({error}); copy the file again") from error


def _records(lines: Iterator[bytes], source: str) -> Iterator[VariantRecord]:
    record, columns = 0, 0
    for number, raw in enumerate(lines, start=1):
        where = f"{source}, line {number}"
        try:
            line = raw.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise FormatError(f"{where}: not text; is this a VCF file?") from None
        if "\r" in line:  # the lines of an old Macintosh would all be taken for one
            raise FormatError(f"{where}: holds carriage returns; end the lines with newlines")
        if line.startswith("#"):
            columns = line.count("\t") + 1 if line.startswith("#CHROM") else columns
        elif line.strip():
            yield from _alleles(line, where, record, columns)
            record += 1


def _alleles(line: str, where: str, record: int, columns: int) -> Iterator[VariantRecord]:
    fields = line.split("\t")
    if len(fields) < max(5, columns):
        if len(line.split()) >= 5 and len(fields) < 5:
            raise FormatError(f"{where}: columns are split by spaces; VCF needs tabs")
        raise FormatError(
            f"{where}: {len(fields)} columns, {max(5, columns)} are needed, found {line[:60]!r}; is the file truncated?"
        )
    chrom, text, name, ref, alts = fields[:5]
    if not text.isascii() or not text.isdigit() or len(text) > 10 or int(text) > _LAST_POS:
        raise FormatError(f"{where}: POS is {text[:30]!r}; a number up to {_LAST_POS} is needed")
    if not chrom or not ref:
        raise FormatError(f"{where}: CHROM or REF is empty, found {line[:60]!r}")
    for alt_index, alt in enumerate(alts.split(",")):
        variant = Variant(chrom, int(text), ref.upper(), alt.upper(), name or ".")
        problem, detail = judge_alleles(variant)
        yield VariantRecord(record, alt_index, variant, problem, detail)


def judge_alleles(variant: Variant) -> tuple[str | None, str]:
    """Return the ``problem`` and ``detail`` of a :class:`VariantRecord` of these alleles, given in upper case."""
    ref, alt = variant.ref, variant.alt
    if alt in ("", "."):
        return "invalid_allele", "no ALT allele"
    if alt == "*" or alt[0] == "<" or "[" in alt or "]" in alt or alt[0] == "." or alt[-1] == ".":
        return "symbolic_alt", f"ALT {alt[:40]!r} has no sequence"
    if not _BASES.fullmatch(alt):
        return "invalid_allele", f"ALT {alt[:40]!r} holds other letters than ACGT"
    if not _REF_LETTERS.fullmatch(ref):
        return "invalid_allele", f"REF {ref[:40]!r} holds other letters than bases"
    return None, ""
