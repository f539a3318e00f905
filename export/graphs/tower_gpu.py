"""Stem and tower of convolutions for GPUs: the whole window at once.

Only operators that CUDA has kernels for in this operator set: neither ``Pad`` nor ``ReduceMax``, which some releases of
onnxruntime send to the CPU.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from .layers import array, norm_gelu, padded
from .spans import Span
from .tower import BaseTower


class ConvTower(BaseTower):
    """Convolutions as ``Conv`` nodes; activations are (batch, channels, 1, length).

    The axis of length 1 is there because convolutions over two axes are what cuDNN has most kernels for.
    """

    norm = "affine"

    def write(self, x: str) -> tuple[str, list[str]]:
        """Turn (batch, 4, length) into tokens (batch, tokens, channels) and raw skips without bias."""
        graph = self.graph
        x = graph.node("Unsqueeze", x, graph.integers(2))
        x = self._halved(self._conv(x, self.stem.weight, "stem"))
        raw: list[str] = []
        for index, block in enumerate(self.blocks):
            x = norm_gelu(
                graph, x, block.norm, f"tower.{index}.norm", self.bias_of(index), axes_behind=2, node=self.norm
            )
            x = self._conv(x, block.conv.weight, f"tower.{index}.conv")
            raw.insert(0, x)
            x = self._halved(x)
        kept = [self._channels_last(skip, span) for skip, span in zip(raw, self.skips, strict=False)]
        return self.with_bias(self._channels_last(x, Span(0, self.tokens, self.tokens))), kept

    def _conv(self, x: str, weight: Tensor, name: str) -> str:
        width = weight.shape[2]
        kernel = self.graph.weight(f"{name}.weight", array(weight)[:, :, None])
        pads = [0, width // 2, 0, width // 2]
        return self.graph.node("Conv", x, kernel, label=name, kernel_shape=[1, width], pads=pads)

    def _halved(self, x: str) -> str:
        return self.graph.node("MaxPool", x, kernel_shape=[1, 2], strides=[1, 2])

    def _channels_last(self, x: str, span: Span) -> str:
        """Return the positions of a span, (batch, span, channels)."""
        graph = self.graph
        if span.size < span.length:
            x = graph.slice(x, 3, span.start, span.end)
        return graph.node("Transpose", graph.node("Squeeze", x, graph.integers(2)), perm=[0, 2, 1])


class ProductTower(BaseTower):
    """Convolutions as products over all taps; activations are (batch, length, channels).

    Shifted by r, the activations read as rows of ``width`` positions hold what the outputs r, r + width, ... need:
    ``width`` products with the same matrix, each of whose factors is one copy of the activations.
    """

    def write(self, x: str) -> tuple[str, list[str]]:
        """Turn (batch, length, 4) into tokens (batch, tokens, channels) and raw skips without bias."""
        graph, length = self.graph, self.length_bp // 2
        x = self._stem(x)
        raw: list[str] = []
        for index, block in enumerate(self.blocks):
            x = norm_gelu(graph, x, block.norm, f"tower.{index}.norm", self.bias_of(index))
            x = self._conv(x, block.conv.weight, f"tower.{index}.conv", length)
            raw.insert(0, x)
            x, length = self._halved(x, length), length // 2
        kept = [graph.slice(skip, 1, span.start, span.end) for skip, span in zip(raw, self.skips, strict=False)]
        return self.with_bias(x), kept

    def _stem(self, x: str) -> str:
        """Return the pooled stem, by one product that makes the four outputs of four bases of all they read."""
        graph, (filters, _, width) = self.graph, self.stem.weight.shape
        groups = (width + 2) // 4 + 1
        rows = self.length_bp // 4
        left, read = width // 2, 4 * (rows + groups - 1)
        x = padded(graph, x, left, read - left - self.length_bp, 4)
        x = graph.reshape(x, 0, read // 4, 16)
        windows = graph.concat([graph.slice(x, 1, group, group + rows) for group in range(groups)], 2)
        placed = np.zeros((4 * groups, 4, 4, filters), dtype=np.float32)
        for position in range(4):
            placed[position : position + width, :, position] = array(self.stem.weight).transpose(2, 1, 0)
        matrix = graph.weight("stem.weight", placed.reshape(16 * groups, 4 * filters))
        x = graph.reshape(graph.node("MatMul", windows, matrix, label="stem"), 0, 4 * rows, filters)
        return self._halved(x, self.length_bp)

    def _conv(self, x: str, weight: Tensor, name: str, length: int) -> str:
        """Return at least ``length`` outputs; what is behind them means nothing."""
        graph, width = self.graph, weight.shape[2]
        rows = -(-length // width)
        half = width // 2
        x = padded(graph, x, half, rows * width + width - 1 - half - length, weight.shape[1])
        matrix = array(weight).transpose(2, 1, 0).reshape(-1, weight.shape[0])
        outputs = []
        for shift in range(width):
            shifted = graph.slice(x, 1, shift, shift + rows * width)
            product = graph.node(
                "MatMul", graph.reshape(shifted, 0, rows, -1), graph.weight(f"{name}.weight", matrix), label=name
            )
            outputs.append(graph.node("Unsqueeze", product, graph.integers(2)))
        return graph.reshape(graph.concat(outputs, 2), 0, rows * width, -1)

    def _halved(self, x: str, length: int) -> str:
        graph = self.graph
        ends, axis, step = graph.integers(length), graph.integers(1), graph.integers(2)
        return graph.node("Max", *(graph.node("Slice", x, graph.integers(first), ends, axis, step) for first in (0, 1)))
