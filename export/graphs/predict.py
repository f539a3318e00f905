"""The ``predict`` graph: one-hot uint8 in, squashed coverage of chosen tracks out.

Three exact rewrites of the network are in it. Relative positions enter as products with the distinct rows of the basis,
spread over distances by a 0/1 matrix and skewed by a reshape. Attention runs over chunks of queries, so that no
``(heads, tokens, tokens)`` tensor is ever whole. What no output bin reads is not computed: queries of the last block,
skips and decoder shrink to the crop.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from onnx import TensorProto

from borzoi_rt.manifest import GraphInfo

from ..models.borzoi import BATCH_NORM_EPS, LAYER_NORM_EPS, Attention, Borzoi, NormConv, TransformerBlock, UnetBlock
from .builder import GraphBuilder, WeightsFile

FILE = "predict.onnx"
QUERY_CHUNK = 256


@dataclass(frozen=True)
class _Span:
    """Positions [start, end) of a grid of ``length``."""

    start: int
    end: int
    length: int

    def widened(self, half: int) -> _Span:
        """Inputs of a convolution that reaches ``half`` positions each way, clipped at the ends of the grid."""
        return _Span(max(self.start - half, 0), min(self.end + half, self.length), self.length)

    def halved(self) -> _Span:
        """Inputs of a doubling."""
        return _Span(self.start // 2, -(-self.end // 2), self.length // 2)


def write_predict(model: Borzoi, directory: Path, weights: WeightsFile) -> GraphInfo:
    """Write ``predict.onnx`` and return its description."""
    config = model.config
    graph = GraphBuilder("predict", weights)
    sequence = graph.input("sequence", TensorProto.UINT8, ["batch", 4, config.sequence_length_bp])
    track_index = graph.input("track_index", TensorProto.INT64, ["tracks"])
    n_fill = graph.input("n_fill", TensorProto.FLOAT, [])
    emitter = _Emitter(graph, model)
    tokens, skips = emitter.trunk(emitter.filled(sequence, n_fill))
    embedding = emitter.embed(tokens, skips)
    coverage = emitter.head(embedding, track_index)
    graph.save(directory / FILE, {"coverage": (coverage, ["batch", "tracks", config.bins])})
    return GraphInfo(file=FILE, inputs=("sequence", "track_index", "n_fill"), outputs=("coverage",))


class _Emitter:
    """Writes the parts of a network into a graph; activations are (batch, channels, 1, length) outside the transformer.

    The extra axis makes every convolution two-dimensional, for which onnxruntime has its blocked kernels on the CPU.
    """

    def __init__(self, graph: GraphBuilder, model: Borzoi) -> None:
        self.graph = graph
        self.model = model
        self.config = model.config
        self.spans = _decoder_spans(model)

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
        """Return tokens (batch, tokens, channels) and the cropped raw skips, in the order of the U-net blocks."""
        x = self._pool(self._conv(x, self.model.stem, "stem"))
        skips: list[str] = []
        for place, block in enumerate(cast("Iterable[NormConv]", self.model.tower)):
            x = self._norm_conv(x, block, f"tower.{place}")
            skips.insert(0, x)
            x = self._pool(x)
        x = self.graph.node("Squeeze", x, self.graph.integers(2))
        return self.graph.node("Transpose", x, perm=[0, 2, 1], label="tokens"), skips[: self.config.unets]

    def embed(self, x: str, skips: list[str]) -> str:
        """Return what the head reads, (batch, channels, 1, bins)."""
        graph, whole = self.graph, _Span(0, self.config.tokens, self.config.tokens)
        needed = self.spans[0].halved()
        for place, block in enumerate(cast("Iterable[TransformerBlock]", self.model.transformer)):
            span = needed if place == self.config.depth - 1 else whole
            x = self._transformer(x, block, f"transformer.{place}", span)
        x = graph.node("Unsqueeze", graph.node("Transpose", x, perm=[0, 2, 1]), graph.integers(2))
        held = needed
        unets = cast("Iterable[UnetBlock]", self.model.unet)
        for place, (unet, skip) in enumerate(zip(unets, skips, strict=True)):
            given = self._output_span(place)
            x = self._unet(x, unet, f"unet.{place}", skip, held, self.spans[place], given)
            held = given
        if self.model.tail is not None:
            x = self._norm_conv(x, self.model.tail, "tail")
        return graph.node("Gelu", x, approximate="tanh", label="embedding")

    def head(self, x: str, track_index: str) -> str:
        """Return squashed coverage of the chosen tracks, (batch, tracks, bins)."""
        graph, head = self.graph, self.model.head
        weight = graph.node("Gather", graph.weight("head.weight", _array(head.weight)), track_index, axis=0)
        bias = graph.node("Gather", graph.weight("head.bias", _array(head.bias)[:, None]), track_index, axis=0)
        product = graph.node("MatMul", weight, graph.node("Squeeze", x, graph.integers(2)), label="head")
        return graph.node("Softplus", graph.node("Add", product, bias))

    def _output_span(self, place: int) -> _Span:
        if place + 1 < len(self.spans):
            return self.spans[place + 1].halved()
        crop, length = self.config.crop_bins, self.spans[place].length
        return _Span(crop, length - crop, length)

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

    def _unet(self, x: str, block: UnetBlock, name: str, skip: str, held: _Span, wanted: _Span, given: _Span) -> str:
        """Double ``x``, which covers ``held`` of the coarse grid, add the skip on ``wanted`` of the fine, convolve.

        The result covers ``given``, of which ``wanted`` is what the convolution reads inside the grid.
        """
        graph, channels = self.graph, block.pointwise.in_channels
        x = self._norm_gelu(x, block.norm, f"{name}.norm")
        if not isinstance(block.dense, torch.nn.Identity):
            x = self._conv(x, block.dense, f"{name}.dense")
        x = graph.node("Unsqueeze", x, graph.integers(4))
        x = graph.reshape(graph.node("Concat", x, x, axis=4), 0, channels, 1, 2 * (held.end - held.start))
        x = graph.slice(x, 3, wanted.start - 2 * held.start, wanted.end - 2 * held.start)
        skip = graph.slice(skip, 3, wanted.start, wanted.end)
        skip = self._norm_gelu(skip, block.norm_skip, f"{name}.norm_skip")
        skip = self._conv(skip, block.dense_skip, f"{name}.dense_skip")
        half = block.depthwise.kernel_size[0] // 2
        # The halo inside the grid is real data and is used up; what reaches over its ends is zero padding.
        pads = (wanted.start - (given.start - half), given.end + half - wanted.end)
        x = self._conv(graph.node("Add", x, skip), block.depthwise, f"{name}.depthwise", pads)
        return self._conv(x, block.pointwise, f"{name}.pointwise")

    def _transformer(self, x: str, block: TransformerBlock, name: str, span: _Span) -> str:
        normed = self._layer_norm(x, block.norm_attention, f"{name}.norm_attention")
        attended = self._attention(normed, block.attention, f"{name}.attention", span)
        if span.end - span.start < span.length:
            x = self.graph.slice(x, 1, span.start, span.end)
        x = self.graph.node("Add", x, attended)
        hidden = self._layer_norm(x, block.norm_dense, f"{name}.norm_dense")
        hidden = self.graph.node("Relu", self._dense(hidden, block.dense_up, f"{name}.dense_up"))
        hidden = self._dense(hidden, block.dense_down, f"{name}.dense_down")
        return self.graph.node("Add", x, hidden)

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

    def _attention(self, x: str, attention: Attention, name: str, span: _Span) -> str:
        """Attention of the queries in ``span`` to all tokens, (batch, span, channels)."""
        graph, heads = self.graph, attention.heads

        def split(projected: str, perm: list[int]) -> str:
            return graph.node("Transpose", graph.reshape(projected, 0, 0, heads, -1), perm=perm)

        key = split(self._dense(x, attention.key, f"{name}.key"), [0, 2, 3, 1])
        value = split(self._dense(x, attention.value, f"{name}.value"), [0, 2, 1, 3])
        wanted = x if span.end - span.start == span.length else graph.slice(x, 1, span.start, span.end)
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
            logits = graph.node("Add", logits, self._spread(graph.slice(rows, 2, *here), attention, start, end))
            mixed = graph.node("MatMul", graph.node("Softmax", logits, axis=-1), value)
            chunks.append(graph.node("Transpose", mixed, perm=[0, 2, 1, 3]))
        joined = graph.node("Concat", *chunks, axis=1) if len(chunks) > 1 else chunks[0]
        return self._dense(graph.reshape(joined, 0, 0, -1), attention.out, f"{name}.out")

    def _spread(self, rows: str, attention: Attention, start: int, end: int) -> str:
        """Turn logits per class of distance into logits per key, for queries [start, end).

        Column m of the 0/1 matrix is the distance m - (end - 1). Query i of the chunk needs the distances from
        -(start + i) on, that is columns from ``size - 1 - i``: one column less a row, which is what reading the
        flattened array with rows one shorter does.
        """
        graph, tokens, heads, size = self.graph, attention.tokens, attention.heads, end - start
        classes = _array(attention.position_classes)
        onehot = (classes[None, :] == np.arange(classes.max() + 1)[:, None]).astype(np.float32)
        spread = graph.slice(graph.weight("position_onehot", onehot), 1, tokens - end, 2 * tokens - 1 - start)
        width = tokens + size - 1
        if size == 1:
            return graph.node("MatMul", rows, spread)
        flat = graph.reshape(graph.node("MatMul", rows, spread), 0, heads, size * width)
        flat = graph.slice(flat, 2, size - 1, size - 1 + size * (width - 1))
        return graph.slice(graph.reshape(flat, 0, heads, size, width - 1), 3, 0, tokens)


def _decoder_spans(model: Borzoi) -> list[_Span]:
    """Return, for each U-net block, the positions of its fine grid that the output bins depend on."""
    config = model.config
    length = config.sequence_length_bp // config.bin_size_bp
    wanted = _Span(config.crop_bins, length - config.crop_bins, length)
    spans: list[_Span] = []
    for _ in range(config.unets):
        fine = wanted.widened(config.unet_width // 2)
        spans.insert(0, fine)
        wanted = fine.halved()
    return spans


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
