"""A file appears under its name when it is whole: it is written in a folder of its own beside it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def draft_of(target: Path) -> Iterator[Path]:
    """Give another name for a file, which becomes ``target`` when the block ends well; else nothing is left.

    The name lies in a new folder, so that no link that somebody laid there is followed.
    """
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name[:40]}.", dir=target.parent))
    try:
        draft = folder / target.name
        yield draft
        draft.replace(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
