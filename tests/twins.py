"""Copies of a bundle that are, or are not, another member of an ensemble."""

from __future__ import annotations

import shutil
from pathlib import Path

from attacks import hostile


def write_renamed(bundle: Path, folder: Path) -> Path:
    """Copy a bundle under another name: still the same model."""
    shutil.copytree(bundle, folder)
    hostile.write_manifest(folder, hostile.read_manifest(folder) | {"name": folder.name})
    return folder


def write_twin(bundle: Path, folder: Path) -> Path:
    """Copy a bundle under another name, with a byte behind its weights: it computes the same, and is another model."""
    shutil.copytree(bundle, folder)
    with (folder / "weights.bin").open("ab") as handle:
        handle.write(b"\0")
    hostile.write_manifest(folder, hostile.read_manifest(folder) | {"name": folder.name})
    return folder
