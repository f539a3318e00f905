"""bigWig files: the one door to pybigtools.

That library takes every number of a file for true, and a damaged one ends the process where memory is asked for by it.
So the offsets and counts of the header are compared with the size of the file first.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pybigtools

from ..closing import Closing
from ..errors import FormatError
from .intervals import Interval

_MAGIC, _BED_MAGIC, _CHROM_MAGIC, _INDEX_MAGIC = 0x888FFC26, 0x8789F2EB, 0x78CA8C91, 0x2468ACE0
# magic, version, zoom levels, offsets of contigs, data and index, two counts, offsets of SQL and summary, block size
_HEADER = "IHHQQQHHQQIQ"
_ZOOM = "IIQQ"  # reduction, reserved, offsets of data and index
_CHROMS = "IIIIQQ"  # magic, block size, bytes of a name, bytes of a value, contigs, reserved
_INDEX = "IIQIIIIQII"  # magic, block size, items, first and last contig and base, end of data, items a slot, reserved
_LARGEST_BLOCK = 1 << 28


class BigWig(Closing):
    """An opened bigWig file.

    Attributes
    ----------
    contigs : dict of str to int
        Length in bp of each contig in the file; one without values may be left out of it.

    Raises
    ------
    FormatError
        If it is missing or damaged.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FormatError(f"{self.path}: no such bigWig file")
        _check_header(self.path)
        try:
            self._reader: Any = pybigtools.open(str(self.path))
            self.contigs: dict[str, int] = dict(self._reader.chroms())
        except BaseException as error:
            raise _fault(self.path, "cannot be read as bigWig", error) from error

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    @property
    def covered_bp(self) -> int:
        """Bases that have a value."""
        return int(self._reader.info()["summary"]["basesCovered"])

    def values(self, region: Interval) -> npt.NDArray[np.float64]:
        """Return the value of every base, float64 (length,); NaN where there is none, or no such contig.

        Raises
        ------
        FormatError
            If the file is damaged there.
        """
        if region.chrom not in self.contigs:
            return np.full(region.end - region.start, np.nan)
        try:
            found = self._reader.values(region.chrom, region.start, region.end, fillna=None)
        except BaseException as error:
            where = f"{region.chrom}:{region.start + 1}-{region.end}"
            raise _fault(self.path, f"{where} cannot be read", error) from error
        return np.asarray(found, dtype=np.float64)


def write_bigwig(
    path: str | os.PathLike[str], lengths: Mapping[str, int], entries: Iterable[tuple[str, int, int, float]]
) -> None:
    """Write values of intervals as bigWig.

    Parameters
    ----------
    path : path
        File to write.
    lengths : mapping of str to int
        Length in bp of every contig.
    entries : iterable of (chrom, start, end, value)
        Intervals [start, end), 0-based; contig after contig, by start, without overlap.

    Raises
    ------
    FormatError
        If there are no entries, or they are in another order or outside their contig, or the file cannot be written.
    """
    checked = _Entries(lengths, entries)
    try:
        pybigtools.open(str(path), "w").write(dict(lengths), checked)
    except BaseException as error:
        raise _fault(Path(path), "cannot be written as bigWig", error) from error
    if checked.error is not None:
        raise checked.error
    # The library prints what went wrong, as on a full disk, and returns as if nothing had: so the file is looked at.
    with BigWig(path) as written:
        if written.covered_bp != checked.covered_bp:
            raise FormatError(
                f"{path}: holds {written.covered_bp} bases of {checked.covered_bp} that were written; is the disk full?"
            )


class _Entries(Iterator[tuple[str, int, int, float]]):
    """Entries on their way to the library, which would drop an error of theirs; it is kept here."""

    def __init__(self, lengths: Mapping[str, int], entries: Iterable[tuple[str, int, int, float]]) -> None:
        self.error: BaseException | None = None
        self.covered_bp = 0
        self._lengths = lengths
        self._entries = iter(entries)
        self._done: set[str] = set()
        self._last = ("", 0)

    def __next__(self) -> tuple[str, int, int, float]:
        try:
            entry = next(self._entries, None)
            if entry is not None:
                self._check(*entry[:3])
            elif not self.covered_bp:
                raise FormatError("bigWig: no entries to write")
        except BaseException as error:
            self.error = error
            raise StopIteration from None
        if entry is None:
            raise StopIteration
        return entry

    def _check(self, chrom: str, start: int, end: int) -> None:
        if chrom != self._last[0]:
            self._done.add(self._last[0])
            self._last = (chrom, 0)
        if chrom in self._done or not self._last[1] <= start < end <= self._lengths.get(chrom, -1):
            raise FormatError(
                f"bigWig: {chrom}:{start}-{end} overlaps the entry before it, is out of order, or lies outside of its "
                f"contig ({self._lengths.get(chrom, 'unknown')} bp)"
            )
        self._last = (chrom, end)
        self.covered_bp += end - start


def _fault(path: Path, what: str, error: BaseException) -> BaseException:
    """Return the error to raise. Those of pybigtools share no base below Exception, and its panics lie beside it."""
    if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
        return error
    text = " ".join(str(error).split())[:160] or type(error).__name__
    return FormatError(f"{path}: {what} ({text})")


def _check_header(path: Path) -> None:
    """Refuse a file whose header names bytes or counts that it cannot hold."""
    size = path.stat().st_size
    with path.open("rb") as handle:
        head = handle.read(struct.calcsize("<" + _HEADER))
        order = next((order for order in "<>" if head[:4] == struct.pack(f"{order}I", _MAGIC)), None)
        if order is None:
            bed = head[:4] in (struct.pack("<I", _BED_MAGIC), struct.pack(">I", _BED_MAGIC))
            raise FormatError(f"{path}: {'is bigBed' if bed else 'cannot be read as bigWig (it begins otherwise)'}")
        try:
            _check_numbers(handle, order, head, size)
        except (struct.error, ValueError) as error:
            raise FormatError(f"{path}: truncated or damaged bigWig ({error}); copy the file again") from error


def _check_numbers(handle: BinaryIO, order: str, head: bytes, size: int) -> None:
    _, _, zooms, chroms, data, index, *_, block_size, _ = struct.unpack(order + _HEADER, head)
    if block_size > _LARGEST_BLOCK:
        raise ValueError(f"blocks of {block_size} bytes")
    indices = [index]
    for _ in range(zooms):
        *_, zoom_data, zoom_index = _unpack(handle, handle.tell(), size, order + _ZOOM)
        indices += [zoom_index]
        data = max(data, zoom_data)
    if data >= size:
        raise ValueError(f"data at byte {data} of {size}")
    magic, _, name_bytes, value_bytes, count, _ = _unpack(handle, chroms, size, order + _CHROMS)
    if magic != _CHROM_MAGIC or value_bytes != 8 or not name_bytes or count * (name_bytes + 8) > size:
        raise ValueError("no list of contigs where the header says")
    for offset in indices:
        magic, block, items, *_ = _unpack(handle, offset, size, order + _INDEX)
        if magic != _INDEX_MAGIC or items > size or not block:
            raise ValueError("no index where the header says")


def _unpack(handle: BinaryIO, offset: int, size: int, form: str) -> tuple[Any, ...]:
    """Read numbers at an offset."""
    if offset >= size:
        raise ValueError(f"byte {offset} of {size} is named")
    handle.seek(offset)
    return struct.unpack(form, handle.read(struct.calcsize(form)))
