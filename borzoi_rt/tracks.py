"""The track table: one row per output of a model, read from a Calico targets file."""

from __future__ import annotations

import csv
import difflib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .errors import FormatError, InputError

_NUMBERS = ("clip", "clip_soft", "scale")
_REQUIRED = ("identifier", *_NUMBERS, "sum_stat")


@dataclass(frozen=True)
class MergePlan:
    """Which tracks make the rows of a strand-merged table.

    Attributes
    ----------
    first, second : int64 ndarray of shape (rows,)
        Positions of the '+' and the '-' track; equal for an unstranded track.
    """

    first: np.ndarray
    second: np.ndarray

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True)
class TrackTable:
    """Tracks of a model or a selection of them.

    Attributes
    ----------
    index : int64 ndarray of shape (tracks,)
        Unit of the head, the first column of a targets file.
    identifier, description, sum_stat : tuple of str
        Columns of the file.
    clip, clip_soft, scale : float32 ndarray of shape (tracks,)
        Parameters of the squashed scale.
    strand_pair : int64 ndarray of shape (tracks,)
        Unit of the track of the other strand; its own unit where there is none.
    extra : dict of str to tuple of str
        Other columns, kept for writing.
    """

    index: np.ndarray
    identifier: tuple[str, ...]
    description: tuple[str, ...]
    sum_stat: tuple[str, ...]
    clip: np.ndarray
    clip_soft: np.ndarray
    scale: np.ndarray
    strand_pair: np.ndarray
    extra: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | os.PathLike[str], *, n_tracks: int | None = None) -> TrackTable:
        """Read a targets file.

        Parameters
        ----------
        path : path
            Tab-separated; the first column is the unit of the head. Needed: identifier, clip, clip_soft, scale,
            sum_stat. Without ``strand_pair`` every track is unstranded.
        n_tracks : int, optional
            Number of outputs of the model the table must describe.

        Raises
        ------
        FormatError
            Naming file, line and column.
        """
        path = Path(path)
        header, rows, lines = _read_rows(path)
        missing = [name for name in _REQUIRED if name not in header]
        if missing:
            raise FormatError(f"{path}, line 1: no column {missing[0]!r}; found {', '.join(header)}")
        if n_tracks is not None and len(rows) != n_tracks:
            raise FormatError(
                f"{path}: {len(rows)} rows, but the model has {n_tracks} outputs; use the table it was trained with"
            )
        columns = {name: tuple(row[place] for row in rows) for place, name in enumerate(header)}
        index = _integers(path, "index", lines, tuple(row[0] for row in rows))
        units, counts = np.unique(index, return_counts=True)
        if len(units) != len(index):
            twice = int(units[counts > 1][0])
            raise FormatError(f"{path}: index {twice} stands in more than one row; every output has one")
        numbers = {name: _positive(path, name, lines, columns[name], zero=name != "scale") for name in _NUMBERS}
        known = {header[0], "description", "strand_pair", *_REQUIRED}
        return cls(
            index=index,
            identifier=columns["identifier"],
            description=columns.get("description", columns["identifier"]),
            sum_stat=columns["sum_stat"],
            strand_pair=_integers(path, "strand_pair", lines, columns["strand_pair"])
            if "strand_pair" in columns
            else index.copy(),
            extra={name: values for name, values in columns.items() if name not in known},
            **numbers,
        )

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the table as a targets file."""
        columns = {
            "": [str(unit) for unit in self.index],
            "identifier": self.identifier,
            **self.extra,
            **{name: [repr(float(str(value))) for value in getattr(self, name)] for name in _NUMBERS},
            "sum_stat": self.sum_stat,
            "strand_pair": [str(unit) for unit in self.strand_pair],
            "description": self.description,
        }
        lines = ["\t".join(columns), *("\t".join(row) for row in zip(*columns.values(), strict=True))]
        Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")

    def __len__(self) -> int:
        return len(self.identifier)

    @property
    def strand(self) -> tuple[str, ...]:
        """``.`` for an unstranded track, else the last character of its identifier (``+`` or ``-``)."""
        return tuple(
            "." if unit == pair else name[-1:]
            for unit, pair, name in zip(self.index, self.strand_pair, self.identifier, strict=True)
        )

    def take(self, positions: Sequence[int] | np.ndarray) -> TrackTable:
        """Return some rows, by position, in the order given."""
        where = np.asarray(positions, dtype=np.int64)

        def pick(values: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(values[place] for place in where)

        return TrackTable(
            index=self.index[where],
            identifier=pick(self.identifier),
            description=pick(self.description),
            sum_stat=pick(self.sum_stat),
            clip=self.clip[where],
            clip_soft=self.clip_soft[where],
            scale=self.scale[where],
            strand_pair=self.strand_pair[where],
            extra={name: pick(values) for name, values in self.extra.items()},
        )

    def positions_of(self, units: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return the positions of head units in this table.

        Raises
        ------
        InputError
            Naming the units that are not in the table.
        """
        place = {int(unit): position for position, unit in enumerate(self.index)}
        missing = [int(unit) for unit in units if int(unit) not in place]
        if missing:
            raise InputError(f"tracks {missing[:8]} are not in the table of {len(self)} rows")
        return np.array([place[int(unit)] for unit in units], dtype=np.int64)

    def select(self, expression: str | None) -> np.ndarray:
        """Return the positions that an expression names.

        Parameters
        ----------
        expression : str, optional
            None selects all. ``@file`` reads identifiers or head units, one a line; a comma list of exact identifiers
            or units selects these, in that order; anything else is a regular expression searched in identifier and
            description.

        Raises
        ------
        InputError
            If nothing matches; the message names the nearest identifiers.
        """
        if expression is None:
            return np.arange(len(self), dtype=np.int64)
        if expression.startswith("@"):
            return self._named(_read_names(Path(expression[1:])))
        names = [name.strip() for name in expression.split(",")]
        known = set(self.identifier) | {str(unit) for unit in self.index}
        if all(name in known for name in names):
            return self._named(names)
        try:
            pattern = re.compile(expression)
        except re.error as error:
            raise InputError(f"track expression {expression!r} is not a regular expression ({error})") from error
        found = [
            place
            for place, (name, text) in enumerate(zip(self.identifier, self.description, strict=True))
            if pattern.search(name) or pattern.search(text)
        ]
        if not found:
            raise InputError(f"no track matches {expression!r}; {self._nearest(expression)}")
        return np.array(found, dtype=np.int64)

    def merge_plan(self) -> MergePlan:
        """Pair the strands, in the order of the '+' rows; rows of '-' tracks take part in their partner's row.

        Raises
        ------
        InputError
            If a partner is not in this table, is not mutual, or is not of the other strand.
        """
        place = {int(unit): position for position, unit in enumerate(self.index)}
        strand = self.strand
        first, second, alone = [], [], []
        for position, pair in enumerate(self.strand_pair):
            partner = place.get(int(pair))
            if (
                partner is None
                or int(self.strand_pair[partner]) != int(self.index[position])
                or (partner != position and {strand[position], strand[partner]} != {"+", "-"})
            ):
                alone.append(f"{self.identifier[position]} (track {int(self.index[position])}, pair {int(pair)})")
            elif strand[position] != "-":
                first.append(position)
                second.append(partner)
        if alone:
            raise InputError(
                f"{len(alone)} tracks have no mutual strand partner in the selection, first {', '.join(alone[:2])}; "
                "select both strands, or keep strands apart (--no-merge)"
            )
        return MergePlan(np.array(first, dtype=np.int64), np.array(second, dtype=np.int64))

    def _named(self, names: Sequence[str]) -> np.ndarray:
        by_name: dict[str, list[int]] = {}
        for place, (name, unit) in enumerate(zip(self.identifier, self.index, strict=True)):
            by_name.setdefault(name, []).append(place)
            by_name.setdefault(str(unit), []).append(place)
        unknown = [name for name in names if name not in by_name]
        if unknown:
            raise InputError(f"no track is called {unknown[0]!r}; {self._nearest(unknown[0])}")
        return np.array(list(dict.fromkeys(place for name in names for place in by_name[name])), dtype=np.int64)

    def _nearest(self, name: str) -> str:
        near = difflib.get_close_matches(name, self.identifier, n=3, cutoff=0.0)
        return f"nearest: {', '.join(near)}"


