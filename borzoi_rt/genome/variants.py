"""Variants, made by hand or read from VCF and BCF, one item per ALT allele."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FormatError, InputError
from ..plain import whole
from .alleles import has_length, judge_alleles
from .lines import FileLines

if TYPE_CHECKING:
    from .haplotypes import Haplotype

LAST_POS = 2**31 - 1  # POS is a 32-bit integer in VCF
_COLUMNS = ("chrom", "pos", "ref", "alt", "id")
_LONG_LINE = 4096
_POS = r"(?:g\.)?(?P<pos>[0-9]{1,3}(?:,[0-9]{3}){1,9}|[0-9]{1,30})"  # int() refuses thousands of digits
_ALLELE = r"[A-Za-z]+|<[^\s>]+>|[*.-]"
# The end of the text is fixed, so that a contig may hold every separator (HLA-A*01:01:01:01).
_FORMS = tuple(
    re.compile(form)
    for form in (
        rf"(?P<chrom>\S+):{_POS}:(?P<ref>{_ALLELE}):(?P<alt>{_ALLELE})",
        rf"(?P<chrom>\S+)-{_POS}-(?P<ref>{_ALLELE})-(?P<alt>{_ALLELE})",
        rf"(?P<chrom>\S+):{_POS}(?P<ref>[A-Za-z]+)>(?P<alt>\S+)",
        rf"(?P<chrom>\S+):{_POS}[ \t]+(?P<ref>[^\s>]+)>(?P<alt>\S+)",
    )
)


@dataclass(frozen=True, slots=True)
class Variant:
    """REF and ALT at a position, as written, and what the judge of alleles says of them.

    Parameters
    ----------
    chrom : str
        Name of the contig.
    pos : int
        1-based, as in VCF, and the only 1-based number of this package; integers of NumPy are taken.
    ref, alt : str
        Alleles as written, in any case. A missing value (None, NaN) is read as ``.``, as VCF writes it. What is no
        allele of bases has a ``problem``; it is never an error here.
    id : str
        Name of the record.

    Attributes
    ----------
    problem : str or None
        Why the alleles cannot be scored: ``symbolic_alt`` or ``invalid_allele``; None where both are bases.
    detail : str
        What was found.
    bases : tuple of str
        REF and ALT in upper case; as written where there is a problem.

    Raises
    ------
    InputError
        If a field has the wrong type, or ``pos`` lies outside 0 to 2^31 - 1.
    """

    chrom: str
    pos: int
    ref: str
    alt: str
    id: str = "."
    problem: str | None = field(init=False, repr=False, compare=False)
    detail: str = field(init=False, repr=False, compare=False)
    bases: tuple[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.chrom, str) or not self.chrom:
            raise InputError(f"chrom of a variant is {self.chrom!r}; the name of a contig is needed")
        if re.search(r"[\t\r\n\0]", self.chrom):
            raise InputError(f"chrom of a variant is {self.chrom!r}, which holds a tab or an end of line")
        ref, alt = _text(self, "ref"), _text(self, "alt")
        problem, detail = judge_alleles(ref, alt)
        bases = (ref, alt) if problem or (ref.isupper() and alt.isupper()) else (ref.upper(), alt.upper())
        values = {"chrom": str(self.chrom), "pos": _position(self), "ref": ref, "alt": alt, "id": _text(self, "id")}
        for name, value in {**values, "problem": problem, "detail": detail, "bases": bases}.items():
            object.__setattr__(self, name, value)

    def __str__(self) -> str:
        return f"{self.chrom}:{self.pos} {self.ref}>{self.alt}"

    @property
    def k(self) -> int | None:
        """Length of ALT minus length of REF in bases, N and the like included; None where an allele has no bases."""
        return len(self.alt) - len(self.ref) if has_length(self.ref) and has_length(self.alt) else None

    @classmethod
    def parse(cls, text: str) -> Variant:
        """Read a variant from text.

        ``chr1:14677:G:A``, ``chr1-14677-G-A``, ``chr1:14677G>A``, ``chr1:14677 G>A`` and ``chr1:g.14677G>A`` are the
        same; the position may have commas between thousands, and the contig any character but spaces. What ``str``
        gives of a variant reads as that variant.

        Raises
        ------
        InputError
            If the text has none of these forms.
        """
        for form in _FORMS:
            found = form.fullmatch(text.strip())
            if found:
                return cls(found["chrom"], int(found["pos"].replace(",", "")), found["ref"], found["alt"])
        raise InputError(f"variant {text[:60]!r} cannot be read; write it like 'chr1:14677:G:A' or 'chr1:14677 G>A'")

    @classmethod
    def of(cls, thing: Variant | str | Sequence[Any]) -> Variant:
        """Return a variant from a Variant, from text as :meth:`parse` reads it, or from (chrom, pos, ref, alt[, id]).

        Raises
        ------
        InputError
            If it is none of these.
        """
        if isinstance(thing, Variant):
            return thing
        if isinstance(thing, str):
            return cls.parse(thing)
        if isinstance(thing, np.ndarray | np.void):  # a row of an array, or of one with named columns
            thing = thing.tolist()
        if isinstance(thing, Sequence) and not isinstance(thing, bytes | bytearray) and len(thing) in (4, 5):
            return cls(*thing)
        raise InputError(
            f"{thing!r:.60} is no variant; a Variant, text like 'chr1:14677:G:A' or (chrom, pos, ref, alt) is needed"
        )


def table_variants(table: Any) -> Iterable[Sequence[Any]]:
    """Return the variants of a table as (chrom, pos, ref, alt[, id]).

    Parameters
    ----------
    table : table of pandas, polars or Arrow
        Its columns of these names are taken, in upper or lower case, ``#CHROM`` too.

    Raises
    ------
    InputError
        If a column is missing.
    """
    names = list(getattr(table, "column_names", None) or table.columns)
    known = {str(name).lower().removeprefix("#"): name for name in reversed(names)}
    missing = [name for name in _COLUMNS[:4] if name not in known]
    if missing:
        raise InputError(
            f"a table of variants with columns {', '.join(map(str, names))} has no {', '.join(missing)}; "
            "chrom, pos, ref and alt are needed, id may stand beside them"
        )
    columns = [table[known[name]] for name in _COLUMNS if name in known]
    return zip(*(column.to_pylist() if hasattr(column, "to_pylist") else column for column in columns), strict=True)


def is_table(thing: Any) -> bool:
    """Tell whether a thing is a table, of pandas, polars or Arrow, and not an iterable of rows."""
    return hasattr(thing, "columns") and hasattr(thing, "__getitem__")


def _position(variant: Variant) -> int:
    """Return ``pos`` as an int; a float or a bool is none, even where it is whole."""
    found: object = variant.pos
    pos = whole(found)
    if pos is None or not 0 <= pos <= LAST_POS:
        raise InputError(
            f"pos of a variant on {variant.chrom!r} is {found!r} ({type(found).__name__}); "
            f"a whole number from 0 to {LAST_POS} is needed, 1 is the first base"
        )
    return pos


def _text(variant: Variant, name: str) -> str:
    """Return an allele or the id as a plain str, ``.`` where the value is missing."""
    found: object = getattr(variant, name)
    if isinstance(found, str):
        return str(found)  # of a subclass, as NumPy's, too
    missing = found is None or type(found).__name__ == "NAType"  # of pandas
    if missing or (isinstance(found, float | np.floating) and np.isnan(found)):
        return "."
    raise InputError(
        f"{name} of the variant at {variant.chrom}:{variant.pos} is {found!r:.40} ({type(found).__name__}); "
        "text is needed"
    )


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
        Alleles as written.
    problem : str or None
        Why it cannot be scored; what the judge says of the variant, unless the maker of the record knew better.
    detail : str
        What was found.
    window_start : int or None
        0-based start of the input window, where something else than the variant decides it.
    haplotype : Haplotype or None
        What is compared, where that is a haplotype and ``variant`` only names it.
    """

    record: int
    alt_index: int
    variant: Variant
    problem: str | None = None
    detail: str = ""
    window_start: int | None = None
    haplotype: Haplotype | None = None

    def __post_init__(self) -> None:
        if self.problem is None and self.haplotype is None:
            object.__setattr__(self, "problem", self.variant.problem)
            object.__setattr__(self, "detail", self.variant.detail)


