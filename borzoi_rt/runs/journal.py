"""Work that survives: results of jobs are kept in ``OUT.partial`` until the output is written."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.ipc as ipc

from ..errors import FormatError, InputError, RunInterrupted
from .identity import differences

HEADER = "journal.json"
_LOCK = "lock"
_MOVED = "moved"
_OURS = b"borzoi-rt journal\n"
_SHARD = re.compile(r"shard-(\d+)\.arrow")
_MAGIC = b"BRTSHRD1"
_DIGEST_BYTES = 32
_PATIENCE_S = 5.0  # for a run that is about to end

log = logging.getLogger(__name__)


class Journal:
    """The results of a run's jobs in ``OUT.partial``, each written whole or not at all; a context manager.

    From making to closing the folder belongs to one process: a lock on a file in it, which the system takes back
    however the process ends. Call :meth:`begin` before anything is added.

    Parameters
    ----------
    out : Path
        The final output.

    Attributes
    ----------
    directory : Path
        The folder.
    done : set of int
        Numbers of the jobs whose results are here.

    Raises
    ------
    InputError
        If another run is writing ``out``, or ``OUT.partial`` is not a folder that a run left.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.directory = out.with_name(out.name + ".partial")
        _check_folder(self.directory)
        self._lock: int | None = _lock(self.directory / _LOCK, out)
        self.done: set[int] = set()

    def is_of(self, identity: Mapping[str, Any]) -> bool:
        """Tell whether an earlier run of the same identity left results here."""
        path = self.directory / HEADER
        return path.is_file() and not differences(path, identity)

    def begin(self, identity: Mapping[str, Any], *, resume: bool) -> None:
        """Keep the results of an earlier run of the same identity where ``resume`` is set; discard all others.

        Raises
        ------
        InputError
            If there is an earlier run of another identity and ``resume`` is set.
        """
        self._clear_drafts()
        path = self.directory / HEADER
        if resume and path.is_file():
            changed = differences(path, identity)
            if changed:
                raise InputError(
                    f"{self.directory}: kept by a run with another {' and another '.join(changed)}; repeat that run as "
                    "it was, or run without resuming to start anew"
                )
            self.done = self._numbers()
            return
        kept = len(self._numbers())
        if kept:
            log.warning("%s: %d finished jobs of an earlier run are discarded; resuming would use them", self.out, kept)
        for number in self._numbers():
            _path(self.directory, number).unlink()
        try:
            write_whole(path, json.dumps(identity, sort_keys=True).encode())
        except OSError:
            self.remove()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and not self._numbers():
            self.remove()  # of no use to a later run
        held = self._lock is not None
        self.close()
        if held and kind is not None and issubclass(kind, KeyboardInterrupt) and not issubclass(kind, RunInterrupted):
            raise RunInterrupted(f"interrupted: what was done is kept in {self.directory}", resumable=True) from None

    def close(self) -> None:
        """Let other runs have the folder; what is in it stays."""
        if self._lock is not None:
            os.close(self._lock)
        self._lock = None

    def add(self, number: int, table: pa.Table) -> None:
        """Keep the result of a job."""
        write_shard(self.directory, number, table)
        self.done.add(number)

    def recount(self) -> None:
        """Count what other processes of the run have written."""
        self.done = self._numbers()

    def tables(self) -> Iterator[pa.Table]:
        """Yield the results in the order of the jobs.

        Raises
        ------
        FormatError
            If one is damaged.
        """
        for number in sorted(self.done):
            yield read_shard(self.directory, number)

    def adopt(self, number: int, folder: Path) -> None:
        """Take the result of a job from the folder of a shard of the same run, which keeps it."""
        source, target = _path(folder, number), _path(self.directory, number)
        target.unlink(missing_ok=True)
        try:
            os.link(source, target)
        except OSError:  # on another disk, or one that has no links
            write_whole(target, source.read_bytes())
        self.done.add(number)

    def move(self, target: Path) -> None:
        """Keep header and results under another name, which replaces what an earlier run left there."""
        for path in self.directory.iterdir():
            if path.suffix != ".json" and not _SHARD.fullmatch(path.name):
                path.unlink()
        if target.exists():
            shutil.rmtree(target)
        self.directory.rename(target)
        self.close()

    def note_move(self, folder: Path) -> None:
        """Write down that a folder is the whole output of this run, before it is moved to its final name."""
        write_whole(self.directory / _MOVED, self._mark_of(folder).encode())

    def has_moved(self) -> bool:
        """Tell whether what stands at the final name is the output of this run, which was killed before its end."""
        path = self.directory / _MOVED
        return path.is_file() and self.out.is_dir() and path.read_text() == self._mark_of(self.out)

    def _mark_of(self, folder: Path) -> str:
        """Return what a folder keeps when it is moved, and what identifies the run."""
        header, held = self.directory / HEADER, folder.stat()
        digest = hashlib.sha256(header.read_bytes() if header.is_file() else b"").hexdigest()
        return f"{held.st_dev} {held.st_ino} {digest}\n"

    def remove(self) -> None:
        """Forget everything; without effect once the folder is no longer ours."""
        if self._lock is None:
            return
        last = [self.directory / name for name in (_MOVED, _LOCK)]
        for path in self.directory.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path not in last:
                path.unlink(missing_ok=True)
        for path in last:
            path.unlink(missing_ok=True)
        with suppress(OSError):  # another run may have made its lock already
            self.directory.rmdir()
        self.close()

    def _clear_drafts(self) -> None:
        """Remove what a killed run left half written; on a full disk it would be in the way."""
        for path in self.directory.iterdir():
            if path.name.startswith("final-") and path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name.endswith(".new") or path.name.startswith("part-"):
                path.unlink(missing_ok=True)

    def _numbers(self) -> set[int]:
        if self._lock is None:
            return set()  # removed, or another run's
        found = (_SHARD.fullmatch(path.name) for path in self.directory.iterdir())
        return {int(match[1]) for match in found if match}


