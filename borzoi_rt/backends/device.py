"""Where a model runs, as one text: ``cpu``, ``cpu:4``, ``cuda:0``, ``tensorrt:0``, ``triton:grpc://HOST:PORT/MODEL``.

On ``cuda`` a word may follow, ``cuda:0:tf32``: what it changes is part of every score's record.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from ..errors import InputError
from ..plain import check_types

MOST_THREADS = 512  # more would only stop a machine that others use too
KINDS = ("cpu", "cuda", "tensorrt", "triton")
ALLOWED = "cpu, cpu:THREADS, cuda[:N][:tf32], tensorrt[:N], triton:grpc://HOST:PORT/MODEL (or grpcs, http, https)"
_LOCAL = re.compile(r"(?P<kind>cpu|cuda|tensorrt)(?::(?P<number>[0-9]{1,6}))?(?P<tf32>:tf32)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Device:
    """Where a model runs.

    Attributes
    ----------
    kind : str
        ``cpu``, ``cuda``, ``tensorrt`` or ``triton``.
    number : int
        Number of the GPU, for ``cuda`` and ``tensorrt``.
    threads : int or None
        CPU threads inside one operator; None takes every core this process may use.
    url : str
        Address of the served model, for ``triton``; see :class:`borzoi_rt.backends.address.Address`.
    tf32 : bool
        On ``cuda``: products of float32 graphs are made of factors rounded to 10 bits. Several times as fast, and
        about as far from float32 as half precision.
    """

    kind: str
    number: int = 0
    threads: int | None = None
    url: str = ""
    tf32: bool = False

    def __post_init__(self) -> None:
        check_types(self)
        if self.threads is not None and not 1 <= self.threads <= MOST_THREADS:
            raise InputError(f"threads is {self.threads!r:.40}; a positive number up to {MOST_THREADS} is needed")

    def __str__(self) -> str:
        if self.kind == "triton":
            return f"triton:{self.url}"
        if self.kind == "cpu":
            return self.kind
        return f"{self.kind}:{self.number}{':tf32' if self.tf32 else ''}"

    @classmethod
    def parse(cls, text: str | Device, *, threads: int | None = None) -> Device:
        """Read the text form.

        Parameters
        ----------
        text : str or Device
            See the module. The names of release 0.1, ``onnx:cpu`` and ``onnx:cuda:N``, mean the same.
        threads : int, optional
            CPU threads, where the text does not say them itself.

        Raises
        ------
        InputError
            If there is no such device, or the threads are said twice with two values.
        """
        found = text if isinstance(text, cls) else cls._read(str(text))
        if threads is None:
            return found
        if found.kind == "triton":
            raise InputError(f"threads is {threads}, but {found} computes on a server; leave threads out")
        if found.threads not in (None, threads):
            raise InputError(f"device {text!r} and threads {threads} name two numbers of threads; leave one out")
        return replace(found, threads=threads)

    @classmethod
    def _read(cls, text: str) -> Device:
        name = text.removeprefix("onnx:")
        kind, _, url = name.partition(":")
        if kind == "triton" and url:
            return cls("triton", url=url)
        found = _LOCAL.fullmatch(name)
        if found is None or (found["tf32"] and found["kind"] != "cuda"):
            raise InputError(f"device {text!r} is unknown; allowed: {ALLOWED}")
        number = int(found["number"] or 0)
        if found["kind"] == "cpu":
            return cls("cpu", threads=number if found["number"] else None)
        return cls(found["kind"], number, tf32=found["tf32"] is not None)

    @property
    def gpu(self) -> bool:
        """Whether a GPU of this machine computes."""
        return self.kind in ("cuda", "tensorrt")
