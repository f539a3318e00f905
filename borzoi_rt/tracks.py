"""The track table: one row per output of a model, read from a Calico targets file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np

from .errors import FormatError, InputError
from .html import html_table
from .selection import TrackNames
from .targets import integers, positive_numbers, read_rows
from .types import FloatArray, IndexArray

_NUMBERS = ("clip", "clip_soft", "scale")
_HTML_ROWS = 20  # of a table in a notebook
_REQUIRED = ("identifier", *_NUMBERS, "sum_stat")


@dataclass(frozen=True)
class MergePlan:
    """Which tracks make the rows of a strand-merged table.

    Attributes
    ----------
    first, second : int64 ndarray of shape (rows,)
        Positions of the '+' and the '-' track; equal for an unstranded track.
    """

    first: IndexArray
    second: IndexArray

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.first)


class _Named:
    """Names of the tracks or rows of a table."""

    identifier: tuple[str, ...]
    index: IndexArray

    @cached_property
    def labels(self) -> list[str]:
        """Names that differ: the identifiers, each with its unit of the head, ``RNA#7``, where any comes twice."""
        names = list(self.identifier)
        if len(set(names)) == len(names):
            return names  # a table may repeat an identifier, never a unit
        return [f"{name}#{unit}" for name, unit in zip(names, self.index, strict=True)]

    def position(self, name: str) -> int:
        """Return the position of a label, or of an identifier that comes once.

        Raises
        ------
        KeyError
            If there is none, or more than one.
        """
        if name in self._positions:
            return self._positions[name]
        found = [label for label, own in zip(self.labels, self.identifier, strict=True) if own == name]
        if len(found) == 1:
            return self._positions[found[0]]
        if found:
            raise KeyError(f"{len(found)} tracks are called {name!r}; name one of {', '.join(found[:3])}")
        raise KeyError(f"no track {name!r} among {len(self.labels)}, first {', '.join(self.labels[:3])}")

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {label: position for position, label in enumerate(self.labels)}


@dataclass(frozen=True)
class RowTable(_Named):
    """What the rows of a score are: tracks, or pairs of strands joined into one row.

    Attributes
    ----------
    index : int64 ndarray of shape (rows,)
        Unit of the head; of the '+' track of a pair.
    index_pair : int64 ndarray of shape (rows,)
        Unit of the '-' track of a pair; the same as ``index`` where a row is one track.
    identifier, description : tuple of str
        Name and label; of a pair as in :func:`pair_name` and :func:`pair_label`.
    strand : tuple of str
        ``.`` for a pair and for an unstranded track, ``+`` or ``-`` for a strand that is kept apart.
    track_identifier, track_description : tuple of str
        Name and label of the track ``index``: what the reference programs call the row.
    """

    index: IndexArray
    index_pair: IndexArray
    identifier: tuple[str, ...]
    description: tuple[str, ...]
    strand: tuple[str, ...]
    track_identifier: tuple[str, ...]
    track_description: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.identifier)

    def __repr__(self) -> str:
        return f"<RowTable: {len(self):,} rows, {_shown(self.identifier)}>"

    def _repr_html_(self) -> str:
        rows = zip(map(int, self.index), self.identifier, self.strand, self.description, strict=True)
        header = ("index", "identifier", "strand", "description")
        return html_table(f"RowTable: {len(self):,} rows", header, islice(rows, _HTML_ROWS), len(self))


