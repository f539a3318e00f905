"""One training example, and the codes that its bases are stored in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

UNKNOWN = 4  # code of N and of every letter that is not A, C, G or T

_CODES = np.full(256, UNKNOWN, dtype=np.uint8)
for _code, _letters in enumerate(("Aa", "Cc", "Gg", "Tt")):
    for _letter in _letters:
        _CODES[ord(_letter)] = _code


@dataclass(frozen=True, slots=True)
class Window:
    """A window of the genome with its squashed coverage.

    Attributes
    ----------
    codes : uint8 ndarray of shape (length,)
        Bases: A 0, C 1, G 2, T 3, unknown 4.
    target : float16 ndarray of shape (tracks, bins)
        Squashed coverage of the inner part of the window.
    """

    codes: np.ndarray
    target: np.ndarray


def codes_of(sequence: str) -> np.ndarray:
    """Return the codes of DNA letters, uint8 (length,)."""
    return _CODES[np.frombuffer(sequence.encode("ascii", errors="replace"), dtype=np.uint8)]


def onehot_of(codes: np.ndarray) -> np.ndarray:
    """Return one-hot DNA uint8 (..., 4, length) of codes (..., length); an unknown base is a column of zeros."""
    found: np.ndarray = (codes[..., None, :] == np.arange(4, dtype=np.uint8)[:, None]).astype(np.uint8)
    return found
