"""Tables of text with a head, read row by row for a report, and what stands beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import FormatError
from ..reading import read_json


def head_of(path: Path) -> tuple[str, ...]:
    """Return the names of the columns of a table; none where it is not text or there is no such file."""
    if not path.is_file():  # a pipe would wait for its writer
        return ()
    try:
        with path.open(encoding="utf-8") as handle:
            return tuple(handle.readline(2**16).rstrip("\r\n").split("\t"))
    except (OSError, UnicodeDecodeError):
        return ()


def read_rows(path: Path) -> Iterator[dict[str, str]]:
    """Yield rows by name of column.

    Raises
    ------
    FormatError
        If a row has not as many cells as the head, or the file is not text.
    """
    with path.open(encoding="utf-8") as handle:
        try:
            head = next(handle, "").rstrip("\r\n").split("\t")
            for number, line in enumerate(handle, start=2):
                cells = line.rstrip("\r\n").split("\t")
                if len(cells) != len(head):
                    raise FormatError(f"{path}: line {number} has {len(cells)} columns, the head {len(head)}")
                yield dict(zip(head, cells, strict=True))
        except UnicodeDecodeError as error:
            raise FormatError(f"{path}: is not UTF-8 text ({error.reason})") from error


def numbers_of(path: Path, row: dict[str, str], names: Sequence[str]) -> dict[str, float | None]:
    """Return cells as numbers, None for those that are empty.

    Raises
    ------
    FormatError
        If one is neither a number nor empty.
    """
    try:
        return {name: float(row[name]) if row[name] else None for name in names}
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from error


def described(path: Path) -> dict[str, Any]:
    """Return the description that a run left beside its table; empty where there is none.

    Raises
    ------
    FormatError
        If it is not JSON.
    """
    beside = path.with_name(path.name + ".meta.json")
    if not beside.is_file():
        return {}
    try:
        return dict(read_json(beside))
    except (ValueError, TypeError) as error:
        raise FormatError(f"{beside}: cannot be read as the description of a run ({error})") from error
