"""Compression by content, not by file name."""

from __future__ import annotations

from pathlib import Path

GZIP_MAGIC = b"\x1f\x8b"
# The empty block that every complete bgzip file ends with (SAM specification, section 4.1.2).
EOF_BLOCK = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def is_gzip(path: Path) -> bool:
    """Tell whether a file begins like gzip."""
    with path.open("rb") as handle:
        return handle.read(2) == GZIP_MAGIC


def is_bgzf(path: Path) -> bool:
    """Tell whether a file begins with a bgzip block."""
    with path.open("rb") as handle:
        return starts_bgzf(handle.read(16))


def starts_bgzf(head: bytes) -> bool:
    """Tell whether the first 16 bytes of a file begin a bgzip block."""
    return head[:4] == b"\x1f\x8b\x08\x04" and head[12:14] == b"BC"


def has_eof_block(path: Path) -> bool:
    """Tell whether a bgzip file is complete."""
    with path.open("rb") as handle:
        handle.seek(0, 2)
        handle.seek(max(handle.tell() - len(EOF_BLOCK), 0))
        return handle.read() == EOF_BLOCK
