"""One cache of what was computed before, bounded in bytes: tiles, coverage and embeddings share it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, Protocol, TypeVar


class Held(Protocol):
    """What is held: an array of the host, or memory of a device."""

    @property
    def nbytes(self) -> int:
        """Bytes held."""

    def setflags(self, *, write: bool) -> None:
        """As of a NumPy array."""


_Held = TypeVar("_Held", bound=Held)

MEMORY_BYTES = 1 * 2**30


class Cache:
    """The arrays used last, by key, up to a number of bytes; safe between threads.

    Parameters
    ----------
    memory_bytes : int
        Bound; the newest entry stays even where it alone is larger.
    """

    def __init__(self, memory_bytes: int = MEMORY_BYTES) -> None:
        self._limit = memory_bytes
        self._held = 0
        self._entries: OrderedDict[bytes, Sequence[Any]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: bytes, compute: Callable[[], Sequence[_Held]]) -> Sequence[_Held]:
        """Return the arrays of a key, computed where they are not held; they are read-only.

        The key must be a hash of everything that the arrays depend on, so that an entry is never stale.
        """
        with self._lock:
            found = self._entries.get(key)
            if found is not None:
                self._entries.move_to_end(key)
                return found
        arrays = compute()
        for array in arrays:
            array.setflags(write=False)
        self._hold(key, arrays)
        return arrays

    @property
    def size(self) -> tuple[int, int]:
        """Bytes that are held, and the bound."""
        return self._held, self._limit

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._held = 0

    def _hold(self, key: bytes, arrays: Sequence[Held]) -> None:
        with self._lock:
            if key in self._entries:
                return
            self._entries[key] = arrays
            self._held += _bytes_of(arrays)
            while self._held > self._limit and len(self._entries) > 1:
                _, oldest = self._entries.popitem(last=False)
                self._held -= _bytes_of(oldest)


def _bytes_of(arrays: Sequence[Held]) -> int:
    return sum(array.nbytes for array in arrays)
