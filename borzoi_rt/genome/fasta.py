"""An indexed FASTA file, with windows that may leave the chromosome."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pysam

from ..closing import Closing
from ..errors import FormatError, InputError, quoted
from ..plain import path_of
from .bgzf import BlockedBytes, PlainBytes, has_eof_block, is_bgzf, is_gzip
from .contig_names import chromosome_of, other_assembly
from .fasta_index import Bytes, Contig, bases_of, check_layout, read_index

# What the fingerprint reads of a genome: all of it up to this many bases, else a block in every stretch.
WHOLE_BASES = 32_000_000
STRETCH_BP = 1_000_000
BLOCK_BP = 1024


class Fasta(Closing):
    """Open an indexed FASTA file, plain or bgzip.

    Not to be shared between threads.

    Parameters
    ----------
    path : path
        FASTA with its ``.fai`` (and ``.gzi``) beside it. Indices are never built in silence. The index is compared with
        the file around the ends of every contig when the file is opened, and at every line end of what is read.

    Attributes
    ----------
    contigs : dict of str to int
        Length of each contig in bp, in the order of the index.

    Raises
    ------
    FormatError
        If the file or an index is missing, truncated or stale.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path_of("fasta", path)
        index = Path(f"{self.path}.fai")
        _check_indices(self.path, index)
        self._rows = read_index(index)
        self.contigs = {name: row.length for name, row in self._rows.items()}
        self._fingerprint = ""
        self._content: Bytes = BlockedBytes(self.path) if is_gzip(self.path) else PlainBytes(self.path)
        try:
            check_layout(self.path, self._content, self._rows.values())
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<Fasta {self.path}: {len(self.contigs):,} contigs, {sum(self.contigs.values()):,} bp>"

    @property
    def name(self) -> str:
        """File name, for messages and records."""
        return self.path.name

    def close(self) -> None:
        """Close the file."""
        self._content.close()

    def resolve(self, chrom: str) -> str | None:
        """Return the contig a name means; None if there is none.

        Itself, with ``chr`` added or removed, M for MT, or the chromosome that an accession of RefSeq is known for
        (:mod:`borzoi_rt.genome.contig_names`), unless the contig has the length of another assembly.
        """
        found = self._named(chrom)
        if found is None and (chromosome := chromosome_of(chrom)) is not None:
            found = self._named(chromosome)
            if found is not None and other_assembly(chrom, self.contigs[found]) is not None:
                return None
        return found

    def _named(self, chrom: str) -> str | None:
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
        if chrom not in self._rows:
            raise InputError(
                f"{self.name} has no contig {quoted(chrom)}; it has {', '.join(list(self.contigs)[:5])}, ..."
            )
        length = self.contigs[chrom]
        low, high = min(max(start, 0), length), min(max(end, 0), length)
        text = self._bases(self._rows[chrom], low, high).decode("ascii") if high > low else ""
        left = min(max(0 - start, 0), end - start)
        return "N" * left + text + "N" * (end - start - left - len(text))

    def fingerprint(self) -> str:
        """Return what tells this genome from another: a SHA-256 of contigs and bases, not of the file.

        Name and length of every contig are in it, and bases in upper case: all of them up to ``WHOLE_BASES`` (32 Mb) in
        total, and then it reads ``sha256:...``. Of a longer genome it reads ``sampled-sha256:...`` and holds the middle
        ``BLOCK_BP`` (1,024) bases of each of the stretches, of at most ``STRETCH_BP`` (1 Mb), that a contig is cut
        into. Another assembly, other masking by N or variants spread over the genome change it; an edit that lies
        between the blocks of a longer genome does not. Line width, compression, lower case and the order of the contigs
        change nothing.
        """
        if not self._fingerprint:
            digest = hashlib.sha256()
            for name in sorted(self.contigs):
                digest.update(f">{name} {self.contigs[name]}\n".encode("utf-8", "surrogateescape"))
                for start, end in self._sampled(self.contigs[name]):
                    digest.update(self._bases(self._rows[name], start, end))
            self._fingerprint = f"{'sha256' if self._whole else 'sampled-sha256'}:{digest.hexdigest()}"
        return self._fingerprint

    @property
    def _whole(self) -> bool:
        return sum(self.contigs.values()) <= WHOLE_BASES

    def _sampled(self, length: int) -> Iterator[tuple[int, int]]:
        """Yield the intervals of a contig that the fingerprint reads."""
        stretches = -(-length // STRETCH_BP)
        for number in range(stretches):
            low, high = length * number // stretches, length * (number + 1) // stretches
            if self._whole:
                yield low, high
            else:
                middle = (low + high) // 2
                yield max(middle - BLOCK_BP // 2, low), min(middle + BLOCK_BP // 2, high)

    def _bases(self, contig: Contig, start: int, end: int) -> bytes:
        """Return upper-case bases of [start, end), which lie in the contig."""
        where = f"{self.path}: {contig.name}:{start + 1}-{end}"
        try:
            raw = self._content.read(contig.byte_of(start), contig.byte_of(end - 1) + 1)
        except (OSError, ValueError) as error:
            raise FormatError(f"{where} cannot be read ({error})") from error
        bases = bases_of(raw, contig, start, end - start)
        if bases is None:
            raise FormatError(
                f"{where} is cut short, or holds line ends elsewhere than its index says or other characters than "
                f"letters; the file is damaged or its index is stale, run `samtools faidx {self.path}` again"
            )
        return bases.upper()


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
