"""Where a Triton server is and how to speak to it, as a URL says."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ..errors import InputError

HEADERS = "BORZOI_RT_TRITON_HEADERS"
SCHEMES = ("grpc", "grpcs", "http", "https")
_FLOATS = ("deadline", "retry")
_WHOLE = ("flight", "shm")
_FILES = ("ca", "cert", "key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A server, perhaps a model on it, and how to speak to it.

    Attributes
    ----------
    scheme, host, model : str
        ``grpc``, ``grpcs``, ``http`` or ``https``; ``host:port``; name of the model, empty for none.
    deadline_s : float
        How long one attempt of one request may take.
    retry_s : float
        How long after the first failure attempts go on; 0 for never.
    flight : int
        Requests on their way at once.
    shared_memory : bool
        Pass tensors through shared memory where the server lets us; it must run on this host.
    ca, cert, key : str
        PEM files of TLS; empty for the system's authorities and no certificate of the client's own.
    headers : tuple of (str, str)
        Sent with every request; not part of the written form.
    """

    scheme: str
    host: str
    model: str = ""
    deadline_s: float = 300.0
    retry_s: float = 60.0
    flight: int = 2
    shared_memory: bool = False
    ca: str = ""
    cert: str = ""
    key: str = ""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}" + (f"/{self.model}" if self.model else "")

    def __post_init__(self) -> None:
        if self.deadline_s <= 0 or self.retry_s < 0 or self.flight < 1:
            raise InputError(f"{self}: a positive deadline and flight, and a retry of 0 or more seconds are needed")

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read ``grpc://host:port/model?deadline=30&retry=60&flight=4&shm=1&ca=FILE&cert=FILE&key=FILE``.

        Headers are taken from the environment variable ``BORZOI_RT_TRITON_HEADERS``, one ``name: value`` a line, so
        that no command line shows a token.

        Raises
        ------
        InputError
            With what is wrong and what is allowed.
        """
        example = "grpc://127.0.0.1:8001/borzoi"
        try:
            parts = urlsplit(url)
        except ValueError as error:  # as of half an IPv6 address
            raise InputError(f"Triton address {url!r}: {error}; it has the form of {example}") from None
        if parts.scheme not in SCHEMES or ":" not in parts.netloc.rpartition("]")[2]:
            raise InputError(
                f"Triton address {url!r}: SCHEME://HOST:PORT/MODEL is needed, like {example}, with {SCHEMES}"
            )
        try:
            parts.port  # noqa: B018 -- read to be checked
        except ValueError as error:
            raise InputError(f"Triton address {url!r}: {error}; it has the form of {example}") from None
        if "@" in parts.netloc:
            raise InputError(f"Triton address of {parts.hostname}: no user or password belongs there; see {HEADERS}")
        if "/" in parts.path.strip("/"):
            raise InputError(f"Triton address {url!r}: SCHEME://HOST:PORT/MODEL is needed, like {example}")
        given: dict[str, Any] = {}
        for name, value in parse_qsl(parts.query, keep_blank_values=True):
            if name not in (*_FLOATS, *_WHOLE, *_FILES):
                allowed = ", ".join((*_FLOATS, *_WHOLE, *_FILES))
                raise InputError(f"Triton address {url!r}: option {name!r} is unknown; allowed: {allowed}")
            try:
                given[name] = float(value) if name in _FLOATS else int(value) if name in _WHOLE else value
            except ValueError:
                raise InputError(f"Triton address {url!r}: {name} is {value!r}; a number is needed") from None
        names = {"deadline": "deadline_s", "retry": "retry_s", "shm": "shared_memory"}
        chosen = {names.get(name, name): value for name, value in given.items()}
        chosen["shared_memory"] = bool(chosen.get("shared_memory", 0))
        return cls(
            scheme=parts.scheme, host=parts.netloc, model=parts.path.strip("/"), headers=_read_headers(), **chosen
        )


def _read_headers() -> tuple[tuple[str, str], ...]:
    pairs = []
    for line in os.environ.get(HEADERS, "").splitlines():
        if line.strip():
            name, colon, value = line.partition(":")
            if not colon or not name.strip():
                raise InputError(f"{HEADERS}: a line is not `name: value`")  # the line itself may be a secret
            pairs.append((name.strip(), value.strip()))
    return tuple(pairs)
