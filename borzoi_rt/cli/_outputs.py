"""No command writes over one of its inputs, whatever it is called there: asked once, for every command."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError

# Parameters that name a file or folder to write; every other one that holds a path names an input.
OUTPUTS = (
    *("out", "plot", "plots", "curves", "profiles", "report", "windows", "seqlets", "hits", "modisco", "bigwig"),
    *("log", "wisdom"),
)
_TEXTS = ("vcf", "what")  # arguments that may be the name of a file
_CLOSED = ("bundle", "bundles", "randomised", "source", "shards")  # folders that are nothing with a file more
_UPDATED = ("tile_cache", "environment")  # folders that runs share


def check_outputs(options: Mapping[str, Any]) -> None:
    """Refuse an output that is an input, or another output, under the same or another name.

    Parameters
    ----------
    options : mapping
        What a command was given, by the names of its parameters.

    Raises
    ------
    InputError
        Naming it.
    """
    from ..runs.outputs import check_outside  # not for --help

    written = {name: options[name] for name in OUTPUTS if isinstance(options.get(name), Path)}
    sources = [path for name in options.keys() - written.keys() - {*_UPDATED} for path in _paths(name, options[name])]
    closed = [path for name in _CLOSED for path in _paths(name, options.get(name))]
    seen: list[Path] = []
    for target in written.values():
        for source in closed:
            check_outside(target, source)
        if any(_is_same(target, source) for source in sources):
            raise InputError(f"{target}: is an input, which is never written over; choose another name for the output")
        if any(target == other or _is_same(target, other) for other in seen):
            raise InputError(f"{target}: is another output of the run too; give each a name of its own")
        seen.append(target)


def _paths(name: str, value: Any) -> Iterator[Path]:
    """Yield the files that a value names: paths, ``@FILE`` of a list, ``NAME=FILE``."""
    if isinstance(value, Path):
        yield value
    elif isinstance(value, str):
        if value.startswith("@"):
            yield Path(value[1:])
        elif name in _TEXTS:
            yield Path(value)
        elif "=" in value:
            yield Path(value.partition("=")[2])
    elif isinstance(value, Iterable) and not isinstance(value, bytes | Mapping):
        for item in value:
            yield from _paths(name, item)


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.exists() and other.exists() and one.samefile(other)
    except (OSError, ValueError):  # no name of a file at all
        return False
