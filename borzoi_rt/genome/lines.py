"""The lines of text files of the field (VCF, BED), in any container, read once and hashed on the way.

Text VCF is split by our own line reader and not by htslib, because published variant files hold a ``##fileformat`` line
and seven columns and no ``#CHROM`` line, which htslib refuses; five columns are enough for a score, of BCF too.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import os
import struct
import sys
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO

import pysam

from ..errors import FormatError, InputError
from .bgzf import EOF_BLOCK, GZIP_MAGIC, has_eof_block, is_bgzf, starts_bgzf

_CHUNK = 1 << 16
_LONGEST_LINE = 1 << 28  # bytes; a record of ten million genotypes has 40 MB
_OTHER_CONTAINERS = {b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\3\4": "zip"}
_LARGEST_PART = 1 << 28  # of a BCF file; the alleles and INFO of one record, or the header
_FIXED = struct.Struct("<iiifHHI")  # contig, 0-based position, length, quality, number of INFO, of alleles, of samples
_TEXT_TYPE, _LONG_COUNT = 7, 15
_INTEGERS = {1: "<b", 2: "<h", 3: "<i"}


class FileLines(Iterator[bytes]):
    """The lines of a text file or of the first five columns of a BCF file, with their ends.

    Parameters
    ----------
    path : path
        Plain or compressed text or BCF, told apart by content; ``-`` is stdin. It is opened with the first line.
    kind : str
        What it is, for messages: ``VCF``, ``BED``.
    pipe : bool
        Whether it may be a named pipe, which waits for whoever writes to it.

    Attributes
    ----------
    source : str
        Name for messages.
    """

    def __init__(self, path: str | os.PathLike[str], kind: str = "VCF", *, pipe: bool = True) -> None:
        self._kind, self._pipe = kind, pipe
        self.source = "stdin" if str(path) == "-" else str(path)
        self._path = None if str(path) == "-" else Path(path)
        self._digest: str | None = None
        self._lines = self._read()

    def __iter__(self) -> FileLines:
        return self

    def __next__(self) -> bytes:
        return next(self._lines)

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes of the file, as they lie on the disk."""
        if self._digest is None:
            raise InputError(f"{self.source}: is not read to its end, so its SHA-256 is not known")
        return self._digest

    def _read(self) -> Iterator[bytes]:
        if self._path is None:
            yield from self._all(_Tap(sys.stdin.buffer))
            return
        _check_file(self._path, self._kind, self._pipe)
        with self._path.open("rb") as handle:
            yield from self._all(_Tap(handle))

    def _all(self, tap: _Tap) -> Iterator[bytes]:
        stream = io.BufferedReader(tap, _CHUNK)
        yield from _lines(stream, self.source)
        while stream.read(_CHUNK):
            pass  # what follows the end of a BCF stream belongs to the file
        if starts_bgzf(tap.head) and tap.tail != EOF_BLOCK:
            raise _no_end(self.source)
        self._digest = tap.digest.hexdigest()


