"""Regions of POSIX shared memory, which a server on the same host maps too.

The name of a region goes as soon as the server has mapped it. A process that is killed leaves its regions mapped by the
server, and, killed in the moment before, a name: whoever comes next gives both back. Who made a region is in its name.
"""

from __future__ import annotations

import logging
import mmap
import os
import secrets
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BackendError

log = logging.getLogger(__name__)

FOLDER = Path("/dev/shm")
PREFIX = "borzoi_rt_client_"
_PROCESSES = Path("/proc/self/ns/pid")  # in which its number means one process


class Region:
    """A region; its name lasts until it is unlinked, closed or forgotten, or the process ends by itself.

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
        self.name = f"{_maker()}{os.getpid()}_{secrets.token_hex(6)}"
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

    def unlink(self) -> None:
        """Remove the name; who has mapped the region keeps it."""
        self._remove()

    def close(self) -> None:
        """Remove the region."""
        self._remove()
        self._map.close()


def _maker() -> str:
    """Return how the names of regions begin that processes made whose numbers mean the same here."""
    try:
        return f"{PREFIX}{_PROCESSES.stat().st_ino}_"
    except OSError:
        return f"{PREFIX}0_"


def is_orphan(name: str) -> bool:
    """Tell whether the process that made a region has gone; False where that cannot be known from here."""
    number, _, _ = name.removeprefix(_maker()).partition("_")
    if not name.startswith(_maker()) or not number.isdecimal():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        pass
    return False


def remove_orphans() -> None:
    """Remove the names that killed processes have left."""
    for path in FOLDER.glob(f"{_maker()}*"):
        if is_orphan(path.name):
            with suppress(OSError):  # another's
                path.unlink(missing_ok=True)


class Regions:
    """Two regions that one thread uses for all its requests, made larger when needed.

    Parameters
    ----------
    client : object
        A client of tritonclient.
    headers : mapping
        Sent with every request.
    """

    def __init__(self, client: Any, headers: Mapping[str, str]) -> None:
        self._client, self._headers = client, headers
        self._held: dict[str, Region] = {}
        remove_orphans()
        self._forget_orphans()

    def reserve(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, tuple[int, ...] | None]) -> None:
        """Have room for both sides, known to the server."""
        self._need("in", sum(values.nbytes for values in inputs.values()))
        self._need("out", sum(4 * int(np.prod(shape or ())) for shape in outputs.values()))

    def place(self, inputs: Mapping[str, np.ndarray], sent: Sequence[Any], outputs: Any, wanted: Sequence[Any]) -> None:
        """Write the inputs, and point the request to both regions."""
        offset = 0
        for values, item in zip(inputs.values(), sent, strict=True):
            self._held["in"].write(offset, values)
            item.set_shared_memory(self._held["in"].name, values.nbytes, offset)
            offset += values.nbytes
        offset = 0
        for shape, item in zip(outputs.values(), wanted, strict=True):
            size = 4 * int(np.prod(shape))
            item.set_shared_memory(self._held["out"].name, size, offset)
            offset += size

    def read(self, outputs: Mapping[str, tuple[int, ...] | None]) -> dict[str, np.ndarray]:
        """Copy the answers out; every one is float32."""
        answers, offset = {}, 0
        for name, shape in outputs.items():
            answers[name] = self._held["out"].read(offset, shape or (), np.float32)
            offset += answers[name].nbytes
        return answers

    def close(self) -> None:
        """Give everything back; a server that has gone, or come back as another, needs no word."""
        for side in list(self._held):
            self._drop(side)

    def _forget_orphans(self) -> None:
        """Let the server unmap what killed processes of this machine had registered; at the published size 190 MB each.

        It lists its regions by name over gRPC, and as a list of objects over HTTP.
        """
        try:
            status = self._client.get_system_shared_memory_status(headers=dict(self._headers), **self._as_json)
        except Exception as error:  # closed, or gone: the registration that follows says so
            log.debug("regions are not listed: %s", error)
            return
        names = status.get("regions", {}) if isinstance(status, dict) else [item["name"] for item in status]
        for name in filter(is_orphan, names):
            self._unregister(name)

    @property
    def _as_json(self) -> dict[str, bool]:
        return {"as_json": True} if type(self._client).__module__.startswith("tritonclient.grpc") else {}

    def _need(self, side: str, size: int) -> None:
        if side in self._held and self._held[side].size >= size:
            return
        self._drop(side)
        region = Region(max(size, 1))
        try:
            self._client.register_system_shared_memory(
                region.name, region.key, region.size, headers=dict(self._headers)
            )
        except BaseException:
            region.close()
            raise
        region.unlink()
        self._held[side] = region

    def _drop(self, side: str) -> None:
        held = self._held.pop(side, None)
        if held is not None:
            self._unregister(held.name)
            held.close()

    def _unregister(self, name: str) -> None:
        """The server lets go of a region a moment after the answer is out, and says "in use" until then."""
        for _ in range(20):
            try:
                self._client.unregister_system_shared_memory(name, headers=dict(self._headers))
                return
            except Exception as error:  # whatever it is, the region itself is removed after this
                if "use" not in str(error):
                    log.debug("%s: %s", name, error)
                    return
                time.sleep(0.01)
