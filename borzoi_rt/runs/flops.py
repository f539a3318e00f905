"""How much arithmetic the graphs of a bundle are: multiply-adds x 2 of convolutions and matrix products.

Normalisation, activations, softmax and pooling are left out (below 1 %). Counted is what the graphs compute: only what
the bins of the output need (crop pruning), and relative positions by their classes. A convolution is counted as its
direct form, also where the graph has it as Cook-Toom products.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ..bundle.manifest import BundleInfo


@dataclass(frozen=True)
class BorzoiFlops:
    """Arithmetic of a network of the Borzoi family, from the architecture in its manifest.

    Parameters
    ----------
    architecture : mapping
        ``BundleInfo.architecture``.
    """

    architecture: Mapping[str, Any]

    @classmethod
    def of(cls, info: BundleInfo) -> BorzoiFlops | None:
        """Return the counter of a bundle; None where its network is of another family."""
        needed = ("stem_filters", "stem_width", "tower_widths", "tower_width", "depth", "heads", "key_size", "unets")
        held = info.architecture
        known = held.get("family") == "borzoi" and all(name in held for name in needed) and held.get("upsample_conv")
        return cls(held) if known else None

    @property
    def _width(self) -> int:
        return int(self.architecture["tower_widths"][-1])

    @property
    def _token_bp(self) -> int:
        return int(2 ** (1 + len(self.architecture["tower_widths"])))

    @property
    def tokens(self) -> int:
        """Tokens of a window."""
        return int(self.architecture["sequence_length_bp"]) // self._token_bp

    def tower(self, tokens: int) -> float:
        """Return the convolution tower over some tokens: a convolution of each width, every one followed by a pool."""
        net, length = self.architecture, tokens * self._token_bp
        total = _conv(4, net["stem_filters"], net["stem_width"], length)
        widths = [net["stem_filters"], *net["tower_widths"]]
        for level, (narrow, wide) in enumerate(pairwise(widths), start=1):
            total += _conv(narrow, wide, net["tower_width"], length >> level)
        return total

    def skips(self, positions: list[int]) -> float:
        """Return the products that bring the skips, coarse before fine, to the width of the tokens."""
        widths = self.architecture["tower_widths"][::-1]
        return sum(_conv(width, self._width, 1, count) for width, count in zip(widths, positions, strict=False))

    def tile(self, tokens: int) -> float:
        """Return a tile that reads some tokens: its tower, and the skips of all of it."""
        unets = int(self.architecture["unets"])
        return self.tower(tokens) + self.skips([tokens << level for level in range(1, unets + 1)])

    def body(self, bins: int) -> float:
        """Return the transformer and the decoder, as far as adjacent bins in the middle of the output need them."""
        depth, total = int(self.architecture["depth"]), 0.0
        levels = self._levels(bins)
        if depth:
            total = (depth - 1) * self._layer(self.tokens) + self._layer(levels[-1].below)
        for level in levels:
            total += _conv(self._width, self._width, 1, level.below) + self._separable(level.outputs)
        return total

    def head(self, bins: int, tracks: int) -> float:
        """Return the last layers over some bins and tracks."""
        tail = int(self.architecture["tail_filters"])
        return (_conv(self._width, tail, 1, bins) if tail else 0.0) + _conv(tail or self._width, tracks, 1, bins)

    def whole(self, bins: int, tracks: int) -> float:
        """Return a whole pass."""
        skips = self.skips([level.inputs for level in reversed(self._levels(bins))])
        return self.tower(self.tokens) + skips + self.body(bins) + self.head(bins, tracks)

    def _levels(self, bins: int) -> list[_Level]:
        """Return what the blocks of the decoder compute for some bins, the finest first."""
        unets, half = int(self.architecture["unets"]), int(self.architecture["unet_width"]) // 2
        length = self.tokens << unets
        start = (length - bins) // 2
        end, found = start + bins, []
        for _ in range(unets):
            outputs = end - start
            start, end = max(start - half, 0), min(end + half, length)
            inputs = end - start
            start, end, length = start // 2, -(-end // 2), length // 2
            found.append(_Level(outputs, inputs, end - start))
        return found

    def _layer(self, queries: int) -> float:
        """Return a layer of the transformer for some queries against all tokens."""
        net, width, tokens = self.architecture, self._width, self.tokens
        heads, key, value = int(net["heads"]), int(net["key_size"]), width // int(net["heads"])
        projections = width * (queries * heads * key + tokens * heads * key + tokens * width + queries * width)
        attention = heads * queries * (tokens * (key + value) + self._classes() * key)
        dense = 2 * queries * width * int(net["dense_expansion"] * width)
        return 2.0 * (projections + attention + dense)

    def _classes(self) -> int:
        """Return how many distances the transformer tells apart: masks by size, each for two signs, and none."""
        count = int(self.architecture["position_features"]) // 2
        of = int(self.architecture.get("widths_of") or self.tokens)
        rate = np.exp(np.log(of + 1) / count).astype(np.float32)
        widths = rate ** np.arange(1, count + 1, dtype=np.float32) - 1
        inside = np.unique((widths > np.arange(1, self.tokens)[:, None]).sum(axis=1))
        return 1 + sum(2 if size else 1 for size in inside.tolist())

    def _separable(self, positions: int) -> float:
        width = self._width
        return 2.0 * width * int(self.architecture["unet_width"]) * positions + _conv(width, width, 1, positions)


@dataclass(frozen=True, slots=True)
class _Level:
    """A block of the decoder: its outputs, the positions of its own grid it reads, and those of the grid below."""

    outputs: int
    inputs: int
    below: int


def _conv(inputs: int, outputs: int, width: int, positions: int) -> float:
    return 2.0 * inputs * outputs * width * positions
