"""Hostile bundles: what every test of this folder is made of."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import borzoi_rt

PACKAGED = Path(borzoi_rt.__file__).parent / "demo"

# What a hostile or damaged manifest may say instead of anything.
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, 1e12, 0.5, -0.0, 1e308),
    *("", "x", "\0", "a\nb", "../x", "\ud800", "\x1b[2J", "new", "1"),
    *([], [1], [[]], [None], {}, {"a": 1}),
)


def copy_bundle(name: str, out: Path) -> Path:
    """Copy a bundle that comes with the package."""
    shutil.copytree(PACKAGED / name, out)
    return out


def read_manifest(bundle: Path) -> dict[str, Any]:
    """Return what ``bundle.json`` says."""
    return dict(json.loads((bundle / "bundle.json").read_text()))


def write_manifest(bundle: Path, document: Any) -> None:
    """Write ``bundle.json`` with sizes and hashes that are true, so that only what it says can be found wrong."""
    if isinstance(document, dict):
        document = document | {"files": listed(bundle)}
    (bundle / "bundle.json").write_text(json.dumps(document, indent=2))


def listed(bundle: Path) -> dict[str, Any]:
    """Return the list of files that is true of a directory."""
    return {
        path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": os.path.getsize(path)}
        for path in sorted(bundle.iterdir())
        if path.name != "bundle.json" and path.is_file()
    }


def paths(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value of a document; of lists to the first two."""
    yield path
    if isinstance(document, dict):
        for key in document:
            yield from paths(document[key], (*path, key))
    elif isinstance(document, list):
        for number in range(min(2, len(document))):
            yield from paths(document[number], (*path, number))


def mutated(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a document with another value somewhere."""
    if not path:
        return value
    changed = copy.deepcopy(document)
    section = changed
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    return changed


def without(document: Any, path: tuple[Any, ...]) -> Any:
    """Return a document without one of its values."""
    changed = copy.deepcopy(document)
    section = changed
    for key in path[:-1]:
        section = section[key]
    del section[path[-1]]
    return changed
