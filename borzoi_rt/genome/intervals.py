"""Intervals of a genome: 0-based, half-open."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from ..errors import FormatError, InputError
from .lines import FileLines

# A contig may be called `track2`, even `track`: a tab ends its name.
_HEADER = re.compile(r"#|(track|browser)( |$)")


@dataclass(frozen=True, slots=True)
class Interval:
    """``[start, end)`` on ``chrom``; ``start`` may be negative for a window that begins before the chromosome."""

    chrom: str
    start: int
    end: int
    name: str = ""
    strand: str = "."

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise InputError(f"interval {self.chrom}:{self.start}-{self.end}: the end lies before the start")

    @classmethod
    def parse(cls, text: str) -> Interval:
        """Read a region as browsers write it, ``chr1:1,001-2,000``: 1-based, both ends included.

        Raises
        ------
        InputError
            If the text is no such region.
        """
        found = re.fullmatch(r"(\S+):([0-9,]+)-([0-9,]+)", text.strip())
        if not found:
            raise InputError(f"region {text[:60]!r} cannot be read; write it like 'chr1:1,001-2,000'")
        start, end = (int(number.replace(",", "") or 0) for number in found.groups()[1:])
        if not 1 <= start <= end:
            raise InputError(f"region {text!r}: 1 <= start <= end is needed")
        return cls(found[1], start - 1, end)

    def centred(self, length_bp: int) -> Interval:
        """Return the interval of ``length_bp`` around the midpoint ``(start + end) // 2``."""
        start = (self.start + self.end) // 2 - length_bp // 2
        return Interval(self.chrom, start, start + length_bp, self.name, self.strand)


def read_bed(path: str | os.PathLike[str]) -> list[Interval]:
    """Read a BED file of three or more tab-separated columns, plain or compressed.

    Comments are skipped, and lines of the words ``track`` and ``browser``, which a space follows. A byte order mark at
    the start is allowed. Bytes that are not UTF-8 are kept, as in :class:`borzoi_rt.genome.variants.VariantReader`.

    Raises
    ------
    FormatError
        Naming file and line.
    """
    regions = []
    for number, raw in enumerate(FileLines(path, "BED"), start=1):
        line = raw.rstrip(b"\r\n").decode("utf-8", "surrogateescape")
        if not line.strip() or _HEADER.match(line):
            continue
        regions.append(_interval(line, f"{path}, line {number}"))
    if not regions:
        raise FormatError(f"{path}: no regions; a BED file has chrom, start and end in tab-separated columns")
    return regions


def _interval(line: str, where: str) -> Interval:
    fields = line.split("\t")
    try:
        start, end = int(fields[1]), int(fields[2])
        # int() reads 1_000 and the digits of every script.
        if not fields[0] or not 0 <= start < end or re.search(r"[^0-9+ ]", fields[1] + fields[2]):
            raise ValueError
    except (IndexError, ValueError):
        shown = line[:60].encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        raise FormatError(f"{where}: {shown!r}; chrom, start < end (tab-separated) needed") from None
    name = fields[3] if len(fields) > 3 else ""
    strand = fields[5] if len(fields) > 5 and fields[5] in ("+", "-") else "."
    return Interval(fields[0], start, end, name, strand)
