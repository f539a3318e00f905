"""Datasets of HDF5 files that are written a few rows at a time: what is held does not grow with the file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import h5py
import numpy as np

from ..types import DoubleArray, FloatArray

_HELD_BYTES = 2**20
_WHOLE_BYTES = 64 * 2**20  # of a matrix that lies in one piece
_CHUNK = (1024, 16)  # rows and columns; read by columns, a larger matrix would be read once for each block of them
_BLOCK_BYTES = 64 * 2**20


class Columns:
    """Columns of text and numbers, as long as each other; text has no fixed width.

    Parameters
    ----------
    file : h5py.File
    texts : iterable of str
        Names of columns of text.
    numbers : mapping of str to dtype
        Names of columns of numbers.
    rows : int
        How many there will be.
    """

    def __init__(self, file: h5py.File, texts: Iterable[str], numbers: dict[str, type[np.generic]], rows: int) -> None:
        text = h5py.string_dtype()
        self._texts = {name: file.create_dataset(name, (rows,), dtype=text) for name in texts}
        self._numbers = {name: file.create_dataset(name, (rows,), dtype=kind) for name, kind in numbers.items()}
        self._held: dict[str, list[str]] = {name: [] for name in self._texts}
        self._start = self._bytes = 0

    def add(self, texts: Mapping[str, list[str]], numbers: Mapping[str, Any], start: int) -> None:
        """Write rows that stand behind those before; of text, keep some until it is worth a write."""
        for name, values in numbers.items():
            self._numbers[name][start : start + len(values)] = values
        for name, words in texts.items():
            self._held[name] += words
            self._bytes += sum(map(len, words)) + 64 * len(words)
        if self._bytes >= _HELD_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is kept."""
        count = 0
        for name, words in self._held.items():
            count = len(words)
            if count:
                # An array of objects: one of bytes would be as wide for every row as the longest needs.
                self._texts[name][self._start : self._start + count] = np.array(
                    [word.encode() for word in words], dtype=object
                )
            words.clear()
        self._start, self._bytes = self._start + count, 0


class Matrix:
    """A float32 dataset (rows, columns) that rows are added to; NaN where none are.

    Parameters
    ----------
    file : h5py.File
    name : str
    rows, columns : int
    """

    def __init__(self, file: h5py.File, name: str, rows: int, columns: int) -> None:
        large = 4 * rows * columns > _WHOLE_BYTES
        chunks = (min(_CHUNK[0], rows), min(_CHUNK[1], columns)) if large else None
        self.dataset = file.create_dataset(name, (rows, columns), dtype=np.float32, fillvalue=np.nan, chunks=chunks)
        self._chunks = chunks
        self._held: list[FloatArray] = []
        self._start = self._rows = 0

    def add(self, matrix: FloatArray) -> None:
        """Write rows behind those before, whole chunks at a time."""
        self._held.append(matrix)
        self._rows += len(matrix)
        if self._chunks is None:
            self.flush()
        elif self._rows >= self._chunks[0]:
            held = np.concatenate(self._held)
            whole = len(held) - len(held) % self._chunks[0]
            self._write(held[:whole])
            self._held, self._rows = [held[whole:].copy()], len(held) - whole

    def flush(self) -> None:
        """Write what is kept."""
        if self._rows:
            self._write(np.concatenate(self._held))
        self._held, self._rows = [], 0

    def _write(self, matrix: FloatArray) -> None:
        self.dataset[self._start : self._start + len(matrix)] = matrix
        self._start += len(matrix)

    def percentiles(self, points: DoubleArray) -> FloatArray:
        """Return float32 (columns, points): those of every column over its finite numbers, NaN where it has none.

        A block of columns is read at a time, or one alone, which takes 4 bytes a row.
        """
        rows, columns = self.dataset.shape
        result = np.full((columns, len(points)), np.nan, dtype=np.float32)
        width = max(1, min(columns, _BLOCK_BYTES // max(1, 4 * rows)))
        if self._chunks is not None and width > self._chunks[1]:
            width -= width % self._chunks[1]
        for start in range(0, columns, width):
            block = np.ascontiguousarray(self.dataset[:, start : start + width].T)
            for number, values in enumerate(block, start=start):
                held = values if np.isfinite(values).all() else values[np.isfinite(values)]
                if len(held):
                    held.sort()
                    result[number] = _between(held, points)
        return result


def _between(values: FloatArray, points: DoubleArray) -> DoubleArray:
    """Return quantiles of sorted numbers: those between two are on the straight line from one to the other."""
    where = points * (len(values) - 1)
    low = np.floor(where).astype(np.int64)
    share = where - low
    below, above = (values[np.minimum(low + more, len(values) - 1)].astype(np.float64) for more in (0, 1))
    found: DoubleArray = below + (above - below) * share
    # From the nearer end, as numpy.quantile does it.
    return np.where(share >= 0.5, above - (above - below) * (1 - share), found)