class _Tap(io.RawIOBase):
    """A stream that hashes what it gives, and remembers its first 16 bytes and the last ones."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()
        self.head = self.tail = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self.digest.update(data)
        self.head = (self.head + data[:16])[:16]
        self.tail = (self.tail + data[-len(EOF_BLOCK) :])[-len(EOF_BLOCK) :]
        return len(data)


def text_lines(path: Path, kind: str = "VCF") -> Iterator[bytes]:
    """Yield the lines of a plain or compressed text file; a compressed file that ends early is an error."""
    yield from FileLines(path, kind)


def whole_lines(path: Path, samples: Sequence[str] | None = None) -> Iterator[bytes]:
    """Yield the lines of a VCF or BCF file with all columns, byte for byte.

    Of a BCF file the columns of some ``samples`` alone may be asked for; where one is missing, all come.
    """
    return _converted(path, samples) if is_bcf(path) else text_lines(path)


def is_bcf(path: Path) -> bool:
    """Tell whether a file is BCF, compressed or not."""
    try:
        with path.open("rb") as handle:
            head = handle.read(2)
            handle.seek(0)
            return (gzip.GzipFile(fileobj=handle) if head == GZIP_MAGIC else handle).read(3) == b"BCF"
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(f"{path}: cannot be read ({error}); copy the file again") from error


def _check_file(path: Path, kind: str, pipe: bool) -> None:
    if path.is_fifo():
        if not pipe:
            raise FormatError(
                f"{path}: a pipe, which cannot be read twice; name '-' and pipe into stdin, or make a file"
            )
        return
    if not path.is_file():
        raise FormatError(f"{path}: no such {kind} file")
    if is_bgzf(path) and not has_eof_block(path):  # before the first line, and not after hours of work
        raise _no_end(str(path))


def _no_end(source: str) -> FormatError:
    return FormatError(f"{source}: truncated, the bgzip end block is missing; copy the file again")


def _lines(stream: io.BufferedReader[_Tap], source: str) -> Iterator[bytes]:
    try:
        body: Any = gzip.GzipFile(fileobj=stream) if stream.peek(2)[:2] == GZIP_MAGIC else stream
        if body.peek(5)[:3] == b"BCF":
            yield from _bcf_records(body, source)
            return
        for magic, name in _OTHER_CONTAINERS.items():
            if body.peek(8).startswith(magic):
                raise FormatError(f"{source}: is compressed by {name}; decompress it, or compress it by gzip or bgzip")
        lines = iter(partial(body.readline, _LONGEST_LINE + 1), b"")
        for number, line in enumerate(lines, start=1):
            if len(line) > _LONGEST_LINE:
                raise FormatError(f"{source}, line {number}: of more than {_LONGEST_LINE} bytes; is this a text file?")
            yield line if number > 1 else line.removeprefix(codecs.BOM_UTF8)
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(f"{source}: truncated or damaged compression ({error}); copy the file again") from error


def _bcf_records(body: IO[bytes], source: str) -> Iterator[bytes]:
    """Yield the header lines of a BCF stream, then five columns of each record; the rest of a record is skipped."""
    try:
        if _exactly(body, 5) not in (b"BCF\2\1", b"BCF\2\2"):
            raise FormatError(f"{source}: BCF of another version than 2.1 and 2.2; convert it to VCF")
        header = _exactly(body, struct.unpack("<I", _exactly(body, 4))[0]).rstrip(b"\0").splitlines(keepends=True)
        yield from (line for line in header if not line.startswith(b"#CHROM"))  # its columns are not given
        contigs = _contigs(header)
        while sizes := body.read(8):
            shared, samples = struct.unpack("<II", sizes)
            record = _exactly(body, shared)
            _skip(body, samples)
            yield _five_columns(record, contigs)
    except (struct.error, KeyError, IndexError) as error:
        raise FormatError(f"{source}: a record cannot be read as BCF ({error!r}); copy the file again") from error


def _exactly(body: IO[bytes], count: int) -> bytes:
    if count > _LARGEST_PART:
        raise struct.error(f"a part of {count} bytes")
    data = body.read(count)
    if len(data) != count:
        raise EOFError(f"{len(data)} bytes where a record has {count}")
    return data


def _skip(body: IO[bytes], count: int) -> None:
    while count:
        count -= len(_exactly(body, min(count, 1 << 20)))


def _contigs(header: list[bytes]) -> dict[int, bytes]:
    """Return the number of each contig: its IDX, or its turn among the contig lines."""
    numbers: dict[int, bytes] = {}
    for line in header:
        if line.startswith(b"##contig=<"):
            fields = dict(part.partition(b"=")[::2] for part in line.strip()[10:-1].split(b","))
            numbers[int(fields.get(b"IDX", len(numbers)))] = fields[b"ID"]
    return numbers


def _five_columns(record: bytes, contigs: dict[int, bytes]) -> bytes:
    contig, pos0, _, _, _, alleles, _ = _FIXED.unpack_from(record)
    texts, at = [], _FIXED.size
    for _ in range(alleles + 1):  # the ID comes first
        text, at = _typed_text(record, at)
        texts.append(text or b".")
    columns = [contigs[contig], b"%d" % (pos0 + 1), *texts[:2], b",".join(texts[2:]) or b"."]
    return b"\t".join(columns) + b"\n"


def _typed_text(record: bytes, at: int) -> tuple[bytes, int]:
    """Return a typed string of BCF, and where the next value begins."""
    kind, count = record[at] & 15, record[at] >> 4
    at += 1
    if count == _LONG_COUNT:
        form = _INTEGERS[record[at] & 15]
        (count,) = struct.unpack_from(form, record, at + 1)
        at += 1 + struct.calcsize(form)
    if count and kind != _TEXT_TYPE:
        raise struct.error(f"type {kind} where a text is needed")
    if count < 0 or at + count > len(record):
        raise struct.error(f"a text of {count} letters ends after its record")
    return record[at : at + count].rstrip(b"\0"), at + count


def _converted(path: Path, samples: Sequence[str] | None) -> Iterator[bytes]:
    """Yield a BCF file as VCF lines: a thread writes them into a pipe, because htslib writes bytes and pysam text."""
    if is_bgzf(path) and not has_eof_block(path):
        raise _no_end(str(path))
    failed: list[Exception] = []
    read_end, write_end = os.pipe()

    def convert() -> None:
        verbosity = pysam.set_verbosity(0)
        try:
            with os.fdopen(write_end, "wb") as pipe, pysam.VariantFile(str(path)) as given:
                held = set(given.header.samples)
                if samples is not None and set(samples) <= held:
                    given.subset_samples(list(samples))
                with pysam.VariantFile(pipe, "w", header=given.header) as out:
                    for record in given:
                        out.write(record)
        except (OSError, ValueError) as error:
            failed.append(error)
        finally:
            pysam.set_verbosity(verbosity)

    writer = threading.Thread(target=convert, daemon=True)
    writer.start()
    with closing(os.fdopen(read_end, "rb")) as lines:
        yield from lines
    writer.join()
    if failed:
        raise FormatError(f"{path}: cannot be read as BCF ({failed[0]}); copy the file again") from failed[0]
