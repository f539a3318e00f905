"""Stem and tower of convolutions for GPUs: the whole window at once.

Only operators that CUDA has kernels for in this operator set: neither ``Pad`` nor ``ReduceMax``, which some releases of
onnxruntime send to the CPU.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from .layers import array, norm_gelu, norm_terms, padded
from .spans import Span
from .tower import BaseTower


class ConvTower(BaseTower):
    """Convolutions as ``Conv`` nodes between activations of (batch, 1, length, channels).

    The axis of length 1 is there because convolutions over two axes are what cuDNN has most kernels for. onnxruntime
    runs them channels last, where the ``Transpose`` nodes around them meet their like and are gone.
    """

    def write(self, x: str) -> tuple[str, list[str]]:
        """Turn (batch, length, 4) into tokens (batch, tokens, channels) and raw skips without bias."""
        x, length = self._pooled_stem(x), self.length_bp // 2
        raw: list[str] = []
        for index, block in enumerate(self.blocks):
            x = self._conv(self._activated(x, index), self._scaled(block.conv.weight, index + 1), f"tower.{index}.conv")
            raw.insert(0, x)
            # Pairs of positions side by side: MaxPool would move the same bytes at a quarter of the rate.
            x = self.graph.reshape(x, 0, 1, length // 2, 2 * self.widths[index])
            x = self.graph.node("Max", *self.graph.split(x, 3, 2))
            length //= 2
        kept = [self._in_line(skip, span) for skip, span in zip(raw, self.skips, strict=False)]
        return self.with_bias(self._in_line(x, Span(0, self.tokens, self.tokens))), kept

    def _folds(self, index: int) -> bool:
        """Tell whether the scale of a normalisation goes into the convolution below; not where that is a skip."""
        return index <= len(self.blocks) - len(self.skips)

    def _terms(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return norm_terms(self.blocks[index].norm, self.bias_of(index))

    def _scaled(self, weight: Tensor, index: int) -> np.ndarray:
        """Return weights times the size of the scale behind them: max pooling lets that through, but no sign."""
        values = array(weight)
        if not self._folds(index):
            return values
        scaled: np.ndarray = (values * np.abs(self._terms(index)[0])[:, None, None]).astype(np.float32)
        return scaled

    def _activated(self, x: str, index: int) -> str:
        """Normalise, as far as that is not done, and activate."""
        graph, block, name = self.graph, self.blocks[index], f"tower.{index}.norm"
        if not self._folds(index):
            return norm_gelu(graph, x, block.norm, name, self.bias_of(index))
        scale, shift = self._terms(index)
        if (scale < 0).any():
            x = graph.node("Mul", x, graph.weight(f"{name}.sign", np.where(scale < 0, -1, 1).astype(np.float32)))
        x = graph.node("Add", x, graph.weight(f"{name}.shift", shift.astype(np.float32)))
        return graph.node("Gelu", x, approximate="tanh")

    def _pooled_stem(self, x: str) -> str:
        """Return the stem, pooled, (batch, 1, length / 2, filters): a product a position of a pair, and the larger."""
        graph = self.graph
        x = padded(graph, x, *self.stem_pads())
        windows = self.stem_windows(self.stem_rows(x), Span(0, self.length_bp // 4, self.length_bp // 4))
        kernel = self.stem_kernel(self._scaled(self.stem.weight, 0))
        pairs = []
        for position in (0, 1):
            matrix = np.concatenate(kernel[position::2], axis=1)
            pairs.append(graph.node("MatMul", windows, graph.weight(f"stem.weight.{position}", matrix), label="stem"))
        return graph.reshape(graph.node("Max", *pairs), 0, 1, self.length_bp // 2, self.stem.out_channels)

    def _conv(self, x: str, weight: np.ndarray, name: str) -> str:
        graph, width = self.graph, weight.shape[2]
        x, kernel = graph.node("Transpose", x, perm=[0, 3, 1, 2]), graph.weight(f"{name}.weight", weight[:, :, None])
        pads = [0, width // 2, 0, width // 2]
        x = graph.node("Conv", x, kernel, label=name, kernel_shape=[1, width], pads=pads)
        return graph.node("Transpose", x, perm=[0, 2, 3, 1])

    def _in_line(self, x: str, span: Span) -> str:
        """Return the positions of a span, (batch, span, channels)."""
        x = self.graph.node("Squeeze", x, self.graph.integers(1))
        return self.graph.slice(x, 1, span.start, span.end) if span.size < span.length else x
