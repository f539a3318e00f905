"""Transformer, decoder and head of a Borzoi network as ONNX nodes, from which the graphs of a bundle are put together.

Exact rewrites: relative positions enter as products with the distinct rows of the basis, spread over distances by a 0/1
matrix and skewed by a reshape. Attention runs over chunks of queries, so that no ``(heads, tokens, tokens)`` tensor is
ever whole. What no output bin reads is not computed: queries of the last block, skips and decoder shrink to the crop.
Activations are channels last, so that every convolution of width 1 is a product with a constant matrix.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import numpy as np
import torch
from onnx import TensorProto

from ..models.borzoi import LAYER_NORM_EPS, Attention, Borzoi, TransformerBlock, UnetBlock
from .builder import GraphBuilder
from .layers import array, norm_gelu, pointwise
from .spans import Span, decoder_spans, whole_output
from .tower import Tower

QUERY_CHUNK = 256


class Emitter:
    """Writes the parts of a network into a graph.

    Parameters
    ----------
    graph : GraphBuilder
        Where nodes go.
    model : Borzoi
        The trained network.
    output : Span, optional
        Bins to compute; those of the network when None.
    convolution : str
        Form of the tower's convolutions, see :class:`borzoi_export.graphs.tower.Tower`.
    """

    def __init__(
        self, graph: GraphBuilder, model: Borzoi, output: Span | None = None, *, convolution: str = "cook-toom"
    ) -> None:
        self.graph = graph
        self.model = model
        self.config = model.config
        self.convolution = convolution
        self.output = whole_output(model.config) if output is None else output
        self.spans = decoder_spans(model.config, self.output)

    def filled(self, sequence: str, n_fill: str) -> str:
        """x + n_fill * (1 - sum of the four rows), as (batch, length, 4)."""
        graph = self.graph
        x = graph.node("Cast", sequence, to=TensorProto.FLOAT)
        known = graph.node("ReduceSum", x, graph.integers(1), keepdims=1)
        one = graph.weight("one", np.array(1.0, dtype=np.float32))
        fill = graph.node("Mul", graph.node("Sub", one, known), n_fill)
        return graph.node("Transpose", graph.node("Add", x, fill), perm=[0, 2, 1], label="filled")

    def trunk(self, x: str, *, tile_tokens: int | None = None) -> tuple[str, list[str]]:
        """Return tokens (batch, tokens, channels) and the skips as the decoder adds them.

        For a window the skips are cropped to what the decoder reads; for a tile of ``tile_tokens`` they are whole.
        """
        tokens, spans = self.config.tokens, self.spans
        if tile_tokens is not None:
            tokens = tile_tokens
            lengths = [tokens * 2 ** (place + 1) for place in range(self.config.unets)]
            spans = [Span(0, length, length) for length in lengths]
        tower = Tower(self.graph, self.model, tokens=tokens, skips=spans, convolution=self.convolution)
        x, raw = tower.write(x)
        skips = []
        for place, (block, skip) in enumerate(zip(cast("Iterable[UnetBlock]", self.model.unet), raw, strict=True)):
            name, bias = f"unet.{place}", tower.bias_of(len(tower.blocks) - place)
            skip = norm_gelu(self.graph, skip, block.norm_skip, f"{name}.norm_skip", bias)
            skips.append(pointwise(self.graph, skip, block.dense_skip, f"{name}.dense_skip"))
        return x, skips

    def embed(self, x: str, skips: list[str]) -> str:
        """Return what the head reads, (batch, bins, channels)."""
        graph, whole = self.graph, Span(0, self.config.tokens, self.config.tokens)
        held = self.spans[0].halved()
        for place, block in enumerate(cast("Iterable[TransformerBlock]", self.model.transformer)):
            span = held if place == self.config.depth - 1 else whole
            x = self._transformer(x, block, f"transformer.{place}", span)
        unets = cast("Iterable[UnetBlock]", self.model.unet)
        for place, (unet, skip) in enumerate(zip(unets, skips, strict=True)):
            made = self.spans[place + 1].halved() if place + 1 < len(self.spans) else self.output
            x = self._unet(x, unet, f"unet.{place}", skip, (held, self.spans[place], made))
            held = made
        if self.model.tail is not None:
            x = norm_gelu(graph, x, self.model.tail.norm, "tail.norm")
            x = pointwise(graph, x, self.model.tail.conv, "tail.conv")
        return graph.node("Gelu", x, approximate="tanh", label="embedding")

    def head(self, x: str, track_index: str) -> str:
        """Return squashed coverage (batch, tracks, bins) of the chosen tracks from (batch, bins, channels)."""
        graph, head = self.graph, self.model.head
        weight = graph.node("Gather", graph.weight("head.weight", array(head.weight)), track_index, axis=0)
        bias = graph.node("Gather", graph.weight("head.bias", array(head.bias)[:, None]), track_index, axis=0)
        product = graph.node("MatMul", weight, graph.node("Transpose", x, perm=[0, 2, 1]), label="head")
        return graph.node("Softplus", graph.node("Add", product, bias))

    def _unet(self, x: str, block: UnetBlock, name: str, skip: str, spans: tuple[Span, Span, Span]) -> str:
        """Double ``x``, add the skip, convolve.

        ``spans`` are what ``x`` covers of the coarse grid, what the convolution reads of the fine one, and what it
        makes.
        """
        graph, channels, (held, read, made) = self.graph, block.pointwise.in_channels, spans
        x = norm_gelu(graph, x, block.norm, f"{name}.norm")
        if isinstance(block.dense, torch.nn.Conv1d):
            x = pointwise(graph, x, block.dense, f"{name}.dense")
        x = graph.node("Unsqueeze", x, graph.integers(2))
        x = graph.reshape(graph.node("Concat", x, x, axis=2), 0, 2 * held.size, channels)
        x = graph.slice(x, 1, read.start - 2 * held.start, read.end - 2 * held.start)
        x = graph.node("Add", x, skip)
        # Zero padding belongs to the ends of the grid; inside it the halo is real data and is used up.
        half = block.depthwise.kernel_size[0] // 2
        pads = (half - (made.start - read.start), half - (read.end - made.end))
        if any(pads):
            x = graph.node("Pad", x, graph.integers(0, pads[0], 0, 0, pads[1], 0))
        taps = [
            graph.node("Mul", graph.slice(x, 1, tap, tap + made.size), graph.weight(f"{name}.tap.{tap}", values))
            for tap, values in enumerate(array(block.depthwise.weight)[:, 0].T)
        ]
        x = taps[0]
        for other in taps[1:]:
            x = graph.node("Add", x, other)
        return pointwise(graph, x, block.pointwise, f"{name}.pointwise")

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
        scale = self.graph.weight(f"{name}.weight", array(norm.weight))
        shift = self.graph.weight(f"{name}.bias", array(norm.bias))
        return self.graph.node("LayerNormalization", x, scale, shift, axis=-1, epsilon=LAYER_NORM_EPS, label=name)

    def _dense(self, x: str, linear: torch.nn.Linear, name: str, scale: float = 1.0) -> str:
        weight = (array(linear.weight).T.astype(np.float64) * scale).astype(np.float32)
        x = self.graph.node("MatMul", x, self.graph.weight(f"{name}.weight", weight), label=name)
        if linear.bias is None:
            return x
        return self.graph.node("Add", x, self.graph.weight(f"{name}.bias", array(linear.bias)))

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
        content = graph.node("Add", query, graph.weight(f"{name}.content_bias", array(attention.content_bias)))
        position = graph.node("Add", query, graph.weight(f"{name}.position_bias", array(attention.position_bias)))
        with torch.no_grad():
            keys = array(attention.relative_keys().transpose(-1, -2))  # (heads, key size, classes)
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
        classes = array(attention.position_classes)
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
