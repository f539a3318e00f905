"""A copy of a VCF with INFO fields added."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pysam

from .lines import whole_lines

_COLUMNS = ["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO"]


def annotate_vcf(source: Path, out: Path, headers: Sequence[str], info_of: Callable[[int], Mapping[str, str]]) -> bool:
    """Write a bgzip copy of a VCF or BCF with INFO fields added, and a tabix index where the records are sorted.

    Header lines and INFO fields that the source has under the same names, from an earlier run, are replaced.

    Parameters
    ----------
    source, out : Path
        Input, and output with an ending that tabix knows (``.vcf.gz``).
    headers : sequence of str
        ``##INFO=...`` lines.
    info_of : callable
        Maps the 0-based record number to its INFO fields.

    Returns
    -------
    bool
        Whether the file was sorted and could be indexed.
    """
    lines = whole_lines(source)
    order = _Order()
    with pysam.BGZFile(str(out), "wb") as handle:
        for line in _annotated(lines, headers, info_of, order):
            handle.write((line + "\n").encode("utf-8", "surrogateescape"))
    return order.sorted and order.records > 0 and _index(out)


def first_records(source: Path, count: int) -> Iterator[bytes]:
    """Yield the lines of a VCF or BCF up to its first so many records."""
    for line in whole_lines(source):
        if line.strip() and not line.startswith(b"#"):
            if not count:
                return
            count -= 1
        yield line


def _index(out: Path) -> bool:
    """Write the tabix index; False where that format cannot hold it, as with positions beyond 512 Mb."""
    verbosity = pysam.set_verbosity(0)
    try:
        pysam.tabix_index(str(out), preset="vcf", force=True)
    except OSError:
        Path(f"{out}.tbi").unlink(missing_ok=True)
        return False
    finally:
        pysam.set_verbosity(verbosity)
    return True


def info_value(text: str) -> str:
    """Return text that may stand in an INFO value: no spaces, semicolons, commas or equal signs."""
    return re.sub(r"[\s;,=]+", "_", text) or "."


class _Order:
    """Whether records seen so far are in blocks of contigs and by position."""

    def __init__(self) -> None:
        self.sorted = True
        self.records = 0
        self._done: set[str] = set()
        self._last = ("", 0)

    def see(self, chrom: str, pos: int) -> None:
        self.records += 1
        if chrom != self._last[0]:
            self._done.add(self._last[0])
            self.sorted &= chrom not in self._done
        elif pos < self._last[1]:
            self.sorted = False
        self._last = (chrom, pos)


def _annotated(
    lines: Iterator[bytes], headers: Sequence[str], info_of: Callable[[int], Mapping[str, str]], order: _Order
) -> Iterator[str]:
    record, in_header, seen_format = 0, True, False
    replaced = {_header_key(header) for header in headers}
    for raw in lines:
        line = raw.decode("utf-8", "surrogateescape").rstrip("\r\n")
        if line.startswith("##"):
            # Joined files repeat their header between the records, where none may stand.
            repeated = not in_header or (seen_format and line.startswith("##fileformat"))
            seen_format |= line.startswith("##fileformat")
            if not repeated and _header_key(line) not in replaced:
                yield line
        elif line.strip() and (line.startswith("#CHROM") or not line.startswith("#")):
            if in_header:
                # INFO lines belong before #CHROM, which some files lack, or cut short like their records.
                yield from ([] if seen_format else ["##fileformat=VCFv4.2"])
                yield from headers
                yield _column_line(line)
                in_header = False
            if not line.startswith("#"):
                fields = line.split("\t")
                order.see(fields[0], int(fields[1]))
                yield _with_info(fields, info_of(record))
                record += 1
    if in_header:
        yield from ([] if seen_format else ["##fileformat=VCFv4.2"])
        yield from headers
        yield _column_line("")


def _column_line(line: str) -> str:
    """Return the ``#CHROM`` line, completed where it ends before INFO, or made up for a first record without one."""
    fields = line.split("\t")
    if line.startswith("#CHROM"):
        return "\t".join(fields + _COLUMNS[len(fields) :])
    samples = [f"sample{number}" for number in range(1, len(fields) - 8)]
    return "\t".join(_COLUMNS + (["FORMAT", *samples] if len(fields) > 8 else []))


def _header_key(line: str) -> str:
    """Return what a header line is about: ``INFO=<ID=AF`` or, without angle brackets, ``source``."""
    kind, _, value = line.removeprefix("##").partition("=")
    return f"{kind}={value.split(',')[0].rstrip('>')}" if value.startswith("<") else kind


def _with_info(fields: list[str], info: Mapping[str, str]) -> str:
    fields = fields + ["."] * (8 - len(fields))
    kept = [entry for entry in fields[7].split(";") if entry not in (".", "") and entry.partition("=")[0] not in info]
    fields[7] = ";".join([*kept, *(f"{key}={value}" for key, value in info.items())])
    return "\t".join(fields)
