"""The files of a bundle on disk: which may lie there, what kind they are, and that they are the ones listed."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from ..errors import FormatError
from ..reading import read_regular, sha256_of
from .manifest import FileEntry
from .names import MANIFEST, allowed_names, is_file_name, is_ignored, largest_size

log = logging.getLogger(__name__)

_CACHE_REVISIONS, _CACHE_FILES = "snapshots", "blobs"


def read_manifest(directory: Path) -> bytes:
    """Return the bytes of ``bundle.json``.

    Raises
    ------
    FormatError
        If it cannot be read, is no regular file, is too large, or has anything before or after its JSON object.
    """
    path = directory / MANIFEST
    try:
        _check_link(path)
        raw = read_regular(path, largest_size(MANIFEST) or 0, hint="copy the bundle again")
    except OSError as error:
        raise FormatError(f"{directory}: not a bundle, {MANIFEST} cannot be read ({error.strerror})") from error
    if raw[:1].isspace() or raw.removesuffix(b"\n")[-1:].isspace():
        raise FormatError(f"{path}: has blanks before or after the JSON object; the file was changed, copy it again")
    return raw


def check_files(directory: Path, files: Mapping[str, FileEntry], *, hashes: bool) -> None:
    """Compare a directory with the list of the manifest.

    Parameters
    ----------
    directory : Path
        The bundle.
    files : mapping of str to FileEntry
        What the manifest lists.
    hashes : bool
        Compare SHA-256 too; of links it is compared in any case.

    Raises
    ------
    FormatError
        At the first file that is missing, not listed, too large, of another kind or changed.
    """
    try:
        names = sorted(os.listdir(directory))
    except OSError as error:
        raise FormatError(f"{directory}: cannot be read ({error.strerror})") from error
    for name in names:
        if is_ignored(name) and name not in files:
            log.warning("%s: no file of a bundle, ignored", directory / name)
        elif name != MANIFEST and name not in files:
            advice = "" if is_file_name(name) else f" (a bundle has {allowed_names()})"
            raise FormatError(
                f"{directory / name}: not listed in {MANIFEST}; a bundle is a closed set of files{advice}"
            )
    for name, expected in files.items():
        _check_file(directory / name, expected, hashes=hashes)


def _check_file(path: Path, expected: FileEntry, *, hashes: bool) -> None:
    try:
        linked = _check_link(path)
        found = path.stat()
    except OSError as error:
        raise FormatError(
            f"{path}: listed in {MANIFEST} but missing or unreadable ({error.strerror}); copy the bundle again"
        ) from error
    if not stat.S_ISREG(found.st_mode):
        raise FormatError(f"{path}: not a regular file; copy the bundle again")
    largest = largest_size(path.name)
    if largest is not None and found.st_size > largest:
        raise FormatError(f"{path}: {found.st_size} bytes; at most {largest} are allowed")
    if found.st_size != expected.bytes:
        raise FormatError(f"{path}: {found.st_size} bytes, {MANIFEST} says {expected.bytes}; copy the bundle again")
    if (hashes or linked) and sha256_of(path) != expected.sha256:
        raise FormatError(f"{path}: SHA-256 differs from {MANIFEST}; the file was changed, copy the bundle again")


def _check_link(path: Path) -> bool:
    """Tell whether a file is a link of a Hugging Face cache; any other link is refused.

    Such a cache holds ``snapshots/REVISION/NAME``, a link to a regular file of ``blobs/`` beside ``snapshots``.
    """
    if not path.is_symlink():
        return False
    target = Path(os.path.normpath(path.absolute().parent / os.readlink(path)))
    revisions = next((folder for folder in path.absolute().parents if folder.name == _CACHE_REVISIONS), None)
    if revisions is None or target.parent != revisions.parent / _CACHE_FILES or target.is_symlink():
        raise FormatError(
            f"{path}: a symbolic link to {os.readlink(path)!r}; a bundle holds regular files, or links of a Hugging "
            "Face cache into its own blobs; copy the bundle with `cp -L`"
        )
    return True
