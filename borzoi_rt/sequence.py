"""One-hot DNA: uint8 arrays of shape (4, length), rows in the order A, C, G, T, a column of zeros for an unknown base."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ._kernels import onehot as _kernel
from .errors import InputError

BASES = "ACGT"


def encode(sequence: str | bytes | bytearray) -> np.ndarray:
    """Encode DNA letters.

    Parameters
    ----------
    sequence : str, bytes or bytearray
        One letter a base; lower case (soft-masked) reads as upper case; N, every other IUPAC code and anything that is
        not a letter give a column of zeros.

    Returns
    -------
    uint8 ndarray of shape (4, length)

    Raises
    ------
    InputError
        If ``sequence`` is neither text nor bytes.
    """
    letters = _letters(sequence)
    out = np.empty((4, len(letters)), dtype=np.uint8)
    if len(letters):
        _kernel.encode(letters, out)
    return out


def encode_into(sequence: str | bytes | bytearray, out: np.ndarray) -> None:
    """Encode DNA letters as :func:`encode` does, into an array of the caller.

    Parameters
    ----------
    sequence : str, bytes or bytearray
        One letter a base.
    out : uint8 ndarray of shape (4, length)
        C-contiguous and writeable, one column a letter. Overwritten.

    Raises
    ------
    InputError
        If ``sequence`` is neither text nor bytes, or ``out`` does not fit it.
    """
    letters = _letters(sequence)
    _check_target(out, (4, len(letters)))
    if len(letters):
        _kernel.encode(letters, out)


def decode(onehot: np.ndarray) -> str:
    """Return the letters of one-hot DNA; a column of zeros reads as N.

    Parameters
    ----------
    onehot : uint8 ndarray of shape (4, length)

    Raises
    ------
    InputError
        If the array is not uint8 of that shape, or a column holds anything but zeros and at most one 1.
    """
    onehot = _source(onehot, ndim=2)
    out = np.empty(onehot.shape[1], dtype=np.uint8)
    if out.size and _kernel.decode(onehot, out):
        sums = onehot.sum(axis=0, dtype=np.int64)
        column = int(np.argmax((sums > 1) | (onehot > 1).any(axis=0)))
        raise InputError(
            f"one-hot DNA holds {onehot[:, column].tolist()} in column {column}; allowed are zeros and at most one 1; "
            "make it with borzoi_rt.sequence.encode"
        )
    return out.tobytes().decode("ascii")


def reverse_complement(onehot: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return the other strand: columns reversed, A and T swapped, C and G swapped; unknown bases stay unknown.

    Parameters
    ----------
    onehot : uint8 ndarray of shape (..., 4, length)
        Not modified.
    out : uint8 ndarray of the same shape, optional
        C-contiguous and writeable, sharing no memory with ``onehot``. Overwritten.

    Returns
    -------
    uint8 ndarray of the same shape
        ``out``, or a new C-contiguous array.

    Raises
    ------
    InputError
        If an array has another dtype, shape or layout.
    """
    onehot = _source(onehot, ndim=None)
    if out is None:
        out = np.empty_like(onehot)
    else:
        _check_target(out, onehot.shape)
        if np.may_share_memory(onehot, out):
            raise InputError("out shares memory with the one-hot DNA it is made from; pass another array, or out=None")
    if out.size:
        flat = (math.prod(onehot.shape[:-2]), 4 * onehot.shape[-1])
        _kernel.reverse_complement(onehot.reshape(flat), out.reshape(flat))
    return out


def apply_variant(onehot: np.ndarray, position: int, ref_length: int, alt: str | bytes) -> np.ndarray:
    """Splice an allele in: ``sequence[:position] + alt + sequence[position + ref_length:]``.

    Parameters
    ----------
    onehot : uint8 ndarray of shape (4, length)
        Not modified.
    position : int
        0-based column of the first replaced base.
    ref_length : int
        Number of bases replaced; 0 inserts before ``position``.
    alt : str or bytes
        New letters; empty deletes.

    Returns
    -------
    uint8 ndarray of shape (4, length + len(alt) - ref_length)
        A new C-contiguous array.

    Raises
    ------
    InputError
        If the replaced bases do not all lie inside the sequence.
    """
    onehot = _source(onehot, ndim=2)
    position, ref_length = _integer("position", position), _integer("ref_length", ref_length)
    length, end = onehot.shape[1], position + ref_length
    if ref_length < 0 or position < 0 or end > length:
        raise InputError(
            f"position {position} and ref_length {ref_length} replace bases [{position}, {end}); allowed is "
            f"0 <= start <= end <= {length}, the length of the sequence; shift the variant into the window"
        )
    # A splice is three block copies a row; concatenate makes them at the speed of memory.
    return np.concatenate([onehot[:, :position], encode(alt), onehot[:, end:]], axis=1)


