"""Genotypes of chosen samples, read from VCF and BCF without looking at those of any other sample."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..errors import FormatError, InputError
from ..reading import sha256_of
from .lines import FileLines, is_bcf, whole_lines
from .variants import LAST_POS, check_line

_FIXED = 9  # columns before those of samples
_CALL = re.compile(rb"[/|]?(?:\.|[0-9]{1,9})(?:[/|](?:\.|[0-9]{1,9}))*")
_SHOWN = 5
_NAMELESS = (
    "no #CHROM line, so that samples have no names (a BCF must be a file, genotypes of one from stdin are not read)"
)


@dataclass(frozen=True, slots=True)
class Call:
    """The genotype of one sample at one record.

    Attributes
    ----------
    alleles : tuple of int or None
        Number of the allele on each haplotype, 0 is REF; None where it is missing.
    phased : bool
        Whether the order of the alleles means something.
    phase_set : str
        Name of the set of records that are phased together (PS); empty where none is given.
    """

    alleles: tuple[int | None, ...]
    phased: bool = False
    phase_set: str = ""

    @property
    def heterozygous(self) -> bool:
        """Whether known alleles differ."""
        return len({allele for allele in self.alleles if allele is not None}) > 1

    @property
    def missing(self) -> bool:
        """Whether an allele is not known."""
        return None in self.alleles


@dataclass(frozen=True, slots=True)
class GenotypeRecord:
    """One record with the genotypes of the chosen samples.

    Attributes
    ----------
    record : int
        0-based number of the record in its file.
    chrom, pos, id, ref, alts
        As written; ``pos`` is 1-based.
    calls : tuple of Call
        One for each sample, in the order in which they were asked for.
    """

    record: int
    chrom: str
    pos: int
    id: str
    ref: str
    alts: tuple[str, ...]
    calls: tuple[Call, ...]


class GenotypeReader(Iterator[GenotypeRecord]):
    """The records of a file in which a chosen sample has another allele than REF, or an unknown one; read once.

    Of a line the first five columns, FORMAT and the columns of the chosen samples are read; the others are passed over
    as bytes, so that a file of 10,000 samples costs little more than reading it.

    Parameters
    ----------
    path : path
        VCF, plain or compressed, or BCF; ``-`` reads a VCF from stdin.
    samples : sequence of str
        Names of samples, each once.

    Attributes
    ----------
    source : str
        Name of the file, for messages.

    Raises
    ------
    FormatError
        While it is read, naming file and line.
    InputError
        While it is read, if a sample is not in the file.
    """

    def __init__(self, path: str | os.PathLike[str], samples: Sequence[str]) -> None:
        self.samples = tuple(samples)
        self._path = None if str(path) == "-" else Path(path)
        self._text: FileLines | None = None
        if self._path is not None and self._path.is_file() and is_bcf(self._path):
            self.source = str(path)
            lines = whole_lines(self._path, self.samples)
        else:
            lines = self._text = FileLines(path, pipe=False)
            self.source = self._text.source
        self._records = _records(lines, self.source, self.samples)

    def __iter__(self) -> GenotypeReader:
        return self

    def __next__(self) -> GenotypeRecord:
        return next(self._records)

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes of the file, known once the last record was read."""
        if self._text is not None:
            return self._text.sha256
        assert self._path is not None
        return sha256_of(self._path)


def _records(lines: Iterator[bytes], source: str, samples: Sequence[str]) -> Iterator[GenotypeRecord]:
    columns: list[int] = []
    count = record = 0
    for number, raw in enumerate(lines, start=1):
        line, where = raw.rstrip(b"\r\n"), f"{source}, line {number}"
        check_line(line, where)
        if line.startswith(b"#CHROM"):
            columns, count = _columns(line, source, samples), line.count(b"\t") + 1
        if line.startswith(b"#") or not line.strip():
            continue
        if not columns:
            raise FormatError(f"{where}: {_NAMELESS}")
        found = _record(line, where, record, columns, count)
        record += 1
        if found is not None:
            yield found
    if not columns:
        raise FormatError(f"{source}: {_NAMELESS}")


def _columns(line: bytes, source: str, samples: Sequence[str]) -> list[int]:
    """Return the columns of the chosen samples."""
    names = [name.decode("utf-8", "surrogateescape") for name in line.split(b"\t")[_FIXED:]]
    numbers = {}
    for sample in samples:
        if sample not in names:
            shown = f"{', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''}" if names else "none"
            raise InputError(f"{source}: no sample {sample!r}; it has {len(names)}: {shown}")
        if names.count(sample) > 1:
            raise FormatError(f"{source}: two columns are named {sample!r}; sample names must differ")
        numbers[sample] = names.index(sample) + _FIXED
    return [numbers[sample] for sample in samples]


def _record(line: bytes, where: str, record: int, columns: Sequence[int], count: int) -> GenotypeRecord | None:
    """Return a line as a record; None where all chosen samples have REF on every haplotype."""
    tabs = np.flatnonzero(np.frombuffer(line, dtype=np.uint8) == 9)
    if len(tabs) + 1 != count:
        raise FormatError(f"{where}: {len(tabs) + 1} columns, {count} are needed; is the file truncated?")

    def column(number: int) -> bytes:
        return line[tabs[number - 1] + 1 : tabs[number] if number < len(tabs) else None]

    genotype, phase_set = _keys(column(_FIXED - 1))
    calls = tuple(_call(column(number), genotype, phase_set, where) for number in columns)
    if all(allele == 0 for call in calls for allele in call.alleles):
        return None
    chrom, text, name, ref, alts = (part.decode("utf-8", "surrogateescape") for part in line[: tabs[4]].split(b"\t"))
    if not text.isascii() or not text.isdigit() or len(text) > 10 or int(text) > LAST_POS:
        raise FormatError(f"{where}: POS is {text[:30]!r}; a number up to {LAST_POS} is needed")
    if not chrom or not ref:
        raise FormatError(f"{where}: CHROM or REF is empty")
    known = tuple(alts.split(","))
    highest = max((allele or 0 for call in calls for allele in call.alleles), default=0)
    if highest > len(known):
        raise FormatError(f"{where}: a genotype names allele {highest}, the record has {len(known)} ALT")
    return GenotypeRecord(record, chrom, int(text), name or ".", ref, known, calls)


@lru_cache(maxsize=64)
def _keys(form: bytes) -> tuple[int | None, int | None]:
    """Return which fields of a genotype are GT and PS."""
    keys = form.split(b":")
    return tuple(keys.index(key) if key in keys else None for key in (b"GT", b"PS"))  # type: ignore[return-value]


def _call(field: bytes, genotype: int | None, phase_set: int | None, where: str) -> Call:
    if genotype is None:
        return Call((None,))
    parts = field.split(b":")
    text = parts[genotype] if genotype < len(parts) else b"."
    if not _CALL.fullmatch(text):
        raise FormatError(f"{where}: genotype {text[:30].decode('ascii', 'backslashreplace')!r} cannot be read")
    inner = text.lstrip(b"/|")
    alleles = tuple(None if part == b"." else int(part) for part in re.split(rb"[/|]", inner))
    found = parts[phase_set] if phase_set is not None and phase_set < len(parts) else b"."
    name = "" if found in (b".", b"") else found.decode("ascii", "backslashreplace")
    return Call(alleles, len(alleles) == 1 or b"/" not in inner, name)
