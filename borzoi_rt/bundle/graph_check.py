"""What an ONNX graph may hold, checked before any runtime opens it.

A graph is a program that others wrote. A runtime follows its pointers into files and allocates what it declares, so
that every graph is read here first: only operators and fields that the exporter writes, no sub-graphs, no functions,
weights in ``weights.bin`` alone and inside it, sizes and constants that a sequence model can have. The memory that a
graph of harmless constants takes while it runs is not bounded here: limit the process where bundles of strangers run.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from ..errors import FormatError
from .files import read_regular
from .names import LARGEST_GRAPH, WEIGHTS
from .wire import BYTES, FIXED32, FIXED64, VARINT, Field, Message, read_message, signed

OPSETS = range(18, 22)
IR_VERSIONS = range(8, 11)
# fmt: off
OPERATORS = frozenset((
    "Abs", "Add", "ArgMax", "AveragePool", "BatchNormalization", "Cast", "Concat", "Conv", "Div", "Equal", "Erf",
    "Exp", "Expand", "Gather", "GatherElements", "Gelu", "Greater", "Identity", "LayerNormalization", "Less", "Log",
    "MatMul", "Max", "MaxPool", "Min", "Mul", "Neg", "Pad", "Pow", "Reciprocal", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceSum", "Relu", "Reshape", "Resize", "Shape", "Sigmoid", "Slice", "Softmax", "Softplus",
    "Split", "Sqrt", "Squeeze", "Sub", "Tanh", "Transpose", "Unsqueeze", "Where",
))
# fmt: on
MOST_NODES = 100_000
MOST_ELEMENTS = 2**31  # of one tensor
MOST_INTEGERS = 65_536  # of one constant
LARGEST_INTEGER = 2**24  # of a constant: no window is longer, no axis either
LARGEST_RANK = 8

# ONNX element type -> bytes of one element.
_SIZES = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8}

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
_VALUE = {1: Field("name"), 2: Field("type"), 3: Field("doc")}
_TYPE = {1: Field("tensor"), 6: Field("denotation")}
_TENSOR_TYPE = {1: Field("elem_type", VARINT), 2: Field("shape")}
_SHAPE = {1: Field("dim", repeated=True)}
_DIM = {1: Field("value", VARINT), 2: Field("parameter", BYTES), 3: Field("denotation")}

# ONNX element type -> the field that holds such values where they are not raw bytes.
_TYPED = {1: "floats", 2: "int32s", 3: "int32s", 6: "int32s", 7: "int64s", 9: "int32s", 10: "int32s", 11: "doubles"}


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


_passed: dict[tuple[bytes, int], GraphFacts] = {}
_MOST_PASSED = 256


def check_graph_file(path: str | os.PathLike[str], *, weights_bytes: int | None = None) -> GraphFacts:
    """Check an ONNX file.

    Parameters
    ----------
    path : path
        The file.
    weights_bytes : int, optional
        Size of ``weights.bin``; that of the file beside ``path`` when None.

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
        data = read_regular(path, LARGEST_GRAPH)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
    if weights_bytes is None:
        beside = path.with_name(WEIGHTS)
        weights_bytes = beside.stat().st_size if beside.is_file() else 0
    # Opening a bundle checks every graph, and loading one checks it again: by its bytes, which are seldom others.
    key = (hashlib.sha256(data).digest(), weights_bytes)
    try:
        if key not in _passed:
            facts = check_graph(data, weights_bytes)
            if len(_passed) >= _MOST_PASSED:
                _passed.clear()
            _passed[key] = facts
        return _passed[key]
    except FormatError as error:
        raise FormatError(f"{path}: not a graph that a bundle may hold: {error}; export the model again") from None


def check_graph(data: bytes, weights_bytes: int) -> GraphFacts:
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
    for node in nodes:
        _check_node(node)
    external = [_check_tensor(tensor, weights_bytes) for tensor in graph.parts.get("initializer", ())]
    for value in graph.parts.get("value_info", ()):
        _value(value, "a value")
    inputs = dict(_value(value, "an input") for value in graph.parts.get("input", ()))
    outputs = dict(_value(value, "an output") for value in graph.parts.get("output", ()))
    return GraphFacts(inputs, outputs, any(external), ir_version, opset)


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


