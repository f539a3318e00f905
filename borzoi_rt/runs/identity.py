"""What makes two runs the same, and in words how they differ."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import FormatError
from ..reading import read_json

_WORDS = {
    "borzoi_rt": "version of borzoi-rt",
    "bundle": "model",
    "curves": "choice of curves that are kept",
    "gene_labels": "choice of names or types in the annotation",
    "genes": "annotation",
    "nets": "model",
    "options": "choice of options",
    "sites": "table of sites",
    "schema": "version of the journal",
    "squash": "squashed scale",
    "targets": "list of sites or variants",
    "tracks": "choice of tracks",
    "windows": "list of regions",
}
_HASHES_OF_ALL = "scores"
_LONGEST = 80


def differences(path: Path, identity: Mapping[str, Any]) -> list[str]:
    """Return how the run whose identity a file holds differs from another; nothing where it does not.

    Parameters
    ----------
    path : Path
        JSON, as the journal writes it.
    identity : mapping
        JSON values of the other run.

    Returns
    -------
    list of str
        A noun for each, with both values where they can be read.

    Raises
    ------
    FormatError
        If the file cannot be read.
    """
    try:
        kept = read_json(path)
        if not isinstance(kept, dict):
            raise ValueError("no object")
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: cannot be read ({error}); was its folder left by a run?") from error
    wanted = json.loads(json.dumps(identity))
    keys = [key for key in sorted({*kept, *wanted}) if kept.get(key) != wanted.get(key)]
    named = [key for key in keys if key != _HASHES_OF_ALL] or keys
    return [_in_words(key, kept.get(key), wanted.get(key)) for key in named]


def _in_words(key: str, kept: Any, wanted: Any) -> str:
    word = _WORDS.get(key, key)
    if isinstance(kept, dict) and isinstance(wanted, dict):
        left, right = dict(_flat(kept)), dict(_flat(wanted))
        names = [name for name in sorted({*left, *right}) if left.get(name) != right.get(name)]
        pairs = (f"{name} {_short(left.get(name))} there, {_short(right.get(name))} here" for name in names)
        return f"{word} ({'; '.join(pairs)})"
    if isinstance(kept, str) and isinstance(wanted, str):
        return f"{word} ({_short(kept)} there, {_short(wanted)} here)"
    return word


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value)
        else:
            yield name, value


def _short(value: Any) -> str:
    hashed = re.fullmatch(r"((?:[\w-]+:)?[0-9a-f]{12})[0-9a-f]{52}", value) if isinstance(value, str) else None
    if hashed:
        return hashed[1]
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
