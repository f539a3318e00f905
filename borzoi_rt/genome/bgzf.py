"""Compression by content, not by file name; and bgzip files read at random."""

from __future__ import annotations

import os
import struct
import zlib
from bisect import bisect_right
from itertools import pairwise
from pathlib import Path

from ..errors import FormatError
from ..reading import read_regular

GZIP_MAGIC = b"\x1f\x8b"
# The empty block that every complete bgzip file ends with (SAM specification, section 4.1.2).
EOF_BLOCK = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
_LARGEST = 1 << 28  # bytes of an index, of a terabase
_LONGEST_BLOCK = 1 << 16
_HEAD_BYTES = 18


def is_gzip(path: Path) -> bool:
    """Tell whether a file begins like gzip."""
    with path.open("rb") as handle:
        return handle.read(2) == GZIP_MAGIC


def is_bgzf(path: Path) -> bool:
    """Tell whether a file begins with a bgzip block."""
    with path.open("rb") as handle:
        return starts_bgzf(handle.read(16))


def starts_bgzf(head: bytes) -> bool:
    """Tell whether the first 16 bytes of a file begin a bgzip block."""
    return head[:4] == b"\x1f\x8b\x08\x04" and head[12:14] == b"BC"


def has_eof_block(path: Path) -> bool:
    """Tell whether a bgzip file is complete."""
    with path.open("rb") as handle:
        handle.seek(0, 2)
        handle.seek(max(handle.tell() - len(EOF_BLOCK), 0))
        return handle.read() == EOF_BLOCK


class PlainBytes:
    """The bytes of a file, read at random."""

    def __init__(self, path: Path) -> None:
        self._handle = path.open("rb", buffering=0)
        self.size: int | None = os.fstat(self._handle.fileno()).st_size

    def read(self, start: int, end: int) -> bytes:
        """Return bytes [start, end), fewer at the end of the file."""
        parts, at = [], start
        while at < end and (part := os.pread(self._handle.fileno(), end - at, at)):
            parts.append(part)
            at += len(part)
        return b"".join(parts)

    def close(self) -> None:
        """Close the file."""
        self._handle.close()


class BlockedBytes:
    """The uncompressed bytes of a bgzip file, read at random by its ``.gzi``.

    Every block that is read is compared with the index: a block begins where it says and holds as much as it says.

    Raises
    ------
    FormatError
        If the index is damaged, or a block is not where it says.
    """

    size: int | None = None  # known only when the last block was read

    def __init__(self, path: Path) -> None:
        self._path = path
        self._packed, self._unpacked = _read_gzi(path)
        self._file = PlainBytes(path)
        self._last = (-1, b"")

    def read(self, start: int, end: int) -> bytes:
        """Return uncompressed bytes [start, end), fewer at the end of the file."""
        parts, at = [], start
        number = bisect_right(self._unpacked, start) - 1
        while at < end and number < len(self._packed):
            block = self._block(number)
            first = at - self._unpacked[number]
            parts.append(block[first : first + end - at])
            at += len(parts[-1])
            number += 1
        return b"".join(parts)

    def close(self) -> None:
        """Close the file."""
        self._last = (-1, b"")
        self._file.close()

    def _block(self, number: int) -> bytes:
        if self._last[0] != number:
            self._last = (number, self._unpacked_block(number))
        return self._last[1]

    def _unpacked_block(self, number: int) -> bytes:
        start = self._packed[number]
        last = number + 1 == len(self._packed)
        data = self._file.read(start, start + _LONGEST_BLOCK if last else self._packed[number + 1])
        length = _block_length(data)
        if length is None or (not last and length != len(data)):
            raise self._stale(f"no block of {len(data)} bytes begins at byte {start}")
        try:
            block = zlib.decompress(data[:length], wbits=31)
        except zlib.error as error:
            raise FormatError(f"{self._path}: damaged at byte {start} ({error}); copy the file again") from error
        if not last and len(block) != self._unpacked[number + 1] - self._unpacked[number]:
            raise self._stale(f"the block at byte {start} holds {len(block)} bytes")
        return block

    def _stale(self, found: str) -> FormatError:
        return FormatError(
            f"{self._path}: its index {self._path.name}.gzi is stale ({found}), or the file is damaged; "
            f"run `samtools faidx {self._path}` again"
        )


def _block_length(data: bytes) -> int | None:
    """Return the bytes of the block that ``data`` begins with, None where it is none or is cut."""
    if len(data) < _HEAD_BYTES or not starts_bgzf(data[:16]):
        return None
    length = int(struct.unpack_from("<H", data, 16)[0]) + 1
    return length if length <= len(data) else None


def _read_gzi(path: Path) -> tuple[list[int], list[int]]:
    """Return where each block begins in the file, and in the uncompressed text."""
    index = Path(f"{path}.gzi")
    data = read_regular(index, _LARGEST)
    count = struct.unpack_from("<Q", data)[0] if len(data) >= 8 else -1
    if len(data) != 8 + 16 * count:
        raise FormatError(f"{index}: {len(data)} bytes are no block index; run `samtools faidx {path}` again")
    numbers = struct.unpack_from(f"<{2 * count}Q", data, 8)
    packed, unpacked = [0, *numbers[::2]], [0, *numbers[1::2]]
    steps = [(after - before, least) for row, least in ((packed, 1), (unpacked, 0)) for before, after in pairwise(row)]
    if not all(least <= step <= _LONGEST_BLOCK for step, least in steps):
        raise FormatError(f"{index}: its blocks do not follow each other; run `samtools faidx {path}` again")
    return packed, unpacked
