"""From the derivative of a number by predicted coverage back to the bases of the window.

Tokens and skips come from tiles of the tower; transformer, decoder and head go forth and back as one graph; the tower
is redone tile after tile, and for a stretch of bases only in the tiles that read it. What a tile gives back are the
derivatives by all bases it reads of a number that depends on the tokens it owns: these are added up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from ..backends.checks import check_bins
from ..backends.protocols import GradientParts
from ..bundle.manifest import Geometry
from ..errors import InputError
from ..types import DoubleArray, FloatArray, IndexArray
from .cache import Cache
from .tiles import Tile, TilePlan, choose_body


class GradientSession:
    """Coverage of a window and its way back.

    Parameters
    ----------
    parts : GradientParts
        The graphs.
    memory : Cache, optional
        Where tiles of the tower are kept; they are known by their bases.
    """

    def __init__(self, parts: GradientParts, *, memory: Cache | None = None) -> None:
        self._parts = parts
        self._memory = memory or Cache()
        self._plan = TilePlan.of(parts.geometry, parts.tiling)

    @property
    def geometry(self) -> Geometry:
        """Window and output grid."""
        return self._parts.geometry

    @property
    def tracks_count(self) -> int:
        """Number of outputs of the head."""
        return self._parts.tracks_count

    @property
    def provider(self) -> str:
        """Name of what computes."""
        return self._parts.provider

    def coverage(self, window: FloatArray, track_index: IndexArray, bins: tuple[int, int]) -> FloatArray:
        """Predict squashed coverage.

        Parameters
        ----------
        window : float32 ndarray of shape (4, length)
            One-hot DNA or mixtures of bases; unknown bases are already coded.
        track_index : int64 ndarray of shape (tracks,)
            Outputs of the head.
        bins : (int, int)
            First and last + 1 of the bins of the output.

        Returns
        -------
        float32 ndarray of shape (tracks, bins)
        """
        start, end = check_bins(bins, self.geometry)
        choice = choose_body(self.geometry, self._parts.tiling, (start, end))
        tokens, skips = self._trunk(self._checked(window), choice.spans)
        embedding = self._parts.body(tokens, skips, name=choice.name, token_start=choice.token_start)
        wanted = np.ascontiguousarray(embedding[:, choice.offset : choice.offset + end - start])
        found: FloatArray = self._parts.head(wanted, track_index)[0]
        return found

    def pullback(
        self,
        window: FloatArray,
        track_index: IndexArray,
        cotangent: DoubleArray,
        *,
        bins: tuple[int, int],
        bases: tuple[int, int],
    ) -> DoubleArray:
        """Return the derivative of a number by bases of the window.

        Parameters
        ----------
        window, track_index, bins
            As in :meth:`coverage`.
        cotangent : float64 ndarray of shape (tracks, bins)
            Derivative of the number by squashed coverage.
        bases : (int, int)
            First and last + 1 of the bases.

        Returns
        -------
        float64 ndarray of shape (4, bases)
            0 where the cotangent is.
        """
        x, (start, end), (low, high) = self._checked(window), check_bins(bins, self.geometry), bases
        found = np.zeros((4, high - low))
        # The graphs are float32 and linear in the cotangent: its size is taken out and put back in float64.
        size = float(np.abs(cotangent).max(initial=0.0))
        if not np.isfinite(size):
            raise InputError("the derivative by coverage is not finite: the target has no value, or no slope, there")
        if size == 0.0 or low == high:
            return found
        whole = np.zeros((1, len(track_index), self.geometry.bins), dtype=np.float32)
        whole[0, :, start:end] = cotangent / size
        spans = self._parts.tiling.bodies["body"].skips
        derivatives = self._parts.body_gradient(*self._trunk(x, spans), track_index, whole)
        for tile in self._plan.tiles:
            reads = self._plan.bases(tile)
            first, last = max(reads.start, low), min(reads.stop, high)
            if first < last:
                back = self._parts.tile_gradient(x[None, :, reads], self._owned(tile, derivatives, spans))[0]
                found[:, first - low : last - low] += back[:, first - reads.start : last - reads.start]
        return found * size

    def close(self) -> None:
        """Free the graphs and the tiles held in memory."""
        self._parts.close()
        self._memory.clear()

    def _trunk(self, x: FloatArray, spans: Sequence[tuple[int, int]]) -> tuple[np.ndarray, list[np.ndarray]]:
        return self._plan.assemble([self._tile(tile, x) for tile in self._plan.tiles], spans)

    def _tile(self, tile: Tile, x: FloatArray) -> Sequence[np.ndarray]:
        bases = np.ascontiguousarray(x[:, self._plan.bases(tile)])
        owned = (tile.start - tile.read, tile.end - tile.read)
        key = hashlib.blake2b(bases.data, digest_size=32)
        key.update(f"real {owned}".encode())
        return self._memory.get(
            key.digest(),
            lambda: self._plan.owned(tile, [output[0] for output in self._parts.real_tile(bases[None])]),
        )

    def _owned(
        self, tile: Tile, derivatives: Sequence[np.ndarray], spans: Sequence[tuple[int, int]]
    ) -> list[np.ndarray]:
        """Return the derivatives by what one tile gives, 0 for what it does not own."""
        found = []
        scales, ranges = (1, *self._plan.tiling.skips_per_token), [(0, self._plan.tokens), *spans]
        for values, scale, (start, end) in zip(derivatives, scales, ranges, strict=True):
            part = np.zeros((1, self._plan.width * scale, values.shape[2]), dtype=np.float32)
            low, high = max(tile.start * scale, start), min(tile.end * scale, end)
            if low < high:
                offset = tile.read * scale
                part[:, low - offset : high - offset] = values[:, low - start : high - start]
            found.append(part)
        return found

    def _checked(self, window: FloatArray) -> FloatArray:
        needed = (4, self.geometry.sequence_length_bp)
        if window.shape != needed or window.dtype != np.float32:
            raise InputError(f"window is {window.dtype} of shape {window.shape}; float32 of shape {needed} is needed")
        return window
