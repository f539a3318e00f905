"""Inputs and outputs of ONNX graphs, and the form in which a server takes them: the door to onnx."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import FormatError, missing_package

# ONNX element type -> Triton's name.
TRITON_TYPES = {1: "FP32", 2: "UINT8", 3: "INT8", 6: "INT32", 7: "INT64", 9: "BOOL", 10: "FP16", 11: "FP64", 16: "BF16"}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output: ``dims`` holds -1 where the graph leaves a size open; a scalar has none."""

    name: str
    kind: str
    dims: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Signature:
    """What a graph takes and gives, in order, and the versions it is written in."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    ir_version: int
    opset: int


def read_signature(path: str | os.PathLike[str]) -> Signature:
    """Read the signature of an ONNX file; its weights are left alone.

    Raises
    ------
    FormatError
        If the file is not ONNX, or has a tensor that Triton does not know.
    """
    return _signature(_load(Path(path)), Path(path))


def write_served_graph(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    trim: str | None = None,
    most: Mapping[str, Sequence[int]] | None = None,
) -> Signature:
    """Write a graph as a server without batching takes it; the numbers stay the same.

    Triton has no scalars, so each becomes a vector of one. Its onnxruntime backend knows no inputs with defaults, so
    these lose theirs. External weights are found under their old name, beside ``target``.

    Parameters
    ----------
    source, target : path
        ONNX files.
    trim : str, optional
        Output whose last axis is cut: a new input ``trim_bins``, int64 of two, says how many bins are left out on the
        left and on the right, so that an answer holds what is wanted and no more.
    most : mapping of str to sequence of int, optional
        Largest shapes of inputs: a request with a larger one fails before anything is computed of it.

    Returns
    -------
    Signature
        Of the file written.
    """
    model = _load(Path(source))
    inputs = {value.name for value in model.graph.input}
    for default in [item for item in model.graph.initializer if item.name in inputs]:
        model.graph.initializer.remove(default)
    for value in model.graph.input:
        if not value.type.tensor_type.shape.dim:
            _widen_scalar(model.graph, value)
        elif value.name in (most or {}):
            _bound_input(model.graph, value, (most or {})[value.name])
    if trim is not None:
        _trim_output(model.graph, trim, Path(source))
    Path(target).write_bytes(model.SerializeToString())
    return _signature(model, Path(target))


def _widen_scalar(graph: Any, value: Any) -> None:
    value.type.tensor_type.shape.dim.add().dim_value = 1
    inner = f"{value.name}_scalar"
    _rename_inputs(graph, value.name, inner)
    graph.node.insert(0, _onnx().helper.make_node("Squeeze", [value.name], [inner], name=f"{inner}_squeeze"))


def _bound_input(graph: Any, value: Any, most: Sequence[int]) -> None:
    """Cut an input to the largest shape allowed and give it its own shape again, which fails where anything was cut."""
    helper, kinds = _onnx().helper, _onnx().TensorProto
    name, dims = value.name, value.type.tensor_type.shape.dim
    axes = [axis for axis, dim in enumerate(dims) if not dim.HasField("dim_value")]
    if not axes:
        return
    inner = f"{name}_bounded"
    _rename_inputs(graph, name, inner)
    parts = {"start": [0] * len(axes), "end": [most[axis] for axis in axes], "axes": axes}
    graph.initializer.extend(
        helper.make_tensor(f"{inner}_{key}", kinds.INT64, [len(axes)], numbers) for key, numbers in parts.items()
    )
    added = [
        helper.make_node("Slice", [name, *(f"{inner}_{key}" for key in parts)], [f"{inner}_cut"], name=f"{inner}_cut"),
        helper.make_node("Shape", [name], [f"{inner}_shape"], name=f"{inner}_shape"),
        helper.make_node("Reshape", [f"{inner}_cut", f"{inner}_shape"], [inner], name=inner),
    ]
    for number, node in enumerate(added):
        graph.node.insert(number, node)


def _trim_output(graph: Any, name: str, path: Path) -> None:
    helper, kinds = _onnx().helper, _onnx().TensorProto
    found = next((value for value in graph.output if value.name == name), None)
    if found is None or not found.type.tensor_type.shape.dim[-1].dim_value:
        raise FormatError(f"{path}: has no output {name!r} with a fixed last axis")
    last = found.type.tensor_type.shape.dim[-1]
    whole = f"{name}_whole"
    for node in graph.node:
        for index, output in enumerate(node.output):
            if output == name:
                node.output[index] = whole
    _rename_inputs(graph, name, whole)
    constants = {"trim_zero": 0, "trim_one": 1, "trim_two": 2, "trim_last": -1, "trim_size": last.dim_value}
    graph.initializer.extend(helper.make_tensor(key, kinds.INT64, [1], [size]) for key, size in constants.items())
    graph.node.extend(
        [
            helper.make_node("Slice", ["trim_bins", "trim_zero", "trim_one"], ["trim_start"]),
            helper.make_node("Slice", ["trim_bins", "trim_one", "trim_two"], ["trim_right"]),
            helper.make_node("Sub", ["trim_size", "trim_right"], ["trim_end"]),
            helper.make_node("Slice", [whole, "trim_start", "trim_end", "trim_last"], [name]),
        ]
    )
    graph.input.append(helper.make_tensor_value_info("trim_bins", kinds.INT64, [2]))
    last.dim_param = "kept_bins"


def _rename_inputs(graph: Any, name: str, new: str) -> None:
    for node in graph.node:
        for index, held in enumerate(node.input):
            if held == name:
                node.input[index] = new


def external_files(path: str | os.PathLike[str]) -> set[str]:
    """Return the names of the files that hold the weights of an ONNX file."""
    found: set[str] = set()
    for tensor in _load(Path(path)).graph.initializer:
        found.update(entry.value for entry in tensor.external_data if entry.key == "location")
    return found


def _signature(model: Any, path: Path) -> Signature:
    held = {item.name for item in model.graph.initializer}
    inputs = tuple(_tensor(value, path) for value in model.graph.input if value.name not in held)
    outputs = tuple(_tensor(value, path) for value in model.graph.output)
    opset = max((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), default=0)
    return Signature(inputs, outputs, int(model.ir_version), int(opset))


def _tensor(value: Any, path: Path) -> Tensor:
    tensor = value.type.tensor_type
    if tensor.elem_type not in TRITON_TYPES:
        raise FormatError(f"{path}: tensor {value.name!r} has ONNX type {tensor.elem_type}, which Triton does not know")
    dims = tuple(int(dim.dim_value) if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim)
    return Tensor(value.name, TRITON_TYPES[tensor.elem_type], dims)


def _load(path: Path) -> Any:
    onnx = _onnx()
    try:
        return onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's exceptions share no base below Exception
        raise FormatError(f"{path}: cannot be read as ONNX ({' '.join(str(error).split())[:200]})") from error


def _onnx() -> ModuleType:
    try:
        import onnx
    except ImportError as error:
        raise missing_package(error, "onnx", "triton") from error
    module: ModuleType = onnx
    return module
