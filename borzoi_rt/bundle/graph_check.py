"""What an ONNX graph may hold, checked before any runtime opens it.

A graph is a program that others wrote. A runtime follows its pointers into files and allocates what it declares, so
that every graph is read here first: only operators and fields that the exporter writes, no sub-graphs, no functions,
weights in ``weights.bin`` alone and inside it, sizes and constants that a sequence model can have, and no more memory
and work than a model of this size takes, see :mod:`.graph_memory`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ..errors import FormatError
from ..reading import read_regular
from .graph_constants import check_integers, count_elements, read_constants
from .graph_memory import Limits, Program, check_memory
from .graph_shapes import ELEMENT_BYTES, OPERATORS, Attribute, Node
from .names import LARGEST_GRAPH, WEIGHTS
from .wire import BYTES, FIXED32, VARINT, Field, Message, read_message, signed

_T = TypeVar("_T")

OPSETS = range(18, 22)
IR_VERSIONS = range(8, 11)
MOST_NODES = 100_000

# Type of an attribute -> the field that holds its value.
_INT, _INTS = 2, 7
_ATTRIBUTE_FIELDS = {1: "float", _INT: "int", 3: "string", 6: "floats", _INTS: "ints"}
_VALUE_FIELDS = frozenset(_ATTRIBUTE_FIELDS.values())

_MODEL = {
    1: Field("ir_version", VARINT),
    2: Field("producer"),
    3: Field("producer_version"),
    4: Field("domain"),
    5: Field("model_version", VARINT),
    6: Field("doc"),
    7: Field("graph"),
    8: Field("opset", repeated=True),
    14: Field("metadata", repeated=True),
}
_OPSET = {1: Field("domain"), 2: Field("version", VARINT)}
_GRAPH = {
    1: Field("node", repeated=True),
    2: Field("name"),
    5: Field("initializer", repeated=True),
    10: Field("doc"),
    11: Field("input", repeated=True),
    12: Field("output", repeated=True),
    13: Field("value_info", repeated=True),
    16: Field("metadata", repeated=True),
}
_NODE = {
    1: Field("input", repeated=True),
    2: Field("output", repeated=True),
    3: Field("name"),
    4: Field("op_type"),
    5: Field("attribute", repeated=True),
    6: Field("doc"),
    7: Field("domain"),
    9: Field("metadata", repeated=True),
}
_ATTRIBUTE = {
    1: Field("name"),
    2: Field("float", FIXED32),
    3: Field("int", VARINT),
    4: Field("string"),
    7: Field("floats", FIXED32, packed=True),
    8: Field("ints", VARINT, packed=True),
    13: Field("doc"),
    20: Field("type", VARINT),
}
_VALUE = {1: Field("name"), 2: Field("type"), 3: Field("doc")}
_TYPE = {1: Field("tensor"), 6: Field("denotation")}
_TENSOR_TYPE = {1: Field("elem_type", VARINT), 2: Field("shape")}
_SHAPE = {1: Field("dim", repeated=True)}
_DIM = {1: Field("value", VARINT), 2: Field("parameter", BYTES), 3: Field("denotation")}


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """What a graph that has passed takes and gives, with the sizes that are fixed; None where one is open.

    Attributes
    ----------
    inputs, outputs : dict of str to tuple
        Shapes by name, in the order of the file; inputs with defaults are among them.
    external : bool
        Whether it has weights in ``weights.bin``.
    """

    inputs: dict[str, tuple[int | None, ...]]
    outputs: dict[str, tuple[int | None, ...]]
    external: bool
    ir_version: int
    opset: int


_passed: dict[tuple[bytes, int, Limits | None], GraphFacts] = {}
_MOST_PASSED = 256


def check_graph_file(
    path: str | os.PathLike[str], *, weights_bytes: int | None = None, limits: Limits | None = None
) -> GraphFacts:
    """Check an ONNX file.

    Parameters
    ----------
    path : path
        The file.
    weights_bytes : int, optional
        Size of ``weights.bin``; that of the file beside ``path`` when None.
    limits : Limits, optional
        What it may take; memory and work are not looked at when None, where the graph has been checked as a part of
        its bundle.

    Returns
    -------
    GraphFacts

    Raises
    ------
    FormatError
        If it holds anything that no graph of a bundle holds; the message names the file and what was found.
    """
    path = Path(path)
    try:
        data = read_regular(path, LARGEST_GRAPH, hint="copy the bundle again")
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
    if weights_bytes is None:
        weights_bytes = weights_beside(path)
    # Opening a bundle checks every graph, and loading one checks it again: by its bytes, which are seldom others.
    key = (hashlib.sha256(data).digest(), weights_bytes, limits)
    try:
        if key not in _passed:
            facts = check_graph(data, weights_bytes, limits)
            if len(_passed) >= _MOST_PASSED:
                _passed.clear()
            _passed[key] = facts
        return _passed[key]
    except FormatError as error:
        raise FormatError(f"{path}: not a graph that a bundle may hold: {error}; export the model again") from None


def weights_beside(path: Path) -> int:
    """Return the size of the weights file in the directory of a graph, 0 where there is none."""
    beside = path.with_name(WEIGHTS)
    return beside.stat().st_size if beside.is_file() else 0


def check_graph(data: bytes, weights_bytes: int, limits: Limits | None = None) -> GraphFacts:
    """Check the bytes of an ONNX file; parameters and errors as in :func:`check_graph_file`."""
    model = read_message(memoryview(data), _MODEL, "the file")
    opset, ir_version = _check_versions(model)
    part = model.part("graph")
    if part is None:
        raise FormatError("it has no graph")
    graph = read_message(part, _GRAPH, "the graph")
    nodes = graph.parts.get("node", [])
    if not nodes or len(nodes) + len(graph.parts.get("initializer", ())) > MOST_NODES:
        raise FormatError(f"{len(nodes)} operators and as many weights as that; 1 to {MOST_NODES} are allowed")
    program = [_node(node) for node in nodes]
    constants, beside = read_constants(graph.parts.get("initializer", ()), weights_bytes)
    for value in graph.parts.get("value_info", ()):
        _value(value, "a value")
    inputs = _unique((_value(value, "an input") for value in graph.parts.get("input", ())), "input")
    outputs = _unique((_value(value, "an output") for value in graph.parts.get("output", ())), "output")
    if limits is not None:
        check_memory(Program(program, constants, inputs), limits)
    taken, given = ({name: shape for name, (_, shape) in values.items()} for values in (inputs, outputs))
    return GraphFacts(taken, given, beside, ir_version, opset)


def check_signature(
    facts: GraphFacts, name: str, inputs: Sequence[str], outputs: Sequence[str], length_bp: int
) -> None:
    """Compare a graph with what the manifest says of it.

    Raises
    ------
    FormatError
        If the names differ, or the window is another.
    """
    for kind, stated, found in (("inputs", inputs, facts.inputs), ("outputs", outputs, facts.outputs)):
        if tuple(stated) != tuple(found):
            raise FormatError(
                f"graph {name!r} has the {kind} {', '.join(found) or 'none'}, the manifest says "
                f"{', '.join(stated) or 'none'}; export the model again"
            )
    window = facts.inputs.get("sequence")
    if name == "predict" and window != (None, 4, length_bp):
        raise FormatError(
            f"graph {name!r} takes a sequence of shape {window}, the manifest says (batch, 4, {length_bp}); "
            "export the model again"
        )


def _check_versions(model: Message) -> tuple[int, int]:
    ir_version = model.number("ir_version")
    if ir_version not in IR_VERSIONS:
        raise FormatError(f"IR version {ir_version}; {IR_VERSIONS[0]} to {IR_VERSIONS[-1]} are allowed")
    opsets = [read_message(part, _OPSET, "an operator set") for part in model.parts.get("opset", ())]
    found = [(item.text("domain"), item.number("version")) for item in opsets]
    if len(found) != 1 or found[0][0] not in ("", "ai.onnx") or found[0][1] not in OPSETS:
        named = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in found) or "none"
        raise FormatError(f"operator sets {named}; ai.onnx {OPSETS[0]} to {OPSETS[-1]} alone is allowed")
    return found[0][1], ir_version


def _node(part: memoryview) -> Node:
    node = read_message(part, _NODE, "an operator")
    kind, domain = node.text("op_type"), node.text("domain")
    if domain not in ("", "ai.onnx") or kind not in OPERATORS:
        raise FormatError(f"operator {f'{domain}.{kind}' if domain else kind!r} is not allowed")
    attributes: dict[str, Attribute] = {}
    for attribute in node.parts.get("attribute", ()):
        held = read_message(attribute, _ATTRIBUTE, f"an attribute of {kind}")
        name = held.text("name")
        if name in attributes:
            raise FormatError(f"attribute {name!r} of {kind} stands twice")
        attributes[name] = _attribute(held, f"attribute {name!r} of {kind}")
    return Node(kind, tuple(node.texts("input")), tuple(node.texts("output")), attributes)


def _attribute(held: Message, what: str) -> Attribute:
    """Return what an attribute holds, an empty text in place of what is of no use here: floats."""
    integers = {name: [signed(value) for value in held.numbers.get(name, ())] for name in ("int", "ints")}
    for values in integers.values():
        check_integers(values, what)
    kind = held.number("type")
    if kind not in _ATTRIBUTE_FIELDS or {*held.numbers, *held.parts} & _VALUE_FIELDS - {_ATTRIBUTE_FIELDS[kind]}:
        raise FormatError(f"{what} holds values of another type than it says")
    if kind == _INT:
        return integers["int"][0] if integers["int"] else 0
    return tuple(integers["ints"]) if kind == _INTS else held.text("string")


def _unique(found: Iterable[tuple[str, _T]], what: str) -> dict[str, _T]:
    values: dict[str, _T] = {}
    for name, value in found:
        if name in values:
            raise FormatError(f"{what} {name!r} stands twice")
        values[name] = value
    return values


def _value(part: memoryview, what: str) -> tuple[str, tuple[int, tuple[int | None, ...]]]:
    """Return name, element type and shape of an input, an output or a value."""
    value = read_message(part, _VALUE, what)
    name, held = value.text("name"), value.part("type")
    what = f"{what} {name!r}"
    tensor = None if held is None else read_message(held, _TYPE, what).part("tensor")
    if tensor is None:
        raise FormatError(f"{what} is no tensor")
    about = read_message(tensor, _TENSOR_TYPE, what)
    kind = about.number("elem_type")
    if kind not in ELEMENT_BYTES:
        raise FormatError(f"{what} has ONNX type {kind}; numbers are needed")
    shape = about.part("shape")
    if shape is None:
        raise FormatError(f"{what} has no shape")
    dims: list[int | None] = []
    for part in read_message(shape, _SHAPE, what).parts.get("dim", ()):
        dim = read_message(part, _DIM, what)
        dims.append(signed(dim.number("value")) if "value" in dim.numbers else None)
    count_elements([size for size in dims if size is not None], what)
    return name, (kind, tuple(dims))
