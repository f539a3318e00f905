"""The constants of an ONNX graph: in the graph, or in the weights file beside it and inside that."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from math import prod

from ..errors import FormatError
from .graph_shapes import ELEMENT_BYTES, INT32, INT64, Tensor, Values
from .graph_sizes import fixed
from .names import WEIGHTS
from .wire import FIXED32, FIXED64, VARINT, Field, Message, read_message, signed

MOST_ELEMENTS = 2**31  # of one tensor
MOST_INTEGERS = 65_536  # of one constant
LARGEST_INTEGER = 2**24  # of a constant: no window is longer, no axis either
LARGEST_RANK = 8
MOST_VALUES = 64  # of a constant that can be a list of sizes
MOST_SHARING = 2  # times the weights file, which equal weights may share: a runtime copies each

_TENSOR = {
    1: Field("dims", VARINT, packed=True),
    2: Field("data_type", VARINT),
    4: Field("floats", FIXED32, packed=True),
    5: Field("int32s", VARINT, packed=True),
    7: Field("int64s", VARINT, packed=True),
    8: Field("name"),
    9: Field("raw"),
    10: Field("doubles", FIXED64, packed=True),
    12: Field("doc"),
    13: Field("external", repeated=True),
    14: Field("location", VARINT),
}
_ENTRY = {1: Field("key"), 2: Field("value")}

# ONNX element type -> the field that holds such values where they are not raw bytes.
_TYPED = {1: "floats", 2: "int32s", 3: "int32s", 6: "int32s", 7: "int64s", 9: "int32s", 10: "int32s", 11: "doubles"}
_FLOAT = 1


def read_constants(parts: Iterable[memoryview], weights_bytes: int) -> tuple[dict[str, Tensor], bool]:
    """Return the initializers of a graph by name, and whether any lies in the weights file.

    Raises
    ------
    FormatError
        If one lies elsewhere, or does not hold what its shape needs.
    """
    constants: dict[str, Tensor] = {}
    beside = 0
    for part in parts:
        name, tensor, size = _read(part, weights_bytes)
        if name in constants:
            raise FormatError(f"weight {name!r} stands twice")
        constants[name] = tensor
        beside += size
    if beside > MOST_SHARING * weights_bytes:
        raise FormatError(f"weights of {beside} bytes in {WEIGHTS}, which has {weights_bytes}")
    return constants, beside > 0


def count_elements(dims: Sequence[int], what: str) -> int:
    """Return the product of dims, which are those of a tensor."""
    if len(dims) > LARGEST_RANK or any(size < 0 for size in dims) or prod(dims) > MOST_ELEMENTS:
        raise FormatError(f"{what} has the shape {list(dims)[:10]}; at most {MOST_ELEMENTS} elements are allowed")
    return prod(dims)


def check_integers(values: Sequence[int], what: str) -> None:
    for value in values:
        if abs(value) > LARGEST_INTEGER:
            raise FormatError(f"{what} holds {value}; at most {LARGEST_INTEGER} is allowed")


def _read(part: memoryview, weights_bytes: int) -> tuple[str, Tensor, int]:
    """Return name and shape of an initializer, and how many of its bytes lie in the weights file."""
    tensor = read_message(part, _TENSOR, "a weight")
    name, kind = tensor.text("name"), tensor.number("data_type")
    what = f"weight {name!r}"
    if kind not in ELEMENT_BYTES:
        raise FormatError(f"{what} has ONNX type {kind}; allowed: {', '.join(map(str, sorted(ELEMENT_BYTES)))}")
    dims = [signed(size) for size in tensor.numbers.get("dims", ())]
    count = count_elements(dims, what)
    size = ELEMENT_BYTES[kind] * count
    entries = [read_message(entry, _ENTRY, f"an entry of {what}") for entry in tensor.parts.get("external", ())]
    location = tensor.number("location")
    held = {key for key in ("raw", *_TYPED.values()) if key in tensor.parts or key in tensor.numbers}
    values: Values | None = None
    if location == 1:
        if held:
            raise FormatError(f"{what} has values both in the graph and beside it")
        _check_external([(entry.text("key"), entry.text("value")) for entry in entries], what, size, weights_bytes)
    elif location or entries:
        raise FormatError(f"{what} names a file without saying that its values lie there")
    else:
        values = _inline(tensor, held, what, kind, count)
    known = values if len(dims) < 2 and count <= MOST_VALUES else None
    return name, Tensor(fixed(dims), kind, known, exact=True, constant=True), size if location else 0


def _check_external(entries: Sequence[tuple[str, str]], what: str, size: int, weights_bytes: int) -> None:
    found = dict(entries)
    if len(found) != len(entries) or found.keys() != {"location", "offset", "length"}:
        raise FormatError(f"{what} has the entries {entries}; location, offset and length are needed, each once")
    if found["location"] != WEIGHTS:
        raise FormatError(f"{what} lies in {found['location']!r}; {WEIGHTS!r} alone is allowed")
    for key in ("offset", "length"):
        if not (found[key].isdigit() and len(found[key]) <= 18):
            raise FormatError(f"{what} has {key} {found[key]!r}; a number is needed")
    offset, length = int(found["offset"]), int(found["length"])
    if length != size:
        raise FormatError(f"{what} has {length} bytes in {WEIGHTS}, its shape needs {size}")
    if offset + length > weights_bytes:
        raise FormatError(f"{what} ends at byte {offset + length} of {WEIGHTS}, which has {weights_bytes}")


def _inline(tensor: Message, held: set[str], what: str, kind: int, count: int) -> Values | None:
    """Check values in the graph, and return them where they can be sizes or scales."""
    raw, width = tensor.part("raw"), ELEMENT_BYTES[kind]
    typed = tensor.numbers.get(_TYPED[kind], ())
    fits = (held == {"raw"} and len(raw) == count * width) if raw is not None else len(typed) == count
    if not fits or not held <= {"raw", _TYPED[kind]}:
        raise FormatError(f"{what} does not hold the {count} values of its shape")
    if kind in (INT32, INT64):
        if count > MOST_INTEGERS:
            raise FormatError(f"{what} holds {count} integers; at most {MOST_INTEGERS} are allowed")
        whole = (
            [signed(value) for value in typed] if raw is None else memoryview(raw).cast("i" if kind == INT32 else "q")
        )
        check_integers(whole, what)
        return tuple(whole)
    if kind != _FLOAT or count > MOST_VALUES:
        return None
    return struct.unpack(f"<{count}f", raw if raw is not None else struct.pack(f"<{count}I", *typed))
