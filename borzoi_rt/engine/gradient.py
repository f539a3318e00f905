"""From the derivative of a number by predicted coverage back to the bases of the window.

Tokens and skips come from tiles of the tower; transformer, decoder and head go forth and back as one graph; the tower
is redone tile after tile, and for a stretch of bases only in the tiles that read it. What a tile gives back are the
derivatives by all bases it reads of a number that depends on the tokens it owns: these are added up.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from ..backends.checks import check_bins
from ..backends.protocols import GradientParts
from ..bundle.manifest import Geometry
from ..errors import InputError
from ..types import DoubleArray, FloatArray, IndexArray
from .cache import Cache
from .tiles import Tile, TilePlan, choose_body

# A window that differs from the first within bases [low, high) alone -> what that changes of the number.
Linearised = Callable[[FloatArray, int, int], float]


class GradientSession:
    """Coverage of a window and its way back.

    Parameters
    ----------
    parts : GradientParts
        The graphs.

    Attributes
    ----------
    counts : Counter
        ``whole``: passes of the network so far, a way back counting as two.
    """

    def __init__(self, parts: GradientParts) -> None:
        self._parts = parts
        self.counts: Counter[str] = Counter()
        self._memory = Cache()  # tiles of the tower, known by their bases
        self._plan = TilePlan.of(parts.geometry, parts.tiling)

    @property
    def geometry(self) -> Geometry:
        """Window and output grid."""
        return self._parts.geometry

    @property
    def memory(self) -> Cache:
        """What is kept in memory."""
        return self._memory

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
        self.counts["whole"] += 1
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
        x, (low, high) = self._checked(window), bases
        found = np.zeros((4, high - low))
        size, derivatives = self._derivatives(x, track_index, cotangent, bins)
        for tile in self._plan.tiles if size else ():
            reads = self._plan.bases(tile)
            first, last = max(reads.start, low), min(reads.stop, high)
            if first < last:
                back = self._parts.tile_gradient(x[None, :, reads], self._owned(tile, derivatives))[0]
                found[:, first - low : last - low] += back[:, first - reads.start : last - reads.start]
        return found * size

    def linearised(
        self, window: FloatArray, track_index: IndexArray, cotangent: DoubleArray, *, bins: tuple[int, int]
    ) -> Linearised:
        """Return what a number does where the tower changes and everything behind it is a plane.

        Parameters
        ----------
        window, track_index, cotangent, bins
            As in :meth:`pullback`.
        """
        x = self._checked(window)
        size, derivatives = self._derivatives(x, track_index, cotangent, bins)

        def effect(mutant: FloatArray, low: int, high: int) -> float:
            total = 0.0
            for tile in self._plan.tiles if size else ():
                reads = self._plan.bases(tile)
                if reads.start < high and low < reads.stop:
                    before, after = self._tile(tile, x), self._tile(tile, mutant)
                    owned = self._owned(tile, derivatives)
                    for old, new, slopes, scale in zip(before, after, owned, self._scales, strict=True):
                        inner = slopes[0, (tile.start - tile.read) * scale : (tile.end - tile.read) * scale]
                        total += float(np.vdot(np.subtract(new, old, dtype=np.float64), inner.astype(np.float64)))
            return total * size

        return effect

    def close(self) -> None:
        """Free the graphs and the tiles held in memory."""
        self._parts.close()
        self._memory.clear()

    @property
    def _scales(self) -> tuple[int, ...]:
        """Positions in a token: of tokens, then of each skip."""
        return (1, *self._plan.tiling.skips_per_token)

    def _derivatives(
        self, x: FloatArray, track_index: IndexArray, cotangent: DoubleArray, bins: tuple[int, int]
    ) -> tuple[float, Sequence[np.ndarray]]:
        """Return derivatives by tokens and skips, and the factor that they lack; a factor of 0 where they are 0.

        The graphs are float32 and linear in the cotangent: its size is taken out, to be put back in float64.
        """
        start, end = check_bins(bins, self.geometry)
        size = float(np.abs(cotangent).max(initial=0.0))
        if not np.isfinite(size):
            raise InputError("the derivative by coverage is not finite: the target has no value, or no slope, there")
        if size == 0.0:
            return 0.0, ()
        self.counts["whole"] += 2
        whole = np.zeros((1, len(track_index), self.geometry.bins), dtype=np.float32)
        whole[0, :, start:end] = cotangent / size
        spans = self._parts.tiling.bodies["body"].skips
        return size, self._parts.body_gradient(*self._trunk(x, spans), track_index, whole)

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

    def _owned(self, tile: Tile, derivatives: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the derivatives by what one tile gives, 0 for what it does not own."""
        found = []
        ranges = [(0, self._plan.tokens), *self._parts.tiling.bodies["body"].skips]
        for values, scale, (start, end) in zip(derivatives, self._scales, ranges, strict=True):
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
