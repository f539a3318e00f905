"""A session that redoes only what differs from sequences it has seen.

A window is cut into tiles of the convolution tower, and each tile is known by its bases. A variant changes the bases
of one or two tiles; an insertion or deletion those on one side of it; the reverse complement and every shift have
tiles of their own. Whatever was computed for the same bases is taken from the cache, so that no bookkeeping of
coordinates can go wrong, a null variant is the reference bit by bit, and windows on a common grid share their tiles.
The transformer is redone for every sequence: attention moves all of its tokens.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Sequence

import numpy as np

from ..backends.checks import check_bins, check_fill, check_run_input
from ..backends.protocols import Parts
from ..bundle.manifest import Geometry
from ..sequence import packed
from .cache import Cache
from .tile_cache import TileCache
from .tiles import Tile, TilePlan, choose_body


class IncrementalSession:
    """The split graphs as a :class:`borzoi_rt.backends.Session`.

    Parameters
    ----------
    parts : Parts
        The split graphs.
    model : str
        Identity of the weights, part of the key of every tile: the bundle's hash.
    cache : TileCache, optional
        Where tiles are kept.

    Attributes
    ----------
    counts : Counter
        ``tiles`` asked for and ``computed``, ``head bins``, and the runs of every body by its name.
    """

    def __init__(self, parts: Parts, *, model: str, cache: TileCache | None = None) -> None:
        self._parts = parts
        self._cache = cache or TileCache()
        self._plan = TilePlan.of(parts.geometry, parts.tiling)
        self._prefix = f"{model} {parts.provider}".encode()
        self.counts: Counter[str] = Counter()
        # An allele differs from its reference in a tile or two: keys of the rest are looked up, both strands of it.
        self._recent: deque[tuple[np.ndarray, float, list[bytes]]] = deque(maxlen=4)

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

    def run(
        self,
        sequence: np.ndarray,
        track_index: np.ndarray | None = None,
        *,
        n_fill: float = 0.0,
        bins: tuple[int, int] | None = None,
    ) -> np.ndarray:
        """See :meth:`borzoi_rt.backends.Session.run`; a body that fits ``bins`` computes little more than these."""
        index = check_run_input(sequence, track_index, self.geometry, self.tracks_count)
        check_fill(n_fill)
        start, end = check_bins(bins, self.geometry)
        coverage = np.empty((len(sequence), len(index), end - start), dtype=np.float32)
        if not coverage.size:
            return coverage
        self.counts["head bins"] += len(sequence) * (end - start)
        for number, window in enumerate(sequence):
            coverage[number] = self._covered(window, n_fill, (start, end), index)
        return coverage

    def _covered(self, window: np.ndarray, n_fill: float, bins: tuple[int, int], index: np.ndarray) -> np.ndarray:
        """Return the coverage of one window, float32 (tracks, bins)."""
        found: np.ndarray = self._parts.head(self.embedding(window, n_fill, bins), index)[0]
        return found

    @property
    def memory(self) -> Cache:
        """What was computed before, shared with whoever stands on this session."""
        return self._cache.memory

    def clear(self) -> None:
        """Forget what is held in memory."""
        self._cache.clear()

    def close(self) -> None:
        """Free the graphs and the tiles held in memory."""
        self._parts.close()
        self.clear()

    def trunk(
        self, window: np.ndarray, n_fill: float, spans: Sequence[tuple[int, int]]
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return what the convolution tower makes of a window, exactly and from tiles where it can.

        Whatever replaces the transformer by something cheaper, as a linearised body for mutagenesis would, starts here.

        Parameters
        ----------
        window : uint8 ndarray of shape (4, length)
            One-hot DNA.
        n_fill : float
            Value of the four rows of an unknown base.
        spans : sequence of (int, int)
            Which positions of each skip to return, as :func:`borzoi_rt.engine.tiles.choose_body` gives them.

        Returns
        -------
        tuple of float32 ndarray (1, tokens, channels) and list of the same of the skips
        """
        keys = self._keys(window, n_fill)
        tiles = [self._tile(tile, key, window, n_fill) for tile, key in zip(self._plan.tiles, keys, strict=True)]
        return self._plan.assemble(tiles, spans)

    def embedding(self, window: np.ndarray, n_fill: float, bins: tuple[int, int]) -> np.ndarray:
        """Return what the head reads of one window, float32 (1, bins, channels)."""
        choice = choose_body(self.geometry, self._parts.tiling, bins)
        self.counts[choice.name] += 1
        tokens, skips = self.trunk(window, n_fill, choice.spans)
        embedding = self._parts.body(tokens, skips, name=choice.name, token_start=choice.token_start)
        return np.ascontiguousarray(embedding[:, choice.offset : choice.offset + bins[1] - bins[0]])

    def _tile(self, tile: Tile, key: bytes, window: np.ndarray, n_fill: float) -> Sequence[np.ndarray]:
        bases = np.ascontiguousarray(window[:, self._plan.bases(tile)])
        self.counts["tiles"] += 1
        before = self._cache.computed
        # One tile a run, whatever its company, so that equal bases give equal bits.
        found = self._cache.get(
            key, lambda: self._plan.owned(tile, [output[0] for output in self._parts.tile(bases[None], n_fill)])
        )
        self.counts["computed"] += self._cache.computed - before
        return found

    def _keys(self, window: np.ndarray, n_fill: float) -> list[bytes]:
        """Return, for every tile, the hash of everything it depends on."""
        bases = packed(window).reshape(self._plan.tokens, -1)
        prefix = hashlib.blake2b(self._prefix + f" {n_fill!r} ".encode(), digest_size=32)
        found: list[bytes | None] = [None] * len(self._plan.tiles)
        for other, fill, keys in reversed(self._recent):
            if None not in found:
                break
            if other.shape == bases.shape and fill == n_fill:
                same = self._plan.untouched((bases != other).any(axis=1))
                found = [key or (keys[number] if same[number] else None) for number, key in enumerate(found)]
        every = [
            key or self._key(tile, bases[tile.read : tile.read + self._plan.width], prefix.copy())
            for tile, key in zip(self._plan.tiles, found, strict=True)
        ]
        self._recent.append((bases, n_fill, every))
        return every

    @staticmethod
    def _key(tile: Tile, bases: np.ndarray, key: hashlib.blake2b) -> bytes:
        # Which part is owned belongs to the key: the tiles at the ends of a window own more than those inside.
        key.update(f"{tile.start - tile.read} {tile.end - tile.read} ".encode())
        key.update(bases.data)
        return key.digest()
