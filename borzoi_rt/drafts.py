"""Outputs appear under their names when they are whole: they are written in a folder of its own beside them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def draft_of(target: Path) -> Iterator[Path]:
    """Give another name for a file, which becomes ``target`` when the block ends well; else nothing is left.

    What was written beside the draft moves with it, and before it: an older file never stands beside what is said of a
    newer one.
    """
    with _folder_beside(target) as folder:
        draft = folder / target.name
        yield draft
        beside = [found for found in folder.iterdir() if found != draft]
        if beside:
            target.unlink(missing_ok=True)
        for found in [*beside, draft]:
            found.replace(target.parent / found.name)


@contextmanager
def draft_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder, which becomes ``target`` when the block ends well; else nothing is left."""
    with _folder_beside(target) as folder:
        yield folder
        folder.chmod(0o755)
        folder.replace(target)


@contextmanager
def _folder_beside(target: Path) -> Iterator[Path]:
    """Make a new folder, so that no link that somebody laid there is followed, and remove what is left of it."""
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name[:40]}.", dir=target.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
