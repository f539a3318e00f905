"""Layers forward and back as ONNX nodes, on activations whose last axis is the channel.

A function writes the forward nodes and returns their result with a function that writes the backward ones: it takes
the derivative of the target by the result and returns that by the input. Weights get no derivative, and those of the
way back are the forward ones, exchanged in the graph, so that they are stored once.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from onnx import TensorProto

from ..models.borzoi import BATCH_NORM_EPS, LAYER_NORM_EPS
from . import cook_toom
from .builder import GraphBuilder
from .layers import array
from .spans import Span

Back = Callable[[str], str]

_ROOT = math.sqrt(2.0 / math.pi)
_CUBE = 0.044715


def constant(graph: GraphBuilder, name: str, value: float) -> str:
    """Add a number."""
    return graph.weight(name, np.array(value, dtype=np.float32))


def exchanged(graph: GraphBuilder, matrix: str) -> str:
    """Transpose a weight; a runtime does it once, when it loads the graph."""
    return graph.node("Transpose", matrix, perm=[1, 0])


def gelu(graph: GraphBuilder, x: str) -> tuple[str, Back]:
    """GELU in its tanh form, x s with s = sigmoid(v) and v = 2 sqrt(2/pi) (x + 0.044715 x^3).

    Its derivative is ``s + x s (1 - s) v'``, where ``x v' = 3 v - 4 sqrt(2/pi) x``.
    """

    def back(g: str) -> str:
        square = graph.node("Mul", graph.node("Mul", x, x), constant(graph, "gelu.cube", 2.0 * _ROOT * _CUBE))
        v = graph.node("Mul", x, graph.node("Add", square, constant(graph, "gelu.line", 2.0 * _ROOT)))
        s = graph.node("Sigmoid", v)
        grown = graph.node(
            "Sub",
            graph.node("Mul", v, constant(graph, "three", 3.0)),
            graph.node("Mul", x, constant(graph, "gelu.four", 4.0 * _ROOT)),
        )
        one = constant(graph, "one", 1.0)
        bend = graph.node("Mul", graph.node("Sub", one, s), grown)
        slope = graph.node("Mul", s, graph.node("Add", bend, one))
        return graph.node("Mul", g, slope)

    return graph.node("Gelu", x, approximate="tanh"), back


def norm_gelu(
    graph: GraphBuilder, x: str, norm: torch.nn.BatchNorm1d, name: str, bias: torch.Tensor | None = None
) -> tuple[str, Back]:
    """Normalise and activate ``x + bias``, as :func:`borzoi_export.graphs.layers.norm_gelu` does."""
    mean, variance = (array(torch.as_tensor(part)).astype(np.float64) for part in (norm.running_mean, norm.running_var))
    scale = array(norm.weight) / np.sqrt(variance + BATCH_NORM_EPS)
    shift = array(norm.bias) - (mean - (0.0 if bias is None else array(bias).astype(np.float64))) * scale
    factor = graph.weight(f"{name}.scale", scale.astype(np.float32))
    x = graph.node("Mul", x, factor, label=name)
    x = graph.node("Add", x, graph.weight(f"{name}.shift", shift.astype(np.float32)))
    y, unbent = gelu(graph, x)
    return y, lambda g: graph.node("Mul", unbent(g), factor)


def product(graph: GraphBuilder, x: str, matrix: np.ndarray, bias: torch.Tensor | None, name: str) -> tuple[str, Back]:
    """``x @ matrix + bias``."""
    weight = graph.weight(f"{name}.weight", matrix)
    y = graph.node("MatMul", x, weight, label=name)
    if bias is not None:
        y = graph.node("Add", y, graph.weight(f"{name}.bias", array(bias)))
    return y, lambda g: graph.node("MatMul", g, exchanged(graph, weight), label=f"{name}.back")


def pointwise(graph: GraphBuilder, x: str, conv: torch.nn.Conv1d, name: str) -> tuple[str, Back]:
    """Convolution of width 1, as a product."""
    return product(graph, x, array(conv.weight)[:, :, 0].T, conv.bias, name)


def dense(graph: GraphBuilder, x: str, linear: torch.nn.Linear, name: str, scale: float = 1.0) -> tuple[str, Back]:
    """Linear layer, its weights times ``scale``."""
    matrix = (array(linear.weight).T.astype(np.float64) * scale).astype(np.float32)
    return product(graph, x, matrix, linear.bias, name)


def relu(graph: GraphBuilder, x: str) -> tuple[str, Back]:
    """Keep what is above 0."""
    y = graph.node("Relu", x)

    def back(g: str) -> str:
        zero = constant(graph, "zero", 0.0)
        return graph.node("Where", graph.node("Greater", y, zero), g, zero)

    return y, back


def layer_norm(graph: GraphBuilder, x: str, norm: torch.nn.LayerNorm, name: str) -> tuple[str, Back]:
    """Normalise over channels: n = (x - mean) / deviation; its way back is ``(h - mean h - n mean(h n)) / deviation``.

    ``h`` is the derivative by n.
    """
    scale = graph.weight(f"{name}.weight", array(norm.weight))
    shift = graph.weight(f"{name}.bias", array(norm.bias))
    last = graph.integers(-1)
    centred = graph.node("Sub", x, graph.node("ReduceMean", x, last, keepdims=1), label=name)
    variance = graph.node("ReduceMean", graph.node("Mul", centred, centred), last, keepdims=1)
    softened = graph.node("Add", variance, constant(graph, "layer_norm.epsilon", LAYER_NORM_EPS))
    inverse = graph.node("Reciprocal", graph.node("Sqrt", softened))
    n = graph.node("Mul", centred, inverse)

    def back(g: str) -> str:
        h = graph.node("Mul", g, scale)
        common = graph.node("ReduceMean", h, last, keepdims=1)
        along = graph.node("Mul", n, graph.node("ReduceMean", graph.node("Mul", h, n), last, keepdims=1))
        return graph.node("Mul", graph.node("Sub", graph.node("Sub", h, common), along), inverse)

    return graph.node("Add", graph.node("Mul", n, scale), shift), back


def pool(graph: GraphBuilder, x: str, length: int) -> tuple[str, Back]:
    """Larger of two neighbours, (batch, length, channels) to half; of equals the first has all of the derivative."""
    paired = graph.reshape(x, 0, length // 2, 2, -1)

    def back(g: str) -> str:
        first, second = (graph.slice(paired, 2, side, side + 1) for side in (0, 1))
        later = graph.node("Cast", graph.node("Greater", second, first), to=TensorProto.FLOAT)
        g = graph.node("Unsqueeze", g, graph.integers(2))
        to_second = graph.node("Mul", g, later)
        both = graph.node("Concat", graph.node("Sub", g, to_second), to_second, axis=2)
        return graph.reshape(both, 0, length, -1)

    return graph.node("ReduceMax", paired, graph.integers(2), keepdims=0), back


def direct_conv(graph: GraphBuilder, x: str, weight: torch.Tensor, name: str, length: int) -> tuple[str, Back]:
    """Convolution with zero padding, as one product over all taps, without bias."""
    filters, channels, width = weight.shape
    matrix = graph.weight(name, array(weight).transpose(2, 1, 0).reshape(-1, filters))

    def windows(x: str) -> str:
        half = width // 2
        x = graph.node("Pad", x, graph.integers(0, half, 0, 0, half, 0))
        return graph.node("Concat", *(graph.slice(x, 1, tap, tap + length) for tap in range(width)), axis=2)

    def back(g: str) -> str:
        turned = graph.node("Gather", graph.reshape(matrix, width, channels, filters), _backwards(graph, width), axis=0)
        turned = graph.reshape(graph.node("Transpose", turned, perm=[0, 2, 1]), width * filters, channels)
        return graph.node("MatMul", windows(g), turned, label=f"{name}.back")

    return graph.node("MatMul", windows(x), matrix, label=name), back


def narrow_conv(graph: GraphBuilder, x: str, weight: torch.Tensor, name: str, length: int) -> tuple[str, Back]:
    """:func:`direct_conv` where the input has few channels: the way back is a product first, and its taps are added."""
    filters, channels, width = weight.shape
    y, _ = direct_conv(graph, x, weight, name, length)
    matrix = graph.weight(name, array(weight).transpose(2, 1, 0).reshape(-1, filters))

    def back(g: str) -> str:
        half = width // 2
        taps = graph.node("MatMul", g, exchanged(graph, matrix), label=f"{name}.back")
        taps = graph.node("Pad", taps, graph.integers(0, half, 0, 0, half, 0))
        total = ""
        for tap in range(width):
            part = graph.slice(taps, 2, tap * channels, (tap + 1) * channels)
            part = graph.slice(part, 1, 2 * half - tap, 2 * half - tap + length)
            total = graph.node("Add", total, part) if total else part
        return total

    return y, back


def conv(
    graph: GraphBuilder, x: str, weight: torch.Tensor, name: str, length: int, *, by_tiles: bool
) -> tuple[str, Back]:
    """:func:`direct_conv`, with a way back of Cook-Toom products for a width of 5 and whole tiles of four.

    Never so on the way forth: where bases repeat, neighbours are equal to the last bit, and the pool that follows gives
    the derivative to the first of them, as other programs do. The rounding of Cook-Toom products would draw lots.
    """
    y, back = direct_conv(graph, x, weight, name, length)
    return y, _tiled_back(graph, weight, name, length) if by_tiles else back


def _tiled_back(graph: GraphBuilder, weight: torch.Tensor, name: str, length: int) -> Back:
    """Return the way back of a convolution of width 5, see :func:`borzoi_export.graphs.cook_toom.backward_matrices`."""

    def back(g: str) -> str:
        outputs, inputs = (matrix.astype(np.float32) for matrix in cook_toom.backward_matrices())
        kernels = graph.weight(f"{name}.points", cook_toom.kernels(array(weight)))
        turned = graph.node("Transpose", kernels, perm=[0, 2, 1])
        # Position 2 h + f at [f, h]: input 2 h + f of a tile of eight is a convolution over h, f its channel.
        paired = graph.node("Transpose", graph.reshape(g, 0, length // 2, 2, -1), perm=[0, 2, 1, 3])
        kernel = graph.weight("back.inputs", inputs.reshape(8, 4, 2).transpose(0, 2, 1)[:, :, :, None])
        tiles = graph.node("Conv", paired, kernel, kernel_shape=[4, 1], strides=[2, 1], pads=[1, 0, 1, 0])
        values = graph.reshape(graph.node("MatMul", tiles, turned, label=f"{name}.back"), 0, 8, -1)
        x = graph.node("MatMul", graph.weight("back.outputs", outputs), values)
        x = graph.reshape(x, 0, 4, length // 4, weight.shape[1])
        return graph.reshape(graph.node("Transpose", x, perm=[0, 2, 1, 3]), 0, length, weight.shape[1])

    return back


def _backwards(graph: GraphBuilder, width: int) -> str:
    return graph.integers(*range(width - 1, -1, -1))


def take(graph: GraphBuilder, x: str, span: Span) -> tuple[str, Back]:
    """Take the positions of a span; what is not taken gets no derivative."""
    if span.size == span.length:
        return x, lambda g: g
    edges = graph.integers(0, span.start, 0, 0, span.length - span.end, 0)
    return graph.slice(x, 1, span.start, span.end), lambda g: graph.node("Pad", g, edges)
