"""ONNX graphs that tests write, and how the check of bundles sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from borzoi_rt.bundle.graph_constants import read_constants
from borzoi_rt.bundle.graph_memory import Program
from borzoi_rt.bundle.graph_shapes import Node

Line = tuple[str, Sequence[str], dict[str, Any]]


def program(model: Any) -> Program:
    """Return a graph of the onnx package as the check sees it."""
    nodes = [
        Node(node.op_type, tuple(node.input), tuple(node.output), {item.name: _value(item) for item in node.attribute})
        for node in model.graph.node
    ]
    constants, _ = read_constants([memoryview(item.SerializeToString()) for item in model.graph.initializer], 2**62)
    inputs = {value.name: (value.type.tensor_type.elem_type, _shape(value)) for value in model.graph.input}
    return Program(nodes, constants, inputs)


def _value(item: Any) -> Any:
    return item.i if item.type == item.INT else tuple(item.ints) if item.type == item.INTS else item.s.decode()


def _shape(value: Any) -> tuple[int | None, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(size.dim_value if size.HasField("dim_value") else None for size in dims)


def graph(lines: Sequence[Line], **constants: Any) -> Any:
    """Return a graph of ``tokens`` (batch, 4, 3) and ``track_index`` (tracks,); line N makes ``vN``."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node(kind, list(inputs), [f"v{number}"], **attributes)
        for number, (kind, inputs, attributes) in enumerate(lines)
    ]
    held = [numpy_helper.from_array(_array(values), name) for name, values in constants.items()]
    value = helper.make_tensor_value_info
    inputs = [
        value("tokens", TensorProto.FLOAT, ["batch", 4, 3]),
        value("track_index", TensorProto.INT64, ["tracks"]),
    ]
    outputs = [value(f"v{len(nodes) - 1}", TensorProto.FLOAT, [1])]
    body = helper.make_graph(nodes, "g", inputs, outputs, held)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _array(values: Any) -> np.ndarray:
    array = np.asarray(values)
    return array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
