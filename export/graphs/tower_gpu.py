"""Stem and tower of convolutions for GPUs: the whole window at once.

Only operators that CUDA has kernels for in this operator set: neither ``Pad`` nor ``ReduceMax``, which some releases of
onnxruntime send to the CPU.
"""

from __future__ import annotations

from torch import Tensor

from .layers import array, norm_gelu
from .spans import Span
from .tower import BaseTower


class ConvTower(BaseTower):
    """Convolutions as ``Conv`` nodes; activations are (batch, channels, 1, length).

    The axis of length 1 is there because convolutions over two axes are what cuDNN has most kernels for.
    """

    def write(self, x: str) -> tuple[str, list[str]]:
        """Turn (batch, 4, length) into tokens (batch, tokens, channels) and raw skips without bias."""
        graph = self.graph
        x = graph.node("Unsqueeze", x, graph.integers(2))
        x = self._halved(self._conv(x, self.stem.weight, "stem"))
        raw: list[str] = []
        for index, block in enumerate(self.blocks):
            x = norm_gelu(graph, x, block.norm, f"tower.{index}.norm", self.bias_of(index), axes_behind=2)
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
