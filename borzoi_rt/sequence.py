"""One-hot DNA: uint8 arrays of shape (4, length), rows A, C, G, T, a column of zeros for an unknown base."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ._kernels import onehot as _kernel
from .errors import InputError
from .types import ByteArray

BASES = "ACGT"


def encode(sequence: str | bytes | bytearray) -> ByteArray:
    """Encode DNA letters.

    Parameters
    ----------
    sequence : str or bytes
        Letters; lower case (soft-masked) reads as upper case, N and every other letter gives a column of zeros.

    Returns
    -------
    uint8 ndarray of shape (4, length)

    Raises
    ------
    InputError
        If ``sequence`` is neither text nor bytes.
    """
    if isinstance(sequence, str):
        # One byte a character whatever the character, so that columns stay aligned with the text.
        letters = sequence.encode("ascii", errors="replace")
    elif isinstance(sequence, bytes | bytearray):
        letters = bytes(sequence)
    else:
        raise InputError(f"sequence is {type(sequence).__name__}; str or bytes is needed")
    out = np.empty((4, len(letters)), dtype=np.uint8)
    if letters:
        _kernel.encode(letters, out)
    return out


def decode(onehot: ByteArray) -> str:
    """Return the letters of one-hot DNA of shape (4, length); a column of zeros reads as N.

    Raises
    ------
    InputError
        If the array is not one-hot uint8.
    """
    onehot = _checked(onehot, ndim=2)
    counts = onehot.sum(axis=0)
    if counts.size and (counts.max() > 1 or onehot.max() > 1):
        column = int(np.argmax(np.maximum(counts, onehot.max(axis=0))))
        raise InputError(f"column {column} is {onehot[:, column].tolist()}; at most one 1 is allowed")
    out = np.empty(onehot.shape[1], dtype=np.uint8)
    if out.size:
        _kernel.decode(onehot, out)
    return out.tobytes().decode("ascii")


def reverse_complement(onehot: ByteArray) -> ByteArray:
    """Return the other strand, as a new contiguous array.

    Parameters
    ----------
    onehot : uint8 ndarray of shape (..., 4, length)

    Returns
    -------
    uint8 ndarray of the same shape
    """
    # Two reversals and one copy: NumPy does this faster than a loop of ours did.
    return np.ascontiguousarray(_checked(onehot, ndim=None)[..., ::-1, ::-1])


def packed(window: ByteArray) -> ByteArray:
    """Return the bases of a window in the fewest bytes, equal where and only where windows are: what a hash reads.

    Parameters
    ----------
    window : uint8 ndarray of shape (4, length)
        Any numbers, mostly one-hot DNA.

    Returns
    -------
    uint8 ndarray of shape (length,), or (length, 4) where a number is above 1
    """
    if window.max(initial=0) > 1:
        return np.ascontiguousarray(window.T)
    codes: ByteArray = window[0].copy()
    for row in window[1:]:
        codes += codes  # twice as much: sums are vectorised, shifts are not
        codes += row
    return codes


def apply_variant(onehot: ByteArray, position: int, ref_length: int, alt: str | bytes) -> ByteArray:
    """Splice an allele: ``seq[:position] + alt + seq[position + ref_length:]``.

    Parameters
    ----------
    onehot : uint8 ndarray of shape (4, length)
        Not modified.
    position : int
        0-based column of the first replaced base.
    ref_length : int
        Number of bases replaced; 0 inserts.
    alt : str or bytes
        New letters; empty deletes.

    Returns
    -------
    uint8 ndarray of shape (4, length + len(alt) - ref_length)

    Raises
    ------
    InputError
        If the replaced bases do not lie inside the sequence.
    """
    onehot = _checked(onehot, ndim=2)
    end = position + ref_length
    if position < 0 or ref_length < 0 or end > onehot.shape[1]:
        raise InputError(f"bases [{position}, {end}) do not lie in a sequence of {onehot.shape[1]} bases")
    return np.concatenate([onehot[:, :position], encode(alt), onehot[:, end:]], axis=1)


@dataclass(frozen=True)
class SubstitutionBatch:
    """Some substitutions of one window.

    Attributes
    ----------
    position : intp ndarray of shape (batch,)
        0-based column of the replaced base.
    alt : uint8 ndarray of shape (batch,)
        Row (A, C, G, T = 0..3) of the new base.
    sequence : uint8 ndarray of shape (batch, 4, length)
        The mutated windows: a view of one buffer, valid until the next batch is asked for.
    """

    position: npt.NDArray[np.intp]
    alt: ByteArray
    sequence: ByteArray


def substitutions(
    onehot: ByteArray, start: int = 0, end: int | None = None, *, batch_size: int = 64
) -> Iterator[SubstitutionBatch]:
    """Yield every single-base substitution of columns [start, end), position by position, new bases in the order ACGT.

    A known base has three substitutions, an unknown one four. The buffer is filled with the reference once; after that
    each row restores the column of its last substitution and sets one other, so that a batch costs two columns a row
    and not a copy of the window.

    Parameters
    ----------
    onehot : uint8 ndarray of shape (4, length)
        Reference window; not modified.
    start, end : int
        Columns to mutate; ``end`` None is the length.
    batch_size : int
        Rows of the buffer; the last batch may be shorter.

    Yields
    ------
    SubstitutionBatch
    """
    onehot = _checked(onehot, ndim=2)
    length = onehot.shape[1]
    end = length if end is None else end
    if not 0 <= start <= end <= length:
        raise InputError(f"columns [{start}, {end}) do not lie in a window of {length} bases")
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; a positive number is needed")
    reference = onehot.copy()
    offset, base = np.nonzero(reference[:, start:end].T == 0)
    position, alt = offset + start, base.astype(np.uint8)
    buffer = np.repeat(reference[None], min(batch_size, len(position)), axis=0)
    last = position[: len(buffer)].copy()
    for first in range(0, len(position), batch_size):
        now = slice(first, first + batch_size)
        rows = len(position[now])
        _kernel.edit(buffer, reference, last[:rows], position[now], alt[now])
        last[:rows] = position[now]
        yield SubstitutionBatch(position[now], alt[now], buffer[:rows])


def edited(onehot: ByteArray, mutants: ByteArray, *, start: int = 0) -> Iterator[ByteArray]:
    """Yield a window once for each mutant of some of its columns, with as few columns written as differ.

    Parameters
    ----------
    onehot : uint8 ndarray of shape (4, length)
        Reference window; not modified.
    mutants : uint8 ndarray of shape (mutants, columns)
        Letters of columns [start, start + columns) as numbers, 0 to 3 for A, C, G, T and 4 for an unknown base.
    start : int
        First of these columns.

    Yields
    ------
    uint8 ndarray of shape (4, length)
        The mutated window: one buffer, valid until the next mutant is asked for.
    """
    reference = _checked(onehot, ndim=2).copy()
    end = start + mutants.shape[1]
    if not 0 <= start <= end <= reference.shape[1]:
        raise InputError(f"columns [{start}, {end}) do not lie in a window of {reference.shape[1]} bases")
    held = reference[:, start:end]
    now = np.where(held.any(axis=0), held.argmax(axis=0), 4).astype(np.uint8)
    buffer = reference[None].copy()
    for mutant in mutants:
        for column in np.flatnonzero(mutant != now):
            position = np.array([start + column], dtype=np.intp)
            _kernel.edit(buffer, reference, position, position, mutant[column : column + 1].copy())
        now = mutant
        yield buffer[0]


def _checked(onehot: ByteArray, *, ndim: int | None) -> ByteArray:
    if not isinstance(onehot, np.ndarray) or onehot.dtype != np.uint8:
        found = getattr(onehot, "dtype", type(onehot).__name__)
        raise InputError(f"one-hot DNA is {found}; a uint8 array is needed")
    if (ndim is not None and onehot.ndim != ndim) or onehot.ndim < 2 or onehot.shape[-2] != 4:
        raise InputError(f"one-hot DNA has shape {onehot.shape}; (..., 4, length) is needed")
    return np.ascontiguousarray(onehot)
