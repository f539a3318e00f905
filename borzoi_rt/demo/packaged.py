"""What the demos share: the small models of the package, and the folder that a demo fills."""

from __future__ import annotations

import os
from pathlib import Path

from ..bundle.opening import Bundle, open_bundle
from ..errors import InputError


def packaged_bundle(name: str) -> Bundle:
    """Open a model that is part of the package: ``bundle`` or ``promoter_bundle``."""
    return open_bundle(Path(__file__).parent / name)


def new_folder(out: str | os.PathLike[str]) -> Path:
    """Make the directory of a demo.

    Raises
    ------
    InputError
        If it exists and is not an empty directory.
    """
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: exists and is not an empty directory; choose another name")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
