"""HDF5 files whose failure to be written is an error of Python: the library itself ends the process on a full disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py


class _Shield:
    """A file that takes every write, keeps the first fault for later, and reads zeros where nothing was written."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b", buffering=0)
        self.fault: OSError | None = None

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        while self.fault is None and left:
            try:
                left = left[self._file.write(left) :]
            except OSError as error:
                self.fault = error
        return size

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        found = self._file.readinto(view) or 0
        view[found:] = bytes(len(view) - found)
        return len(view)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size) or b""

    def truncate(self, size: int | None = None) -> int:
        if self.fault is None:
            try:
                return self._file.truncate(size)
            except OSError as error:
                self.fault = error
        return size or 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


@contextmanager
def new_hdf5(path: Path) -> Iterator[h5py.File]:
    """Make an HDF5 file.

    Raises
    ------
    OSError
        If it cannot be written, as on a full disk.
    """
    shield = _Shield(path)
    try:
        with h5py.File(shield, "w") as file:
            yield file
    except Exception:
        if shield.fault is None:
            raise
    finally:
        shield.close()
    if shield.fault is not None:
        raise shield.fault
