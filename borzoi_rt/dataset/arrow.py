"""Our training files: Arrow IPC, one record batch per window, zstd.

Why Arrow IPC: the footer of a file lists where each record batch lies, so that any window can be read without its
neighbours. The order of an epoch is then a plain permutation of all windows, the same for any number of processes, and
a run can be taken up at any window; formats that are streams (tar archives, TFRecord) need a shuffle buffer of whole
windows (94 MB each for the published model) and a replay. The schema carries shapes and types (the canonical
``arrow.fixed_shape_tensor``), every language reads it, and pyarrow is needed for Parquet tables anyway. Files are read
with ``pread`` and not mapped, so that a data set larger than the memory does not fill it.

Schema: ``sequence`` fixed_size_binary(length), codes as in :mod:`borzoi_rt.dataset.window`; ``target``
fixed_shape_tensor(float16, (tracks, bins)). Schema metadata holds ``borzoi-rt-windows`` = 1.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..errors import FormatError
from .window import UNKNOWN, Window

_VERSION_KEY, _VERSION = b"borzoi-rt-windows", b"1"
_OPEN_FILES = 32


def schema_of(length: int, tracks: int, bins: int) -> pa.Schema:
    """Return the schema of a shard."""
    tensor = pa.fixed_shape_tensor(pa.float16(), (tracks, bins))
    fields = [pa.field("sequence", pa.binary(length), nullable=False), pa.field("target", tensor, nullable=False)]
    return pa.schema(fields, metadata={_VERSION_KEY: _VERSION})


def write_shard(path: str | os.PathLike[str], windows: Iterable[Window], schema: pa.Schema) -> int:
    """Write windows as one shard, under another name until it is whole; return their number."""
    path = Path(path)
    partial = path.with_name(f"{path.name}.partial")
    count = 0
    options = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
    try:
        with pa.OSFile(str(partial), "wb") as sink, pa.ipc.new_file(sink, schema, options=options) as writer:
            for window in windows:
                target = np.ascontiguousarray(window.target, dtype=np.float16).reshape(1, *window.target.shape)
                tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(target)
                sequence = pa.array([window.codes.tobytes()], type=schema.field("sequence").type)
                writer.write_batch(pa.RecordBatch.from_arrays([sequence, tensor], schema=schema))
                count += 1
        with partial.open("rb") as handle:
            os.fsync(handle.fileno())  # a machine that stops must not leave the name without the content
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)  # on a full disk the next try needs the space
        raise
    return count


class ArrowSplit:
    """The shards of one split.

    Parameters
    ----------
    paths : sequence of Path
        Shards in order.
    windows : int
        Number of windows that statistics.json promises.
    length, tracks, bins : int
        Sizes of one window.

    Raises
    ------
    FormatError
        If a shard is damaged, has other sizes, or windows are missing.
    """

    def __init__(self, paths: Sequence[Path], windows: int, *, length: int, tracks: int, bins: int) -> None:
        self._paths = tuple(paths)
        self._schema = schema_of(length, tracks, bins)
        self._shape = (tracks, bins)
        self._opened = threading.local()  # a reader belongs to one thread
        self._starts = [0]
        for number in range(len(self._paths)):
            self._starts.append(self._starts[-1] + self._reader(number).num_record_batches)
        if self._starts[-1] != windows:
            raise FormatError(
                f"{self._starts[-1]} windows in {len(self._paths)} shards, statistics.json says {windows}; "
                "a shard is missing or short, make the data again"
            )

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, number: int) -> Window:
        shard = bisect_right(self._starts, number) - 1
        path = self._paths[shard]
        try:
            batch = self._reader(shard).get_batch(number - self._starts[shard])
            batch.validate(full=True)
            if batch.num_rows != 1 or any(column.null_count for column in batch.columns):
                raise ValueError(f"{batch.num_rows} rows, or a row without values, where a batch is one window")
            codes = np.frombuffer(batch.column("sequence")[0].as_py(), dtype=np.uint8)
            target = batch.column("target").to_numpy_ndarray()[0]
        except (pa.ArrowException, OSError, ValueError) as error:
            raise FormatError(
                f"{path}: window {number - self._starts[shard]} cannot be read ({_line(error)})"
            ) from error
        if codes.max(initial=0) > UNKNOWN:
            raise FormatError(f"{path}: base code {int(codes.max())}; 0 to 4 are allowed")
        return Window(codes, target)

    def in_order(self) -> Iterator[Window]:
        """Yield every window in the order of sequences.bed."""
        return map(self.__getitem__, range(len(self)))

    def shuffled(self, seed: Sequence[int], wanted: Callable[[int], bool] | None = None) -> Iterator[Window]:
        """Yield every window once, in an order that ``seed`` fixes; others than the wanted ranks are not read."""
        chosen = (number for rank, number in enumerate(self.order(seed)) if wanted is None or wanted(rank))
        return map(self.__getitem__, chosen)

    def order(self, seed: Sequence[int]) -> list[int]:
        """Return the numbers of the windows in the order of :meth:`shuffled`."""
        found: list[int] = np.random.default_rng(list(seed)).permutation(len(self)).tolist()
        return found

    def _reader(self, number: int) -> Any:
        readers: dict[int, Any] = self._opened.__dict__.setdefault("readers", {})
        if number in readers:
            return readers[number]
        path = self._paths[number]
        try:
            # A window is one buffer: Arrow's own threads would only hand it to each other.
            reader = pa.ipc.open_file(pa.OSFile(str(path)), options=pa.ipc.IpcReadOptions(use_threads=False))
        except (pa.ArrowException, OSError) as error:
            raise FormatError(f"{path}: not an Arrow file, or cut short ({_line(error)})") from error
        if not reader.schema.equals(self._schema, check_metadata=True):
            raise FormatError(f"{path}: its windows have other sizes than statistics.json; make the data again")
        if len(readers) >= _OPEN_FILES:
            readers.pop(next(iter(readers)))
        readers[number] = reader
        return reader


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
