"""Parts of a Borzoi network as ONNX nodes, from which the graphs of a bundle are put together.

Three exact rewrites of the network are in it. Relative positions enter as products with the distinct rows of the basis,
spread over distances by a 0/1 matrix and skewed by a reshape. Attention runs over chunks of queries, so that no
``(heads, tokens, tokens)`` tensor is ever whole. What no output bin reads is not computed: queries of the last block,
skips and decoder shrink to the crop.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from onnx import TensorProto

from ..models.borzoi import BATCH_NORM_EPS, LAYER_NORM_EPS, Attention, Borzoi, NormConv, TransformerBlock, UnetBlock
from ..models.config import BorzoiConfig
from .builder import GraphBuilder

QUERY_CHUNK = 256


@dataclass(frozen=True)
class Span:
    """Positions [start, end) of a grid of ``length``; with ``origin``, a graph value that is added to both.

    A span with an origin lies inside the grid wherever it is put: nothing of it is padding.
    """

    start: int
    end: int
    length: int
    origin: str | None = None

    @property
    def size(self) -> int:
        """Number of positions."""
        return self.end - self.start

    def widened(self, half: int) -> Span:
        """Inputs of a convolution that reaches ``half`` positions each way, clipped at the ends of the grid."""
        if self.origin is not None:
            return replace(self, start=self.start - half, end=self.end + half)
        return Span(max(self.start - half, 0), min(self.end + half, self.length), self.length)

    def halved(self) -> Span:
        """Inputs of a doubling; the origin, in positions of the coarsest grid, stays."""
        return Span(self.start // 2, -(-self.end // 2), self.length // 2, self.origin)


def decoder_spans(config: BorzoiConfig, output: Span) -> list[Span]:
    """Return, for each U-net block, the positions of its fine grid that ``output`` depends on."""
    spans: list[Span] = []
    for _ in range(config.unets):
        output = output.widened(config.unet_width // 2)
        spans.insert(0, output)
        output = output.halved()
    return spans


def whole_output(config: BorzoiConfig) -> Span:
    """Return the output bins of a network as a span of its finest grid."""
    length = config.sequence_length_bp // config.bin_size_bp
    return Span(config.crop_bins, length - config.crop_bins, length)


class Emitter:
    """Writes the parts of a network into a graph; activations are (batch, channels, 1, length) outside the transformer.

    The extra axis makes every convolution two-dimensional, for which onnxruntime has its blocked kernels on the CPU.
    """

    def __init__(self, graph: GraphBuilder, model: Borzoi, output: Span | None = None) -> None:
        self.graph = graph
        self.model = model
        self.config = model.config
        self.output = whole_output(model.config) if output is None else output
        self.spans = decoder_spans(model.config, self.output)

    def filled(self, sequence: str, n_fill: str) -> str:
        """x + n_fill * (1 - sum of the four rows)."""
        graph = self.graph
        x = graph.node("Cast", sequence, to=TensorProto.FLOAT)
        known = graph.node("ReduceSum", x, graph.integers(1), keepdims=1)
        one = graph.weight("one", np.array(1.0, dtype=np.float32))
        fill = graph.node("Mul", graph.node("Sub", one, known), n_fill)
        x = graph.node("Add", x, fill, label="filled")
        return graph.node("Unsqueeze", x, graph.integers(2))

    def trunk(self, x: str) -> tuple[str, list[str]]:
        """Return tokens (batch, channels, tokens) and the raw skips, in the order of the U-net blocks."""
        x = self._pool(self._conv(x, self.model.stem, "stem"))
        skips: list[str] = []
        for place, block in enumerate(cast("Iterable[NormConv]", self.model.tower)):
            x = self._norm_conv(x, block, f"tower.{place}")
            skips.insert(0, x)
            x = self._pool(x)
        return self.graph.node("Squeeze", x, self.graph.integers(2), label="tokens"), skips[: self.config.unets]

    def skips(self, raw: list[str], *, crop: bool) -> list[str]:
        """Return the skips as the decoder adds them, cropped to what it reads or whole."""
        projected = []
        unets = cast("Iterable[UnetBlock]", self.model.unet)
        for place, (block, skip) in enumerate(zip(unets, raw, strict=True)):
            name, span = f"unet.{place}", self.spans[place]
            if crop:
                skip = self.graph.slice(skip, 3, span.start, span.end)
            skip = self._norm_gelu(skip, block.norm_skip, f"{name}.norm_skip")
            projected.append(self._conv(skip, block.dense_skip, f"{name}.dense_skip"))
        return projected

    def embed(self, x: str, skips: list[str]) -> str:
        """Return what the head reads, (batch, channels, 1, bins); ``skips`` are projected and cropped."""
        graph, whole = self.graph, Span(0, self.config.tokens, self.config.tokens)
        x = graph.node("Transpose", x, perm=[0, 2, 1])
        needed = self.spans[0].halved()
        for place, block in enumerate(cast("Iterable[TransformerBlock]", self.model.transformer)):
            span = needed if place == self.config.depth - 1 else whole
            x = self._transformer(x, block, f"transformer.{place}", span)
        x = graph.node("Unsqueeze", graph.node("Transpose", x, perm=[0, 2, 1]), graph.integers(2))
        held = needed
        unets = cast("Iterable[UnetBlock]", self.model.unet)
        for place, (unet, skip) in enumerate(zip(unets, skips, strict=True)):
            made = self.spans[place + 1].halved() if place + 1 < len(self.spans) else self.output
            x = self._unet(x, unet, f"unet.{place}", skip, (held, self.spans[place], made))
            held = made
        if self.model.tail is not None:
            x = self._norm_conv(x, self.model.tail, "tail")
        return graph.node("Gelu", x, approximate="tanh", label="embedding")

    def head(self, x: str, track_index: str) -> str:
        """Return squashed coverage (batch, tracks, bins) of the chosen tracks from (batch, channels, bins)."""
        graph, head = self.graph, self.model.head
        weight = graph.node("Gather", graph.weight("head.weight", _array(head.weight)), track_index, axis=0)
        bias = graph.node("Gather", graph.weight("head.bias", _array(head.bias)[:, None]), track_index, axis=0)
        product = graph.node("MatMul", weight, x, label="head")
        return graph.node("Softplus", graph.node("Add", product, bias))

    def _norm_conv(self, x: str, block: NormConv, name: str) -> str:
        return self._conv(self._norm_gelu(x, block.norm, f"{name}.norm"), block.conv, f"{name}.conv")

    def _norm_gelu(self, x: str, norm: torch.nn.BatchNorm1d, name: str) -> str:
        parts = [
            self.graph.weight(f"{name}.{part}", _array(getattr(norm, part)))
            for part in ("weight", "bias", "running_mean", "running_var")
        ]
        x = self.graph.node("BatchNormalization", x, *parts, epsilon=BATCH_NORM_EPS, label=name)
        return self.graph.node("Gelu", x, approximate="tanh")

    def _conv(self, x: str, conv: torch.nn.Conv1d, name: str, pads: tuple[int, int] | None = None) -> str:
        width = conv.kernel_size[0]
        left, right = (width // 2, width // 2) if pads is None else pads
        inputs = [self.graph.weight(f"{name}.weight", _array(conv.weight)[:, :, None, :])]
        if conv.bias is not None:
            inputs.append(self.graph.weight(f"{name}.bias", _array(conv.bias)))
        return self.graph.node(
            "Conv", x, *inputs, label=name, kernel_shape=[1, width], pads=[0, left, 0, right], group=conv.groups
        )

    def _pool(self, x: str) -> str:
        return self.graph.node("MaxPool", x, kernel_shape=[1, 2], strides=[1, 2])

    def _unet(self, x: str, block: UnetBlock, name: str, skip: str, spans: tuple[Span, Span, Span]) -> str:
        """Double ``x``, add the skip, convolve.

        ``spans`` are what ``x`` covers of the coarse grid, what the convolution reads of the fine one, and what it
        makes.
        """
        graph, channels, (held, read, made) = self.graph, block.pointwise.in_channels, spans
        x = self._norm_gelu(x, block.norm, f"{name}.norm")
        if not isinstance(block.dense, torch.nn.Identity):
            x = self._conv(x, block.dense, f"{name}.dense")
        x = graph.node("Unsqueeze", x, graph.integers(4))
        x = graph.reshape(graph.node("Concat", x, x, axis=4), 0, channels, 1, 2 * held.size)
        x = graph.slice(x, 3, read.start - 2 * held.start, read.end - 2 * held.start)
        # Zero padding belongs to the ends of the grid; inside it the halo is real data and is used up.
        half = block.depthwise.kernel_size[0] // 2
        pads = (half - (made.start - read.start), half - (read.end - made.end))
        x = self._conv(graph.node("Add", x, skip), block.depthwise, f"{name}.depthwise", pads)
        return self._conv(x, block.pointwise, f"{name}.pointwise")

    def _transformer(self, x: str, block: TransformerBlock, name: str, span: Span) -> str:
        normed = self._layer_norm(x, block.norm_attention, f"{name}.norm_attention")
        attended = self._attention(normed, block.attention, f"{name}.attention", span)
        x = self.graph.node("Add", self._queries(x, span), attended)
        hidden = self._layer_norm(x, block.norm_dense, f"{name}.norm_dense")
        hidden = self.graph.node("Relu", self._dense(hidden, block.dense_up, f"{name}.dense_up"))
        hidden = self._dense(hidden, block.dense_down, f"{name}.dense_down")
        return self.graph.node("Add", x, hidden)

    def _queries(self, x: str, span: Span) -> str:
        """Take the tokens of a span."""
        if span.origin is None:
            return x if span.size == span.length else self.graph.slice(x, 1, span.start, span.end)
        start = self.graph.node("Add", self.graph.integers(span.start), span.origin)
        return self.graph.window(x, 1, start, span.size)

    def _layer_norm(self, x: str, norm: torch.nn.LayerNorm, name: str) -> str:
        scale = self.graph.weight(f"{name}.weight", _array(norm.weight))
        shift = self.graph.weight(f"{name}.bias", _array(norm.bias))
        return self.graph.node("LayerNormalization", x, scale, shift, axis=-1, epsilon=LAYER_NORM_EPS, label=name)

    def _dense(self, x: str, linear: torch.nn.Linear, name: str, scale: float = 1.0) -> str:
        weight = (_array(linear.weight).T.astype(np.float64) * scale).astype(np.float32)
        x = self.graph.node("MatMul", x, self.graph.weight(f"{name}.weight", weight), label=name)
        if linear.bias is None:
            return x
        return self.graph.node("Add", x, self.graph.weight(f"{name}.bias", _array(linear.bias)))

    def _attention(self, x: str, attention: Attention, name: str, span: Span) -> str:
        """Attention of the queries in ``span`` to all tokens, (batch, span, channels)."""
        graph, heads = self.graph, attention.heads

        def split(projected: str, perm: list[int]) -> str:
            return graph.node("Transpose", graph.reshape(projected, 0, 0, heads, -1), perm=perm)

        key = split(self._dense(x, attention.key, f"{name}.key"), [0, 2, 3, 1])
        value = split(self._dense(x, attention.value, f"{name}.value"), [0, 2, 1, 3])
        wanted = self._queries(x, span)
        # The scale goes into the projection: it comes before the two biases.
        query = split(self._dense(wanted, attention.query, f"{name}.query", attention.key_size**-0.5), [0, 2, 1, 3])
        content = graph.node("Add", query, graph.weight(f"{name}.content_bias", _array(attention.content_bias)))
        position = graph.node("Add", query, graph.weight(f"{name}.position_bias", _array(attention.position_bias)))
        with torch.no_grad():
            keys = _array(attention.relative_keys().transpose(-1, -2))  # (heads, key size, classes)
        rows = graph.node("MatMul", position, graph.weight(f"{name}.relative_keys", keys))
        chunks = []
        for start in range(span.start, span.end, QUERY_CHUNK):
            end = min(start + QUERY_CHUNK, span.end)
            here = (start - span.start, end - span.start)
            logits = graph.node("MatMul", graph.slice(content, 2, *here), key)
            logits = graph.node(
                "Add", logits, self._spread(graph.slice(rows, 2, *here), attention, start, end, span.origin)
            )
            mixed = graph.node("MatMul", graph.node("Softmax", logits, axis=-1), value)
            chunks.append(graph.node("Transpose", mixed, perm=[0, 2, 1, 3]))
        joined = graph.node("Concat", *chunks, axis=1) if len(chunks) > 1 else chunks[0]
        return self._dense(graph.reshape(joined, 0, 0, -1), attention.out, f"{name}.out")

    def _spread(self, rows: str, attention: Attention, start: int, end: int, origin: str | None) -> str:
        """Turn logits per class of distance into logits per key, for queries [start, end) counted from ``origin``.

        Column m of the 0/1 matrix is the distance m - (end - 1). Query i of the chunk needs the distances from
        -(start + i) on, that is columns from ``size - 1 - i``: one column less a row, which is what reading the
        flattened array with rows one shorter does.
        """
        graph, tokens, heads, size = self.graph, attention.tokens, attention.heads, end - start
        classes = _array(attention.position_classes)
        onehot = (classes[None, :] == np.arange(classes.max() + 1)[:, None]).astype(np.float32)
        width = tokens + size - 1
        table = graph.weight("position_onehot", onehot)
        if origin is None:
            spread = graph.slice(table, 1, tokens - end, tokens - end + width)
        else:
            spread = graph.window(table, 1, graph.node("Sub", graph.integers(tokens - end), origin), width)
        if size == 1:
            return graph.node("MatMul", rows, spread)
        flat = graph.reshape(graph.node("MatMul", rows, spread), 0, heads, size * width)
        flat = graph.slice(flat, 2, size - 1, size - 1 + size * (width - 1))
        return graph.slice(graph.reshape(flat, 0, heads, size, width - 1), 3, 0, tokens)


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
