"""Intervals of a genome: 0-based, half-open."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..errors import FormatError, InputError
from ..plain import whole
from .lines import FileLines

# A contig may be called `track2`, even `track`: a tab ends its name.
_HEADER = re.compile(r"#|(track|browser)( |$)")


@dataclass(frozen=True, slots=True)
class Interval:
    """``[start, end)`` on ``chrom``; ``start`` may be negative for a window that begins before the chromosome.

    Integers of NumPy are taken.

    Raises
    ------
    InputError
        If a field has the wrong type, or the end lies before the start.
    """

    chrom: str
    start: int
    end: int
    name: str = ""
    strand: str = "."

    def __post_init__(self) -> None:
        if not isinstance(self.chrom, str) or not self.chrom:
            raise InputError(f"chrom of an interval is {self.chrom!r:.40}; the name of a contig is needed")
        for name in ("start", "end"):
            found = getattr(self, name)
            if type(found) is not int:
                number = whole(found)
                if number is None:
                    raise InputError(
                        f"{name} of an interval on {self.chrom!r:.40} is {found!r:.40}; a whole number is needed, "
                        "0 is the first base"
                    )
                object.__setattr__(self, name, number)
        if self.strand not in ("+", "-", "."):
            raise InputError(f"strand of an interval is {self.strand!r:.40}; '+', '-' or '.' is needed")
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
        found = re.fullmatch(r"(\S+):([0-9,]{1,30})-([0-9,]{1,30})", text.strip())
        if not found:
            raise InputError(f"region {text[:60]!r} cannot be read; write it like 'chr1:1,001-2,000'")
        start, end = (int(number.replace(",", "") or 0) for number in found.groups()[1:])
        if not 1 <= start <= end:
            raise InputError(f"region {text!r}: 1 <= start <= end is needed")
        return cls(found[1], start - 1, end)

    @classmethod
    def of(cls, thing: Interval | str) -> Interval:
        """Return an interval from an Interval, or from text as :meth:`parse` reads it.

        Raises
        ------
        InputError
            If it is neither.
        """
        if isinstance(thing, Interval):
            return thing
        if not isinstance(thing, str):
            raise InputError(f"region is {thing!r:.60}; an Interval or text like 'chr1:1,001-2,000' is needed")
        return cls.parse(thing)

    @classmethod
    def several(cls, things: Interval | str | Iterable[Interval | str]) -> list[Interval]:
        """Return intervals from one or more of what :meth:`of` takes.

        Raises
        ------
        InputError
            If there is none, or one is no interval.
        """
        several = isinstance(things, Iterable) and not isinstance(things, str | bytes)
        given: Any = things if several else [things]
        found = [cls.of(thing) for thing in given]
        if not found:
            raise InputError("there is no region; give one or more")
        return found

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
