"""Work that survives: results are kept in shards beside the output until the output is written."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc

from ..errors import FormatError, InputError
from ..scoring.pipeline import ScoredVariant

_HEADER = "journal.json"
_LOCK = "lock"

log = logging.getLogger(__name__)


def shard_schema(stats: Sequence[str], rows: int) -> pa.Schema:
    """Return the columns of a shard: one row per ALT allele, a vector per statistic."""
    scores = [pa.field(f"score:{name}", pa.list_(pa.float32(), rows)) for name in stats]
    return pa.schema(
        [
            ("record", pa.int64()),
            ("alt_index", pa.int32()),
            ("chrom", pa.string()),
            ("pos", pa.int64()),
            ("id", pa.string()),
            ("ref", pa.string()),
            ("alt", pa.string()),
            ("status", pa.string()),
            ("status_detail", pa.string()),
            ("window_start", pa.int64()),
            ("stitch_bin", pa.int32()),
            ("n_fraction", pa.float32()),
            *scores,
        ]
    )


def shard_table(results: Sequence[ScoredVariant], schema: pa.Schema, stats: Sequence[str], rows: int) -> pa.Table:
    """Turn results into a table of :func:`shard_schema`; alleles without scores hold nulls."""
    columns: dict[str, Any] = {
        "record": [item.record for item in results],
        "alt_index": [item.alt_index for item in results],
        "chrom": [item.variant.chrom for item in results],
        "pos": [item.variant.pos for item in results],
        "id": [item.variant.id for item in results],
        "ref": [item.variant.ref for item in results],
        "alt": [item.variant.alt for item in results],
        "status": [item.status for item in results],
        "status_detail": [item.detail for item in results],
        "window_start": [item.window_start for item in results],
        "stitch_bin": [item.stitch_bin for item in results],
        "n_fraction": [item.n_fraction for item in results],
    }
    empty = np.zeros(rows, dtype=np.float32)
    missing = pa.array([item.scores is None for item in results], pa.bool_())
    for name in stats:
        values = np.concatenate([empty if item.scores is None else item.scores[name] for item in results])
        columns[f"score:{name}"] = pa.FixedSizeListArray.from_arrays(values, rows, mask=missing)
    return pa.table(columns, schema=schema)


class Journal:
    """Numbered shards in ``OUT.partial``, each written whole or not at all; a context manager.

    From making to closing the folder belongs to one process: a lock on a file in it, which the system takes back
    however the process ends.

    Parameters
    ----------
    out : Path
        The final output.
    header : mapping
        JSON values that must be equal for shards to be used again: input, model, genome, options.
    resume : bool
        Keep the shards of an earlier run with the same header; otherwise they are discarded.

    Raises
    ------
    InputError
        If another run is writing ``out``, or if there is an earlier run with another header and ``resume`` is set.
    """

    def __init__(self, out: Path, header: Mapping[str, Any], *, resume: bool) -> None:
        self.directory = out.with_name(out.name + ".partial")
        self._lock: int | None = _lock(self.directory / _LOCK, out)
        try:
            self._begin(json.dumps(header, sort_keys=True), resume=resume)
        except BaseException:
            self.close()
            raise
        self.done = len(self.paths())

    def _begin(self, wanted: str, *, resume: bool) -> None:
        path = self.directory / _HEADER
        if resume and path.is_file():
            if path.read_text(encoding="utf-8") != wanted:
                raise InputError(
                    f"{self.directory}: kept by a run with another input, model, genome or options; repeat these, "
                    "or run without --resume to start anew"
                )
            return
        self._clear()
        try:
            _write_whole(path, wanted.encode())
        except OSError:
            self.remove()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let other runs have the folder; what is in it stays."""
        if self._lock is not None:
            os.close(self._lock)
        self._lock = None

    def paths(self) -> list[Path]:
        """Return the shards without a gap, in order."""
        found = sorted(self.directory.glob("shard-*.arrow"))
        return [path for number, path in enumerate(found) if path.name == f"shard-{number:06d}.arrow"]

    def add(self, table: pa.Table) -> None:
        """Write the next shard."""
        sink = pa.BufferOutputStream()
        with ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        _write_whole(self.directory / f"shard-{self.done:06d}.arrow", sink.getvalue().to_pybytes())
        self.done += 1

    def tables(self) -> Iterator[pa.Table]:
        """Yield the shards.

        Raises
        ------
        FormatError
            If a shard is damaged.
        """
        for path in self.paths():
            try:
                with pa.memory_map(str(path)) as source:
                    table = ipc.open_file(source).read_all()
            except (pa.ArrowException, OSError) as error:
                raise FormatError(f"{path}: damaged ({error}); run without --resume to start anew") from error
            yield table

    def remove(self) -> None:
        """Forget everything; without effect once the folder is no longer ours."""
        if self._lock is None:
            return
        self._clear()
        (self.directory / _LOCK).unlink(missing_ok=True)
        with suppress(OSError):  # another run may have made its lock already
            self.directory.rmdir()
        self.close()

    def _clear(self) -> None:
        for path in self.directory.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != _LOCK:
                path.unlink(missing_ok=True)


def _lock(path: Path, out: Path) -> int:
    """Make and lock a file, and return its handle; a file that its last owner has just removed is made again."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise InputError(
                f"{out}: another run is writing it ({path} is locked); wait for its end, or choose another name"
            ) from None
        except OSError as error:
            log.warning("%s: cannot be locked (%s); start no second run into %s", path, error.strerror, out.name)
            return handle
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        os.close(handle)


def _write_whole(path: Path, content: bytes) -> None:
    draft = path.with_name(path.name + ".new")
    with draft.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
    draft.replace(path)