class SubstitutionBatch(NamedTuple):
    """Some substitutions of one window.

    Attributes
    ----------
    position : intp ndarray of shape (batch,)
        0-based column of the replaced base.
    alt : uint8 ndarray of shape (batch,)
        Row (0..3 for A, C, G, T) of the new base.
    sequence : uint8 ndarray of shape (batch, 4, length)
        The edited windows: a view of one buffer, valid until the next batch is asked for, and not to be written to.
    """

    position: np.ndarray
    alt: np.ndarray
    sequence: np.ndarray


def substitutions(
    onehot: np.ndarray, start: int = 0, end: int | None = None, *, batch_size: int = 64
) -> Iterator[SubstitutionBatch]:
    """Yield every single-base substitution of columns [start, end), position by position, new bases in the order ACGT.

    A known base has three substitutions, an unknown one four. The buffer is filled with the reference once; after that
    each row restores the column of its last substitution and sets one other, so that a batch costs two columns a row
    and not a copy of the window.

    Parameters
    ----------
    onehot : uint8 ndarray of shape (4, length)
        Reference window; copied, not modified.
    start, end : int
        0-based half-open columns to substitute; ``end`` None is the length.
    batch_size : int
        Rows of the buffer, ``4 * length`` bytes each; the last batch may be shorter.

    Returns
    -------
    iterator of SubstitutionBatch
        The arguments are judged at the call, not at the first batch.

    Raises
    ------
    InputError
        If the columns do not lie in the window, or ``batch_size`` is not positive.
    """
    reference = _source(onehot, ndim=2).copy()
    length = reference.shape[1]
    start, end = _integer("start", start), length if end is None else _integer("end", end)
    if not 0 <= start <= end <= length:
        raise InputError(f"columns [{start}, {end}) were asked for; allowed is 0 <= start <= end <= {length}, the length")
    if _integer("batch_size", batch_size) < 1:
        raise InputError(f"batch_size is {batch_size!r}; allowed is a positive number of rows")
    return _edited(reference, start, end, batch_size)


def _edited(reference: np.ndarray, start: int, end: int, batch_size: int) -> Iterator[SubstitutionBatch]:
    offset, base = np.nonzero(reference[:, start:end].T == 0)
    position, alt = offset + start, base.astype(np.uint8)
    buffer = np.repeat(reference[None], min(batch_size, len(position)), axis=0)
    edited = position[: len(buffer)].copy()
    for first in range(0, len(position), batch_size):
        now = slice(first, first + batch_size)
        rows = len(position[now])
        _kernel.edit(buffer, reference, edited[:rows], position[now], alt[now])
        edited[:rows] = position[now]
        yield SubstitutionBatch(position[now], alt[now], buffer[:rows])


def _letters(sequence: str | bytes | bytearray) -> np.ndarray:
    """Return one byte a character whatever the character, so that columns stay aligned with the text."""
    if isinstance(sequence, str):
        sequence = sequence.encode("ascii", errors="replace")
    if not isinstance(sequence, bytes | bytearray):
        raise InputError(
            f"sequence is {type(sequence).__name__}; allowed are str, bytes and bytearray; decode an array first"
        )
    return np.frombuffer(sequence, dtype=np.uint8)


def _source(onehot: np.ndarray, *, ndim: int | None) -> np.ndarray:
    """Return one-hot DNA in C order; another layout is copied, which loses nothing where the array is only read."""
    _check_dtype("one-hot DNA", onehot)
    if onehot.ndim < 2 or onehot.shape[-2] != 4 or onehot.ndim != (ndim or onehot.ndim):
        axes = "(4, length)" if ndim == 2 else "(..., 4, length)"
        raise InputError(f"one-hot DNA has shape {onehot.shape}; allowed is {axes}; transpose channels-last arrays")
    return np.ascontiguousarray(onehot)


def _check_target(out: np.ndarray, shape: tuple[int, ...]) -> None:
    _check_dtype("out", out)
    if out.shape != shape:
        raise InputError(f"out has shape {out.shape}; allowed is {shape}, the shape of the result")
    if not (out.flags.c_contiguous and out.flags.writeable):
        state = "read-only" if out.flags.c_contiguous else "not C-contiguous"
        raise InputError(f"out is {state}; a C-contiguous, writeable array is needed, for it is filled in place")


def _check_dtype(name: str, array: np.ndarray) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8:
        found = getattr(array, "dtype", type(array).__name__)
        raise InputError(f"{name} is {found}; allowed is a uint8 ndarray; convert it with .astype('uint8')")


def _integer(name: str, value: int) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise InputError(f"{name} is {value!r}; allowed is a whole number") from None
