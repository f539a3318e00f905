"""What the engine needs of a model, wherever it runs: a backend is anything with these members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..bundle.manifest import Geometry, Tiling
from ..types import IndexArray


class Session(Protocol):
    """What the engine needs of a model."""

    @property
    def geometry(self) -> Geometry:
        """Window and output grid."""

    @property
    def tracks_count(self) -> int:
        """Number of outputs of the head."""

    @property
    def provider(self) -> str:
        """Name of what computes, for the record: ``cpu``, ``cuda:0``, ``tensorrt:0``."""

    def run(
        self,
        sequence: np.ndarray,
        track_index: np.ndarray | None = None,
        *,
        n_fill: float = 0.0,
        bins: tuple[int, int] | None = None,
    ) -> np.ndarray:
        """Predict squashed coverage.

        Parameters
        ----------
        sequence : uint8 ndarray of shape (batch, 4, length)
            One-hot DNA in the order A, C, G, T; a column of zeros is an unknown base.
        track_index : int64 ndarray of shape (tracks,), optional
            Outputs to compute, in any order; all when None.
        n_fill : float
            Value of the four rows of an unknown base: 0 or 0.25.
        bins : (int, int), optional
            First and last + 1 of the output bins to return; all when None.

        Returns
        -------
        float32 ndarray of shape (batch, tracks, bins)
        """

    def close(self) -> None:
        """Free the model; further runs fail."""


@dataclass(frozen=True, slots=True)
class BinSums:
    """Sums over the bins of the coverage R of the reference and A of the alternate allele, by row.

    Attributes
    ----------
    ref, alt, absolute, square : float64 ndarray of shape (3, rows)
        Sum of f(R), f(A), |f(A) - f(R)| and (f(A) - f(R))^2; f is the identity, log2(x + 1), the square root.
    extreme : float64 ndarray of shape (rows,)
        A - R at the first bin where its size is largest.
    """

    ref: np.ndarray
    alt: np.ndarray
    absolute: np.ndarray
    square: np.ndarray
    extreme: np.ndarray

    def turned(self) -> BinSums:
        """Return the sums with the alleles exchanged."""
        return BinSums(self.alt, self.ref, self.absolute, self.square, -self.extreme)


class Embedding(Protocol):
    """What the head reads of a window, (bins, channels): a NumPy array, or memory of a device."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(bins, channels)."""

    @property
    def nbytes(self) -> int:
        """Bytes held."""

    def setflags(self, *, write: bool) -> None:
        """As of a NumPy array."""


@dataclass(frozen=True, slots=True)
class Views:
    """What one allele's coverage is the sum of: views, each with a share of every bin.

    Attributes
    ----------
    embedding : sequence of float32 arrays of shape (bins, channels)
        What the head reads, one array a view, in the memory of the parts that made it; bins of a reverse complement
        already turned.
    share : float32 ndarray of shape (views, bins)
        Weight of a view in each bin: a half for two strands, 0 or 1 for the halves of an indel.
    tracks : int64 ndarray of shape (views, tracks)
        Output of the head that each view reads for a track.
    """

    embedding: Sequence[Embedding]
    share: np.ndarray
    tracks: np.ndarray


class Parts(Protocol):
    """The split graphs of a model: what the engine needs to redo only what a variant changes."""

    @property
    def geometry(self) -> Geometry:
        """Window and output grid."""

    @property
    def tiling(self) -> Tiling:
        """How tiles make a window."""

    @property
    def tracks_count(self) -> int:
        """Number of outputs of the head."""

    @property
    def provider(self) -> str:
        """Name of what computes, for the record."""

    def tile(self, sequence: np.ndarray, n_fill: float) -> tuple[np.ndarray, ...]:
        """Run the convolution tower.

        Parameters
        ----------
        sequence : uint8 ndarray of shape (batch, 4, tile length)
            One-hot DNA of tiles.
        n_fill : float
            Value of the four rows of an unknown base.

        Returns
        -------
        tuple of float32 ndarray of shape (batch, positions, channels)
            Tokens, then every skip as the decoder adds it.
        """

    def body(
        self, tokens: np.ndarray, skips: Sequence[np.ndarray], *, name: str = "body", token_start: int | None = None
    ) -> np.ndarray:
        """Run transformer and decoder.

        Parameters
        ----------
        tokens : float32 ndarray of shape (batch, tokens, channels)
            All tokens of the windows.
        skips : sequence of float32 ndarray of shape (batch, positions, channels)
            The parts of the skips that the body reads.
        name : str
            A body of the tiling.
        token_start : int, optional
            First token of the output, for a body that moves.

        Returns
        -------
        float32 ndarray of shape (batch, bins, embedding channels)
        """

    def head(self, embedding: np.ndarray, track_index: np.ndarray) -> np.ndarray:
        """Turn an embedding into squashed coverage, float32 (batch, tracks, bins)."""

    def close(self) -> None:
        """Free the graphs; further runs fail."""


