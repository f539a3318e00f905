"""A region of POSIX shared memory, which a server on the same host maps too."""

from __future__ import annotations

import mmap
import os
import secrets
import weakref
from pathlib import Path

import numpy as np

from ..errors import BackendError

FOLDER = Path("/dev/shm")
PREFIX = "borzoi_rt_client_"


class Region:
    """A named region; it is removed when closed, when forgotten, and at the end of the process.

    Parameters
    ----------
    size : int
        Bytes.

    Attributes
    ----------
    name, key : str
        What the server calls it, and the name by which it opens it.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.name = f"{PREFIX}{os.getpid()}_{secrets.token_hex(6)}"
        self.key = f"/{self.name}"
        path = FOLDER / self.name
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        except OSError as error:
            raise BackendError(f"{FOLDER}: no shared memory can be made ({error.strerror}); leave out shm=1") from error
        self._remove = weakref.finalize(self, path.unlink, missing_ok=True)
        try:
            os.posix_fallocate(handle, 0, size)  # a full /dev/shm says so here, and not by a signal later
            self._map = mmap.mmap(handle, size)
        except OSError as error:
            self._remove()
            raise BackendError(f"{FOLDER}: has no room for {size} bytes ({error.strerror}); leave out shm=1") from error
        finally:
            os.close(handle)

    def write(self, offset: int, values: np.ndarray) -> None:
        """Copy an array to an offset."""
        target = np.frombuffer(self._map, dtype=np.uint8, count=values.nbytes, offset=offset)
        target[:] = np.ascontiguousarray(values).reshape(-1).view(np.uint8)

    def read(self, offset: int, shape: tuple[int, ...], kind: type[np.generic]) -> np.ndarray:
        """Return a copy of what lies at an offset."""
        count = int(np.prod(shape))
        return np.frombuffer(self._map, dtype=kind, count=count, offset=offset).reshape(shape).copy()

    def close(self) -> None:
        """Remove the region."""
        self._remove()
        self._map.close()
