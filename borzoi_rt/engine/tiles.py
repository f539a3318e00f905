"""Windows from tiles: which tile owns which tokens, and how their outputs are put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..bundle.manifest import BodyInfo, Geometry, Tiling
from ..errors import FormatError


@dataclass(frozen=True, slots=True)
class Tile:
    """Tokens [read, read + width) are computed, of which [start, end) are taken."""

    read: int
    start: int
    end: int


@dataclass(frozen=True)
class TilePlan:
    """How the tiles of one model make a window.

    Attributes
    ----------
    tiles : tuple of Tile
        Every token is owned once. The first and the last tile lie flush with the window: there the zero padding of the
        tile is the network's own, while bases beyond the end would not be.
    width : int
        Tokens that a tile reads.
    tokens : int
        Tokens of the window.
    """

    tiling: Tiling
    tiles: tuple[Tile, ...]
    width: int
    tokens: int

    @classmethod
    def of(cls, geometry: Geometry, tiling: Tiling) -> TilePlan:
        """Lay the tiles of a model."""
        tokens = geometry.sequence_length_bp // tiling.token_bp
        width = min(tiling.own_tokens + 2 * tiling.halo_tokens, tokens)
        tiles = []
        for start in range(0, tokens, tiling.own_tokens):
            read = min(max(start - tiling.halo_tokens, 0), tokens - width)
            tiles.append(Tile(read, start, min(start + tiling.own_tokens, tokens)))
        return cls(tiling, tuple(tiles), width, tokens)

    def bases(self, tile: Tile) -> slice:
        """Bases of the window that a tile reads."""
        token_bp = self.tiling.token_bp
        return slice(tile.read * token_bp, (tile.read + self.width) * token_bp)

    def untouched(self, changed: np.ndarray) -> np.ndarray:
        """Return, bool (tiles,), which tiles read no token that has changed, ``changed`` being bool (tokens,)."""
        before = np.concatenate(([0], np.cumsum(changed)))
        read = np.array([tile.read for tile in self.tiles])
        untouched: np.ndarray = before[read] == before[read + self.width]
        return untouched

    def owned(self, tile: Tile, outputs: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """Cut what a tile owns out of its outputs (positions, channels): tokens, then the skips.

        Raises
        ------
        FormatError
            If the outputs are not laid out as the manifest says.
        """
        low, high = tile.start - tile.read, tile.end - tile.read
        scales = (1, *self.tiling.skips_per_token)
        found = [values.shape for values in outputs]
        needed = [(self.width * scale, self.tiling.channels) for scale in scales]
        if found != needed:
            raise FormatError(
                f"graph 'trunk_tile' gives arrays of shape {found}, the manifest's tiling says {needed}; the bundle "
                "has the tiles of another release: export the model again, or run whole passes (full)"
            )
        return tuple(values[low * scale : high * scale].copy() for scale, values in zip(scales, outputs, strict=True))

    def assemble(
        self, parts: Sequence[Sequence[np.ndarray]], spans: Sequence[tuple[int, int]]
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Join owned parts, one per tile, into tokens (1, tokens, channels) and the spans of the skips."""
        wanted = [(0, self.tokens), *spans]
        scales = (1, *self.tiling.skips_per_token)
        joined = [np.empty((1, end - start, self.tiling.channels), dtype=np.float32) for start, end in wanted]
        for tile, values in zip(self.tiles, parts, strict=True):
            for target, source, scale, (start, end) in zip(joined, values, scales, wanted, strict=True):
                low, high = max(tile.start * scale, start), min(tile.end * scale, end)
                if low < high:
                    offset = tile.start * scale
                    target[0, low - start : high - start] = source[low - offset : high - offset]
        return joined[0], joined[1:]


@dataclass(frozen=True, slots=True)
class BodyChoice:
    """A body graph moved over some bins: its output holds the wanted bins from ``offset`` on."""

    name: str
    token_start: int | None
    spans: tuple[tuple[int, int], ...]
    offset: int


def choose_body(geometry: Geometry, tiling: Tiling, bins: tuple[int, int]) -> BodyChoice:
    """Return the smallest body that covers bins [start, end) of the output."""
    start, end = bins
    per_token = tiling.token_bp // geometry.bin_size_bp
    crop = geometry.crop_bp // geometry.bin_size_bp
    tokens = geometry.sequence_length_bp // tiling.token_bp
    for name, body in sorted(tiling.bodies.items(), key=lambda item: item[1].bins):
        if not body.moving or body.bins < end - start:
            continue
        first = min((start + crop) // per_token, (geometry.bins + crop - body.bins) // per_token)
        offset = start + crop - first * per_token
        spans = _moved(body, tiling, first)
        ends = (tokens * scale for scale in tiling.skips_per_token)
        inside = all(low >= 0 and high <= end_of for (low, high), end_of in zip(spans, ends, strict=True))
        if inside and offset >= 0 and offset + end - start <= body.bins:
            return BodyChoice(name, first, spans, offset)
    return BodyChoice("body", None, tiling.bodies["body"].skips, start)


def _moved(body: BodyInfo, tiling: Tiling, first: int) -> tuple[tuple[int, int], ...]:
    return tuple(
        (start + first * scale, end + first * scale)
        for (start, end), scale in zip(body.skips, tiling.skips_per_token, strict=True)
    )
