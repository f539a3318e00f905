"""One-hot DNA, letter by letter."""

from __future__ import annotations

import numpy as np

ROWS = {"A": 0, "C": 1, "G": 2, "T": 3}
COMPLEMENT = {"A": "T", "C": "G", "G": "C", "T": "A"}


def encode(text: str) -> np.ndarray:
    """Return (4, length); what is not A, C, G or T in either case is a column of zeros."""
    out = np.zeros((4, len(text)), dtype=np.uint8)
    for column, letter in enumerate(text):
        if letter in "ACGTacgt":
            out[ROWS[letter.upper()], column] = 1
    return out


def reverse_complement(text: str) -> str:
    """Return the other strand as upper-case text; an unknown letter is N."""
    return "".join(COMPLEMENT.get(letter, "N") for letter in reversed(text.upper()))


def substitutions(text: str, start: int, end: int) -> list[tuple[int, int, str]]:
    """Return (position, row, mutated text) of every single-base substitution, by position, then in the order ACGT."""
    return [
        (position, row, text[:position] + letter + text[position + 1 :])
        for position in range(start, end)
        for letter, row in ROWS.items()
        if text[position].upper() != letter
    ]
