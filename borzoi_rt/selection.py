"""Which tracks an expression names: identifiers, units, strand pairs, and regular expressions over names and labels.

An expression is a list of parts between commas, or ``@file`` with one name a line. A part is, tried in this order:

1. an identifier or a unit of the head, letter by letter; a number that is no unit is an error, not a pattern;
2. the name of a strand pair, ``CNhs10752+/-`` for ``CNhs10752+`` and ``CNhs10752-``, in any case;
3. a search in identifiers and labels, without case: the part as a regular expression, or as the plain text it is, so
   that labels with brackets can be pasted. ``Spleen`` and ``spleen`` find the same tracks. After a letter or digit a
   last ``+`` is the strand and no quantifier: ``RNA+`` never means ``RNA``, ``RNAA``.

A comma does not separate inside brackets (``a{1,2}``), after a backslash, or where the text across it is an identifier
or a whole label. Each part must find something. Tracks come in the order asked, each once.
"""

from __future__ import annotations

import difflib
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .errors import InputError
from .reading import read_small

_SUGGESTIONS = 3
_EXAMPLES = 5  # tracks that are named where nothing is near
_LARGEST_LIST = 2**24  # bytes of a list of tracks
_STRAND = re.compile(r"[\w.:\-]*\w\+(/-)?")
_CLOSING = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True)
class TrackNames:
    """What tracks may be called.

    Attributes
    ----------
    identifier, description : sequence of str
        Name and label of each track.
    unit : sequence of int
        Unit of the head of each track.
    pair : sequence of str
        Name of the strand pair of each track; empty where it has none.
    """

    identifier: Sequence[str]
    description: Sequence[str]
    unit: Sequence[int]
    pair: Sequence[str]

    def select(self, expression: str) -> list[int]:
        """Return the positions of the tracks that an expression names, in the order asked, each once.

        Parameters
        ----------
        expression : str
            See the head of this module.

        Raises
        ------
        InputError
            If a part is empty, finds nothing, or is no regular expression; the message names what is near.
        """
        if expression.startswith("@") and expression not in self._identifiers:
            found = [self._named(name) or self._nothing(name) for name in _read_names(Path(expression[1:]))]
        else:
            found = [self._part(part) for part in self._parts(expression)]
        return list(dict.fromkeys(position for positions in found for position in positions))

    @cached_property
    def _identifiers(self) -> dict[str, list[int]]:
        return _positions(self.identifier)

    @cached_property
    def _units(self) -> dict[str, list[int]]:
        return _positions([str(unit) for unit in self.unit])

    @cached_property
    def _pairs(self) -> dict[str, list[int]]:
        return _positions([name.casefold() for name in self.pair])

    @cached_property
    def _labels(self) -> frozenset[str]:
        return frozenset(label.casefold() for label in self.description)

    def _parts(self, expression: str) -> Iterator[str]:
        """Yield the parts of a list."""
        pieces = expression.split(",")
        while pieces:
            count = self._length(pieces)
            part = ",".join(pieces[:count]).strip()
            if not part:
                raise InputError(f"track expression {expression!r} has an empty part; name a track between its commas")
            yield part
            pieces = pieces[count:]

    def _length(self, pieces: list[str]) -> int:
        """Return how many pieces between commas make the first part."""
        for count in range(len(pieces), 0, -1):
            text = ",".join(pieces[:count]).strip()
            if text in self._identifiers or text.casefold() in self._pairs or text.casefold() in self._labels:
                return count
        return next((count for count in range(1, len(pieces) + 1) if _is_whole(",".join(pieces[:count]))), 1)

    def _part(self, part: str) -> list[int]:
        return self._named(part) or self._searched(part) or self._nothing(part)

    def _named(self, name: str) -> list[int]:
        """Return the tracks of an identifier, a unit or a pair."""
        by_identifier, by_unit = self._identifiers.get(name), self._units.get(name)
        if by_identifier and by_unit and by_identifier != by_unit:
            raise InputError(f"{name!r} is the identifier of one track and the unit of another; select it by its label")
        return by_identifier or by_unit or self._pairs.get(name.casefold(), []) if name else []

    def _searched(self, part: str) -> list[int]:
        """Return the tracks whose identifier or label holds a pattern or text."""
        if part.isdecimal():
            return []
        plain = re.compile(re.escape(part), re.IGNORECASE)
        try:
            pattern = plain if _STRAND.fullmatch(part) else re.compile(part, re.IGNORECASE)
        except re.error as error:
            if found := self._holding(plain):
                return found
            raise InputError(f"track expression {part!r} is not a regular expression ({error})") from error
        return sorted({*self._holding(pattern), *self._holding(plain)})

    def _holding(self, pattern: re.Pattern[str]) -> list[int]:
        names = enumerate(zip(self.identifier, self.description, strict=True))
        return [position for position, (name, label) in names if pattern.search(name) or pattern.search(label)]

    def _nothing(self, part: str) -> list[int]:
        if near := self._near(part):
            raise InputError(f"no track matches {part!r}; nearest: {'; '.join(near)}")
        count = len(self.identifier)
        shown = "; ".join(self._shown(position) for position in range(min(count, _EXAMPLES)))
        which = f"the first of {count:,} are" if count > _EXAMPLES else "there are" if count > 1 else "there is"
        raise InputError(f"no track matches {part!r}, and none is spelled like it; {which} {shown}")

    def _near(self, part: str) -> list[str]:
        """Return up to three tracks, by name and label: those that hold the text, then those of like spelling."""
        text = part.casefold()
        words: dict[str, int] = {}
        for position, (name, label) in enumerate(zip(self.identifier, self.description, strict=True)):
            for word in (name, label, *re.split(r"[\W_]+", label)):
                words.setdefault(word.casefold(), position)
        held = [word for word in words if text in word]
        like = difflib.get_close_matches(text, words, n=2 * _SUGGESTIONS, cutoff=0.6)
        found = dict.fromkeys(self._shown(words[word]) for word in (*held, *like))
        return list(found)[:_SUGGESTIONS]

    def _shown(self, position: int) -> str:
        name, label = self.identifier[position], self.description[position]
        return name if name == label else f"{name} ({label})"


def _positions(names: Sequence[str]) -> dict[str, list[int]]:
    """Return the positions of each name that is not empty."""
    found: dict[str, list[int]] = {}
    for position, name in enumerate(names):
        if name:
            found.setdefault(name, []).append(position)
    return found


def _is_whole(text: str) -> bool:
    """Tell whether no bracket is left open and the end is not escaped."""
    open_brackets: list[str] = []
    escaped = False
    for letter in text:
        if escaped:
            escaped = False
        elif letter == "\\":
            escaped = True
        elif open_brackets and letter == open_brackets[-1]:
            open_brackets.pop()
        elif letter in _CLOSING and open_brackets[-1:] != ["]"]:  # inside [...] brackets are letters
            open_brackets.append(_CLOSING[letter])
    return not (open_brackets or escaped)


def _read_names(path: Path) -> list[str]:
    try:
        names = [line.strip() for line in read_small(path, _LARGEST_LIST).decode("utf-8-sig").splitlines()]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot read the list of tracks ({error})") from error
    names = [name for name in names if name and not name.startswith("#")]
    if not names:
        raise InputError(f"{path}: the list of tracks is empty")
    return names
