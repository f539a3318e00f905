"""Write a bundle so that it appears whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FormatError, InputError
from ..reading import sha256_of
from ..tracks import TrackTable
from .manifest import BundleInfo, FileEntry, all_finite, check_file_name
from .opening import GOLDEN, MANIFEST, TRACKS, Bundle, open_bundle


@contextmanager
def staged_bundle(
    out: str | os.PathLike[str], *, overwrite: bool = False
) -> Iterator[tuple[Path, Callable[..., Bundle]]]:
    """Write a bundle so that it appears whole or not at all.

    Yields a staging directory beside ``out``, to be filled with the ONNX graphs and their weights, and a function
    ``finish(info, tracks, golden) -> Bundle`` that adds the table, the golden example and the manifest, and renames the
    directory to ``out``. If the block fails, or ends without ``finish``, the staging directory is removed.

    Raises
    ------
    InputError
        If ``out`` exists and ``overwrite`` is False, or if it exists and is not a bundle.
    """
    target = Path(out)
    check_bundle_target(target, overwrite=overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
    staging.chmod(0o755)

    def finish(info: BundleInfo, tracks: TrackTable, golden: Mapping[str, np.ndarray]) -> Bundle:
        tracks.write(staging / TRACKS)
        # Without allow_pickle=False, which NumPy 1.26 would store as one more array: reading back refuses a pickle.
        np.savez_compressed(staging / GOLDEN, **golden)  # type: ignore[arg-type]
        _write_manifest(staging, info)
        open_bundle(staging).golden()
        _replace_directory(staging, target)
        return open_bundle(target, verify=False)

    try:
        yield staging, finish
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def check_bundle_target(target: Path, *, overwrite: bool) -> None:
    """Refuse a name that a bundle cannot be written under, before anything is fetched or computed.

    Raises
    ------
    InputError
        If it exists and ``overwrite`` is False, or if it exists and is not a bundle.
    """
    if target.is_symlink() and not target.exists():
        raise InputError(f"{target}: is a symbolic link that leads nowhere; remove it, or choose another name")
    if not target.exists():
        return
    if not (target / MANIFEST).is_file():
        raise InputError(f"{target}: exists and is not a bundle; choose another name, it will not be replaced")
    if not overwrite:
        raise InputError(f"{target}: exists; choose another name, or pass overwrite")


def _write_manifest(directory: Path, info: BundleInfo) -> None:
    document: dict[str, Any] = info.to_json()
    if not all_finite(document):
        raise FormatError("the manifest holds a NaN or infinite number, which JSON cannot carry")
    files = {}
    for path in sorted(directory.iterdir()):
        check_file_name(path.name, str(directory))
        files[path.name] = asdict(FileEntry(sha256=sha256_of(path), bytes=path.stat().st_size))
    document["files"] = files
    (directory / MANIFEST).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _replace_directory(staging: Path, target: Path) -> None:
    if not target.exists():
        staging.rename(target)
        return
    # A directory cannot be replaced in one step: move the old one aside first, so that a failure can put it back.
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old-", dir=target.parent))
    target.rename(old / target.name)
    try:
        staging.rename(target)
    except OSError:
        (old / target.name).rename(target)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
