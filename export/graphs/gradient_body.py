"""Transformer, decoder and head forward and back as ONNX nodes; the twin of :mod:`borzoi_export.graphs.emitter`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, cast

import torch

from ..models.borzoi import Borzoi, TransformerBlock, UnetBlock
from .builder import GraphBuilder
from .gradient_attention import AttentionGradient
from .gradient_layers import Back, dense, gelu, layer_norm, norm_gelu, pointwise, relu, take
from .gradient_rotary import RotaryGradient
from .layers import array
from .spans import Span, decoder_spans, whole_output


class WritesAttention(Protocol):
    """Writes the attention of every block of one network, both ways, into one graph."""

    def write(self, x: str, attention: Any, name: str, span: Span) -> tuple[str, Back]:
        """Attend from the queries in ``span`` to all tokens."""


class BodyGradient:
    """Writes everything behind the tower, both ways.

    Attributes
    ----------
    spans : list of Span
        Positions of each skip that the output depends on.
    """

    def __init__(self, graph: GraphBuilder, model: Borzoi) -> None:
        self.graph, self.model, self.config = graph, model, model.config
        self.output = whole_output(model.config)
        self.spans = decoder_spans(model.config, self.output)
        kind = RotaryGradient if model.config.rotary_size else AttentionGradient
        self.attention: WritesAttention = kind(graph)

    def write(self, tokens: str, skips: Sequence[str], track_index: str, cotangent: str) -> tuple[str, list[str]]:
        """Return the derivatives by tokens and skips.

        Parameters
        ----------
        tokens : str
            (1, tokens, channels).
        skips : sequence of str
            (1, positions of the span, channels).
        track_index : str
            int64 (tracks,).
        cotangent : str
            Derivatives by squashed coverage, (1, tracks, bins).
        """
        x, backs = self._transformer(tokens)
        x, from_decoder = self.decoder(x, skips)
        g, to_skips = from_decoder(self.head(x, track_index, cotangent))
        for back in reversed(backs):
            g = back(g)
        return g, to_skips

    def _transformer(self, x: str) -> tuple[str, list[Back]]:
        """Write the blocks forward; the last leaves what the decoder reads."""
        backs: list[Back] = []
        whole = Span(0, self.config.tokens, self.config.tokens)
        for index, block in enumerate(cast("Iterable[TransformerBlock]", self.model.transformer)):
            written = Block(self.graph, self.attention, block, f"transformer.{index}")
            x = written.write(x, self.held if index == self.config.depth - 1 else whole)
            backs.append(written.back)
        return x, backs

    @property
    def held(self) -> Span:
        """Tokens that the decoder reads."""
        return self.spans[0].halved()

    def decoder(self, x: str, skips: Sequence[str]) -> tuple[str, Callable[[str], tuple[str, list[str]]]]:
        """Return what the head reads, (1, bins, channels), and its way back to the tokens it reads and the skips."""
        held = self.held
        unets: list[_Unet] = []
        for index, (unet, skip) in enumerate(zip(cast("Iterable[UnetBlock]", self.model.unet), skips, strict=True)):
            made = self.spans[index + 1].halved() if index + 1 < len(self.spans) else self.output
            written = _Unet(self.graph, unet, f"unet.{index}", (held, self.spans[index], made))
            x = written.write(x, skip)
            unets.append(written)
            held = made
        last: list[Back] = []
        if self.model.tail is not None:
            x, from_norm = norm_gelu(self.graph, x, self.model.tail.norm, "tail.norm")
            x, from_conv = pointwise(self.graph, x, self.model.tail.conv, "tail.conv")
            last = [from_norm, from_conv]
        x, from_gelu = gelu(self.graph, x)

        def back(g: str) -> tuple[str, list[str]]:
            for step in reversed([*last, from_gelu]):
                g = step(g)
            to_skips: list[str] = []
            for written in reversed(unets):
                g, to_skip = written.back(g)
                to_skips.insert(0, to_skip)
            return g, to_skips

        return x, back

    def head(self, x: str, track_index: str, cotangent: str) -> str:
        """Return the derivative by the embedding (1, bins, channels): softplus has the slope sigmoid."""
        graph = self.graph
        linear, weight, bias = self.linear(x, track_index)
        slopes = graph.node("Sigmoid", graph.node("Add", linear, bias))
        by_logit = graph.node("Transpose", graph.node("Mul", cotangent, slopes), perm=[0, 2, 1])
        return graph.node("MatMul", by_logit, weight, label="head.back")

    def linear(self, x: str, track_index: str) -> tuple[str, str, str]:
        """Return what the head's weights make of an embedding, (1, tracks, bins), and weights and bias beside it."""
        graph, head = self.graph, self.model.head
        weight = graph.node("Gather", graph.weight("head.weight", array(head.weight)), track_index, axis=0)
        bias = graph.node("Gather", graph.weight("head.bias", array(head.bias)[:, None]), track_index, axis=0)
        return graph.node("MatMul", weight, graph.node("Transpose", x, perm=[0, 2, 1]), label="head"), weight, bias


