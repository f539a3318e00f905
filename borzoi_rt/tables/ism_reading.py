"""Files of saturation mutagenesis read back, a score at a time."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from ..errors import FormatError, InputError
from ..types import FloatArray

_NEEDED = ("row_ids", "target_ids", "chrom", "start", "end", "sequence")


@dataclass(frozen=True)
class Substitutions:
    """One score of every substitution of an interval.

    Attributes
    ----------
    name : str
        What the interval is called; chrom:start-end, 1-based, where it has no name.
    chrom : str
    start : int
        0-based.
    sequence : str
        The bases of the interval.
    score : str
        ``STAT`` or ``STAT@REGION``.
    rows : tuple of str
        Names of the rows of the score.
    values : float32 ndarray of shape (positions, 4, rows)
        Bases in the order A, C, G, T; 0 for the base that is there, NaN where there is no score.
    """

    name: str
    chrom: str
    start: int
    sequence: str
    score: str
    rows: tuple[str, ...]
    values: FloatArray


def is_ism(path: str | os.PathLike[str]) -> bool:
    """Whether a file is HDF5 of saturation mutagenesis, see :func:`borzoi_rt.runs.ism.score_ism` for the layout."""
    try:
        with h5py.File(path, "r") as file:
            return all(name in file for name in _NEEDED) and "borzoi_rt" in file.attrs
    except OSError:
        return False


def read_ism(path: str | os.PathLike[str], row: str | None = None) -> Substitutions:
    """Read the first score of one interval.

    Parameters
    ----------
    path : path
        For which :func:`is_ism` holds.
    row : str, optional
        Name of the interval, or its number from 0 on; the first when None.

    Raises
    ------
    FormatError
        If the file is not what its layout says.
    InputError
        If there is no such interval.
    """
    try:
        with h5py.File(path, "r") as file:
            return _read(file, row)
    except (OSError, KeyError, ValueError, TypeError, IndexError) as error:
        if isinstance(error, InputError):
            raise
        raise FormatError(f"{path}: cannot be read as mutagenesis ({error})") from error


def _read(file: h5py.File, row: str | None) -> Substitutions:
    options = json.loads(file.attrs["borzoi_rt"])["options"]
    score = next(name for name in (*options["stats"], *file) if name in file and file[name].ndim >= 3)
    several = file[score].ndim == 4
    facts: dict[str, list[Any]] = {
        name: _listed(file[name]) for name in ("name", "chrom", "start", "end", "sequence") if name in file
    }
    spans = [
        f"{chrom}:{start + 1}-{end}"
        for chrom, start, end in zip(facts["chrom"], facts["start"], facts["end"], strict=True)
    ]
    names = [span if name in ("", ".") else name for name, span in zip(facts.get("name", spans), spans, strict=True)]
    at = 0 if row is None else _number(row, names)
    values = file[score][at] if several else file[score][()]
    rows = tuple(_listed(file["row_ids"]))
    if values.shape != (len(facts["sequence"][at]), 4, len(rows)):
        raise ValueError(f"{score} has the shape {values.shape}")
    where = (facts["chrom"][at], int(facts["start"][at]), facts["sequence"][at])
    return Substitutions(names[at], *where, score, rows, values.astype(np.float32))


def _listed(data: h5py.Dataset) -> list[Any]:
    """Return the values of a data set as a list, texts as ``str``."""
    values = np.atleast_1d(data[()]).tolist()
    return [value.decode() if isinstance(value, bytes) else value for value in values]


def _number(row: str, names: list[str]) -> int:
    if row in names:
        return names.index(row)
    if row.isdecimal() and int(row) < len(names):
        return int(row)
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    raise InputError(f"no row {row!r}; there are {shown}, numbers 0 to {len(names) - 1}")
