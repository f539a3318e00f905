"""A session that hands over sums over bins, so that no coverage of bins x tracks leaves the device.

A variant then costs a few numbers a track. What stands for an allele are its *views*: windows that the body has run
on, with the share that each has of every bin. Two strands have half each, the halves of a joined indel 0 or 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np

from ..backends.checks import check_bins
from ..backends.protocols import BinSums, Embedding, SummingParts, Views
from .incremental import IncrementalSession
from .tile_cache import TileCache


@dataclass(frozen=True, slots=True)
class Rows:
    """Which selected tracks make the rows of the sums.

    Attributes
    ----------
    tracks : int64 ndarray of shape (rows, strands)
        Positions in the selection.
    share : float64 ndarray of shape (rows, strands)
        Weight of each, 0 or 1.
    """

    tracks: np.ndarray
    share: np.ndarray


class SummingSession(IncrementalSession):
    """An incremental session whose parts have the ``statistics`` graph.

    Attributes
    ----------
    block_bytes : int
        Most bytes of coverage, in float64, that the graph makes at once.
    """

    block_bytes = 32 * 2**20

    def __init__(self, parts: SummingParts, *, model: str, cache: TileCache | None = None) -> None:
        super().__init__(parts, model=model, cache=cache)
        self._summing = parts

    def embed(self, window: np.ndarray, n_fill: float, bins: tuple[int, int], *, turned: bool = False) -> Embedding:
        """Return what the head reads of a window, uint8 (4, length): float32 (bins, channels).

        ``turned``: last bin first, as a reverse complement is read on the forward strand.
        """
        embedding = self.embedding(window, n_fill, check_bins(bins, self.geometry))[0]
        return np.ascontiguousarray(embedding[::-1]) if turned else embedding

    def sums(self, ref: Views, alt: Views, squash: Mapping[str, np.ndarray], rows: Rows) -> BinSums:
        """Return the sums of two alleles, some rows at a time.

        Parameters
        ----------
        ref, alt : Views
            The alleles; ``tracks`` of shape (views, selected tracks).
        squash : mapping of str to ndarray of shape (selected tracks,)
            As :meth:`borzoi_rt.squash.Squash.inverse_terms` gives it.
        rows : Rows
            What to add up.
        """
        block = max(1, self.block_bytes // (8 * ref.share.shape[1] * rows.tracks.shape[1]))
        parts = []
        for start in range(0, len(rows.tracks), block):
            chosen = rows.tracks[start : start + block].ravel()
            ref_views, alt_views = (replace(views, tracks=views.tracks[:, chosen]) for views in (ref, alt))
            terms = {name: values[chosen] for name, values in squash.items()}
            parts.append(self._summing.sums(ref_views, alt_views, terms, rows.share[start : start + block]))
        joined = (np.concatenate([getattr(part, item.name) for part in parts], axis=-1) for item in fields(BinSums))
        return BinSums(*joined)