class Block:
    """One block of the transformer, both ways."""

    def __init__(self, graph: GraphBuilder, attention: WritesAttention, block: TransformerBlock, name: str) -> None:
        self.graph, self.block, self.name = graph, block, name
        self._attention = attention
        self._from_dense: list[Back] = []
        self._from_input: list[Back] = []

    def write(self, x: str, span: Span) -> str:
        """Return the tokens of ``span`` behind the block."""
        graph, block, name = self.graph, self.block, self.name
        normed, from_norm = layer_norm(graph, x, block.norm_attention, f"{name}.norm_attention")
        attended, from_attention = self._attention.write(normed, block.attention, f"{name}.attention", span)
        kept, untake = take(graph, x, span)
        self._from_input = [from_norm, from_attention, untake]
        x = graph.node("Add", kept, attended)
        hidden, from_norm_dense = layer_norm(graph, x, block.norm_dense, f"{name}.norm_dense")
        hidden, from_up = dense(graph, hidden, block.dense_up, f"{name}.dense_up")
        hidden, from_relu = relu(graph, hidden)
        hidden, from_down = dense(graph, hidden, block.dense_down, f"{name}.dense_down")
        self._from_dense = [from_norm_dense, from_up, from_relu, from_down]
        return graph.node("Add", x, hidden)

    def to_attended(self, g: str) -> str:
        """Return the derivative by what attention adds, from that by the result."""
        found = g
        for back in reversed(self._from_dense):
            found = back(found)
        return self.graph.node("Add", g, found)

    def to_input(self, g: str) -> str:
        """Return the derivative by the input, from that by what attention adds."""
        from_norm, from_attention, untake = self._from_input
        return self.graph.node("Add", untake(g), from_norm(from_attention(g)))

    def back(self, g: str) -> str:
        """Return the derivative by the input, from that by the result."""
        return self.to_input(self.to_attended(g))


class _Unet:
    """One block of the decoder; ``spans`` as in the forward emitter: held, read and made."""

    def __init__(self, graph: GraphBuilder, block: UnetBlock, name: str, spans: tuple[Span, Span, Span]) -> None:
        self.graph, self.block, self.name = graph, block, name
        self.held, self.read, self.made = spans
        half = block.depthwise.kernel_size[0] // 2
        self.pads = (half - (self.made.start - self.read.start), half - (self.read.end - self.made.end))
        self.backs: list[Back] = []
        self.from_pointwise: Back = lambda g: g

    def write(self, x: str, skip: str) -> str:
        """Double ``x``, add the skip, convolve."""
        graph, block, name, channels = self.graph, self.block, self.name, self.block.pointwise.in_channels
        x, from_norm = norm_gelu(graph, x, block.norm, f"{name}.norm")
        self.backs = [from_norm]
        if isinstance(block.dense, torch.nn.Conv1d):
            x, from_dense = pointwise(graph, x, block.dense, f"{name}.dense")
            self.backs.append(from_dense)
        x = graph.node("Unsqueeze", x, graph.integers(2))
        x = graph.reshape(graph.node("Concat", x, x, axis=2), 0, 2 * self.held.size, channels)
        first = self.read.start - 2 * self.held.start
        x = graph.node("Add", graph.slice(x, 1, first, first + self.read.size), skip)
        if any(self.pads):
            x = graph.node("Pad", x, graph.integers(0, self.pads[0], 0, 0, self.pads[1], 0))
        x = self._added([graph.slice(x, 1, tap, tap + self.made.size) for tap in range(len(self.taps))])
        y, self.from_pointwise = pointwise(graph, x, block.pointwise, f"{name}.pointwise")
        return y

    @property
    def taps(self) -> list[str]:
        """Weights of the taps of the depthwise convolution."""
        values = array(self.block.depthwise.weight)[:, 0].T
        return [self.graph.weight(f"{self.name}.tap.{tap}", row) for tap, row in enumerate(values)]

    def back(self, g: str) -> tuple[str, str]:
        """Return the derivatives by input and skip."""
        graph, last = self.graph, len(self.taps) - 1
        g = self.from_pointwise(g)
        g = self._added([graph.node("Pad", g, graph.integers(0, tap, 0, 0, last - tap, 0)) for tap in range(last + 1)])
        to_skip = graph.slice(g, 1, self.pads[0], self.pads[0] + self.read.size) if any(self.pads) else g
        first = self.read.start - 2 * self.held.start
        behind = 2 * self.held.size - first - self.read.size
        doubled = graph.node("Pad", to_skip, graph.integers(0, first, 0, 0, behind, 0)) if first or behind else to_skip
        pairs = graph.reshape(doubled, 0, self.held.size, 2, -1)
        found = graph.node("ReduceSum", pairs, graph.integers(2), keepdims=0)
        for back in reversed(self.backs):
            found = back(found)
        return found, to_skip

    def _added(self, parts: Sequence[str]) -> str:
        """Sum parts, each times the weights of its tap."""
        graph, total = self.graph, ""
        for part, weight in zip(parts, self.taps, strict=True):
            part = graph.node("Mul", part, weight)
            total = graph.node("Add", total, part) if total else part
        return total
