"""Files that are read whole: no pipe, no device, and nothing larger than they may be, compressed or not; their hash."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import stat
from pathlib import Path
from typing import Any

from .errors import FormatError

LARGEST_JSON = 2**28  # bytes; the motifs of a thousand alleles have some MB
_GZIP_MAGIC = b"\x1f\x8b"


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, of any size."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def read_regular(path: Path, largest: int, *, hint: str = "name a file") -> bytes:
    """Read a file whole.

    Parameters
    ----------
    path : Path
        The file.
    largest : int
        Most bytes that it may have.
    hint : str
        What to do where it is none, for the message.

    Raises
    ------
    FormatError
        If it is something else than a regular file, or too large.
    OSError
        If it cannot be opened.
    """
    # Not blocking: opening a pipe would wait for a writer.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):  # of a folder, open() would name the number of the handle
        os.close(handle)
        raise FormatError(f"{path}: not a regular file; {hint}")
    with open(handle, "rb") as stream:
        if found.st_size > largest:
            raise FormatError(f"{path}: {found.st_size} bytes; at most {largest} are allowed")
        return stream.read(largest)


def read_json(path: Path, largest: int = LARGEST_JSON) -> Any:
    """Read a JSON file.

    Parameters, and errors of the file, as of :func:`read_regular`.

    Raises
    ------
    ValueError
        If it is not JSON, or is nested too deeply.
    """
    try:
        return json.loads(read_regular(path, largest))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_small(path: Path, largest: int) -> bytes:
    """Read a small file, which people may also pipe into a process (``<(...)``), plain or gzip-compressed.

    Parameters and errors as of :func:`read_regular`; ``largest`` holds for what is uncompressed too.

    Raises
    ------
    EOFError, zlib.error
        If compressed data are damaged.
    """
    if path.is_fifo():
        with path.open("rb") as stream:
            data = stream.read(largest + 1)
    else:
        data = read_regular(path, largest)
    if data.startswith(_GZIP_MAGIC):
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            data = stream.read(largest + 1)
    if len(data) > largest:
        raise FormatError(f"{path}: more than {largest} bytes; no such file is as large")
    return data
