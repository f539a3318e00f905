"""A directory of results, which appears when it is whole."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path


def write_folder(out: Path, write: Callable[[Path], None]) -> None:
    """Let a directory be written under another name, and move it to its own."""
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        write(folder)
        folder.chmod(0o755)
        folder.replace(out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def tsv(header: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> str:
    """Return a table as text: numbers to six digits, nothing as ``.``."""
    lines = ["\t".join(header), *("\t".join(map(_cell, row)) for row in rows)]
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    if value is None:
        return "."
    return f"{value:.6g}" if isinstance(value, float) else " ".join(str(value).split())