class SummingParts(Parts, Protocol):
    """Split graphs with one more, which hands over sums over bins instead of coverage."""

    def sums(self, ref: Views, alt: Views, squash: Mapping[str, np.ndarray], strand_share: np.ndarray) -> BinSums:
        """Turn the embeddings of two alleles into sums over bins.

        Parameters
        ----------
        ref, alt : Views
            The alleles.
        squash : mapping of str to ndarray of shape (tracks,)
            As :meth:`borzoi_rt.squash.Squash.inverse_terms` gives it.
        strand_share : float64 ndarray of shape (rows, strands)
            Tracks, in the order of ``rows`` and then ``strands``, are added to rows with these weights.
        """


@dataclass(frozen=True, slots=True)
class BankLayout:
    """How tiles lie in the memory of a device: pages of equal size, on each the outputs of the tile graph for a batch.

    Attributes
    ----------
    pages : int
        How many there are.
    tiles : int
        Tiles a page, which is the batch they are computed in.
    width : int
        Tokens that a tile reads.
    scales : tuple of int
        Rows a token of each output: 1 for the tokens, then those of the skips.
    """

    pages: int
    tiles: int
    width: int
    scales: tuple[int, ...]

    @property
    def page_rows(self) -> int:
        """Rows of a page."""
        return self.tiles * self.width * sum(self.scales)

    def first_row(self, slot: IndexArray, output: int) -> IndexArray:
        """Return the first row of an output of the tile in a slot; slots are numbered through the pages."""
        page, position = np.divmod(slot, self.tiles)
        before = self.tiles * self.width * sum(self.scales[:output])
        first: IndexArray = page * self.page_rows + before + position * self.width * self.scales[output]
        return first

    def row(self, slot: int, output: int) -> int:
        """Return the first row of an output of one tile."""
        return int(self.first_row(np.array(slot), output))


class ResidentParts(Parts, Protocol):
    """Split graphs that leave what they compute on the device, in a bank of tiles."""

    @property
    def layout(self) -> BankLayout:
        """How the bank is laid out."""

    def fill(self, page: int, sequence: np.ndarray, n_fill: float) -> None:
        """Compute tiles on a page.

        Parameters
        ----------
        page : int
            Where to.
        sequence : uint8 ndarray of shape (at most layout.tiles, 4, tile length)
            One-hot DNA; missing tiles of the batch repeat the first.
        n_fill : float
            Value of the four rows of an unknown base.
        """

    def move(self, source: int, target: int) -> None:
        """Copy a tile from one slot to another."""

    def embed(
        self, name: str, rows: Sequence[np.ndarray], picks: IndexArray, *, token_start: int | None = None
    ) -> Embedding:
        """Gather a window from the bank and run the body, as :meth:`cover` does; return its bins ``picks``."""

    def sums(self, ref: Views, alt: Views, squash: Mapping[str, np.ndarray], strand_share: np.ndarray) -> BinSums:
        """See :meth:`SummingParts.sums`; the embeddings are those of :meth:`embed`."""

    def cover(
        self, name: str, rows: Sequence[np.ndarray], track_index: np.ndarray, *, token_start: int | None = None
    ) -> np.ndarray:
        """Gather a window from the bank, and run body and head.

        Parameters
        ----------
        name : str
            A body of the tiling.
        rows : sequence of int64 ndarray of shape (positions,)
            Rows of the bank that are the tokens and the parts of the skips.
        track_index : int64 ndarray of shape (tracks,)
            Outputs of the head.
        token_start : int, optional
            First token of the output, for a body that moves.

        Returns
        -------
        float32 ndarray of shape (1, tracks, bins)
        """


class GradientParts(Parts, Protocol):
    """Split graphs with those that lead from coverage back to the bases; one window at a time, of real numbers."""

    def real_tile(self, sequence: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run the convolution tower.

        Parameters
        ----------
        sequence : float32 ndarray of shape (1, 4, tile length)
            Bases, or mixtures of them; unknown bases are already coded.

        Returns
        -------
        tuple of float32 ndarray of shape (1, positions, channels)
            Tokens, then every skip as the decoder adds it.
        """

    def body_gradient(
        self, tokens: np.ndarray, skips: Sequence[np.ndarray], track_index: np.ndarray, cotangent: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """Return the derivatives of a number by tokens and skips.

        Parameters
        ----------
        tokens, skips
            As the body named ``body`` takes them, of one window.
        track_index : int64 ndarray of shape (tracks,)
            Outputs of the head.
        cotangent : float32 ndarray of shape (1, tracks, bins)
            Derivative of the number by their squashed coverage.

        Returns
        -------
        tuple of float32 ndarray
            Of the shapes of ``tokens`` and of each of ``skips``.
        """

    def tile_gradient(self, sequence: np.ndarray, derivatives: Sequence[np.ndarray]) -> np.ndarray:
        """Return the derivative of a number by the bases of a tile, float32 of the shape of ``sequence``.

        Parameters
        ----------
        sequence : float32 ndarray of shape (1, 4, tile length)
            As in :meth:`real_tile`.
        derivatives : sequence of float32 ndarray
            Of the number by what :meth:`real_tile` gives; 0 for what the tile does not own.
        """
