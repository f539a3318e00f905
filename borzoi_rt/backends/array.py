"""A model whose answers can be counted by eye, for tests of everything that stands on a session."""

from __future__ import annotations

import numpy as np

from ..bundle.manifest import Geometry
from .checks import check_bins, check_run_input


class ArraySession:
    """Sum a weight per base over the positions of each bin.

    ``coverage[t, b] = sum over positions p of bin b of sum over bases c of weights[t, c] * x[c, p]``, where ``x`` is
    the one-hot input with ``n_fill`` in all four rows of an unknown base.

    Parameters
    ----------
    geometry : Geometry
        Window and output grid.
    weights : ndarray of shape (tracks, 4)
        Weight of A, C, G, T in each track.
    """

    provider = "cpu"

    def __init__(self, geometry: Geometry, weights: np.ndarray) -> None:
        self.geometry = geometry
        self.weights = np.asarray(weights, dtype=np.float64)
        self.runs = 0

    @property
    def tracks_count(self) -> int:
        """Number of rows of the weights."""
        return int(self.weights.shape[0])

    def run(
        self,
        sequence: np.ndarray,
        track_index: np.ndarray | None = None,
        *,
        n_fill: float = 0.0,
        bins: tuple[int, int] | None = None,
    ) -> np.ndarray:
        """See :meth:`borzoi_rt.backends.Session.run`; ``runs`` counts the windows."""
        index = check_run_input(sequence, track_index, self.geometry, self.tracks_count)
        start, end = check_bins(bins, self.geometry)
        self.runs += sequence.shape[0]
        window = sequence.astype(np.float64)
        window += n_fill * (1.0 - window.sum(axis=1, keepdims=True))
        grid = self.geometry
        inner = window[:, :, grid.crop_bp : grid.crop_bp + grid.bins * grid.bin_size_bp]
        binned = inner.reshape(len(window), 4, grid.bins, grid.bin_size_bp).sum(axis=-1)
        found: np.ndarray = np.einsum("tc,ncb->ntb", self.weights[index], binned[..., start:end]).astype(np.float32)
        return found

    def close(self) -> None:
        """Nothing to free."""
