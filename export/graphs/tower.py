"""Stem and tower of convolutions as ONNX nodes, for a whole window or for a tile of it.

The tower runs chunk after chunk, each with the halo it needs, so that no activation is ever as long as a window. Its
convolutions of width 5 are Cook-Toom products (:mod:`borzoi_export.graphs.cook_toom`); other widths are one product
over all taps. Activations are channels last, and inside the tower *paired*: (batch, 2, positions / 2, channels) with
position ``2 h + f`` at ``[f, h]``, which is how the Cook-Toom products read and leave them. Biases go into the
normalisation that follows; what leaves the tower as a skip is without its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from torch import Tensor

from ..models.borzoi import Borzoi, NormConv
from . import cook_toom
from .builder import GraphBuilder
from .layers import array, norm_gelu
from .spans import Span

TOKEN_CHUNK = 256


class BaseTower:
    """What the forms of the tower share.

    Parameters
    ----------
    graph : GraphBuilder
        Where nodes go.
    model : Borzoi
        The trained network.
    tokens : int
        Length of the input in tokens.
    skips : sequence of Span
        Which positions of each skip to keep, in the order of the U-net blocks.
    """

    def __init__(self, graph: GraphBuilder, model: Borzoi, *, tokens: int, skips: Sequence[Span]) -> None:
        self.graph = graph
        self.stem = model.stem
        self.blocks = [cast("NormConv", block) for block in model.tower]
        self.widths = model.config.tower_widths
        self.half = model.config.tower_width // 2
        self.tokens = tokens
        self.length_bp = tokens * (model.config.sequence_length_bp // model.config.tokens)
        self.skips = list(skips)

    def bias_of(self, index: int) -> Tensor | None:
        """Return the bias that is missing in the input of a block."""
        return self.blocks[index - 1].conv.bias if index else self.stem.bias

    def with_bias(self, tokens: str) -> str:
        """Add the bias of the last block."""
        bias = self.graph.weight("tower.bias", array(_bias(self.blocks[-1].conv.bias)))
        return self.graph.node("Add", tokens, bias, label="tokens")

    def stem_pads(self) -> tuple[int, int]:
        """Return the zeros before and behind a window, of which the last 3 fill a group of four bases."""
        half = self.stem.kernel_size[0] // 2
        return half, half + 3

    def stem_rows(self, x: str) -> str:
        """Return a padded window as groups of four bases, (batch, groups, 16)."""
        length = self.length_bp + sum(self.stem_pads())
        return self.graph.reshape(self.graph.slice(x, 1, 0, length // 4 * 4), 0, length // 4, 16)

    def stem_windows(self, rows: str, span: Span) -> str:
        """Return what the outputs of each group of a span read, (batch, span, 16 groups)."""
        parts = (self.graph.slice(rows, 1, span.start + index, span.end + index) for index in range(self._stem_groups))
        return self.graph.node("Concat", *parts, axis=2)

    def stem_kernel(self, weight: np.ndarray) -> np.ndarray:
        """Return the stem as four matrices (16 groups, filters), one for each position of a group."""
        filters, _, width = weight.shape
        placed = np.zeros((4, 4 * self._stem_groups, 4, filters), dtype=np.float32)
        for position in range(4):
            placed[position, position : position + width] = weight.transpose(2, 1, 0)
        return placed.reshape(4, -1, filters)

    @property
    def _stem_groups(self) -> int:
        return (self.stem.kernel_size[0] + 2) // 4 + 1


class Tower(BaseTower):
    """Writes stem and tower for windows of ``tokens`` tokens.

    Parameters
    ----------
    graph, model, tokens, skips
        See :class:`BaseTower`.
    convolution : str
        ``cook-toom`` is faster; ``direct`` keeps exact zeros exact, which a network without biases needs, whose
        LayerNorms blow up what is left of a zero.
    """

    def __init__(
        self,
        graph: GraphBuilder,
        model: Borzoi,
        *,
        tokens: int,
        skips: Sequence[Span],
        convolution: str = "cook-toom",
    ) -> None:
        super().__init__(graph, model, tokens=tokens, skips=skips)
        self.convolve = self._tile_conv if convolution == "cook-toom" else self._direct_conv
        self.by_tiles = model.config.tower_width == cook_toom.WIDTH and tokens % 2 == 0

    def write(self, x: str) -> tuple[str, list[str]]:
        """Turn (batch, length, 4) into tokens (batch, tokens, channels) and raw skips without bias."""
        before, behind = self.stem_pads()
        x = self.graph.node("Pad", x, self.graph.integers(0, before, 0, 0, behind, 0))
        tokens, skips = self._tiles(x) if self.by_tiles else self._plain(x)
        return self.with_bias(tokens), skips

    def _plain(self, x: str) -> tuple[str, list[str]]:
        """Run everything at once, convolutions as one product over all taps."""
        graph, length = self.graph, self.length_bp
        x = self._taps(x, self.stem.weight, "stem.taps", length)
        raw: list[str] = []
        for index, block in enumerate(self.blocks):
            x = graph.node("ReduceMax", graph.reshape(x, 0, length // 2, 2, -1), graph.integers(2), keepdims=0)
            length //= 2
            x = norm_gelu(graph, x, block.norm, f"tower.{index}.norm", self.bias_of(index))
            x = graph.node("Pad", x, graph.integers(0, self.half, 0, 0, self.half, 0))
            x = self._taps(x, block.conv.weight, f"tower.{index}.conv", length)
            raw.insert(0, x)
        x = graph.node("ReduceMax", graph.reshape(x, 0, length // 2, 2, -1), graph.integers(2), keepdims=0)
        kept = [graph.slice(skip, 1, span.start, span.end) for skip, span in zip(raw, self.skips, strict=False)]
        return x, kept

    def _taps(self, x: str, weight: Tensor, name: str, length: int) -> str:
        """Convolve (batch, length + width - 1 or more, channels), without bias."""
        graph, width = self.graph, weight.shape[2]
        windows = graph.node("Concat", *(graph.slice(x, 1, tap, tap + length) for tap in range(width)), axis=2)
        matrix = array(weight).transpose(2, 1, 0).reshape(-1, weight.shape[0])
        return graph.node("MatMul", windows, graph.weight(name, matrix), label=name)

    def _tiles(self, x: str) -> tuple[str, list[str]]:
        """Run chunk after chunk.

        A tile is four outputs of a convolution. Tile t reads pairs 2 t - 1 to 2 t + 2 of the layer below, and a tile
        there leaves one pair: the halo of a chunk is one tile a layer on each side.
        """
        graph, last = self.graph, len(self.widths) - 1
        rows = self.stem_rows(x)
        tokens: list[str] = []
        pieces: list[list[str]] = [[] for _ in self.skips]
        for first in range(0, self.tokens, TOKEN_CHUNK):
            own = Span(first // 2, min(first + TOKEN_CHUNK, self.tokens) // 2, self.tokens // 2)
            spans = [own]
            for _ in range(last):
                spans.insert(0, spans[0].doubled().widened(1))
            pairs = spans[0].doubled().widened(1)
            paired = self._stem(rows, pairs)
            for index, span in enumerate(spans):
                outputs = self.convolve(paired, index, pairs, span)
                if last - index < len(self.skips):
                    pieces[last - index] += self._skip_piece(outputs, index, own, span)
                # Outputs 0 and 1 of a tile are pooled to the first of its pair, 2 and 3 to the second.
                folded = graph.node("ReduceMax", graph.reshape(outputs, 0, 2, 2, -1), graph.integers(2), keepdims=0)
                paired = graph.reshape(folded, 0, 2, span.size, self.widths[index])
                pairs = span
            tokens.append(self._in_line(paired, 2 * own.size))
        kept = [
            graph.slice(graph.concat(parts, 1), 1, span.start % 4, span.start % 4 + span.size)
            for parts, span in zip(pieces, self.skips, strict=True)
        ]
        return graph.concat(tokens, 1), kept

    def _skip_piece(self, outputs: str, index: int, own: Span, span: Span) -> list[str]:
        """Return what a chunk owns of the kept part of a skip; nothing where they do not meet."""
        depth = len(self.widths) - 1 - index
        kept, scale = self.skips[depth].grouped(4), 2**depth
        start, end = max(own.start * scale, kept.start), min(own.end * scale, kept.end)
        if start >= end:
            return []
        part = self.graph.reshape(outputs, 0, 4, span.size, self.widths[index])
        part = self.graph.slice(part, 2, start - span.start, end - span.start)
        return [self._in_line(part, 4 * (end - start))]

    def _in_line(self, x: str, length: int) -> str:
        """(batch, f, h, channels) to (batch, length, channels)."""
        return self.graph.reshape(self.graph.node("Transpose", x, perm=[0, 2, 1, 3]), 0, length, -1)

    def _stem(self, rows: str, span: Span) -> str:
        """Return pooled pairs of the stem, without bias: four bases become one pair.

        One product gives all four positions of a group, each with the kernel at its own offset between zeros.
        """
        graph, filters = self.graph, self.stem.out_channels
        kernel = self.stem_kernel(array(self.stem.weight))
        matrix = kernel.reshape(2, 2, -1, filters).transpose(0, 2, 1, 3).reshape(2, -1, 2 * filters)
        windows = self.stem_windows(rows, span)
        windows = graph.node("Unsqueeze", windows, graph.integers(1))
        x = graph.node("MatMul", windows, graph.weight("stem.weight", matrix), label="stem")
        x = graph.reshape(x, 0, 2, span.size, 2, filters)
        return graph.node("ReduceMax", x, graph.integers(3), keepdims=0)

    def _tile_conv(self, paired: str, index: int, pairs: Span, tiles: Span) -> str:
        """Return the outputs of a tower block, (batch, 4, tiles * channels), without bias."""
        graph, block = self.graph, self.blocks[index]
        x = norm_gelu(graph, paired, block.norm, f"tower.{index}.norm", self.bias_of(index))
        to_outputs, _, to_inputs = (matrix.astype(np.float32) for matrix in cook_toom.matrices())
        # Input 2 h + f of a tile: a convolution over pairs, f its channel; zeros beyond the window are its padding.
        inputs = to_inputs.reshape(8, 4, 2).transpose(0, 2, 1)[:, :, :, None]
        pads = [int(2 * tiles.start - 1 < pairs.start), 0, int(2 * tiles.end + 1 > pairs.end), 0]
        weight = graph.weight("tile.inputs", inputs)
        x = graph.node("Conv", x, weight, kernel_shape=[4, 1], strides=[2, 1], pads=pads)
        name = f"tower.{index}.conv"
        x = graph.node("MatMul", x, graph.weight(name, cook_toom.kernels(array(block.conv.weight))), label=name)
        values = graph.reshape(x, 0, 8, -1)
        return graph.node("MatMul", graph.weight("tile.outputs", to_outputs), values, label=f"{name}.outputs")

    def _direct_conv(self, paired: str, index: int, pairs: Span, tiles: Span) -> str:
        """Return what :meth:`_tile_conv` does, by one product over all taps."""
        graph, block = self.graph, self.blocks[index]
        x = norm_gelu(graph, paired, block.norm, f"tower.{index}.norm", self.bias_of(index))
        x = self._in_line(x, 2 * pairs.size)
        left, right = 2 * (2 * tiles.start - 1 < pairs.start), 2 * (2 * tiles.end + 1 > pairs.end)
        if left or right:
            x = graph.node("Pad", x, graph.integers(0, left, 0, 0, right, 0))
        x = self._taps(x, block.conv.weight, f"tower.{index}.conv", 4 * tiles.size)
        x = graph.reshape(x, 0, tiles.size, 4, self.widths[index])
        return graph.reshape(graph.node("Transpose", x, perm=[0, 2, 1, 3]), 0, 4, -1)


def _bias(bias: Tensor | None) -> Tensor:
    if bias is None:
        raise TypeError("every convolution of the tower has a bias")
    return bias
