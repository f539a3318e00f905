"""What a surrogate sees of a mutant: its substitutions, which bases are kept, or the motifs that are in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..motifs.scan import MotifScanner
from ..sequence import BASES
from ..types import ByteArray, DoubleArray
from .library import Library


@dataclass(frozen=True, eq=False)
class Features:
    """Numbers of every mutant, those that are the same in all left out.

    Attributes
    ----------
    kind : str
        ``substitutions``, ``kept`` or ``motifs``.
    names : tuple of str
        One a column.
    values : float64 ndarray of shape (mutants, features)
    dropped : tuple of str
        Names of what is the same in all mutants, of which nothing can be said.
    """

    kind: str
    names: tuple[str, ...]
    values: DoubleArray
    dropped: tuple[str, ...] = ()

    @classmethod
    def of(cls, kind: str, names: Sequence[str], values: np.ndarray) -> Features:
        """Return the columns that vary.

        Raises
        ------
        InputError
            If none does.
        """
        varies = (values != values[:1]).any(axis=0)
        if not varies.any():
            raise InputError(f"{kind} are the same in all mutants; take more mutants, a higher rate or another region")
        kept = tuple(name for name, used in zip(names, varies, strict=True) if used)
        dropped = tuple(name for name, used in zip(names, varies, strict=True) if not used)
        return cls(kind, kept, values[:, varies].astype(np.float64), dropped)


def substitutions_of(library: Library, first: int) -> Features:
    """Return 1 for every substitution that a mutant has, as ``620101T>A``.

    A linear model of these is the additive model: the score of the reference and an effect for each substitution.

    Parameters
    ----------
    library : Library
        The mutants.
    first : int
        1-based position of the first base.
    """
    names, columns = [], []
    for position, letter in enumerate(library.reference.tolist()):
        for base in range(4 if letter < 4 else 0):
            if base != letter:
                names.append(f"{first + position}{BASES[letter]}>{BASES[base]}")
                columns.append(library.codes[:, position] == base)
    return Features.of("substitutions", names, _stacked(columns))


def kept_of(library: Library, first: int) -> Features:
    """Return 1 for every base that is as in the reference, as ``620101T``; ``first`` is that of the first base."""
    known = np.flatnonzero(library.reference < 4).tolist()
    names = [f"{first + position}{BASES[library.reference[position]]}" for position in known]
    return Features.of("kept", names, library.codes[:, known] == library.reference[known])


def motifs_of(library: Library, scanner: MotifScanner, *, left: ByteArray, right: ByteArray) -> Features:
    """Return how many matches each motif has on each strand, as ``TATA+`` and ``TATA-``.

    A motif that reads the same on both strands matches on both.

    Parameters
    ----------
    library : Library
        The mutants.
    scanner : MotifScanner
        The motifs.
    left, right : uint8 ndarray of shape (bases,)
        Letters of the window beside the region, in which a match may begin or end. Matches that hold no base of the
        region are the same in all mutants.
    """
    names = [f"{motif.label}{strand}" for motif in scanner.motifs for strand in "+-"]
    counts = np.zeros((len(library.codes), len(names)))
    for row, mutant in enumerate(library.codes):
        letters = np.concatenate([left, mutant, right])
        onehot = (letters == np.arange(4)[:, None]).astype(np.uint8)
        for number, hits in enumerate(scanner.hits(onehot)):
            for hit in hits:
                counts[row, 2 * number + "+-".index(hit.strand)] += 1
    return Features.of("motifs", names, counts)


def _stacked(columns: Sequence[np.ndarray]) -> np.ndarray:
    if not columns:
        raise InputError("the region holds no known base")
    return np.stack(columns, axis=1)
