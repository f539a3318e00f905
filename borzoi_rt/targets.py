"""A Calico targets file as a table of text, and its columns as numbers; faults are named by file and line."""

from __future__ import annotations

import csv
import io
import zlib
from pathlib import Path

import numpy as np

from .errors import FormatError
from .reading import read_small
from .types import FloatArray, IndexArray

MOST_COLUMNS = 256
_LARGEST = 1 << 26  # bytes; the 7,611 published tracks have 2 MB


def read_rows(path: Path) -> tuple[list[str], list[list[str]], list[int]]:
    """Return header, rows and the line numbers of the rows; empty lines are skipped.

    Raises
    ------
    FormatError
        If the file is no table of tab-separated columns with a header and a row.
    """
    try:
        text = read_small(path, _LARGEST).decode("utf-8-sig")
        table = list(csv.reader(io.StringIO(text, newline=""), delimiter="\t", quoting=csv.QUOTE_NONE))
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, EOFError, zlib.error, csv.Error) as error:
        raise FormatError(f"{path}: not a text table ({error})") from error
    if not table or len(table[0]) < 2:
        raise FormatError(f"{path}, line 1: no header of tab-separated columns")
    if len(table[0]) > MOST_COLUMNS:
        raise FormatError(f"{path}, line 1: {len(table[0])} columns; at most {MOST_COLUMNS} are allowed")
    header = table[0]
    twice = [name for column, name in enumerate(header) if name in header[:column]]
    if twice:
        raise FormatError(f"{path}, line 1: column {twice[0]!r} stands there more than once")
    rows, lines = [], []
    for number, row in enumerate(table[1:], start=2):
        if not row:
            continue
        if len(row) != len(header):
            raise FormatError(f"{path}, line {number}: {len(row)} columns, the header has {len(header)}")
        rows.append(row)
        lines.append(number)
    if not rows:
        raise FormatError(f"{path}: no tracks below the header")
    return header, rows, lines


def integers(path: Path, name: str, lines: list[int], values: tuple[str, ...]) -> IndexArray:
    """Return a column as int64, of numbers that an index can be; ``lines`` are for the message."""
    numbers = []
    for line, value in zip(lines, values, strict=True):
        try:
            numbers.append(int(value))
        except ValueError:
            raise FormatError(f"{path}, line {line}: {name} is {value!r}; an integer is needed") from None
        if not 0 <= numbers[-1] < 2**31:
            raise FormatError(f"{path}, line {line}: {name} is {value!r}; 0 to {2**31 - 1} is needed")
    return np.array(numbers, dtype=np.int64)


def positive_numbers(path: Path, name: str, lines: list[int], values: tuple[str, ...], *, zero: bool) -> FloatArray:
    """Return a column as float32, of finite numbers above 0, or from 0 where ``zero`` is allowed."""
    numbers = np.empty(len(values), dtype=np.float32)
    for row, value in enumerate(values):
        try:
            with np.errstate(over="ignore"):
                number = np.float32(float(value))
        except ValueError:
            number = np.float32("nan")
        if not (np.isfinite(number) and (number > 0 or (zero and number == 0))):
            raise FormatError(f"{path}, line {lines[row]}: {name} is {value!r}; a positive number is needed")
        numbers[row] = number
    return numbers
