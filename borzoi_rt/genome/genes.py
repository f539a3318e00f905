"""Genes of an annotation: where their exons lie, in arrays that are searched by interval.

Coordinates are 0-based and half-open. The exons of a gene are the union of the exons of all its transcripts; its span
reaches from the first to the last of them. Contigs are called as the annotation calls them.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..types import BoolArray, ByteArray, IndexArray
from .contig_names import ContigNames
from .pas import Sites

_VERSION = re.compile(r"\.\d+(_PAR_Y)?$|_PAR_Y$")
_SHOWN = 5
STRANDS = "+-."


@dataclass(frozen=True, eq=False)
class Gene:
    """One gene.

    Attributes
    ----------
    id, name, type : str
        Name is the id where the annotation has none; type is empty where it has none.
    chrom : str
        Contig, as the annotation calls it.
    strand : str
        ``+``, ``-``, or ``.`` where it is not known.
    exons : int64 ndarray of shape (exons, 2)
        [start, end) in bp, 0-based, in ascending order, apart from one another.
    isoforms : tuple of int64 ndarray of shape (exons, 2)
        Exons of each transcript, likewise; empty where the annotation names no transcripts.
    """

    id: str
    name: str
    type: str
    chrom: str
    strand: str
    exons: IndexArray
    isoforms: tuple[IndexArray, ...] = ()

    @property
    def transcripts(self) -> tuple[IndexArray, ...]:
        """The exons of each transcript; those of the gene where transcripts are not known."""
        return self.isoforms or (self.exons,)

    def started_in(self, start: int, end: int) -> IndexArray:
        """Return the exons of the transcripts whose first transcribed base lies in [start, end), united, (exons, 2)."""
        held = [
            exons
            for exons in self.transcripts
            if start <= (int(exons[-1, 1]) - 1 if self.strand == "-" else int(exons[0, 0])) < end
        ]
        if not held:
            return self.exons[:0]
        every = np.concatenate(held)
        return unite(np.zeros(len(every), dtype=np.int64), every[:, 0], every[:, 1])[1]

    @property
    def span(self) -> tuple[int, int]:
        """From the first to the last exon, [start, end)."""
        return int(self.exons[0, 0]), int(self.exons[-1, 1])

    @property
    def tss(self) -> int:
        """0-based base where transcription starts: the 5' end of the span; its first base for a gene without strand."""
        start, end = self.span
        return end - 1 if self.strand == "-" else start

    @property
    def tes(self) -> int:
        """0-based base where transcription ends."""
        start, end = self.span
        return start if self.strand == "-" else end - 1

    @property
    def introns(self) -> IndexArray:
        """What lies between exons, int64 (exons - 1, 2)."""
        return np.stack([self.exons[:-1, 1], self.exons[1:, 0]], axis=1)

    @property
    def midpoint(self) -> int:
        """Mean of all bases of the exons, rounded down."""
        starts, ends = self.exons[:, 0], self.exons[:, 1]
        return int(((ends - starts) * (starts + ends - 1)).sum() // (2 * (ends - starts).sum()))

    def __str__(self) -> str:
        start, end = self.span
        called = self.id if self.name == self.id else f"{self.name} ({self.id})"
        return f"{called} {self.chrom}:{start + 1}-{end} {self.strand}"


@dataclass(frozen=True, eq=False)
class Texts:
    """Many short texts in one array of bytes: text N is ``letters[ends[N - 1] : ends[N]]``."""

    letters: ByteArray
    ends: IndexArray

    @classmethod
    def of(cls, texts: Sequence[str]) -> Texts:
        """Pack texts."""
        packed = [text.encode("utf-8", "surrogateescape") for text in texts]
        ends = np.cumsum([len(text) for text in packed], dtype=np.int64)
        return cls(np.frombuffer(b"".join(packed), dtype=np.uint8), ends)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, number: int) -> str:
        start = int(self.ends[number - 1]) if number else 0
        return self.letters[start : int(self.ends[number])].tobytes().decode("utf-8", "surrogateescape")

    def all(self) -> list[str]:
        """Return every text."""
        content, start, found = self.letters.tobytes(), 0, []
        for end in self.ends.tolist():
            found.append(content[start:end].decode("utf-8", "surrogateescape"))
            start = end
        return found


