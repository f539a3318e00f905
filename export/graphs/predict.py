"""The ``predict`` graph: one-hot uint8 in, squashed coverage of chosen tracks out.

Five exact rewrites of the network are in it. The tower runs chunk after chunk of the window, each with the halo it
needs, so that no activation is ever as long as the window. Its convolutions are written as Cook-Toom products
(``cook_toom.py``). Relative positions enter as products with the distinct rows of the basis, spread over distances by a
0/1 matrix and skewed by a reshape. Attention runs over chunks of queries, so that no ``(heads, tokens, tokens)`` tensor
is ever whole. What no output bin reads is not computed: queries of the last block, skips and decoder shrink to the crop.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from onnx import TensorProto

from borzoi_rt.manifest import GraphInfo

from ..models.borzoi import BATCH_NORM_EPS, LAYER_NORM_EPS, Attention, Borzoi, TransformerBlock, UnetBlock
from . import cook_toom
from .builder import GraphBuilder, WeightsFile

FILE = "predict.onnx"
QUERY_CHUNK = 256
TOKEN_CHUNK = 256


@dataclass(frozen=True)
class _Span:
    """Positions [start, end) of a grid of ``length``."""

    start: int
    end: int
    length: int

    def widened(self, half: int) -> _Span:
        """Inputs of a convolution that reaches ``half`` positions each way, clipped at the ends of the grid."""
        return _Span(max(self.start - half, 0), min(self.end + half, self.length), self.length)

    def doubled(self) -> _Span:
        """The same stretch of a grid twice as fine."""
        return _Span(2 * self.start, 2 * self.end, 2 * self.length)

    def grouped(self, size: int) -> _Span:
        """Groups of ``size`` positions that hold the span."""
        return _Span(self.start // size, -(-self.end // size), self.length // size)

    def halved(self) -> _Span:
        """Inputs of a doubling."""
        return self.grouped(2)


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
    """Writes the parts of a network into a graph.

    Activations are channels last, (batch, positions, channels): every 1x1 convolution is a product with a constant
    matrix. Inside the tower they are *paired*, (batch, 2, positions / 2, channels), position ``2 h + f`` at ``[f, h]``,
    which is how the Cook-Toom products read and leave them.
    """

    def __init__(self, graph: GraphBuilder, model: Borzoi) -> None:
        self.graph = graph
        self.model = model
        self.config = model.config
        self.spans = _decoder_spans(model)

    def filled(self, sequence: str, n_fill: str) -> str:
        """x + n_fill * (1 - sum of the four rows), as (batch, length, 4)."""
        graph = self.graph
        x = graph.node("Cast", sequence, to=TensorProto.FLOAT)
        known = graph.node("ReduceSum", x, graph.integers(1), keepdims=1)
        one = graph.weight("one", np.array(1.0, dtype=np.float32))
        fill = graph.node("Mul", graph.node("Sub", one, known), n_fill)
        return graph.node("Transpose", graph.node("Add", x, fill), perm=[0, 2, 1], label="filled")

    def trunk(self, x: str) -> tuple[str, list[str]]:
        """Return tokens (batch, tokens, channels) and cropped skips without bias, in the order of the U-net blocks."""
        half = self.config.stem_width // 2
        x = self.graph.node("Pad", x, self.graph.integers(0, half, 0, 0, half + 3, 0))  # 3: whole groups of 4 bases
        tiled = self.config.tower_width == cook_toom.WIDTH and self.config.tokens % 2 == 0
        tokens, skips = self._trunk_tiles(x) if tiled else self._trunk_plain(x)
        bias = self.graph.weight("tower.bias", _array(self.model.tower[-1].conv.bias))
        return self.graph.node("Add", tokens, bias, label="tokens"), skips

    def embed(self, x: str, skips: list[str]) -> str:
        """Return what the head reads, (batch, bins, channels)."""
        graph, whole = self.graph, _Span(0, self.config.tokens, self.config.tokens)
        needed = self.spans[0].halved()
        for place, block in enumerate(self.model.transformer):
            span = needed if place == self.config.depth - 1 else whole
            x = self._transformer(x, block, f"transformer.{place}", span)
        held = needed
        for place, (block, skip) in enumerate(zip(self.model.unet, skips, strict=True)):
            x = self._unet(x, place, block, skip, held)
            held = self._output_span(place)
        crop = self.config.crop_bins
        x = graph.slice(x, 1, crop - held.start, held.length - crop - held.start)
        if self.model.tail is not None:
            x = self._norm_gelu(x, self.model.tail.norm, "tail.norm")
            x = self._pointwise(x, self.model.tail.conv, "tail.conv")
        return graph.node("Gelu", x, approximate="tanh", label="embedding")

    def head(self, x: str, track_index: str) -> str:
        """Return squashed coverage of the chosen tracks, (batch, tracks, bins)."""
        graph, head = self.graph, self.model.head
        weight = graph.node("Gather", graph.weight("head.weight", _array(head.weight)), track_index, axis=0)
        bias = graph.node("Gather", graph.weight("head.bias", _array(head.bias)[:, None]), track_index, axis=0)
        product = graph.node("MatMul", weight, graph.node("Transpose", x, perm=[0, 2, 1]), label="head")
        return graph.node("Softplus", graph.node("Add", product, bias))

    def _output_span(self, place: int) -> _Span:
        if place + 1 < len(self.spans):
            return self.spans[place + 1].halved()
        crop, length = self.config.crop_bins, self.spans[place].length
        return _Span(crop, length - crop, length)

    def _trunk_plain(self, x: str) -> tuple[str, list[str]]:
        """Run stem and tower on the whole window at once, convolutions as one product over all taps."""
        graph, config = self.graph, self.config
        length, half = config.sequence_length_bp, config.tower_width // 2
        x = self._taps(x, self.model.stem.weight, "stem.weight", length)
        skips: list[str] = []
        bias = self.model.stem.bias
        for place, block in enumerate(self.model.tower):
            x = graph.node("ReduceMax", graph.reshape(x, 0, length // 2, 2, -1), graph.integers(2), keepdims=0)
            length //= 2
            x = graph.node(
                "Pad",
                self._norm_gelu(x, block.norm, f"tower.{place}.norm", bias),
                graph.integers(0, half, 0, 0, half, 0),
            )
            x = self._taps(x, block.conv.weight, f"tower.{place}.conv", length)
            skips.insert(0, x)
            bias = block.conv.bias
        x = graph.node("ReduceMax", graph.reshape(x, 0, length // 2, 2, -1), graph.integers(2), keepdims=0)
        return x, [graph.slice(skip, 1, span.start, span.end) for skip, span in zip(skips, self.spans, strict=False)]

    def _taps(self, x: str, weight: torch.Tensor, name: str, length: int) -> str:
        """Convolve (batch, length + width - 1, channels), without bias."""
        graph, width = self.graph, weight.shape[2]
        windows = graph.node("Concat", *(graph.slice(x, 1, tap, tap + length) for tap in range(width)), axis=2)
        matrix = _array(weight).transpose(2, 1, 0).reshape(-1, weight.shape[0])
        return graph.node("MatMul", windows, graph.weight(name, matrix), label=name)

    def _trunk_tiles(self, x: str) -> tuple[str, list[str]]:
        """Run stem and tower on chunk after chunk of the window, convolutions as Cook-Toom products.

        A tile is four outputs of a convolution. Tile t reads pairs 2 t - 1 to 2 t + 2 of the layer below, and a tile
        there leaves one pair: the halo of a chunk is one tile a layer on each side.
        """
        graph, config = self.graph, self.config
        rows = self._stem_rows(x)
        last = len(config.tower_widths) - 1
        tokens: list[str] = []
        skips: list[list[str]] = [[] for _ in range(config.unets)]
        for first in range(0, config.tokens, TOKEN_CHUNK):
            own = _Span(first // 2, min(first + TOKEN_CHUNK, config.tokens) // 2, config.tokens // 2)
            tiles = [own]
            for _ in range(last):
                tiles.insert(0, tiles[0].doubled().widened(1))
            pairs = tiles[0].doubled().widened(1)
            paired = self._stem(rows, pairs)
            for place, span in enumerate(tiles):
                outputs = self._tile_conv(paired, place, pairs, span)
                if last - place < config.unets:
                    skip = self.spans[last - place].grouped(4)
                    scale = 2 ** (last - place)
                    piece = _Span(max(own.start * scale, skip.start), min(own.end * scale, skip.end), skip.length)
                    if piece.start < piece.end:
                        part = graph.reshape(outputs, 0, 4, span.end - span.start, config.tower_widths[place])
                        part = graph.slice(part, 2, piece.start - span.start, piece.end - span.start)
                        skips[last - place].append(self._in_line(part, 4 * (piece.end - piece.start)))
                # Outputs 0 and 1 of a tile are pooled to the first of its pair, 2 and 3 to the second.
                folded = graph.node("ReduceMax", graph.reshape(outputs, 0, 2, 2, -1), graph.integers(2), keepdims=0)
                paired = graph.reshape(folded, 0, 2, span.end - span.start, config.tower_widths[place])
                pairs = span
            tokens.append(self._in_line(paired, 2 * (own.end - own.start)))
        joined = [self._concat(parts) for parts in skips]
        return self._concat(tokens), [
            graph.slice(skip, 1, span.start % 4, span.start % 4 + span.end - span.start)
            for skip, span in zip(joined, self.spans, strict=True)
        ]

    def _concat(self, parts: list[str]) -> str:
        return self.graph.node("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]

    def _in_line(self, x: str, length: int) -> str:
        """(batch, f, h, channels) to (batch, length, channels)."""
        return self.graph.reshape(self.graph.node("Transpose", x, perm=[0, 2, 1, 3]), 0, length, -1)

    def _stem_rows(self, x: str) -> tuple[str, int]:
        """Return the padded window as groups of four bases, (batch, groups, 16), and the groups a stem row reads."""
        groups = (self.config.stem_width + 2) // 4 + 1
        length = self.config.sequence_length_bp + self.config.stem_width + 2
        x = self.graph.slice(x, 1, 0, length // 4 * 4)
        return self.graph.reshape(x, 0, length // 4, 16), groups

    def _stem(self, rows: tuple[str, int], span: _Span) -> str:
        """Return pooled pairs of the stem, without bias: four bases become one pair.

        One product gives all four positions of a group, each with the kernel at its own place between zeros.
        """
        graph, stem = self.graph, self.model.stem
        x, groups = rows
        windows = graph.node(
            "Concat", *(graph.slice(x, 1, span.start + place, span.end + place) for place in range(groups)), axis=2
        )
        filters, _, width = stem.weight.shape
        kernel = _array(stem.weight).transpose(2, 1, 0)  # (width, 4, filters)
        placed = np.zeros((4, 4 * groups, 4, filters), dtype=np.float32)
        for position in range(4):
            placed[position, position : position + width] = kernel
        matrix = placed.reshape(2, 2, 16 * groups, filters).transpose(0, 2, 1, 3).reshape(2, 16 * groups, 2 * filters)
        x = graph.node(
            "MatMul",
            graph.node("Unsqueeze", windows, graph.integers(1)),
            graph.weight("stem.weight", matrix),
            label="stem",
        )
        x = graph.reshape(x, 0, 2, span.end - span.start, 2, filters)
        return graph.node("ReduceMax", x, graph.integers(3), keepdims=0)

    def _tile_conv(self, paired: str, place: int, pairs: _Span, tiles: _Span) -> str:
        """Return the outputs of a tower block, (batch, 4, tiles * channels), without bias."""
        graph, block = self.graph, self.model.tower[place]
        bias = self.model.tower[place - 1].conv.bias if place else self.model.stem.bias
        x = self._norm_gelu(paired, block.norm, f"tower.{place}.norm", bias)
        to_outputs, _, to_inputs = (matrix.astype(np.float32) for matrix in cook_toom.matrices())
        # Input 2 h + f of a tile: a convolution over pairs, f its channel; zeros beyond the window are its padding.
        inputs = to_inputs.reshape(8, 4, 2).transpose(0, 2, 1)[:, :, :, None]
        pads = [int(2 * tiles.start - 1 < pairs.start), 0, int(2 * tiles.end + 1 > pairs.end), 0]
        weight = graph.weight("tile.inputs", inputs)
        x = graph.node("Conv", x, weight, kernel_shape=[4, 1], strides=[2, 1], pads=pads)
        name = f"tower.{place}.conv"
        x = graph.node("MatMul", x, graph.weight(name, cook_toom.kernels(_array(block.conv.weight))), label=name)
        return graph.node("MatMul", graph.weight("tile.outputs", to_outputs), graph.reshape(x, 0, 8, -1))

    def _norm_gelu(self, x: str, norm: torch.nn.BatchNorm1d, name: str, bias: torch.Tensor | None = None) -> str:
        """Normalise and activate ``x + bias``; the last axis is the channel."""
        variance = _array(norm.running_var).astype(np.float64)
        scale = _array(norm.weight) / np.sqrt(variance + BATCH_NORM_EPS)
        mean = _array(norm.running_mean) - (0.0 if bias is None else _array(bias).astype(np.float64))
        shift = _array(norm.bias) - mean * scale
        x = self.graph.node("Mul", x, self.graph.weight(f"{name}.scale", scale.astype(np.float32)), label=name)
        x = self.graph.node("Add", x, self.graph.weight(f"{name}.shift", shift.astype(np.float32)))
        return self.graph.node("Gelu", x, approximate="tanh")

    def _pointwise(self, x: str, conv: torch.nn.Conv1d, name: str, *, bias: bool = True) -> str:
        """A convolution of width 1, as a product."""
        matrix = _array(conv.weight)[:, :, 0].T
        x = self.graph.node("MatMul", x, self.graph.weight(f"{name}.weight", matrix), label=name)
        if not bias:
            return x
        return self.graph.node("Add", x, self.graph.weight(f"{name}.bias", _array(conv.bias)))

    def _unet(self, x: str, place: int, block: UnetBlock, skip: str, held: _Span) -> str:
        """Double ``x``, which covers ``held`` of the coarse grid; add the skip on its span of the fine one; convolve."""
        graph, name, wanted = self.graph, f"unet.{place}", self.spans[place]
        x = self._norm_gelu(x, block.norm, f"{name}.norm")
        if not isinstance(block.dense, torch.nn.Identity):
            x = self._pointwise(x, block.dense, f"{name}.dense")
        x = graph.node("Unsqueeze", x, graph.integers(2))
        x = graph.reshape(
            graph.node("Concat", x, x, axis=2), 0, 2 * (held.end - held.start), block.pointwise.in_channels
        )
        x = graph.slice(x, 1, wanted.start - 2 * held.start, wanted.end - 2 * held.start)
        bias = self.model.tower[-1 - place].conv.bias  # the trunk leaves it out
        skip = self._norm_gelu(skip, block.norm_skip, f"{name}.norm_skip", bias)
        x = graph.node("Add", x, self._pointwise(skip, block.dense_skip, f"{name}.dense_skip"))
        # Zero padding belongs to the ends of the grid; inside it the halo is real data and is used up.
        half = block.depthwise.kernel_size[0] // 2
        pads = (half if wanted.start == 0 else 0, half if wanted.end == wanted.length else 0)
        if any(pads):
            x = graph.node("Pad", x, graph.integers(0, pads[0], 0, 0, pads[1], 0))
        length = wanted.end - wanted.start + sum(pads) - 2 * half
        taps = _array(block.depthwise.weight)[:, 0].T
        products = [
            graph.node("Mul", graph.slice(x, 1, tap, tap + length), graph.weight(f"{name}.depthwise.{tap}", values))
            for tap, values in enumerate(taps)
        ]
        x = products[0]
        for product in products[1:]:
            x = graph.node("Add", x, product)
        return self._pointwise(x, block.pointwise, f"{name}.pointwise")

    def _transformer(self, x: str, block: TransformerBlock, name: str, span: _Span) -> str:
        normed = self._layer_norm(x, block.norm_attention, f"{name}.norm_attention")
        attended = self._attention(normed, block.attention, f"{name}.attention", span)
        if span.end - span.start < span.length:
            x = self.graph.slice(x, 1, span.start, span.end)
        x = self.graph.node("Add", x, attended)
        hidden = self._dense(
            self._layer_norm(x, block.norm_dense, f"{name}.norm_dense"), block.dense_up, f"{name}.dense_up"
        )
        hidden = self._dense(self.graph.node("Relu", hidden), block.dense_down, f"{name}.dense_down")
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
