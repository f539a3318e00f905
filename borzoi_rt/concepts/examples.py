"""Examples of a concept: windows with it, and the same windows without it.

==============  =======================  =========================================================================
concept         with it                  without it
==============  =======================  =========================================================================
word, motif     put into shuffled bases  the shuffled bases as they are
sequences       one put in likewise      its own dinucleotide shuffle put in there
intervals       as the genome has them   their bases shuffled, dinucleotides kept
==============  =======================  =========================================================================

Words, motifs and sequences are put into the bases of the rows that are explained, which are shuffled first, at a start
that is drawn; of a motif each example is a draw from its probabilities. An N of a word keeps the base that is there. A
third window has the same bases shuffled again, so that chance can be told from the concept.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from ..bundle.manifest import Geometry
from ..errors import InputError
from ..explain.experiments import motif_letters
from ..explain.rows import Row, region_rows
from ..explain.shuffles import shuffled
from ..genome.fasta import Fasta
from ..genome.intervals import read_bed
from ..motifs.files import read_motifs
from ..sequence import encode
from ..types import ByteArray, DoubleArray

BED, FASTA = (".bed", ".bed.gz"), (".fa", ".fasta", ".fna", ".fa.gz", ".fasta.gz", ".fna.gz")


class Example(NamedTuple):
    """Three windows, uint8 (4, length), and first and last + 1 of the bases in which they differ."""

    present: ByteArray
    absent: ByteArray
    other: ByteArray
    bases: tuple[int, int]


class Concept(Protocol):
    """A named concept."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def kind(self) -> str:
        """``word``, ``motif``, ``sequences`` or ``intervals``."""

    @property
    def count(self) -> int:
        """Sequences or intervals there are; 0 where there are as many examples as one likes."""

    def example(self, number: int, backgrounds: Backgrounds, rng: np.random.Generator) -> Example:
        """Return example ``number``."""


@dataclass(frozen=True, eq=False)
class Backgrounds:
    """Rows whose bases concepts are put into, and where they come from."""

    rows: Sequence[Row]
    fasta: Fasta
    geometry: Geometry

    def window(self, number: int) -> tuple[ByteArray, tuple[int, int]]:
        """Return the window of row ``number``, counted around, and its bases."""
        row = self.rows[number % len(self.rows)]
        return row.window(self.fasta, self.geometry), row.columns


@dataclass(frozen=True, eq=False)
class Inserted:
    """A concept that is put in: probabilities of a motif (4, width), letters of a word, or one of several sequences."""

    name: str
    kind: str
    choices: tuple[ByteArray, ...] = ()
    probabilities: DoubleArray | None = None

    @property
    def count(self) -> int:
        """See :attr:`Concept.count`."""
        return len(self.choices) if self.kind == "sequences" else 0

    def example(self, number: int, backgrounds: Backgrounds, rng: np.random.Generator) -> Example:
        """See :meth:`Concept.example`."""
        window, (start, end) = backgrounds.window(number)
        absent, other = (shuffled(window, start, end, rng) for _ in range(2))
        letters = self.letters(number, rng)
        width = letters.shape[1]
        if width > end - start:
            raise InputError(f"concept {self.name} has {width} bases; a row has {end - start}: take wider rows")
        first = int(rng.integers(start, end - width + 1))
        bases = (first, first + width)
        present = put(absent, letters, first)
        if self.kind == "sequences":
            absent, other = (put(absent, shuffled(letters, 0, width, rng), first) for _ in range(2))
        return Example(present, absent, other, bases)

    def letters(self, number: int, rng: np.random.Generator) -> ByteArray:
        """Return what is put in, one-hot (4, bases); an N is a column of zeros."""
        if self.probabilities is None:
            return self.choices[number % len(self.choices)]
        ends = np.cumsum(self.probabilities, axis=0)
        drawn = (rng.random(ends.shape[1]) * ends[-1] > ends).sum(axis=0)
        found: ByteArray = (drawn == np.arange(4)[:, None]).astype(np.uint8)
        return found


@dataclass(frozen=True, eq=False)
class Intervals:
    """A concept of the genome: rows of a BED file, each in its own window."""

    name: str
    rows: Sequence[Row]
    kind: str = "intervals"

    @property
    def count(self) -> int:
        """See :attr:`Concept.count`."""
        return len(self.rows)

    def example(self, number: int, backgrounds: Backgrounds, rng: np.random.Generator) -> Example:
        """See :meth:`Concept.example`; there are as many as intervals."""
        if number >= len(self.rows):
            raise InputError(
                f"concept {self.name} has {len(self.rows)} intervals; repeats x examples are more: give fewer of these"
            )
        window, bases = self.rows[number].window(backgrounds.fasta, backgrounds.geometry), self.rows[number].columns
        absent, other = (shuffled(window, *bases, rng) for _ in range(2))
        return Example(window, absent, other, bases)


def put(window: ByteArray, letters: ByteArray, first: int) -> ByteArray:
    """Return a window with letters from ``first`` on; a column of zeros keeps the base that is there."""
    found, known = window.copy(), letters.any(axis=0)
    found[:, first : first + letters.shape[1]][:, known] = letters[:, known]
    return found


def words_from(texts: Sequence[str]) -> list[Inserted]:
    """Return concepts of ``LETTERS``, ``NAME=LETTERS`` or ``@FILE``, a MEME or JASPAR file of motifs.

    Raises
    ------
    InputError
        If letters are other than A, C, G, T and N.
    """
    found: list[Inserted] = []
    for text in texts:
        if text.startswith("@"):
            found += [Inserted(motif.label, "motif", probabilities=motif.matrix) for motif in read_motifs(text[1:])]
            continue
        name, _, letters = text.rpartition("=")
        found.append(Inserted(name or letters.upper(), "word", (motif_letters(letters),)))
    return found


def files_from(texts: Sequence[str], fasta: Fasta, geometry: Geometry) -> list[Concept]:
    """Return concepts of ``NAME=FILE`` or ``FILE``: sequences of a FASTA file or intervals of a BED file.

    Raises
    ------
    InputError
        If a file is of neither kind, has no row, or an interval that cannot be read.
    """
    found: list[Concept] = []
    for text in texts:
        name, path = named_file(text)
        if path.name.endswith(BED):
            regions = read_bed(path)
            if not regions:
                raise InputError(f"{path}: has no interval")
            found.append(Intervals(name, region_rows(regions, fasta, geometry)))
        elif path.name.endswith(FASTA):
            found.append(Inserted(name, "sequences", tuple(_sequences(path))))
        else:
            raise InputError(f"{path.name}: a concept is a file of {', '.join((*BED, *FASTA))}; choose one of these")
    return found


def named_file(text: str) -> tuple[str, Path]:
    """Return name and path of ``NAME=FILE``; of ``FILE`` alone its name without the suffix."""
    name, _, path = text.partition("=") if "=" in text else ("", "", text)
    return name or Path(path).name.split(".")[0], Path(path)


def _sequences(path: str | os.PathLike[str]) -> list[ByteArray]:
    with Fasta(path) as file:
        found = [encode(file.fetch(name, 0, length)) for name, length in file.contigs.items()]
    short = [sequence.shape[1] for sequence in found if sequence.shape[1] < 4]
    if not found or short:
        raise InputError(f"{path}: sequences of 4 or more bases are needed")
    return found


def check_names(names: Sequence[str]) -> None:
    """Refuse concepts of one name, and none at all."""
    if not names:
        raise InputError("there is no concept; give a motif or a concept")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"two concepts are called {twice!r}; give each a name of its own, as NAME=...")
