"""What callers give: scalars of NumPy become Python's own, and names of files are told from what is none."""

from __future__ import annotations

import operator
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError

# Types of fields by their annotation, and what a message calls them.
_TYPES: dict[str, tuple[Any, str]] = {
    "bool": (bool, "True or False"),
    "int": (int, "a whole number"),
    "float": (int | float, "a number"),
    "str": (str, "text"),
    "Path": (os.PathLike, "the name of a file"),
    "None": (type(None), "None"),
}


def plain(value: Any) -> Any:
    """Return a scalar of NumPy as Python's own, and anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def check_types(options: Any) -> None:
    """Refuse what is of another type than the field of a frozen dataclass; scalars of NumPy become Python's, in place.

    A number of a pandas column or a flag of a comparison of arrays is what its Python twin is; JSON, hashes and
    comparisons know Python's alone. Fields of numbers, flags and texts are looked at, and of names of files.

    Parameters
    ----------
    options : dataclass
        Inside its ``__post_init__``, before anything else is checked.

    Raises
    ------
    InputError
        Naming the first.
    """
    for item in fields(options):
        found = getattr(options, item.name)
        value = plain(found)
        kinds = str(item.type).split(" | ")
        if isinstance(value, str) and "Path" in kinds:
            value = Path(value)
        if value is not found:
            object.__setattr__(options, item.name, value)
        if all(kind in _TYPES for kind in kinds) and not any(_is_one(value, kind) for kind in kinds):
            needed = " or ".join(_TYPES[kind][1] for kind in kinds if kind != "None")
            raise InputError(f"{item.name} is {value!r:.40}; {needed} is needed")


def _is_one(value: Any, kind: str) -> bool:
    """Tell whether a value is of a type; True and False are no numbers."""
    return isinstance(value, _TYPES[kind][0]) and (kind == "bool" or not isinstance(value, bool))


def whole(value: Any) -> int | None:
    """Return an integer of any kind, NumPy's too, as an int; None for a float, a flag and whatever else."""
    try:
        return None if isinstance(value, bool | np.bool_) else operator.index(value)
    except TypeError:
        return None


def whole_number(name: str, value: Any) -> int:
    """Return an integer of any kind as an int.

    Raises
    ------
    InputError
        If it is none.
    """
    number = whole(value)
    if number is None:
        raise InputError(f"{name} is {value!r:.40}; a whole number is needed")
    return number


def path_of(name: str, value: Any) -> Path:
    """Return what a caller calls a file.

    Parameters
    ----------
    name : str
        Of the parameter, for the message.
    value : str or path

    Raises
    ------
    InputError
        If it is something else.
    """
    if not isinstance(value, str | os.PathLike):
        raise InputError(f"{name} is {value!r:.40}; the name of a file or folder is needed")
    return Path(value)
