"""DNA as Python strings: one-hot, the other strand, and windows of edited chromosomes."""

from __future__ import annotations

import numpy as np

COMPLEMENT = {"A": "T", "C": "G", "G": "C", "T": "A"}


def onehot(text: str) -> np.ndarray:
    """Return uint8 (4, length); only the letters ACGT, in either case, set anything."""
    out = np.zeros((4, len(text)), dtype=np.uint8)
    for column, letter in enumerate(text):
        if letter.upper() in "ACGT":
            out["ACGT".index(letter.upper()), column] = 1
    return out


def other_strand(text: str) -> str:
    """Return the reverse complement; whatever is no base reads as N."""
    return "".join(COMPLEMENT.get(letter.upper(), "N") for letter in reversed(text))


def replaced(text: str, first: int, old: str, new: str) -> str:
    """Replace ``old``, which must stand at ``first``, by ``new``."""
    assert text[first : first + len(old)] == old
    return text[:first] + new + text[first + len(old) :]


def allele_window(
    chromosome: str,
    *,
    pos: int,
    held: str,
    allele: str,
    start: int,
    length: int,
    shift: int = 0,
    trim: int = 0,
    cut_first: int | None = None,
) -> str:
    """Return the window of one allele: the chromosome with ``held`` at 1-based ``pos`` replaced, N beyond its ends.

    The window begins at 0-based ``start`` of the edited chromosome, loses ``trim`` bases on the left, and moves right
    by ``shift``. With ``cut_first`` bases the window is cut to so many, filled up with N, and moved after that.
    """
    far = 4 * length + len(chromosome)
    edited = "N" * far + replaced(chromosome, pos - 1, held, allele) + "N" * far
    first = far + start + trim
    if cut_first is None:
        return edited[first - shift : first - shift + length]
    window = edited[first : first + cut_first] + "N" * (length - cut_first)
    return ("N" * shift + window)[:length] if shift >= 0 else window[-shift:] + "N" * -shift