class VariantReader(Iterator[VariantRecord]):
    """The variants of a file in its order, read once.

    Five columns are read. Bytes that are not UTF-8 are kept: they come out of ``text.encode("utf-8",
    "surrogateescape")`` as they went in.

    Attributes
    ----------
    source : str
        Name of the file, for messages.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._lines = FileLines(path, pipe=False)
        self.source = self._lines.source
        self._records = _records(self._lines, self.source)

    def __iter__(self) -> VariantReader:
        return self

    def __next__(self) -> VariantRecord:
        return next(self._records)

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes of the file (compressed, if they are), known once the last variant was read.

        Raises
        ------
        InputError
            If variants are left.
        """
        return self._lines.sha256


def read_variants(path: str | os.PathLike[str]) -> VariantReader:
    """Stream the variants of a file in its order.

    Parameters
    ----------
    path : path
        VCF, plain or compressed, or BCF; told apart by content. ``-`` reads stdin, of any of these kinds.

    Returns
    -------
    VariantReader
        An iterator of VariantRecord. A file without records gives none, even where it is empty.

    Raises
    ------
    FormatError
        While it is read, naming file and line, when the file is truncated or malformed.
    """
    return VariantReader(path)


def _records(lines: Iterator[bytes], source: str) -> Iterator[VariantRecord]:
    record, columns = 0, 0
    for number, raw in enumerate(lines, start=1):
        line = raw.rstrip(b"\r\n")
        where = f"{source}, line {number}"
        check_line(line, where)
        if line.startswith(b"#"):
            columns = line.count(b"\t") + 1 if line.startswith(b"#CHROM") else columns
        elif line.strip():
            yield from _alleles(line, where, record, columns)
            record += 1


