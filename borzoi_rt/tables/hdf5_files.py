"""HDF5 files whose failure to be written is an error of Python: the library itself ends the process on a full disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from ..errors import BorzoiError, FormatError


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


# What h5py, JSON and NumPy raise on a file that is damaged, or is another than it says.
_DAMAGE = (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError, OverflowError)


@contextmanager
def read_hdf5(path: str | os.PathLike[str], what: str, *, written_by: str) -> Iterator[h5py.File]:
    """Open an HDF5 file; whatever fails while it is read is said of the file.

    Parameters
    ----------
    path : path
        The file.
    what : str
        What it holds, for messages.
    written_by : str
        How such a file is made.

    Raises
    ------
    FormatError
        If it is no regular file or not HDF5, or cannot be read.
    """
    path = Path(path)
    if not path.is_file():  # a pipe would wait for its writer
        raise FormatError(f"{path}: {'not a regular file' if path.exists() else 'no such file'}; name a file of {what}")
    try:
        if not h5py.is_hdf5(path):
            raise FormatError(f"{path}: cannot be read as {what} (it is not HDF5); {written_by} writes them as .h5")
        with h5py.File(path, "r") as file:
            yield file
    except BorzoiError:
        raise
    except _DAMAGE as error:
        raise FormatError(f"{path}: cannot be read as {what} ({error}); make it again") from error