@dataclass(frozen=True)
class TrackTable(_Named):
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

    index: IndexArray
    identifier: tuple[str, ...]
    description: tuple[str, ...]
    sum_stat: tuple[str, ...]
    clip: FloatArray
    clip_soft: FloatArray
    scale: FloatArray
    strand_pair: IndexArray
    extra: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<TrackTable: {len(self.identifier):,} tracks, {_shown(self.identifier)}>"

    def _repr_html_(self) -> str:
        rows = zip(map(int, self.index), self.identifier, self.strand, self.description, strict=True)
        header = ("index", "identifier", "strand", "description")
        return html_table(f"TrackTable: {len(self):,} tracks", header, islice(rows, _HTML_ROWS), len(self))

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
        header, rows, lines = read_rows(path)
        missing = [name for name in _REQUIRED if name not in header]
        if missing:
            raise FormatError(f"{path}, line 1: no column {missing[0]!r}; found {', '.join(header)}")
        if n_tracks is not None and len(rows) != n_tracks:
            raise FormatError(
                f"{path}: {len(rows)} rows, but the model has {n_tracks} outputs; use the table it was trained with"
            )
        columns = {name: tuple(row[column] for row in rows) for column, name in enumerate(header)}
        index = integers(path, "index", lines, tuple(row[0] for row in rows))
        units, counts = np.unique(index, return_counts=True)
        if len(units) != len(index):
            twice = int(units[counts > 1][0])
            raise FormatError(f"{path}: index {twice} stands in more than one row; every output has one")
        numbers = {name: positive_numbers(path, name, lines, columns[name], zero=name != "scale") for name in _NUMBERS}
        known = {header[0], "description", "strand_pair", *_REQUIRED}
        return cls(
            index=index,
            identifier=columns["identifier"],
            description=columns.get("description", columns["identifier"]),
            sum_stat=columns["sum_stat"],
            strand_pair=integers(path, "strand_pair", lines, columns["strand_pair"])
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
        """Return the number of tracks."""
        return len(self.identifier)

    @property
    def strand(self) -> tuple[str, ...]:
        """``+`` or ``-``, the last character of the identifier of a stranded track; ``.`` for all others."""
        return tuple(
            name[-1:] if unit != pair and name.endswith(("+", "-")) else "."
            for unit, pair, name in zip(self.index, self.strand_pair, self.identifier, strict=True)
        )

    def take(self, positions: Sequence[int] | IndexArray) -> TrackTable:
        """Return some tracks, by position, in the order given."""
        where = np.asarray(positions, dtype=np.int64)

        def pick(values: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(values[position] for position in where)

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

    def positions_of(self, units: Sequence[int] | IndexArray) -> IndexArray:
        """Return the positions of head units in this table.

        Raises
        ------
        InputError
            Naming the units that are not in the table.
        """
        position = self._position_of_unit()
        missing = [int(unit) for unit in units if int(unit) not in position]
        if missing:
            raise InputError(f"tracks {missing[:8]} are not in the table of {len(self)} rows")
        return np.array([position[int(unit)] for unit in units], dtype=np.int64)

    def select(self, expression: str | None) -> IndexArray:
        """Return the positions that an expression names, in the order asked, each once.

        Parameters
        ----------
        expression : str, optional
            None selects all. ``@file`` reads identifiers, units or names of strand pairs, one a line. Otherwise a comma
            list of identifiers, units, names of strand pairs and regular expressions, which are searched without case
            in identifier and description; :mod:`borzoi_rt.selection` has the rules.

        Returns
        -------
        int64 ndarray of shape (selected,)
            A strand that is named alone stands alone: :meth:`with_partners` takes its partner along.

        Raises
        ------
        InputError
            If a part of the expression is empty or matches nothing; the message names what is near.
        """
        if expression is None:
            return np.arange(len(self), dtype=np.int64)
        if not isinstance(expression, str):
            raise InputError(f"tracks is {expression!r:.40}; text is needed, a list has commas, like 'RNA,DNASE'")
        if expression[:1] == "@":  # the file may change
            return self._named(expression)
        if expression not in self._selections:
            self._selections[expression] = self._named(expression)
        return self._selections[expression].copy()

    @cached_property
    def _selections(self) -> dict[str, IndexArray]:
        """What was selected before: a search takes 0.1 s in 7,611 tracks, and a run selects for every row."""
        return {}

    def _named(self, expression: str) -> IndexArray:
        names = TrackNames(self.identifier, self.description, self.index.tolist(), self._pair_names())
        return np.array(names.select(expression), dtype=np.int64)

    def with_partners(self, positions: Sequence[int] | IndexArray) -> tuple[IndexArray, IndexArray]:
        """Take the other strand of every stranded track along, as far as it is in this table.

        Parameters
        ----------
        positions : int64 ndarray of shape (selected,)
            As :meth:`select` returns.

        Returns
        -------
        positions : int64 ndarray of shape (selected + added,)
            In the same order, a partner that was not selected behind its track.
        added : int64 ndarray of shape (added,)
            The partners alone.
        """
        partners = self._partners()
        chosen = dict.fromkeys(int(position) for position in positions)
        together: list[int] = []
        added: list[int] = []
        for position in chosen:
            partner = partners[position]
            together.append(position)
            # A partner that was asked for too comes where it was asked for.
            if partner is not None and partner not in chosen:
                together.append(partner)
                added.append(partner)
        return np.array(together, dtype=np.int64), np.array(added, dtype=np.int64)

    def merge_plan(self) -> MergePlan:
        """Pair the strands, in the order of the '+' rows; rows of '-' tracks take part in their partner's row.

        Raises
        ------
        InputError
            If a partner is not in this table, is not mutual, or is not of the other strand.
        """
        strand, partners = self.strand, self._partners()
        first, second, alone = [], [], []
        for position, (unit, pair) in enumerate(zip(self.index, self.strand_pair, strict=True)):
            partner = position if unit == pair else partners[position]
            if partner is None:
                alone.append(f"{self.identifier[position]} (track {int(unit)}, pair {int(pair)})")
            elif strand[position] != "-":
                first.append(position)
                second.append(partner)
        if alone:
            raise InputError(
                f"{len(alone)} tracks have no mutual strand partner in the selection, first {', '.join(alone[:2])}; "
                "select both strands, or keep strands apart (merge_strands=False)"
            )
        return MergePlan(np.array(first, dtype=np.int64), np.array(second, dtype=np.int64))

    def rows(self, plan: MergePlan | None = None) -> RowTable:
        """Return what the rows of a score of these tracks are.

        Parameters
        ----------
        plan : MergePlan, optional
            As :meth:`merge_plan` returns; None keeps every track apart.
        """
        every = np.arange(len(self), dtype=np.int64)
        first, second = (every, every) if plan is None else (plan.first, plan.second)
        one, other = self.take(first), self.take(second)
        return RowTable(
            index=one.index,
            index_pair=other.index,
            identifier=tuple(map(pair_name, one.identifier, other.identifier)),
            description=tuple(map(pair_label, one.description, other.description)),
            strand=tuple(strand if a == b else "." for strand, a, b in zip(one.strand, first, second, strict=True)),
            track_identifier=one.identifier,
            track_description=one.description,
        )

    def _position_of_unit(self) -> dict[int, int]:
        return {int(unit): position for position, unit in enumerate(self.index)}

    def _partners(self) -> list[int | None]:
        """Return the position of the other strand of each track; None where there is no mutual one in this table."""
        position, strand = self._position_of_unit(), self.strand
        partners: list[int | None] = []
        for unit, pair, own in zip(self.index, self.strand_pair, strand, strict=True):
            partner = position.get(int(pair))
            mutual = partner is not None and int(self.strand_pair[partner]) == int(unit)
            opposite = mutual and partner is not None and {own, strand[partner]} == {"+", "-"}
            partners.append(partner if opposite else None)
        return partners

    def _pair_names(self) -> list[str]:
        """Return the name of the pair of each track; empty where it has none."""
        names = [""] * len(self)
        for position, (partner, strand) in enumerate(zip(self._partners(), self.strand, strict=True)):
            if partner is not None and strand == "+":
                names[position] = names[partner] = pair_name(self.identifier[position], self.identifier[partner])
        return names


def pair_name(first: str, second: str) -> str:
    """Return the name of a '+' and a '-' track together: ``RNA+/-`` for ``RNA+`` and ``RNA-``, otherwise ``a/b``.

    Equal names, as of an unstranded track with itself, are kept.
    """
    return first if first == second else _stem_name(first, second) or f"{first}/{second}"


def pair_label(first: str, second: str) -> str:
    """Return the label of a '+' and a '-' track together: the one they share, ``x+/-``, or ``a / b``."""
    return first if first == second else _stem_name(first, second) or f"{first} / {second}"


def _stem_name(first: str, second: str) -> str | None:
    same = first[:-1] == second[:-1] and first[-1:] == "+" and second[-1:] == "-"
    return f"{first}/-" if same else None


def _shown(names: tuple[str, ...], most: int = 4) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
