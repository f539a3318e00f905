"""The wire format of Protocol Buffers, as far as ONNX files need it.

Stricter than a parser that has to read what others write: a field that the schema given does not name, one of another
wire type, and a second value of a field that is not repeated are errors. Parsers merge, skip or overwrite these, each
in its own way, so that two of them can read two graphs in one file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ..errors import FormatError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_WIDTHS = {FIXED64: 8, FIXED32: 4}


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a message: its name, its wire type, whether it may stand more than once.

    ``packed``: a repeated number, whose values may lie one by one or together in one run of bytes.
    """

    name: str
    wire: int = BYTES
    repeated: bool = False
    packed: bool = False


@dataclass(slots=True)
class Message:
    """What a message holds: numbers and bytes by the name of their field."""

    numbers: dict[str, list[int]] = field(default_factory=dict)
    parts: dict[str, list[memoryview]] = field(default_factory=dict)

    def number(self, name: str, default: int = 0) -> int:
        """Return the value of a field that is a number."""
        return self.numbers.get(name, [default])[0]

    def part(self, name: str) -> memoryview | None:
        """Return the bytes of a field that stands at most once."""
        found = self.parts.get(name)
        return found[0] if found else None

    def text(self, name: str) -> str:
        """Return a field that is text, of printable ASCII; empty where there is none."""
        return ascii_text(self.part(name), name)

    def texts(self, name: str) -> list[str]:
        """Return all values of a repeated field of text."""
        return [ascii_text(part, name) for part in self.parts.get(name, ())]


def ascii_text(part: memoryview | None, name: str) -> str:
    """Decode the bytes of a field.

    Raises
    ------
    FormatError
        If they are not printable ASCII.
    """
    raw = bytes(part) if part is not None else b""
    text = raw.decode("latin-1")
    if not (text.isascii() and text.isprintable()):
        raise FormatError(f"{name} {raw[:40]!r} is not printable ASCII")
    return text


def read_message(data: memoryview, schema: Mapping[int, Field], kind: str) -> Message:
    """Read one message.

    Parameters
    ----------
    data : memoryview
        Its bytes.
    schema : mapping of int to Field
        The fields that are allowed, by number.
    kind : str
        What it is, for messages.

    Returns
    -------
    Message

    Raises
    ------
    FormatError
        If it ends too early, or holds a field that is not allowed.
    """
    message, offset = Message(), 0
    while offset < len(data):
        tag, offset = _varint(data, offset, kind)
        number, wire = tag >> 3, tag & 7
        known = schema.get(number)
        if known is None:
            raise FormatError(f"{kind} has field {number}, which no graph of a bundle needs")
        if wire == BYTES and (known.wire == BYTES or known.packed):
            size, offset = _varint(data, offset, kind)
            if size > len(data) - offset:
                raise FormatError(f"{kind} is cut off in {known.name}")
            part, offset = data[offset : offset + size], offset + size
            if known.wire != BYTES:
                message.numbers.setdefault(known.name, []).extend(_unpacked(part, known, kind))
            else:
                held = message.parts.setdefault(known.name, [])
                held.append(part)
                _check_count(len(held), known, kind)
        elif wire == known.wire:
            value, offset = _number(data, offset, wire, kind)
            values = message.numbers.setdefault(known.name, [])
            values.append(value)
            _check_count(len(values), known, kind)
        else:
            raise FormatError(f"{kind} has {known.name} of wire type {wire}; {known.wire} is needed")
    return message


def signed(value: int) -> int:
    """Return the int64 that a varint stands for."""
    return value - 2**64 if value >= 2**63 else value


def _check_count(count: int, known: Field, kind: str) -> None:
    if count > 1 and not (known.repeated or known.packed):
        raise FormatError(f"{kind} has {known.name} twice")


def _unpacked(part: memoryview, known: Field, kind: str) -> Iterator[int]:
    offset = 0
    while offset < len(part):
        value, offset = _number(part, offset, known.wire, kind)
        yield value


def _number(data: memoryview, offset: int, wire: int, kind: str) -> tuple[int, int]:
    if wire == VARINT:
        return _varint(data, offset, kind)
    end = offset + _WIDTHS[wire]
    if end > len(data):
        raise FormatError(f"{kind} is cut off")
    return int.from_bytes(data[offset:end], "little"), end


def _varint(data: memoryview, offset: int, kind: str) -> tuple[int, int]:
    value = shift = 0
    while offset < len(data):
        byte = data[offset]
        offset += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >= 2**64:
                break
            return value, offset
        shift += 7
        if shift > 63:
            break
    raise FormatError(f"{kind} is cut off or holds a number of more than 64 bits")
