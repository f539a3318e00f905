"""A bundle read back: the torch network whose graphs it holds.

Batch normalisations were folded when the graphs were written, so that the network which is made here is not the trained
one but an equal one: their factor and term stand as weight and bias, with a mean of 0 and a deviation of 1, and the
biases of the convolutions before them are in the terms. Kernels of the tower come from their values at the points of
:mod:`borzoi_export.graphs.cook_toom`, to the last digit or the one before it. The logits of relative positions are kept
by class of distance, as the graphs have them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn

from borzoi_rt.bundle.opening import WEIGHTS, Bundle
from borzoi_rt.errors import FormatError, InputError

from ..graphs.cook_toom import matrices
from ..models.borzoi import BATCH_NORM_EPS, Attention, Borzoi, NormConv, TransformerBlock, UnetBlock
from ..models.config import BorzoiConfig
from ..models.rotary import RotaryAttention

Floats = NDArray[np.float32]


def read_network(bundle: Bundle) -> Borzoi:
    """Return the network of a bundle in inference mode, its weights float32.

    Parameters
    ----------
    bundle : Bundle
        Of the Borzoi family, in fp32.

    Raises
    ------
    InputError
        If it is of another family or precision.
    FormatError
        If a weight that the network needs is not in its graph.
    """
    family, precision = bundle.info.architecture.get("family"), bundle.info.precision
    if family != "borzoi":
        raise InputError(f"{bundle.path}: its architecture is of the family {family!r}; borzoi is needed")
    if precision != "fp32":
        raise InputError(f"{bundle.path}: weights are {precision}, rounded ones; export the model in fp32")
    values = {name: value for name, value in bundle.info.architecture.items() if name != "family"}
    config = BorzoiConfig.from_dict(values)
    graph = onnx.load(str(bundle.check_graph("predict")), load_external_data=False).graph
    reader = _Reader({item.name: item for item in graph.initializer}, bundle.path)
    with torch.device("meta"):
        model = Borzoi(config)
    _fill(model, reader)
    return model.eval().requires_grad_(False)


class _Reader:
    """Weights of a graph by name, and what fills the layers of a network with them."""

    def __init__(self, stored: Mapping[str, onnx.TensorProto], source: Path) -> None:
        self._stored, self._source = stored, source

    def array(self, name: str) -> Floats:
        """Return a weight as it is stored."""
        if name not in self._stored:
            raise FormatError(f"{self._source}: its graph has no weight {name!r}; export the model again")
        tensor = self._stored[name]
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            return np.array(numpy_helper.to_array(tensor), dtype=np.float32)
        # Where it lies was judged when the graph was; onnx itself reads no file that has another name by a hard link.
        where = {item.key: item.value for item in tensor.external_data}
        kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        count = int(np.prod(tensor.dims, dtype=np.int64))
        values = np.fromfile(self._source / WEIGHTS, dtype=kind, count=count, offset=int(where["offset"]))
        return values.reshape(tuple(tensor.dims)).astype(np.float32)

    def has(self, name: str) -> bool:
        """Tell whether there is such a weight."""
        return name in self._stored

    def dense(self, layer: nn.Module, name: str, *, scale: float = 1.0, bias: bool = True) -> None:
        """Fill a linear layer or a convolution of width 1, whose weights were multiplied by ``scale``."""
        matrix = (self.array(f"{name}.weight").astype(np.float64).T / scale).astype(np.float32)
        put(layer, "weight", matrix[:, :, None] if isinstance(layer, nn.Conv1d) else matrix)
        if bias:
            put(layer, "bias", self.array(f"{name}.bias"))

    def layer_norm(self, layer: nn.Module, name: str) -> None:
        """Fill a layer normalisation."""
        for part in ("weight", "bias"):
            put(layer, part, self.array(f"{name}.{part}"))

    def norm(self, layer: nn.BatchNorm1d, name: str, mean: Floats | None = None) -> None:
        """Fill a batch normalisation with a folded one, of an input that ``mean`` was added to."""
        shift = self.array(f"{name}.shift").reshape(-1)
        # For GPUs the size of the factor lies in the convolution below; its sign is kept where one is negative.
        kept = next((part for part in ("scale", "sign") if self.has(f"{name}.{part}")), None)
        scale = np.ones_like(shift) if kept is None else self.array(f"{name}.{kept}").reshape(-1)
        put(layer, "weight", scale)
        put(layer, "bias", shift)
        put(layer, "running_mean", np.zeros_like(scale) if mean is None else mean)
        put(layer, "running_var", np.full_like(scale, 1.0 - BATCH_NORM_EPS))
        layer.num_batches_tracked = torch.tensor(0)

    def kernel(self, name: str, width: int) -> Floats:
        """Return the kernel (filters, channels, width) of a convolution of the tower, in whatever form it is."""
        if self.has(f"{name}.weight"):  # as for GPUs
            return self.array(f"{name}.weight")[:, :, 0]
        stored = self.array(name)
        return from_points(stored) if stored.ndim == 3 else from_taps(stored, width)

    def stem(self, width: int) -> Floats:
        """Return the kernel of the stem, (filters, 4, width)."""
        if self.has("stem.taps"):
            return from_taps(self.array("stem.taps"), width)
        if self.has("stem.weight.0"):  # as for GPUs: positions 0 and 2 of a group side by side
            halves = self.array("stem.weight.0")
            return from_taps(halves[: 4 * width, : halves.shape[1] // 2], width)
        stored = self.array("stem.weight")
        # Four positions of a group, each with the kernel at its own offset: the first begins with it.
        parts, rows, columns = stored.shape
        first = stored.reshape(parts, rows, 2, columns // 2)[0, : 4 * width, 0]
        return from_taps(first, width)


def put(layer: nn.Module, name: str, values: np.ndarray) -> None:
    """Set a parameter or a buffer of a layer that has no storage.

    Raises
    ------
    FormatError
        If it has another shape.
    """
    held = getattr(layer, name)
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    if held.shape != tensor.shape:
        shapes = f"shape {tuple(tensor.shape)}; {tuple(held.shape)} is needed"
        raise FormatError(f"{name} of a layer {type(layer).__name__} has {shapes}")
    setattr(layer, name, nn.Parameter(tensor) if isinstance(held, nn.Parameter) else tensor)


def from_taps(matrix: Floats, width: int) -> Floats:
    """Return a kernel (filters, channels, width) from the matrix of all its taps, (width * channels, filters)."""
    return np.ascontiguousarray(matrix.reshape(width, -1, matrix.shape[1]).transpose(2, 1, 0))


def from_points(values: Floats) -> Floats:
    """Return a kernel (filters, channels, 5) from its values at eight points, float32 (8, channels, filters).

    The first and the last are taps. The other three follow by least squares, each point weighed by its rounding.
    """
    to_values = matrices()[1]
    given = values.reshape(8, -1)
    flat = given.astype(np.float64)
    first, last, inner = flat[0], flat[7], to_values[1:7]
    rest = flat[1:7] - inner[:, :1] * first - inner[:, 4:] * last
    digit = np.spacing(np.maximum(np.abs(given[1:7]), np.finfo(np.float32).tiny))
    weight = digit.astype(np.float64) ** -2
    normal = np.einsum("pn,pi,pj->nij", weight, inner[:, 1:4], inner[:, 1:4], optimize=True)
    known = np.einsum("pn,pi,pn->ni", weight, inner[:, 1:4], rest, optimize=True)
    middle = np.linalg.solve(normal, known[:, :, None])[:, :, 0]
    taps = np.stack([first, *middle.T, last])  # (5, channels * filters)
    return np.ascontiguousarray(taps.reshape(5, *values.shape[1:]).transpose(2, 1, 0)).astype(np.float32)


def _fill(model: Borzoi, read: _Reader) -> None:
    config = model.config
    put(model.stem, "weight", read.stem(config.stem_width))
    put(model.stem, "bias", np.zeros(config.stem_filters, dtype=np.float32))
    last = read.array("tower.bias").reshape(-1)
    blocks = [cast("NormConv", block) for block in model.tower]
    for index, block in enumerate(blocks):
        read.norm(block.norm, f"tower.{index}.norm")
        put(block.conv, "weight", read.kernel(f"tower.{index}.conv", config.tower_width))
        bias = last if index == len(blocks) - 1 else np.zeros(config.tower_widths[index], dtype=np.float32)
        put(block.conv, "bias", bias)
    for index, layer in enumerate(model.transformer):
        _fill_transformer(cast("TransformerBlock", layer), f"transformer.{index}", read)
    for index, layer in enumerate(model.unet):
        _fill_unet(cast("UnetBlock", layer), f"unet.{index}", read, last if not index else None)
    if model.tail is not None:
        read.norm(model.tail.norm, "tail.norm")
        read.dense(model.tail.conv, "tail.conv")
    put(model.head, "weight", read.array("head.weight"))
    put(model.head, "bias", read.array("head.bias").reshape(-1))


def _fill_transformer(block: TransformerBlock, name: str, read: _Reader) -> None:
    read.layer_norm(block.norm_attention, f"{name}.norm_attention")
    fill = _fill_rotary if isinstance(block.attention, RotaryAttention) else _fill_attention
    fill(block.attention, f"{name}.attention", read)  # type: ignore[arg-type]
    read.dense(block.attention.out, f"{name}.attention.out")
    read.layer_norm(block.norm_dense, f"{name}.norm_dense")
    read.dense(block.dense_up, f"{name}.dense_up")
    read.dense(block.dense_down, f"{name}.dense_down")


def _fill_attention(attention: Attention, name: str, read: _Reader) -> None:
    read.dense(attention.key, f"{name}.key", bias=False)
    read.dense(attention.value, f"{name}.value", bias=False)
    read.dense(attention.query, f"{name}.query", scale=attention.key_size**-0.5, bias=False)
    for part in ("content_bias", "position_bias"):
        put(attention, part, read.array(f"{name}.{part}").reshape(1, attention.heads, 1, attention.key_size))
    keys = read.array(f"{name}.relative_keys")  # (heads, key size, classes)
    classes = keys.shape[2]
    attention.position_rows = torch.eye(classes)
    attention.relative_key = nn.Linear(classes, keys.shape[0] * keys.shape[1], bias=False, device="meta")
    put(attention.relative_key, "weight", keys.reshape(-1, classes))


def _fill_rotary(attention: RotaryAttention, name: str, read: _Reader) -> None:
    scale = attention.size**-0.5  # that of the queries
    parts = [(part, scale if part == "query" else 1.0) for part in ("query", "key", "value")]
    weights = [read.array(f"{name}.{part}.weight").astype(np.float64).T / factor for part, factor in parts]
    biases = [read.array(f"{name}.{part}.bias").astype(np.float64) / factor for part, factor in parts]
    put(attention.qkv, "weight", np.concatenate(weights).astype(np.float32))
    put(attention.qkv, "bias", np.concatenate(biases).astype(np.float32))


def _fill_unet(block: UnetBlock, name: str, read: _Reader, mean: Floats | None) -> None:
    read.norm(block.norm, f"{name}.norm")
    read.norm(block.norm_skip, f"{name}.norm_skip", mean)
    if isinstance(block.dense, nn.Conv1d):
        read.dense(block.dense, f"{name}.dense")
    read.dense(block.dense_skip, f"{name}.dense_skip")
    taps = [read.array(f"{name}.tap.{tap}") for tap in range(block.depthwise.kernel_size[0])]
    put(block.depthwise, "weight", np.stack(taps, axis=1)[:, None])
    read.dense(block.pointwise, f"{name}.pointwise")
