"""A graph of one node, which copies rows of a table on whatever device holds it: ``rows[0, i] = bank[row_index[i]]``.

It belongs to no bundle, so its few bytes are written here, in the encoding of protocol buffers that ONNX files have.
"""

from __future__ import annotations

_INT64, _FLOAT = 7, 1
_IR_VERSION, _OPSET = 8, 17


def gather_graph() -> bytes:
    """Return the graph.

    Its inputs are ``bank`` float32 (positions, channels) and ``row_index`` int64 (1, rows), its output is ``rows``
    (1, rows, channels).
    """
    node = _text(1, "bank") + _text(1, "row_index") + _text(2, "rows") + _text(4, "Gather")
    graph = _message(1, node) + _text(2, "gather_rows")
    graph += _value(11, "bank", _FLOAT, "positions", "channels") + _value(11, "row_index", _INT64, 1, "rows")
    graph += _value(12, "rows", _FLOAT, 1, "rows", "channels")
    return _number(1, _IR_VERSION) + _message(7, graph) + _message(8, _text(1, "") + _number(2, _OPSET))


def _value(field: int, name: str, element: int, *shape: int | str) -> bytes:
    """A ValueInfoProto: name and type."""
    dims = b"".join(_message(1, _number(1, size) if isinstance(size, int) else _text(2, size)) for size in shape)
    return _message(field, _text(1, name) + _message(2, _message(1, _number(1, element) + _message(2, dims))))


def _text(field: int, text: str) -> bytes:
    return _message(field, text.encode())


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