def _check_node(part: memoryview) -> None:
    node = read_message(part, _NODE, "an operator")
    kind, domain = node.text("op_type"), node.text("domain")
    if domain not in ("", "ai.onnx") or kind not in OPERATORS:
        raise FormatError(f"operator {f'{domain}.{kind}' if domain else kind!r} is not allowed")
    for name in ("input", "output"):
        node.texts(name)
    for attribute in node.parts.get("attribute", ()):
        held = read_message(attribute, _ATTRIBUTE, f"an attribute of {kind}")
        integers = [signed(value) for name in ("int", "ints") for value in held.numbers.get(name, ())]
        _check_integers(integers, f"attribute {held.text('name')!r} of {kind}")


def _check_integers(values: Sequence[int], what: str) -> None:
    for value in values:
        if abs(value) > LARGEST_INTEGER:
            raise FormatError(f"{what} holds {value}; at most {LARGEST_INTEGER} is allowed")


def _check_tensor(part: memoryview, weights_bytes: int) -> bool:
    """Check an initializer; tell whether its values lie in the weights file."""
    tensor = read_message(part, _TENSOR, "a weight")
    name, kind = tensor.text("name"), tensor.number("data_type")
    what = f"weight {name!r}"
    if kind not in _SIZES:
        raise FormatError(f"{what} has ONNX type {kind}; allowed: {', '.join(map(str, sorted(_SIZES)))}")
    dims = [signed(size) for size in tensor.numbers.get("dims", ())]
    size = _SIZES[kind] * _elements(dims, what)
    entries = [read_message(entry, _ENTRY, f"an entry of {what}") for entry in tensor.parts.get("external", ())]
    location = tensor.number("location")
    held = {key for key in ("raw", *_TYPED.values()) if key in tensor.parts or key in tensor.numbers}
    if location == 1:
        if held:
            raise FormatError(f"{what} has values both in the graph and beside it")
        _check_external([(entry.text("key"), entry.text("value")) for entry in entries], what, size, weights_bytes)
        return True
    if location or entries:
        raise FormatError(f"{what} names a file without saying that its values lie there")
    _check_inline(tensor, held, what, kind, size)
    return False


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


def _check_inline(tensor: Message, held: set[str], what: str, kind: int, size: int) -> None:
    count = size // _SIZES[kind]
    raw = tensor.part("raw")
    if raw is not None:
        fits = held == {"raw"} and len(raw) == size
    else:
        fits = held <= {_TYPED[kind]} and len(tensor.numbers.get(_TYPED[kind], ())) == count
    if not fits:
        raise FormatError(f"{what} does not hold the {count} values of its shape")
    if kind in (6, 7):
        if count > MOST_INTEGERS:
            raise FormatError(f"{what} holds {count} integers; at most {MOST_INTEGERS} are allowed")
        width = _SIZES[kind]
        values = (
            [int.from_bytes(raw[i : i + width], "little", signed=True) for i in range(0, len(raw), width)]
            if raw is not None
            else [signed(value) for value in tensor.numbers.get(_TYPED[kind], ())]
        )
        _check_integers(values, what)


def _value(part: memoryview, what: str) -> tuple[str, tuple[int | None, ...]]:
    """Return name and shape of an input, an output or a value."""
    value = read_message(part, _VALUE, what)
    name, held = value.text("name"), value.part("type")
    what = f"{what} {name!r}"
    tensor = None if held is None else read_message(held, _TYPE, what).part("tensor")
    if tensor is None:
        raise FormatError(f"{what} is no tensor")
    about = read_message(tensor, _TENSOR_TYPE, what)
    if about.number("elem_type") not in _SIZES:
        raise FormatError(f"{what} has ONNX type {about.number('elem_type')}; numbers are needed")
    shape = about.part("shape")
    if shape is None:
        raise FormatError(f"{what} has no shape")
    dims: list[int | None] = []
    for part in read_message(shape, _SHAPE, what).parts.get("dim", ()):
        dim = read_message(part, _DIM, what)
        dims.append(signed(dim.number("value")) if "value" in dim.numbers else None)
    _elements([size for size in dims if size is not None], what)
    return name, tuple(dims)


def _elements(dims: Sequence[int], what: str) -> int:
    if len(dims) > LARGEST_RANK or any(size < 0 for size in dims) or prod(dims) > MOST_ELEMENTS:
        raise FormatError(f"{what} has the shape {list(dims)[:10]}; at most {MOST_ELEMENTS} elements are allowed")
    return prod(dims)
