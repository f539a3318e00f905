"""Tiles that were computed before: in memory, and on disk where a folder is given.

A key is the hash of everything a tile depends on, so that an entry is never stale. A file is written under a draft name
and renamed, carries the hash of its content, and counts as absent when that does not fit: a truncated, changed or
deleted file costs a recomputation and nothing else. Processes may share a folder.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import stat
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from ..errors import InputError
from .cache import Cache

log = logging.getLogger(__name__)

Tensors = Sequence[np.ndarray]

DISK_BYTES = 20 * 2**30
_MAGIC = b"BRTTILE1"
_DIGEST_BYTES = 32
_MAX_TENSORS = 16
_LARGEST_TILE = 2**28  # bytes; one of the published size has a megabyte


class TileCache:
    """Tiles in memory, and in a folder where one is given.

    Parameters
    ----------
    cache : Cache, optional
        First level.
    store : TileStore, optional
        Second level.

    Attributes
    ----------
    memory : Cache
        The first level, which whatever else the engine keeps may share.
    computed : int
        How many tiles neither level held.
    """

    def __init__(self, cache: Cache | None = None, store: TileStore | None = None) -> None:
        self.memory = cache or Cache()
        self._store = store
        self.computed = 0

    def get(self, key: bytes, compute: Callable[[], Tensors]) -> Tensors:
        """Return the tensors of a key, computed at most once while they are held; they are read-only."""
        return self.memory.get(key, lambda: self._stored(key, compute))

    def clear(self) -> None:
        """Forget what is in memory."""
        self.memory.clear()

    def _stored(self, key: bytes, compute: Callable[[], Tensors]) -> Tensors:
        found = self._store.read(key) if self._store else None
        if found is not None:
            return found
        tensors = compute()
        self.computed += 1
        if self._store:
            self._store.write(key, tensors)
        return tensors


class TileStore:
    """Tiles as files in a folder.

    Parameters
    ----------
    folder : path
        Made if it is missing.
    limit_bytes : int
        Above it the files used longest ago are removed.

    Raises
    ------
    InputError
        If the folder cannot be made or written.
    """

    def __init__(self, folder: str | os.PathLike[str], limit_bytes: int = DISK_BYTES) -> None:
        self.folder = Path(folder)
        self._limit = limit_bytes
        self._writable = True
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.folder}: cannot be a cache folder ({error.strerror})") from error
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise InputError(f"{self.folder}: not writable; choose another cache folder")
        self._used = sum(size for _, size, _ in self._files())

    def read(self, key: bytes) -> list[np.ndarray] | None:
        """Return the tensors of a key, or None where there is no whole file of them."""
        path = self._path(key)
        content = _read_regular(path)
        if content is None:
            return None
        tensors = _unpack(content, key)
        if tensors is None:
            log.warning("%s: damaged tile, computed again", path)
            path.unlink(missing_ok=True)
            return None
        with suppress(OSError):
            os.utime(path)  # used just now: last to be evicted
        return tensors

    def write(self, key: bytes, tensors: Tensors) -> None:
        """Keep tensors; a full disk ends writing for this process, with one warning."""
        if not self._writable:
            return
        path = self._path(key)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
        try:
            content = _pack(key, tensors)
            draft.write_bytes(content)
            draft.replace(path)
        except OSError as error:
            self._writable = False
            log.warning("%s: tiles are no longer written (%s)", self.folder, error.strerror)
            draft.unlink(missing_ok=True)
            return
        self._used += len(content)
        if self._used > self._limit:
            self._evict()

    def _evict(self) -> None:
        """Remove the files used longest ago until a tenth of the bound is free."""
        files = sorted(self._files())
        self._used = sum(size for _, size, _ in files)
        for _, size, path in files:
            if self._used <= 0.9 * self._limit:
                return
            path.unlink(missing_ok=True)
            self._used -= size

    def _files(self) -> list[tuple[float, int, Path]]:
        found = []
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith(".tile") and entry.is_file(follow_symlinks=False):
                    try:
                        state = entry.stat()
                    except FileNotFoundError:  # another process evicted it
                        continue
                    found.append((state.st_mtime, state.st_size, Path(entry.path)))
        return found

    def _path(self, key: bytes) -> Path:
        return self.folder / f"{key.hex()}.tile"


def _read_regular(path: Path) -> bytes | None:
    """Return the bytes of a regular file; None of anything else: a pipe would wait, a device never end."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            state = os.fstat(stream.fileno())
            return stream.read() if stat.S_ISREG(state.st_mode) and state.st_size <= _LARGEST_TILE else None
    except OSError:
        return None


def _pack(key: bytes, tensors: Tensors) -> bytes:
    """Magic, key, shapes, float32 values, BLAKE2b of all before."""
    parts = [_MAGIC, key, struct.pack("<I", len(tensors))]
    parts += [struct.pack("<II", *tensor.shape) for tensor in tensors]
    parts += [np.ascontiguousarray(tensor, dtype="<f4").tobytes() for tensor in tensors]
    content = b"".join(parts)
    return content + hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()


def _unpack(content: bytes, key: bytes) -> list[np.ndarray] | None:
    body, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    start = len(_MAGIC) + len(key)
    if body[:start] != _MAGIC + key or hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest() != digest:
        return None
    (count,) = struct.unpack_from("<I", body, start)
    if count > _MAX_TENSORS:
        return None
    shapes = [struct.unpack_from("<II", body, start + 4 + 8 * number) for number in range(count)]
    offset, tensors = start + 4 + 8 * count, []
    for rows, columns in shapes:
        tensors.append(np.frombuffer(body, dtype="<f4", count=rows * columns, offset=offset).reshape(rows, columns))
        offset += 4 * rows * columns
    return tensors