def check_line(line: bytes, where: str) -> None:
    """Refuse a line that is none of a text file.

    Raises
    ------
    FormatError
        Saying why.
    """
    if b"\0" in line:
        raise FormatError(f"{where}: not text; is this a VCF file?")
    if b"\r" in line:  # the lines of an old Macintosh would all be taken for one
        raise FormatError(f"{where}: holds carriage returns; end the lines with newlines")


def _alleles(line: bytes, where: str, record: int, columns: int) -> Iterator[VariantRecord]:
    fields = [part.decode("utf-8", "surrogateescape") for part in line.split(b"\t", 5)[:5]]
    count = _tabs(line) + 1
    if count < max(5, columns):
        if count < 5 <= len(line.split()):
            raise FormatError(f"{where}: columns are split by spaces; VCF needs tabs")
        if count < 5 and not _is_utf8(line):
            raise FormatError(f"{where}: not text; is this a VCF file?")
        raise FormatError(
            f"{where}: {count} columns, {max(5, columns)} are needed, found {_start(line)}; is the file truncated?"
        )
    chrom, text, name, ref, alts = fields
    if not text.isascii() or not text.isdigit() or len(text) > 10 or int(text) > LAST_POS:
        raise FormatError(f"{where}: POS is {text[:30]!r}; a number up to {LAST_POS} is needed")
    if not chrom or not ref:
        raise FormatError(f"{where}: CHROM or REF is empty, found {_start(line)}")
    for alt_index, alt in enumerate(alts.split(",")):
        yield VariantRecord(record, alt_index, Variant(chrom, int(text), ref, alt, name or "."))


def _tabs(line: bytes) -> int:
    """Count the tabs of a line; of one with thousands of samples NumPy does so in a fifth of the time."""
    if len(line) < _LONG_LINE:
        return line.count(b"\t")
    return int(np.count_nonzero(np.frombuffer(line, dtype=np.uint8) == ord("\t")))


def _start(line: bytes) -> str:
    """Return the start of a line for a message."""
    return repr(line.decode("utf-8", "backslashreplace")[:60])


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
