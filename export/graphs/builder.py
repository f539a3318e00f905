"""A small writer of ONNX graphs whose weights lie in one shared external file.

Graphs are built node by node from a trained network instead of being traced: names, chunking and constants are then
ours to choose, no forward pass of a 186M-parameter model is needed, and several graphs can share one weights file.
What a tracer would guarantee is guaranteed by the parity gate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from borzoi_rt.bundle.manifest import GraphInfo
from borzoi_rt.bundle.names import graph_file
from borzoi_rt.bundle.opening import WEIGHTS
from borzoi_rt.errors import FormatError

OPSET = 20
IR_VERSION = 10
_INLINE_BYTES = 1024
_ALIGNMENT = 4096  # so that a runtime may map the file
_DTYPES: dict[str, type[np.floating[Any]]] = {"fp32": np.float32, "fp16": np.float16}


class WeightsFile:
    """External data of all graphs of a bundle, and their precision; equal tensors are stored once."""

    def __init__(self, directory: Path, precision: str = "fp32") -> None:
        self.precision = precision
        self._handle = (directory / WEIGHTS).open("wb")
        self._stored: dict[str, tuple[int, int]] = {}

    def add(self, name: str, values: np.ndarray) -> TensorProto:
        """Store a tensor and return the initializer that points to it."""
        values = np.ascontiguousarray(values)
        raw = values.tobytes()
        if len(raw) < _INLINE_BYTES:
            return numpy_helper.from_array(values, name)
        key = hashlib.sha256(raw).hexdigest()
        if key not in self._stored:
            self._handle.write(b"\0" * (-self._handle.tell() % _ALIGNMENT))
            self._stored[key] = (self._handle.tell(), len(raw))
            self._handle.write(raw)
        offset, length = self._stored[key]
        tensor = TensorProto(name=name, dims=values.shape, data_type=helper.np_dtype_to_tensor_dtype(values.dtype))
        tensor.data_location = TensorProto.EXTERNAL
        for field, text in (("location", WEIGHTS), ("offset", str(offset)), ("length", str(length))):
            tensor.external_data.add(key=field, value=text)
        return tensor

    def close(self) -> None:
        """Finish the file."""
        self._handle.close()


class GraphBuilder:
    """Collect nodes and initializers; every method that adds a node returns the name of its output.

    Inputs and outputs of a graph are float32 in any case; between :meth:`narrow` and :meth:`wide` values are in the
    precision of the weights file.
    """

    def __init__(self, name: str, weights: WeightsFile) -> None:
        self.name = name
        self.precision = weights.precision
        self.gathers = False  # whether what moves is gathered: the limits of a Slice lie in the memory of the CPU
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, dtype: int, shape: Sequence[int | str]) -> str:
        """Declare a graph input."""
        self._inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def weight(self, name: str, values: np.ndarray, *, exact: bool = False) -> str:
        """Add an initializer; the same name is added once. float32 becomes the graph's precision unless ``exact``.

        Raises
        ------
        FormatError
            If a value does not fit that precision.
        """
        if name not in self._initializers:
            if values.dtype == np.float32 and not exact:
                values = self._narrowed(name, values)
            self._initializers[name] = self._weights.add(name, values)
        return name

    def _narrowed(self, name: str, values: np.ndarray) -> np.ndarray:
        largest = float(np.abs(values).max(initial=0.0))
        if largest > np.finfo(_DTYPES[self.precision]).max:
            raise FormatError(f"{name}: holds {largest:.3g}, which does not fit {self.precision}; export in fp32")
        return values.astype(_DTYPES[self.precision], copy=False)

    def narrow(self, x: str) -> str:
        """Bring a float32 value to the precision of the graph."""
        if self.precision == "fp32":
            return x
        return self.node("Cast", x, to=helper.np_dtype_to_tensor_dtype(np.dtype(_DTYPES[self.precision])))

    def wide(self, x: str) -> str:
        """Bring a value back to float32."""
        return x if self.precision == "fp32" else self.node("Cast", x, to=TensorProto.FLOAT)

    def integers(self, *values: int) -> str:
        """Add a small constant vector of int64."""
        name = "int_" + "_".join(map(str, values))
        return self.weight(name, np.array(values, dtype=np.int64))

    def node(self, kind: str, *inputs: str, label: str = "", **attributes: Any) -> str:
        """Add a node of one output and return its name."""
        name = f"{label or kind}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def slice(self, x: str, axis: int, start: int, end: int) -> str:
        """Take ``[start, end)`` of one axis."""
        return self.node("Slice", x, self.integers(start), self.integers(end), self.integers(axis))

    def window(self, x: str, axis: int, start: str, size: int) -> str:
        """Take ``size`` positions of one axis from ``start`` on, an int64 value of shape (1,)."""
        if self.gathers:
            positions = self.weight(f"positions_{size}", np.arange(size, dtype=np.int64))
            return self.node("Gather", x, self.node("Add", positions, start), axis=axis)
        end = self.node("Add", start, self.integers(size))
        return self.node("Slice", x, start, end, self.integers(axis))

    def split(self, x: str, axis: int, count: int) -> list[str]:
        """Cut an axis into equal parts."""
        if count == 1:
            return [x]
        names = [f"Split_{len(self._nodes)}_{part}" for part in range(count)]
        self._nodes.append(helper.make_node("Split", [x], names, name=names[0], axis=axis, num_outputs=count))
        return names

    def concat(self, parts: Sequence[str], axis: int) -> str:
        """Join values along an axis."""
        return self.node("Concat", *parts, axis=axis) if len(parts) > 1 else parts[0]

    def reshape(self, x: str, *shape: int) -> str:
        """Reshape; 0 keeps a dimension."""
        return self.node("Reshape", x, self.integers(*shape))

    @property
    def input_names(self) -> list[str]:
        """Inputs in the order declared."""
        return [item.name for item in self._inputs]

    def prune(self, values: Sequence[str]) -> None:
        """Drop nodes and weights that none of some values depends on."""
        needed, kept = set(values), []
        for node in reversed(self._nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                kept.append(node)
        self._nodes = kept[::-1]
        self._initializers = {name: tensor for name, tensor in self._initializers.items() if name in needed}

    def write(self, directory: Path, outputs: Mapping[str, tuple[str, Sequence[int | str]]]) -> GraphInfo:
        """Write the model, without what no output needs, under the name of the graph; return its description."""
        file = graph_file(self.name)
        self.prune([value for value, _ in outputs.values()])
        self.save(directory / file, outputs)
        return GraphInfo(file=file, inputs=tuple(self.input_names), outputs=tuple(outputs))

    def save(
        self, path: Path, outputs: Mapping[str, tuple[str, Sequence[int | str]]], dtype: int = TensorProto.FLOAT
    ) -> None:
        """Name the outputs (name -> value and shape) and write the model."""
        infos = []
        for name, (value, shape) in outputs.items():
            self._nodes.append(helper.make_node("Identity", [value], [name], name=f"output_{name}"))
            infos.append(helper.make_tensor_value_info(name, dtype, shape))
        graph = helper.make_graph(self._nodes, self.name, self._inputs, infos, list(self._initializers.values()))
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="borzoi-rt")
        path.write_bytes(model.SerializeToString(deterministic=True))
