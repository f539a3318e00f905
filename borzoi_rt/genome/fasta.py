"""An indexed FASTA file, with windows that may leave the chromosome."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import pysam

from ..errors import FormatError, InputError
from .bgzf import has_eof_block, is_bgzf, is_gzip


class Fasta:
    """Open an indexed FASTA file, plain or bgzip.

    Not to be shared between threads or over a fork: the file position is part of the object.

    Parameters
    ----------
    path : path
        FASTA with its ``.fai`` (and ``.gzi``) beside it. Indices are never built in silence.

    Raises
    ------
    FormatError
        If the file or an index is missing, truncated or stale.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        index = Path(f"{self.path}.fai")
        _check_indices(self.path, index)
        self._index_text = index.read_text(encoding="utf-8", errors="replace")
        self._rows = _read_index(index, self._index_text)
        self.contigs = {name: length for name, (length, *_) in self._rows.items()}
        _check_size(self.path, self._rows)
        verbosity = pysam.set_verbosity(0)
        try:
            self._file = pysam.FastaFile(str(self.path))
        except (OSError, ValueError) as error:
            raise FormatError(f"{self.path}: cannot be opened as FASTA ({error}); index it again") from error
        finally:
            pysam.set_verbosity(verbosity)

    @property
    def name(self) -> str:
        """File name, for messages and records."""
        return self.path.name

    def __enter__(self) -> Fasta:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def resolve(self, chrom: str) -> str | None:
        """Return the contig a name means: itself, with ``chr`` added or removed, or M for MT; None if there is none."""
        bare = chrom[3:] if chrom.startswith("chr") else chrom
        bare = {"M": "MT", "MT": "M"}.get(bare, bare)
        candidates = [chrom, chrom[3:] if chrom.startswith("chr") else f"chr{chrom}", bare, f"chr{bare}"]
        return next((name for name in candidates if name in self.contigs), None)

    def fetch(self, chrom: str, start: int, end: int) -> str:
        """Return upper-case bases of [start, end), 0-based; N where the interval leaves the chromosome.

        Raises
        ------
        InputError
            If the contig is not in the file.
        FormatError
            If the file ends early or the index is stale.
        """
        if chrom not in self.contigs:
            raise InputError(f"{self.name} has no contig {chrom!r}; it has {', '.join(list(self.contigs)[:5])}, ...")
        length = self.contigs[chrom]
        low, high = min(max(start, 0), length), min(max(end, 0), length)
        text = ""
        if high > low:
            try:
                text = self._file.fetch(chrom, low, high).upper()
            except (OSError, ValueError) as error:
                raise FormatError(f"{self.path}: {chrom}:{low + 1}-{high} cannot be read ({error})") from error
        if len(text) != max(high - low, 0) or not (text.isalpha() or not text):
            raise FormatError(
                f"{self.path}: {chrom}:{low + 1}-{high} gave {len(text)} bases for {high - low}, or other characters "
                "than letters; the file is truncated or its index is stale, run `samtools faidx` again"
            )
        left = min(max(0 - start, 0), end - start)
        return "N" * left + text + "N" * (end - start - left - len(text))

    def fingerprint(self) -> str:
        """Return the SHA-256 of the index: names, lengths and layout of the contigs (not every base)."""
        return hashlib.sha256(self._index_text.encode()).hexdigest()


def write_fasta(path: str | os.PathLike[str], contigs: Mapping[str, str], *, width: int = 60) -> None:
    """Write sequences (contig -> bases) as FASTA, with the index beside it."""
    with Path(path).open("w", encoding="ascii") as handle:
        for name, bases in contigs.items():
            handle.write(f">{name}\n")
            handle.writelines(f"{bases[start : start + width]}\n" for start in range(0, len(bases), width))
    pysam.faidx(str(path))


def _check_indices(path: Path, index: Path) -> None:
    if not path.is_file():
        raise FormatError(f"{path}: no such FASTA file")
    if path.stat().st_size == 0:
        raise FormatError(f"{path}: empty file")
    make = f"run `samtools faidx {path}` (or python -c \"import pysam; pysam.faidx('{path}')\")"
    if is_gzip(path):
        if not is_bgzf(path):
            raise FormatError(f"{path}: gzip without blocks cannot be read at random; gunzip it and run `bgzip` on it")
        if not has_eof_block(path):
            raise FormatError(f"{path}: truncated, the bgzip end block is missing; copy the file again")
        if not Path(f"{path}.gzi").is_file():
            raise FormatError(f"{path}: its index {path.name}.gzi is missing; {make}")
    if not index.is_file():
        raise FormatError(f"{path}: its index {index.name} is missing; {make}")


def _read_index(index: Path, text: str) -> dict[str, tuple[int, int, int, int]]:
    rows: dict[str, tuple[int, int, int, int]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split("\t")
        try:
            length, offset, bases, width = (int(value) for value in fields[1:5])
            if length < 0 or offset < 0 or (length and not 0 < bases < width):
                raise ValueError
        except ValueError:
            raise FormatError(
                f"{index}, line {number}: {line[:60]!r} is no index row; run `samtools faidx` again"
            ) from None
        rows[fields[0]] = (length, offset, bases, width)
    if not rows:
        raise FormatError(f"{index}: no contigs; run `samtools faidx` again")
    return rows


def _check_size(path: Path, rows: dict[str, tuple[int, int, int, int]]) -> None:
    """Compare the last base the index promises with the size of a plain file; for bgzip ``fetch`` checks."""
    if is_gzip(path):
        return
    size = path.stat().st_size
    for name, (length, offset, bases, width) in rows.items():
        if not length:
            continue
        last = offset + (length - 1) // bases * width + (length - 1) % bases
        if last >= size:
            raise FormatError(
                f"{path}: {size} bytes, but its index places the end of {name} at byte {last + 1}; "
                "the file is truncated or the index is stale, copy it or run `samtools faidx` again"
            )