def was_moved(out: Path) -> bool:
    """Tell whether a killed run has left both its whole output, a directory, and its journal."""
    path = out.with_name(out.name + ".partial") / _MOVED
    if not path.is_file() or not out.is_dir():
        return False
    held = out.stat()
    return path.read_text().split()[:2] == [str(held.st_dev), str(held.st_ino)]


def write_shard(directory: Path, number: int, table: pa.Table, part: range | None = None) -> None:
    """Write the result of a job, or of a part of one, with its hash; any process of the run may call it."""
    sink = pa.BufferOutputStream()
    with ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    content = sink.getvalue()
    digest = hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()
    write_whole(_path(directory, number, part), _MAGIC + digest, memoryview(content))


def read_shard(directory: Path, number: int, part: range | None = None) -> pa.Table:
    """Read the result of a job, or of a part of one; nothing of it is interpreted before its hash is right.

    Raises
    ------
    FormatError
        If it is damaged.
    """
    path = _path(directory, number, part)
    try:
        content = path.read_bytes()
        digest, body = content[len(_MAGIC) : len(_MAGIC) + _DIGEST_BYTES], content[len(_MAGIC) + _DIGEST_BYTES :]
        if content[: len(_MAGIC)] != _MAGIC or hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest() != digest:
            raise ValueError("its content does not have the hash that stands in it")
        return ipc.open_file(pa.BufferReader(body)).read_all()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FormatError(f"{path}: damaged ({error}); remove this file and resume: its job is done again") from error


def join_parts(directory: Path, number: int, parts: Sequence[range]) -> None:
    """Make the result of a job of those of its parts."""
    tables = [read_shard(directory, number, part) for part in parts]
    write_shard(directory, number, pa.concat_tables(tables).combine_chunks())
    for part in parts:
        _path(directory, number, part).unlink()


def write_whole(path: Path, *parts: bytes | memoryview) -> None:
    """Write a file under a draft name and rename it."""
    draft = path.with_name(path.name + ".new")
    try:
        with draft.open("wb") as handle:
            for part in parts:
                handle.write(part)
            handle.flush()
            os.fsync(handle.fileno())
        draft.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a write that fails does not say of which file
        draft.unlink(missing_ok=True)
        raise


def _path(directory: Path, number: int, part: range | None = None) -> Path:
    if part is not None:
        return directory / f"part-{number:06d}-{part.start}-{part.stop}.arrow"
    return directory / f"shard-{number:06d}.arrow"


def _check_folder(folder: Path) -> None:
    """Refuse what another program, or a person, has put where the journal belongs."""
    if folder.is_symlink():
        raise InputError(f"{folder}: is a symbolic link, which a run does not write through; remove it")
    if not folder.exists():
        return
    lock = folder / _LOCK
    held = [path.name for path in folder.iterdir()] if folder.is_dir() else ["?"]
    # A run killed before it could mark its lock leaves an empty one, and nothing else.
    fresh = not held or (held == [_LOCK] and lock.is_file() and not lock.is_symlink() and not lock.stat().st_size)
    ours = _LOCK in held and lock.is_file() and not lock.is_symlink() and lock.read_bytes()[:64] == _OURS
    if not fresh and not ours:
        raise InputError(f"{folder}: was not left by a run and is not touched; move it away, or choose another output")


def _lock(path: Path, out: Path) -> int:
    """Make and lock a file, and return its handle; a file that its last owner has just removed is made again."""
    until = time.monotonic() + _PATIENCE_S
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            if time.monotonic() < until:
                time.sleep(0.1)
                continue
            raise InputError(
                f"{out}: another run is writing it ({path} is locked); wait for its end, or choose another name"
            ) from None
        except OSError as error:
            log.warning("%s: cannot be locked (%s); start no second run into %s", path, error.strerror, out.name)
            _mark(handle, path)
            return handle
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), path.stat()):
                _mark(handle, path)
                return handle
        os.close(handle)


def _mark(handle: int, path: Path) -> None:
    """Write into a lock that it is ours; where that cannot be done, as on a full disk, leave nothing locked."""
    if os.pread(handle, len(_OURS), 0) == _OURS:
        return
    try:
        if os.pwrite(handle, _OURS, 0) != len(_OURS):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        error.filename = error.filename or str(path)  # a write that fails does not say of which file
        path.unlink(missing_ok=True)
        with suppress(OSError):
            path.parent.rmdir()
        os.close(handle)
        raise
