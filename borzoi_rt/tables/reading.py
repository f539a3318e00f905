"""Long score tables read back, a bounded number of rows at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.csv as csv
import pyarrow.parquet as parquet

from ..errors import FormatError

READABLE = (".tsv", ".tsv.gz", ".parquet")
NEEDED = (
    *("record", "alt_index", "chrom", "pos", "id", "ref", "alt", "status", "status_detail"),
    *("gene", "region", "track_index", "track_id", "track_label", "stat", "score"),
)
_KINDS = {
    **dict.fromkeys(("record", "alt_index", "pos", "track_index"), pa.int64()),
    **dict.fromkeys(("score", "quantile", "phred", "vs_null_max", "score_sd"), pa.float64()),
}


@dataclass(frozen=True)
class Coded:
    """A column of texts: which text each row has, and the texts.

    Attributes
    ----------
    codes : int64 ndarray of shape (rows,)
        -1 where there is none.
    texts : list of str
    """

    codes: np.ndarray
    texts: list[str]

    def __getitem__(self, row: int) -> str:
        code = int(self.codes[row])
        return self.texts[code] if code >= 0 else ""


@dataclass(frozen=True)
class ScoreTable:
    """A long table of scores.

    Attributes
    ----------
    path : Path
    columns : tuple of str
    metadata : dict
        Description of the run, as its writer left it; empty where it is not beside the table.
    """

    path: Path
    columns: tuple[str, ...]
    metadata: dict[str, Any]

    def batches(self, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield pieces of the table: float64 arrays (NaN: empty), int64 arrays (-1: empty) and :class:`Coded` texts.

        Raises
        ------
        FormatError
            If a value is not of the kind of its column.
        """
        try:
            for batch in _batches(self.path, columns):
                yield {name: _plain(batch[name], name) for name in columns}
        except pa.ArrowInvalid as error:
            raise FormatError(f"{self.path}: {str(error).splitlines()[0]}") from None


def open_scores(path: str | os.PathLike[str]) -> ScoreTable:
    """Open a long table that ``borzoi-rt score`` has written.

    Raises
    ------
    FormatError
        If it is none.
    """
    table = Path(path)
    if not table.name.endswith(READABLE):
        raise FormatError(f"{table}: a long table is read as {', '.join(READABLE)}; write one of these")
    if not table.is_file():
        raise FormatError(f"{table}: no such table")
    try:
        columns = _columns(table)
    except (pa.ArrowInvalid, OSError) as error:
        raise FormatError(f"{table}: cannot be read as a table: {str(error).splitlines()[0]}") from None
    missing = [name for name in NEEDED if name not in columns]
    if missing:
        raise FormatError(
            f"{table}: no column {missing[0]!r}, so this is no long table of `borzoi-rt score`; "
            "write one with its default layout"
        )
    return ScoreTable(table, columns, _metadata(table))


def _columns(path: Path) -> tuple[str, ...]:
    if path.name.endswith(".parquet"):
        return tuple(parquet.read_schema(path).names)
    with pa.input_stream(str(path), compression="detect") as stream:
        head = stream.read(2**16).split(b"\n", 1)[0]
    return tuple(head.decode("utf-8", "replace").rstrip("\r").split("\t"))


def _metadata(path: Path) -> dict[str, Any]:
    if path.name.endswith(".parquet"):
        text = (parquet.read_schema(path).metadata or {}).get(b"borzoi_rt", b"{}")
    else:
        beside = path.with_name(path.name + ".meta.json")
        text = beside.read_bytes() if beside.is_file() else b"{}"
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise FormatError(f"{path}: the description of its run is not JSON; score it anew, or remove it") from None
    return found if isinstance(found, dict) else {}


def _batches(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    if path.name.endswith(".parquet"):
        with parquet.ParquetFile(path) as file:
            yield from file.iter_batches(columns=list(columns))
        return
    kinds = {name: _KINDS.get(name, pa.string()) for name in columns}
    options = csv.ConvertOptions(
        column_types=kinds, include_columns=list(columns), null_values=[""], strings_can_be_null=True
    )
    read, parse = csv.ReadOptions(block_size=2**24), csv.ParseOptions(delimiter="\t", quote_char=False)
    try:
        reader = csv.open_csv(str(path), read_options=read, parse_options=parse, convert_options=options)
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):
            return
        raise
    yield from reader


def _plain(column: pa.Array, name: str) -> Any:
    kind = _KINDS.get(name)
    if kind == pa.int64():
        return column.cast(kind).fill_null(-1).to_numpy(zero_copy_only=False)
    if kind is not None:
        return column.cast(kind).fill_null(float("nan")).to_numpy(zero_copy_only=False)
    coded = compute.dictionary_encode(column.cast(pa.string()))
    codes = coded.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    return Coded(codes, coded.dictionary.to_pylist())
