"""``attr.h5``: attributions of many rows in one file.

=====================  ==============================================================================================
``sequence``           uint8 (rows, bases): 0 to 3 for A, C, G, T, 4 for an unknown base
``hypothetical``       float32 (rows, 4, bases): what each base would add; in pieces of (1, 4, 65536), gzip
``se``                 float32 (rows, 4, bases), where there is one: standard error over references, or over folds
``effects``            float32 (rows, 4, bases), of ``ism``: raw effects, 0 for the base that is there
``effect``             float32 (rows, bases), of methods of stretches: the whole effect of the stretch; ``effect_se``
``score``              float64 (rows,): the target of the window as it is
``chrom, start, end``  the bases, 0-based and half-open; ``strand``, ``name``, ``allele`` (genome, ref, alt)
``window_start``       0-based start of the window
``facts``              JSON of each row: completeness and the like
``status, detail``     ``ok``, or why the row could not be explained; its numbers are NaN then, and ``sequence`` is 4
=====================  ==============================================================================================

What else a method gives of every base has its own name. Of folds, every array holds the mean over them, and standard
errors are over them; NaN of one fold, as in ``effects_exact``, is NaN of the mean. Scores of the bases that are there
are not stored: they are the sum over bases of ``hypothetical`` times the one-hot sequence. The attribute ``about`` is
JSON: models by name and hash, genome, target, method and options, versions.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import FormatError
from ..tables.hdf5_files import new_hdf5, read_hdf5
from ..types import ByteArray, DoubleArray, FloatArray, IndexArray
from .rows import OK, Row

FORMAT, VERSION = "borzoi-rt-attributions", 1
_WRITER = "`borzoi-rt explain`"
_PIECE = 65_536


@dataclass(frozen=True)
class StoredRow:
    """One row to be written.

    Attributes
    ----------
    row : Row
    codes : uint8 ndarray of shape (bases,)
    value : float
    arrays : dict of str to float32 ndarray of shape (4, bases) or (bases,)
        ``hypothetical`` and what else there is, the same in every row.
    facts : mapping
    """

    row: Row
    codes: ByteArray
    value: float
    arrays: Mapping[str, FloatArray]
    facts: Mapping[str, Any]


def write_attributions(path: Path, rows: Iterator[StoredRow], count: int, width: int, about: Mapping[str, Any]) -> None:
    """Write the file, row after row; a row without arrays has NaN in each that another has."""
    texts: dict[str, list[str]] = {
        name: [] for name in ("chrom", "strand", "name", "allele", "facts", "status", "detail")
    }
    numbers: dict[str, list[int]] = {name: [] for name in ("start", "end", "window_start")}
    with new_hdf5(path) as file:
        file.attrs["format"], file.attrs["version"] = FORMAT, VERSION
        file.attrs["about"] = json.dumps(about, sort_keys=True)
        sequence = file.create_dataset("sequence", (count, width), "u1", compression="gzip", fletcher32=True)
        score = file.create_dataset("score", (count,), "f8")
        for number, stored in enumerate(rows):
            sequence[number], score[number] = stored.codes, stored.value
            for name, values in stored.arrays.items():
                if name not in file:
                    piece = (1, *values.shape[:-1], min(width, _PIECE))
                    shape = (count, *values.shape)
                    how = {"compression": "gzip", "compression_opts": 1, "fillvalue": np.float32(np.nan)}
                    file.create_dataset(name, shape, "f4", chunks=piece, **how)
                file[name][number] = values
            row, facts = stored.row, json.dumps(stored.facts, sort_keys=True)
            said = (row.bases.chrom, row.bases.strand, row.name, row.allele, facts, row.status, row.detail)
            for key, text in zip(texts, said, strict=True):
                texts[key].append(text)
            for key, value in zip(numbers, (row.bases.start, row.bases.end, row.where.window_start), strict=True):
                numbers[key].append(value)
        for key, held in texts.items():
            file.create_dataset(key, data=held, dtype=h5py.string_dtype())
        for key, integers in numbers.items():
            file.create_dataset(key, data=np.array(integers, dtype=np.int64))


def read_projected(path: str | os.PathLike[str]) -> FloatArray:
    """Return the scores of the bases that are there, float32 (rows, bases), read row after row."""
    with read_hdf5(path, "attributions", written_by=_WRITER) as file:
        sequence, hypothetical = file["sequence"], file["hypothetical"]
        found = np.empty(sequence.shape, dtype=np.float32)
        for number in range(len(found)):
            onehot = sequence[number] == np.arange(4)[:, None]
            found[number] = (hypothetical[number] * onehot).sum(axis=0)
        return found


@dataclass(frozen=True)
class Attributions:
    """A file of attributions in memory.

    Attributes
    ----------
    about : dict
        What was done.
    arrays : dict of str to ndarray
        The data sets; texts as object arrays of ``str``.
    """

    about: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]

    @property
    def onehot(self) -> ByteArray:
        """The sequences, uint8 (rows, 4, bases)."""
        found: ByteArray = (self.arrays["sequence"][:, None] == np.arange(4)[:, None]).astype(np.uint8)
        return found

    @property
    def projected(self) -> FloatArray:
        """Scores of the bases that are there, float32 (rows, bases)."""
        found: FloatArray = (self.arrays["hypothetical"] * self.onehot).sum(axis=1)
        return found

    @property
    def explained(self) -> IndexArray:
        """Numbers of the rows that have an explanation."""
        found: IndexArray = np.flatnonzero(self.arrays["status"] == OK)
        return found

    @property
    def scores(self) -> DoubleArray:
        """Scores of the bases that are there, float64 (rows, bases); 0 in rows without an explanation."""
        found = np.zeros(self.arrays["sequence"].shape)
        found[self.explained] = self.projected[self.explained]
        return found


def read_attributions(
    path: str | os.PathLike[str], *, names: Sequence[str] = (), rows: Sequence[int] | None = None
) -> Attributions:
    """Read a file of attributions.

    Parameters
    ----------
    path : path
        As :func:`write_attributions` makes it.
    names : sequence of str
        Data sets to read; all when empty.
    rows : sequence of int, optional
        Rows to read, in this order; all when None.

    Raises
    ------
    FormatError
        If it is no such file.
    """
    with read_hdf5(path, "attributions", written_by=_WRITER) as file:
        if file.attrs.get("format") != FORMAT or int(file.attrs.get("version", 0)) != VERSION:
            raise FormatError(f"{path}: no attributions of version {VERSION}; {_WRITER} writes them")
        arrays = {name: file[name] for name in names or file}
        found = {name: _values(data, rows) for name, data in arrays.items()}
        about = json.loads(file.attrs["about"])
        _check(about, found)
        return Attributions(about, found)


def _check(about: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse a description, or arrays, that no run has written.

    Raises
    ------
    ValueError
        Naming what is wrong.
    """
    target = about.get("target") if isinstance(about, dict) else None
    if not isinstance(target, dict) or not all(
        isinstance(held, str) for held in (about.get("method"), target["target"])
    ):
        raise ValueError("it does not say what was explained, and how")
    for name in ("options", "genome"):
        if not isinstance(about.get(name) or {}, dict):
            raise ValueError(f"{name} is no object")
    for model in about.get("models") or ():
        if not isinstance(model, dict) or not all(isinstance(model.get(name), str) for name in ("name", "sha256")):
            raise ValueError("a model has no name")
    if len({len(held) for held in arrays.values()}) > 1:
        raise ValueError("its data sets have different numbers of rows")


def _values(data: h5py.Dataset, rows: Sequence[int] | None) -> np.ndarray:
    """Return a data set, or some of its rows; texts as ``str``."""
    source = data.asstr() if h5py.check_string_dtype(data.dtype) else data
    return np.asarray(source[()] if rows is None else [source[row] for row in rows])