def _read_rows(path: Path) -> tuple[list[str], list[list[str]], list[int]]:
    """Return header, rows and the line numbers of the rows; empty lines are skipped."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            table = list(csv.reader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{path}: not a text table ({error})") from error
    if not table or len(table[0]) < 2:
        raise FormatError(f"{path}, line 1: no header of tab-separated columns")
    header = table[0]
    twice = [name for place, name in enumerate(header) if name in header[:place]]
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


def _read_names(path: Path) -> list[str]:
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot read the list of tracks ({error})") from error
    names = [name for name in names if name and not name.startswith("#")]
    if not names:
        raise InputError(f"{path}: the list of tracks is empty")
    return names


def _integers(path: Path, name: str, lines: list[int], values: tuple[str, ...]) -> np.ndarray:
    numbers = []
    for line, value in zip(lines, values, strict=True):
        try:
            numbers.append(int(value))
        except ValueError:
            raise FormatError(f"{path}, line {line}: {name} is {value!r}; an integer is needed") from None
        if not 0 <= numbers[-1] < 2**31:
            raise FormatError(f"{path}, line {line}: {name} is {value!r}; 0 to {2**31 - 1} is needed")
    return np.array(numbers, dtype=np.int64)


def _positive(path: Path, name: str, lines: list[int], values: tuple[str, ...], *, zero: bool) -> np.ndarray:
    numbers = np.empty(len(values), dtype=np.float32)
    for place, value in enumerate(values):
        try:
            with np.errstate(over="ignore"):
                number = np.float32(float(value))
        except ValueError:
            number = np.float32("nan")
        if not (np.isfinite(number) and (number > 0 or (zero and number == 0))):
            raise FormatError(f"{path}, line {lines[place]}: {name} is {value!r}; a positive number is needed")
        numbers[place] = number
    return numbers
