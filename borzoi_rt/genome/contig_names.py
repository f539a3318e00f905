"""Other names of contigs: RefSeq's accessions of well-known assemblies, and tables that say which names are one contig.

Accessions are known with their version, which says the assembly: ``NC_000001.11`` is chromosome 1 of GRCh38 and
``NC_000001.10`` that of GRCh37. They are those of the assembly reports of NCBI, with the lengths of the chromosomes, so
that coordinates of one assembly are not looked up in another.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import FormatError
from .lines import text_lines

_HUMAN = (*map(str, range(1, 23)), "X", "Y")
_MOUSE = (*map(str, range(1, 20)), "X", "Y")


@dataclass(frozen=True, slots=True)
class _Assembly:
    """Accessions ``NC_000001`` and following of the chromosomes: their versions and lengths in bp."""

    name: str
    first: int
    chromosomes: tuple[str, ...]
    versions: tuple[int, ...]
    lengths: tuple[int, ...]
    mitochondrion: str


_ASSEMBLIES = (
    _Assembly(
        "GRCh38",
        1,
        _HUMAN,
        (11, 12, 12, 12, 10, 12, 14, 11, 12, 11, 10, 12, 11, 9, 10, 10, 11, 10, 10, 11, 9, 11, 11, 10),
        (
            *(248956422, 242193529, 198295559, 190214555, 181538259, 170805979, 159345973, 145138636, 138394717),
            *(133797422, 135086622, 133275309, 114364328, 107043718, 101991189, 90338345, 83257441, 80373285),
            *(58617616, 64444167, 46709983, 50818468, 156040895, 57227415),
        ),
        "NC_012920.1",
    ),
    _Assembly(
        "GRCh37",
        1,
        _HUMAN,
        (10, 11, 11, 11, 9, 11, 13, 10, 11, 10, 9, 11, 10, 8, 9, 9, 10, 9, 9, 10, 8, 10, 10, 9),
        (
            *(249250621, 243199373, 198022430, 191154276, 180915260, 171115067, 159138663, 146364022, 141213431),
            *(135534747, 135006516, 133851895, 115169878, 107349540, 102531392, 90354753, 81195210, 78077248),
            *(59128983, 63025520, 48129895, 51304566, 155270560, 59373566),
        ),
        "NC_012920.1",
    ),
    _Assembly(
        "GRCm39",
        67,
        _MOUSE,
        (7, 8, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 8),
        (
            *(195154279, 181755017, 159745316, 156860686, 151758149, 149588044, 144995196, 130127694, 124359700),
            *(130530862, 121973369, 120092757, 120883175, 125139656, 104073951, 98008968, 95294699, 90720763),
            *(61420004, 169476592, 91455967),
        ),
        "NC_005089.1",
    ),
)


def _accessions() -> dict[str, tuple[str, str]]:
    found = {}
    for assembly in _ASSEMBLIES:
        for number, (chromosome, version) in enumerate(zip(assembly.chromosomes, assembly.versions, strict=True)):
            found[f"NC_{assembly.first + number:06}.{version}"] = assembly.name, chromosome
        found[assembly.mitochondrion] = assembly.name, "M"
    return found


ACCESSIONS = _accessions()  # RefSeq accession with version -> assembly and chromosome
_LENGTHS = {
    (chromosome, length): assembly.name
    for assembly in _ASSEMBLIES
    for chromosome, length in zip(assembly.chromosomes, assembly.lengths, strict=True)
}


def chromosome_of(accession: str) -> str | None:
    """Return the chromosome that an accession means, like ``1`` or ``X``; None where it is none that is known here."""
    found = ACCESSIONS.get(accession)
    return None if found is None else found[1]


def other_assembly(accession: str, length_bp: int) -> str | None:
    """Tell from its length that a contig is of another assembly than an accession says.

    Parameters
    ----------
    accession : str
        One that :func:`chromosome_of` knows; of others nothing is told.
    length_bp : int
        Length of the contig that it would be taken for. A length that is of no known assembly, as of a cut genome,
        tells nothing.

    Returns
    -------
    str or None
        Both assemblies, in words; None where there is no contradiction.
    """
    found = ACCESSIONS.get(accession)
    if found is None or found[1] == "M":
        return None
    assembly, chromosome = found
    genome = _LENGTHS.get((chromosome, length_bp))
    return None if genome in (None, assembly) else f"{accession} is of {assembly}, the genome has {genome}'s length"


class ContigNames:
    """A table whose rows are names of one contig each.

    Parameters
    ----------
    source : str
        Name of the file.
    rows : sequence of sequences of str
        Names of one contig.

    Attributes
    ----------
    digest : str
        SHA-256 of the names.
    """

    def __init__(self, source: str, rows: Sequence[Sequence[str]]) -> None:
        self.source = source
        text = "\n".join("\t".join(names) for names in rows)
        self.digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
        self._others: dict[str, dict[str, None]] = {}
        for names in rows:
            for name in names:
                self._others.setdefault(name, {}).update(dict.fromkeys(other for other in names if other != name))

    def __len__(self) -> int:
        return len(self._others)

    def others(self, name: str) -> tuple[str, ...]:
        """Return the other names of a contig, in the order of the table; none where it is not in it."""
        return tuple(self._others.get(name, ()))


_MISSING = ("", "na", "n/a", ".")


def read_contig_names(path: str | os.PathLike[str]) -> ContigNames:
    """Read a table of names of contigs.

    An assembly report of NCBI (its columns Sequence-Name, GenBank-Accn, RefSeq-Accn and UCSC-style-name count), a
    ``chromAlias.txt`` of UCSC, or any text with two or more names of a contig in a line, separated by tabs. Lines that
    begin with ``#`` are comments, but for the line of columns of a report.

    Raises
    ------
    FormatError
        If it cannot be read, or a line has one name alone.
    """
    path = Path(path)
    if not path.is_file():
        raise FormatError(f"{path}: no such table of contig names")
    columns: list[int] | None = None
    rows = []
    for number, raw in enumerate(text_lines(path, "table of contig names"), start=1):
        line = raw.decode("utf-8", "surrogateescape").rstrip("\r\n")
        if line.startswith("#"):
            columns = _report_columns(line) or columns
            continue
        if not line.strip():
            continue
        fields = [field.strip() for field in line.split("\t")]
        if columns is not None:
            if len(fields) <= max(columns):
                raise FormatError(f"{path}, line {number}: {len(fields)} columns, {max(columns) + 1} are needed")
            fields = [fields[column] for column in columns]
        names = list(dict.fromkeys(name for name in fields if name.lower() not in _MISSING))
        if columns is None and len(names) < 2:
            raise FormatError(
                f"{path}, line {number}: one name alone, {line[:40]!r}; two or more names of a contig are needed, "
                "separated by tabs"
            )
        rows.append(names)
    if not rows:
        raise FormatError(f"{path}: no names of contigs")
    return ContigNames(path.name, rows)


def _report_columns(line: str) -> list[int] | None:
    """Return the columns of names in an assembly report; None where this is not its line of columns."""
    titles = [title.strip() for title in line.lstrip("# ").split("\t")]
    wanted = ("Sequence-Name", "GenBank-Accn", "RefSeq-Accn", "UCSC-style-name")
    return [titles.index(title) for title in wanted if title in titles] if "RefSeq-Accn" in titles else None
