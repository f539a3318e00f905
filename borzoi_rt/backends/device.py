"""Where a model runs, as one text: ``cpu``, ``cpu:4``, ``cuda:0``, ``tensorrt:0``, ``triton:grpc://HOST:PORT/MODEL``."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import InputError

MOST_THREADS = 512  # more would only stop a machine that others use too
KINDS = ("cpu", "cuda", "tensorrt", "triton")
ALLOWED = "cpu, cpu:THREADS, cuda[:N], tensorrt[:N], triton:grpc://HOST:PORT/MODEL (or grpcs, http, https)"


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
    """

    kind: str
    number: int = 0
    threads: int | None = None
    url: str = ""

    def __post_init__(self) -> None:
        number = self.threads if isinstance(self.threads, int) and not isinstance(self.threads, bool) else 0
        if self.threads is not None and not 1 <= number <= MOST_THREADS:
            raise InputError(f"threads is {self.threads!r:.40}; a positive number up to {MOST_THREADS} is needed")

    def __str__(self) -> str:
        if self.kind == "triton":
            return f"triton:{self.url}"
        return self.kind if self.kind == "cpu" else f"{self.kind}:{self.number}"

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
        kind, colon, rest = text.removeprefix("onnx:").partition(":")
        if kind == "triton" and rest:
            return cls("triton", url=rest)
        if kind not in ("cpu", "cuda", "tensorrt") or (colon and not (rest.isascii() and rest.isdigit())):
            raise InputError(f"device {text!r} is unknown; allowed: {ALLOWED}")
        if kind == "cpu":
            return cls("cpu", threads=int(rest) if rest else None)
        return cls(kind, int(rest or 0))

    @property
    def gpu(self) -> bool:
        """Whether a GPU of this machine computes."""
        return self.kind in ("cuda", "tensorrt")