@dataclass(frozen=True, eq=False)
class Transcripts:
    """The transcripts of the genes of an annotation, in the order of the genes.

    Attributes
    ----------
    ends : int64 ndarray of shape (genes,)
        Transcripts of gene N are ``ends[N - 1]`` to ``ends[N]``.
    exon_ends : int64 ndarray of shape (transcripts,)
        Exons of transcript N are rows ``exon_ends[N - 1]`` to ``exon_ends[N]`` of ``exons``.
    exons : int64 ndarray of shape (exons, 2)
    """

    ends: IndexArray
    exon_ends: IndexArray
    exons: IndexArray

    def of(self, gene: int) -> tuple[IndexArray, ...]:
        """Return the exons of each transcript of a gene."""
        first, last = int(self.ends[gene - 1]) if gene else 0, int(self.ends[gene])
        starts = [int(self.exon_ends[number - 1]) if number else 0 for number in range(first, last)]
        ends = self.exon_ends[first:last].tolist()
        return tuple(self.exons[start:end] for start, end in zip(starts, ends, strict=True))


@dataclass(frozen=True, eq=False)
class Genes:
    """The genes of an annotation, ordered by contig and start.

    Attributes
    ----------
    source : str
        Name of the file, for messages and records.
    contigs, types : tuple of str
        What the codes below stand for.
    ids, names : Texts
        One for each gene.
    contig, type_code : int64 ndarray of shape (genes,)
    strand : int64 ndarray of shape (genes,)
        Index into ``+-.``.
    exon_ends : int64 ndarray of shape (genes,)
        Exons of gene N are rows ``exon_ends[N - 1]`` to ``exon_ends[N]`` of ``exons``.
    exons : int64 ndarray of shape (exons, 2)
    aliases : dict of str to str
        Other names of contigs that the annotation gives, as RefSeq's ``chromosome=1``.
    sites : Sites, optional
        Polyadenylation sites, of a table of their own.
    transcripts : Transcripts, optional
    contig_names : ContigNames, optional
        A table of names of contigs, which goes before every other rule.
    """

    source: str
    contigs: tuple[str, ...]
    types: tuple[str, ...]
    ids: Texts
    names: Texts
    contig: IndexArray
    type_code: IndexArray
    strand: IndexArray
    exon_ends: IndexArray
    exons: IndexArray
    aliases: dict[str, str]
    sites: Sites | None = None
    transcripts: Transcripts | None = None
    contig_names: ContigNames | None = None

    def __len__(self) -> int:
        return len(self.contig)

    def __getitem__(self, number: int) -> Gene:
        if not 0 <= number < len(self):
            raise IndexError(f"gene {number} of {len(self)}")
        first = int(self.exon_ends[number - 1]) if number else 0
        return Gene(
            id=self.ids[number],
            name=self.names[number],
            type=self.types[int(self.type_code[number])],
            chrom=self.contigs[int(self.contig[number])],
            strand=STRANDS[int(self.strand[number])],
            exons=self.exons[first : int(self.exon_ends[number])],
            isoforms=() if self.transcripts is None else self.transcripts.of(number),
        )

    def __repr__(self) -> str:
        return f"<Genes {self.source}: {len(self):,} genes, {len(self.exons):,} exons on {len(self.contigs)} contigs>"

    @cached_property
    def start(self) -> IndexArray:
        """First base of each gene, int64 (genes,)."""
        return self.exons[np.concatenate([[0], self.exon_ends[:-1]]).astype(np.int64), 0] if len(self) else self.contig

    @cached_property
    def end(self) -> IndexArray:
        """End of each gene, int64 (genes,)."""
        return self.exons[self.exon_ends - 1, 1] if len(self) else self.contig

    @cached_property
    def _reach(self) -> IndexArray:
        """Largest end of a gene and of all before it on its contig, so that the array ascends within a contig."""
        return _running_maximum(self.contig, self.end)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of ids, contigs, strands and exons: what a gene score depends on. Names and types are not in it."""
        digest = hashlib.sha256()
        digest.update("\n".join(self.contigs).encode("utf-8", "surrogateescape"))
        digest.update(self.ids.letters.tobytes())
        for values in (self.ids.ends, self.contig, self.strand, self.exon_ends, self.exons):
            digest.update(values.astype("<i8").tobytes())
        if self.sites is not None:
            digest.update(self.sites.digest.encode())
        if self.contig_names is not None:
            digest.update(self.contig_names.digest.encode())
        return digest.hexdigest()

    @cached_property
    def label_digest(self) -> str:
        """SHA-256 of names and types: what choices of genes go by, and what tables call them."""
        digest = hashlib.sha256("\n".join(self.types).encode("utf-8", "surrogateescape"))
        digest.update(self.names.letters.tobytes())
        for values in (self.names.ends, self.type_code):
            digest.update(values.astype("<i8").tobytes())
        return digest.hexdigest()

    @cached_property
    def transcript_digest(self) -> str:
        """SHA-256 of the exons of all transcripts: what a score depends on that knows transcripts, besides."""
        digest = hashlib.sha256()
        if self.transcripts is not None:
            for values in (self.transcripts.ends, self.transcripts.exon_ends, self.transcripts.exons):
                digest.update(values.astype("<i8").tobytes())
        return digest.hexdigest()

    def overlapping(self, contig: int, start: int, end: int) -> IndexArray:
        """Return the numbers of the genes of a contig whose span meets [start, end), ascending.

        Parameters
        ----------
        contig : int
            Index into ``contigs``.
        """
        low, high = np.searchsorted(self.contig, [contig, contig + 1])
        last = low + int(np.searchsorted(self.start[low:high], end))
        first = low + int(np.searchsorted(self._reach[low:last], start, side="right"))
        numbers = np.arange(first, last)
        return numbers[self.end[first:last] > start]

    def mask(self, names: Sequence[str] = (), types: Sequence[str] = ()) -> BoolArray:
        """Return which genes have one of the names and one of the types; an empty list asks for nothing.

        Parameters
        ----------
        names : sequence of str
            Ids, with or without their version, or names, letter by letter. A version that is given must be the
            annotation's, if that has versions.
        types : sequence of str
            Types like ``protein_coding``, as the annotation calls them.

        Raises
        ------
        InputError
            If a name or type finds nothing; the message names what is near.
        """
        kept = np.ones(len(self), dtype=bool)
        if types:
            unknown = [name for name in types if name not in self.types]
            if unknown:
                known = ", ".join(name for name in self.types if name) or "none, the annotation has no types"
                raise InputError(f"{self.source}: no gene has type {unknown[0]!r}; types: {known}")
            kept &= np.isin(self.type_code, [self.types.index(name) for name in types])
        if names:
            chosen = np.zeros(len(self), dtype=bool)
            for name in names:
                chosen[self._named(name)] = True
            kept &= chosen
        return kept

    def _named(self, name: str) -> list[int]:
        if not isinstance(name, str):
            raise InputError(f"gene is {name!r:.40}; its name or id is needed, as text")
        exact, bare = self._by_name
        stem = _VERSION.sub("", name)
        # A version that differs is another gene model; one that only one side has is left out of the comparison.
        found = exact.get(name) or (bare.get(name) if stem == name else exact.get(stem))
        if found:
            return found
        near = bare.get(stem) or ()
        texts = [self.ids[number] for number in near] or difflib.get_close_matches(name, exact, n=3, cutoff=0.6)
        hint = f"; nearest: {', '.join(texts[:3])}" if texts else f"; it has {', '.join(self.names.all()[:_SHOWN])}"
        raise InputError(f"{self.source}: no gene has the name or id {name!r}{hint}")

    @cached_property
    def _by_name(self) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
        """Numbers of genes by id or name, and by id without its version."""
        exact: dict[str, list[int]] = {}
        bare: dict[str, list[int]] = {}
        for number, (name, text) in enumerate(zip(self.ids.all(), self.names.all(), strict=True)):
            exact.setdefault(name, []).append(number)
            if text != name:
                exact.setdefault(text, []).append(number)
            bare.setdefault(_VERSION.sub("", name), []).append(number)
        return exact, bare


def unite(owner: npt.NDArray[np.int64], start: IndexArray, end: IndexArray) -> tuple[IndexArray, IndexArray]:
    """Unite the intervals of each owner that overlap or touch.

    Parameters
    ----------
    owner, start, end : int64 ndarray of shape (intervals,)
        In any order; owners are numbers from 0 on.

    Returns
    -------
    owner : int64 ndarray of shape (united,)
        Ascending.
    united : int64 ndarray of shape (united, 2)
        Ascending within an owner.
    """
    order = np.lexsort((start, owner))
    owner, start, end = owner[order], start[order], end[order]
    reach = _running_maximum(owner, end)
    first = np.ones(len(owner), dtype=bool)
    first[1:] = (owner[1:] != owner[:-1]) | (start[1:] > reach[:-1])
    last = np.append(np.flatnonzero(first)[1:] - 1, len(owner) - 1) if len(owner) else np.zeros(0, dtype=np.int64)
    return owner[first], np.stack([start[first], reach[last]], axis=1)


def _running_maximum(owner: IndexArray, values: IndexArray) -> IndexArray:
    """Return the largest value so far of each owner; owners ascend."""
    if not len(values):
        return values
    step = int(values.max()) + 1
    return np.maximum.accumulate(owner * step + values) - owner * step
