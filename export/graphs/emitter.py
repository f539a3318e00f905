"""Transformer, decoder and head of a Borzoi network as ONNX nodes, from which the graphs of a bundle are put together.

What no output bin reads is not computed: queries of the last block, skips and decoder shrink to the crop. Activations
are channels last, so that every convolution of width 1 is a product with a constant matrix.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import numpy as np
import torch
from onnx import TensorProto

from ..models.borzoi import LAYER_NORM_EPS, Borzoi, TransformerBlock, UnetBlock
from .builder import GraphBuilder
from .form import DEFAULT_FORM, Form
from .layers import array, dense, norm_gelu, padded, pointwise, take
from .spans import Span, decoder_spans, whole_output
from .writers import attention_writer, tower_writer


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
    form : Form
        How tower and attention are written.
    """

    def __init__(
        self, graph: GraphBuilder, model: Borzoi, output: Span | None = None, *, form: Form = DEFAULT_FORM
    ) -> None:
        self.graph = graph
        self.model = model
        self.config = model.config
        self.form = form
        self.attention = attention_writer(graph, model, form)
        graph.gathers = form.target == "gpu"
        self.output = whole_output(model.config) if output is None else output
        self.spans = decoder_spans(model.config, self.output)

    def filled(self, sequence: str, n_fill: str) -> str:
        """x + n_fill * (1 - sum of the four rows), as the tower takes it, (batch, length, 4)."""
        graph = self.graph
        x = graph.node("Cast", sequence, to=TensorProto.FLOAT)
        known = graph.node("ReduceSum", x, graph.integers(1), keepdims=1)
        one = graph.weight("one", np.array(1.0, dtype=np.float32), exact=True)
        fill = graph.node("Mul", graph.node("Sub", one, known), n_fill)
        x = graph.node("Add", x, fill)
        return graph.narrow(graph.node("Transpose", x, perm=[0, 2, 1], label="filled"))

    def trunk(self, x: str, *, tile_tokens: int | None = None) -> tuple[str, list[str]]:
        """Return tokens (batch, tokens, channels) and the skips as the decoder adds them.

        For a window the skips are cropped to what the decoder reads; for a tile of ``tile_tokens`` they are whole.
        """
        tokens, spans = self.config.tokens, self.spans
        if tile_tokens is not None:
            tokens = tile_tokens
            lengths = [tokens * 2 ** (index + 1) for index in range(self.config.unets)]
            spans = [Span(0, length, length) for length in lengths]
        tower = tower_writer(self.graph, self.model, tokens, spans, self.form)
        x, raw = tower.write(x)
        skips = []
        for index, (block, skip) in enumerate(zip(cast("Iterable[UnetBlock]", self.model.unet), raw, strict=True)):
            name, bias = f"unet.{index}", tower.bias_of(len(tower.blocks) - index)
            skip = norm_gelu(self.graph, skip, block.norm_skip, f"{name}.norm_skip", bias)
            skips.append(pointwise(self.graph, skip, block.dense_skip, f"{name}.dense_skip"))
        return x, skips

    def embed(self, x: str, skips: list[str]) -> str:
        """Return what the head reads, (batch, bins, channels)."""
        graph, whole = self.graph, Span(0, self.config.tokens, self.config.tokens)
        held = self.spans[0].halved()
        x = graph.wide(x)
        for index, block in enumerate(cast("Iterable[TransformerBlock]", self.model.transformer)):
            span = held if index == self.config.depth - 1 else whole
            x = self.transformer(x, block, f"transformer.{index}", span)
        x = graph.narrow(x)
        unets = cast("Iterable[UnetBlock]", self.model.unet)
        for index, (unet, skip) in enumerate(zip(unets, skips, strict=True)):
            made = self.spans[index + 1].halved() if index + 1 < len(self.spans) else self.output
            x = self._unet(x, unet, f"unet.{index}", skip, (held, self.spans[index], made))
            held = made
        if self.model.tail is not None:
            x = norm_gelu(graph, x, self.model.tail.norm, "tail.norm")
            x = pointwise(graph, x, self.model.tail.conv, "tail.conv")
        return graph.wide(graph.node("Gelu", x, approximate="tanh", label="embedding"))

    def head(self, x: str, track_index: str) -> str:
        """Return squashed coverage (batch, tracks, bins) of the chosen tracks from (batch, bins, channels).

        In float32 whatever the rest is in, as in training: squashed coverage may leave the range of half precision.
        """
        graph, head = self.graph, self.model.head
        stored = graph.weight("head.weight", array(head.weight), exact=True)
        weight = graph.node("Gather", stored, track_index, axis=0)
        stored = graph.weight("head.bias", array(head.bias)[:, None], exact=True)
        bias = graph.node("Gather", stored, track_index, axis=0)
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
        if any(pads) and self.form.target == "gpu":
            x = padded(graph, x, *pads)
        elif any(pads):
            x = graph.node("Pad", x, graph.integers(0, pads[0], 0, 0, pads[1], 0))
        taps = [
            graph.node("Mul", graph.slice(x, 1, tap, tap + made.size), graph.weight(f"{name}.tap.{tap}", values))
            for tap, values in enumerate(array(block.depthwise.weight)[:, 0].T)
        ]
        x = taps[0]
        for other in taps[1:]:
            x = graph.node("Add", x, other)
        return pointwise(graph, x, block.pointwise, f"{name}.pointwise")

    def transformer(self, x: str, block: TransformerBlock, name: str, span: Span) -> str:
        """Return the tokens of ``span`` behind one block of the transformer."""
        normed = self.graph.narrow(self.layer_norm(x, block.norm_attention, f"{name}.norm_attention"))
        attended = self.graph.wide(self.attention.write(normed, block.attention, f"{name}.attention", span))
        x = self.graph.node("Add", take(self.graph, x, span), attended)
        hidden = self.graph.narrow(self.layer_norm(x, block.norm_dense, f"{name}.norm_dense"))
        hidden = self.graph.node("Relu", dense(self.graph, hidden, block.dense_up, f"{name}.dense_up"))
        hidden = dense(self.graph, hidden, block.dense_down, f"{name}.dense_down")
        return self.graph.node("Add", x, self.graph.wide(hidden))

    def layer_norm(self, x: str, norm: torch.nn.LayerNorm, name: str) -> str:
        """Normalise over channels."""
        scale = self.graph.weight(f"{name}.weight", array(norm.weight), exact=True)
        shift = self.graph.weight(f"{name}.bias", array(norm.bias), exact=True)
        return self.graph.node("LayerNormalization", x, scale, shift, axis=-1, epsilon=LAYER_NORM_EPS, label=name)
