"""The ``.fai`` index of a FASTA file: where each contig lies, and whether it still lies there.

Of every contig the header line before it, the ends of its first and its last line and what follows its last base are
compared with the file. A file that was edited after it was indexed fails one of these wherever bases have moved; bases
that were replaced by as many others have not moved, and the index is right.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..errors import FormatError
from ..reading import read_regular

_SPACE = b" \t\r\n"
_LARGEST = 1 << 28  # bytes of an index, of millions of contigs
_HEADER_PROBE = 256  # bytes before a contig that are read at first
_LONGEST_HEADER = 1 << 20


class Bytes(Protocol):
    """The uncompressed bytes of a file, read at random."""

    size: int | None

    def read(self, start: int, end: int) -> bytes:
        """Return bytes [start, end), fewer at the end of the file."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


@dataclass(frozen=True, slots=True)
class Contig:
    """One row of the index.

    Attributes
    ----------
    name : str
        First word of the header line.
    length : int
        Bases of the contig.
    offset : int
        Byte of the first base.
    line_bases, line_bytes : int
        Bases of a full line, and its bytes with the line end.
    """

    name: str
    length: int
    offset: int
    line_bases: int
    line_bytes: int

    def byte_of(self, position: int) -> int:
        """Return the byte of a 0-based base."""
        return self.offset + position // self.line_bases * self.line_bytes + position % self.line_bases


def read_index(index: Path) -> dict[str, Contig]:
    """Read a ``.fai`` file.

    Raises
    ------
    FormatError
        If a row is none, or a contig comes twice.
    """
    rows: dict[str, Contig] = {}
    lines = read_regular(index, _LARGEST).decode("utf-8", "surrogateescape").split("\n")
    for number, line in enumerate(lines, start=1):
        fields = line.rstrip("\r").split("\t")
        if fields == [""] and number == len(lines):
            break
        try:
            row = Contig(fields[0], *(int(value) for value in fields[1:5]))
            lines_fit = not row.length or 0 < row.line_bases < row.line_bytes
            if not row.name or min(row.length, row.offset) < 0 or not lines_fit:
                raise ValueError
        except (ValueError, TypeError):
            raise FormatError(
                f"{index}, line {number}: {line[:60]!r} is no index row; run `samtools faidx` again"
            ) from None
        if row.name in rows:
            raise FormatError(f"{index}, line {number}: contig {row.name!r} comes twice; give each another name")
        rows[row.name] = row
    if not rows:
        raise FormatError(f"{index}: no contigs; run `samtools faidx` again")
    return rows


def check_layout(path: Path, content: Bytes, contigs: Iterable[Contig]) -> None:
    """Compare the index with the file around the first and the last line of every contig.

    Raises
    ------
    FormatError
        If the index is stale: it was made before the file was changed, or of another file.
    """
    for contig in sorted(contigs, key=lambda contig: contig.offset):
        end = contig.byte_of(contig.length - 1) + 1 if contig.length else contig.offset
        if content.size is not None and end > content.size:
            raise FormatError(
                f"{path}: {content.size} bytes, but its index {path.name}.fai is stale or the file is truncated "
                f"({contig.name} ends at byte {end}); copy the file or run `samtools faidx {path}` again"
            )
        fault = _header_fault(content, contig) or (_bases_fault(content, contig) if contig.length else None)
        if fault:
            raise FormatError(
                f"{path}: its index {path.name}.fai is stale or of another file, or the file is truncated ({fault}); "
                f"run `samtools faidx {path}` again"
            )


def bases_of(raw: bytes, contig: Contig, start: int, count: int) -> bytes | None:
    """Return the bases among bytes that begin with base ``start``, None where a line ends elsewhere than it must."""
    line_end = contig.line_bytes - contig.line_bases
    first = contig.line_bases - start % contig.line_bases  # bytes before the first line end
    for turn in range(line_end):
        ends = raw[first + turn :: contig.line_bytes]
        if ends.strip(b"\n" if turn + 1 == line_end else _SPACE):
            return None
    bases = raw.translate(None, _SPACE)
    return bases if len(bases) == count and bases.isalpha() else None


def _header_fault(content: Bytes, contig: Contig) -> str | None:
    """Return what is wrong with the bytes before a contig, which are its header line."""
    probe = _HEADER_PROBE
    while True:
        start = max(contig.offset - probe, 0)
        before = content.read(start, contig.offset)
        line_start = before.rfind(b"\n", 0, -1) + 1
        if line_start or not start or probe >= _LONGEST_HEADER:
            break
        probe *= 16
    header = before[line_start:]
    name = header[1:].split(maxsplit=1)[:1]
    wanted = contig.name.encode("utf-8", "surrogateescape")
    if header.endswith(b"\n") and header.startswith(b">") and name == [wanted] and not header[1:2].isspace():
        return None
    return f"no header line '>{contig.name}' ends at byte {contig.offset}"


def _bases_fault(content: Bytes, contig: Contig) -> str | None:
    """Return what is wrong with the first or the last line of a contig."""
    last_line = (contig.length - 1) // contig.line_bases * contig.line_bases
    for start in dict.fromkeys((0, max(last_line - contig.line_bases, 0))):
        end = min(start + 2 * contig.line_bases, contig.length)
        first, last = contig.byte_of(start), contig.byte_of(end - 1)
        if bases_of(content.read(first, last + 1), contig, start, end - start) is None:
            return f"bases {start + 1}-{end} of {contig.name} do not lie where it says"
    end = contig.byte_of(contig.length - 1) + 1
    after = content.read(end, end + 64)
    # Blank lines may follow; then the next contig, or the end of the file.
    line, _, rest = after.partition(b"\n")
    if line.strip() or (rest.lstrip() and not rest.lstrip().startswith(b">")):
        return f"more bases follow after the last of {contig.name}"
    return None
