"""Files of this room: a table with a row for each position or sequence, and arrays beside it.

=============  ====================================================================================================
``.h5``        a data set for each column and array; attributes ``format``, ``version`` and ``about`` (JSON)
``.npz``       the same arrays; ``about`` as text
``.parquet``   the table; a column for each column of the matrix; ``about`` in the metadata, under ``borzoi_rt``
``.tsv``       the same as text; ``about`` in ``NAME.meta.json``
=============  ====================================================================================================
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.csv as csv
import pyarrow.parquet as parquet

from ..drafts import draft_of
from ..errors import FormatError, InputError
from ..runs.outputs import check_target
from ..tables.hdf5_files import new_hdf5, read_hdf5

SUFFIXES = (".h5", ".npz", ".parquet", ".tsv")
VERSION = 1
_ROWS = 4096  # of a row group


@dataclass(frozen=True, eq=False)
class Matrix:
    """Numbers of every row, (rows, columns), with a name for each column."""

    name: str
    columns: Sequence[str]
    values: np.ndarray


@dataclass(frozen=True, eq=False)
class Table:
    """What a file of this room holds.

    Attributes
    ----------
    kind : str
        What it is about, as ``embeddings``.
    about : mapping
        How it was made, as JSON values.
    columns : mapping of str to sequence
        Texts or numbers of each row.
    matrix : Matrix, optional
        More numbers of each row.
    arrays : mapping of str to ndarray
        Arrays of other shapes; in ``.h5`` and ``.npz`` alone.
    """

    kind: str
    about: Mapping[str, Any]
    columns: Mapping[str, Any]
    matrix: Matrix | None = None
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __repr__(self) -> str:
        names = [*self.columns, *([] if self.matrix is None else [self.matrix.name])]
        arrays = "".join(f", {name} {values.shape}" for name, values in self.arrays.items())
        return f"<Table of {self.kind}: {len(self):,} rows, columns {', '.join(names)}{arrays}>"

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def to_arrow(self, rows: slice = slice(None)) -> pa.Table:
        """Return the table, or some rows of it; arrays of other shapes are left out."""
        found = {name: pa.array(_plain(values[rows])) for name, values in self.columns.items()}
        if self.matrix is not None:
            part = np.asarray(self.matrix.values[rows])
            found |= {
                name: pa.array(np.ascontiguousarray(part[:, number])) for number, name in enumerate(self.matrix.columns)
            }
        return pa.table(found)

    def to_pandas(self) -> Any:
        """Return the table as a ``pandas.DataFrame``."""
        return self.to_arrow().to_pandas()


def check_output(
    path: Path, sources: Iterable[str | os.PathLike[str] | None], suffixes: Sequence[str] = SUFFIXES
) -> None:
    """Refuse an output that cannot be written, before anything is computed."""
    if path.suffix not in suffixes:
        raise InputError(f"{path.name}: is written as {', '.join(suffixes)}; choose one of these")
    check_target(path, sources)


def write_table(path: Path, table: Table) -> None:
    """Write a table in the format of the suffix; the final name appears when the file is whole."""
    with draft_of(path) as draft:
        _WRITERS[path.suffix](draft, table)


def read_table(path: str | os.PathLike[str], kind: str) -> Table:
    """Read an ``.h5`` file that :func:`write_table` made.

    Raises
    ------
    FormatError
        If it is no such file, or of another kind.
    """
    with read_hdf5(path, kind, written_by="`borzoi-rt`") as file:
        if file.attrs.get("format") != f"borzoi-rt-{kind}" or int(file.attrs.get("version", 0)) != VERSION:
            raise FormatError(f"{path}: no {kind} of version {VERSION}; `borzoi-rt` writes them as .h5")
        layout = json.loads(file.attrs["layout"])
        found = {
            name: item.asstr()[()] if h5py.check_string_dtype(item.dtype) else item[()] for name, item in file.items()
        }
        matrix = layout["matrix"]
        named = Matrix(matrix["name"], matrix["columns"], found[matrix["name"]]) if matrix else None
        return Table(
            kind,
            json.loads(file.attrs["about"]),
            {name: found[name] for name in layout["columns"]},
            named,
            {name: found[name] for name in layout["arrays"]},
        )


def _plain(values: Any) -> Any:
    return values if isinstance(values, np.ndarray) and values.dtype.kind != "O" else list(values)


def _write_hdf5(path: Path, table: Table) -> None:
    matrix = table.matrix
    layout = {
        "columns": list(table.columns),
        "arrays": list(table.arrays),
        "matrix": None if matrix is None else {"name": matrix.name, "columns": list(matrix.columns)},
    }
    with new_hdf5(path) as file:
        file.attrs["format"], file.attrs["version"] = f"borzoi-rt-{table.kind}", VERSION
        file.attrs["about"] = json.dumps(table.about, sort_keys=True)
        file.attrs["layout"] = json.dumps(layout)
        for name, values in table.columns.items():
            plain = np.asarray(_plain(values))
            if plain.dtype.kind in "UO":
                file.create_dataset(name, data=[str(value) for value in values], dtype=h5py.string_dtype())
            else:
                file.create_dataset(name, data=plain)
        more = {} if matrix is None else {matrix.name: matrix.values}
        for name, values in {**more, **table.arrays}.items():
            # Row after row: the values may lie in a file.
            held = file.create_dataset(name, values.shape, values.dtype, compression="gzip", compression_opts=1)
            for number in range(len(values)):
                held[number] = values[number]


def _write_npz(path: Path, table: Table) -> None:
    found: dict[str, Any] = {name: np.asarray(_plain(values)) for name, values in table.columns.items()}
    if table.matrix is not None:
        found |= {table.matrix.name: table.matrix.values, "columns": np.asarray(list(table.matrix.columns))}
    found |= dict(table.arrays)
    with path.open("wb") as file:
        found["about"] = np.asarray(json.dumps(table.about, sort_keys=True))
        np.savez_compressed(file, **found)


def _write_parquet(path: Path, table: Table) -> None:
    schema = table.to_arrow(slice(0, 1)).schema.with_metadata({"borzoi_rt": json.dumps(table.about)})
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, len(table), _ROWS):
            writer.write_table(table.to_arrow(slice(start, start + _ROWS)).cast(schema))


def _write_tsv(path: Path, table: Table) -> None:
    options = csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
    with path.open("wb") as file:
        for start in range(0, len(table), _ROWS):
            part = table.to_arrow(slice(start, start + _ROWS))
            if not start:
                file.write(("\t".join(part.column_names) + "\n").encode())
            csv.write_csv(_unquoted(part), file, options)
    described = path.with_name(path.name + ".meta.json")
    described.write_text(json.dumps(table.about, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _unquoted(table: pa.Table) -> pa.Table:
    """Keep separators out of text, which quoting would otherwise have to protect."""
    for number, kind in enumerate(table.schema):
        if pa.types.is_string(kind.type):
            clean = compute.replace_substring_regex(table.column(number), pattern=r'[\t\r\n"]+', replacement=" ")
            table = table.set_column(number, kind.name, clean)
    return table


_WRITERS = {".h5": _write_hdf5, ".npz": _write_npz, ".parquet": _write_parquet, ".tsv": _write_tsv}
