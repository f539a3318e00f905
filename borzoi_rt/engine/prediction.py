"""Predictions of windows and of variants: strands, shifts, the squashed scale and its inverse."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ..backends.protocols import BinSums, Session, Views
from ..bundle.manifest import N_POLICIES
from ..errors import InputError
from ..genome.fasta import Fasta
from ..genome.variants import Variant
from ..sequence import encode, reverse_complement
from ..squash import Squash
from ..tracks import TrackTable
from .alleles import Haplotypes, Pair, View, allele_pairs, haplotypes, stitch_bin
from .options import PredictionOptions
from .summing import Rows, SummingSession

CACHE_BYTES = 512 * 2**20


@dataclass(frozen=True)
class AllelePrediction:
    """Un-squashed coverage of both alleles of a variant.

    Attributes
    ----------
    ref, alt : float32 ndarray of shape (pairs, tracks, bins)
        Coverage as the bundle's inverse transform gives it.
    window_start : int
        0-based start of the input window.
    stitch_bin : int or None
        First bin of the output that comes from the moved prediction; None where nothing was joined.
    first_bin : int
        Bin of the output that is bin 0 of ``ref`` and ``alt``.
    n_fraction : float
        Share of unknown bases in the REF window.
    """

    ref: np.ndarray
    alt: np.ndarray
    window_start: int
    stitch_bin: int | None
    n_fraction: float
    first_bin: int = 0


@dataclass(frozen=True)
class AlleleSums:
    """Sums over the bins of both alleles, one for each pair; the rest is that of :class:`AllelePrediction`."""

    pairs: tuple[BinSums, ...]
    window_start: int
    stitch_bin: int | None
    n_fraction: float
    first_bin: int = 0


@dataclass(frozen=True)
class _Place:
    """What is compared for one variant, the bin at which halves join, and the bins kept."""

    pairs: tuple[Pair, ...]
    seam: int
    bins: tuple[int, int]

    @property
    def count(self) -> int:
        return self.bins[1] - self.bins[0]

    @property
    def inner_seam(self) -> int:
        """The seam, counted in the bins kept."""
        return min(max(self.seam - self.bins[0], 0), self.count)

    def facts(self, alleles: Haplotypes) -> dict[str, Any]:
        joined = any(len(pair.ref) + len(pair.alt) > 2 for pair in self.pairs)
        return {
            "window_start": alleles.window_start,
            "stitch_bin": self.seam if joined else None,
            "n_fraction": alleles.n_fraction,
            "first_bin": self.bins[0],
        }


class Predictor:
    """A session with a choice of tracks and options.

    Parameters
    ----------
    session : Session
        The loaded model.
    tracks : TrackTable
        All tracks of the model, in the order of its outputs.
    squash : Squash
        Squashed scale of the *selected* tracks.
    positions : int64 ndarray, optional
        Selected rows of ``tracks``; all when None.
    options : PredictionOptions, optional
        Strands, shifts and alignment.

    Raises
    ------
    InputError
        If a shift is half a window or more, or ``rc`` needs a track that the table lacks.
    """

    def __init__(
        self,
        session: Session,
        tracks: TrackTable,
        squash: Squash,
        *,
        positions: np.ndarray | None = None,
        options: PredictionOptions | None = None,
    ) -> None:
        self.session = session
        self.squash = squash
        self.options = options or PredictionOptions()
        length = session.geometry.sequence_length_bp
        farthest = max(self.options.shifts, key=abs)
        if 2 * abs(farthest) >= length:
            raise InputError(
                f"shift {farthest} moves the variant out of the window of {length} bp; stay below {length // 2}"
            )
        self.positions = np.arange(len(tracks)) if positions is None else np.asarray(positions, dtype=np.int64)
        # The reverse complement of track t is the opposite strand's output: asking the model for the partner's row
        # needs no partner in the selection.
        pairs = tracks.strand_pair[self.positions]
        self._opposite = tracks.positions_of(pairs) if self.options.rc else self.positions
        self._n_fill = N_POLICIES[self.options.n_code]
        self._recent = _Recent(CACHE_BYTES)  # coverage
        self._embedded = _Recent(CACHE_BYTES)

    def variant(self, fasta: Fasta, variant: Variant, *, genome_allele: str | None = None) -> AllelePrediction:
        """Predict both alleles of a variant whose REF has been checked.

        Parameters
        ----------
        fasta : Fasta
            The genome.
        variant : Variant
            Alleles; ``chrom`` is a contig of ``fasta``.
        genome_allele : str, optional
            What the genome holds instead of REF; see :func:`borzoi_rt.engine.alleles.haplotypes`.

        Returns
        -------
        AllelePrediction
        """
        alleles, place = self._placed(fasta, variant, genome_allele)
        ref, alt = self._arrays(alleles, place)
        return AllelePrediction(ref=ref, alt=alt, **place.facts(alleles))

    def sums(self, fasta: Fasta, variant: Variant, rows: Rows, *, genome_allele: str | None = None) -> AlleleSums:
        """Predict both alleles, but keep only sums over bins; the session must be a :class:`SummingSession`.

        Parameters
        ----------
        fasta, variant, genome_allele
            See :meth:`variant`.
        rows : Rows
            Which of the selected tracks make the rows of the sums.

        Returns
        -------
        AlleleSums
        """
        alleles, place = self._placed(fasta, variant, genome_allele)
        terms = self.squash.inverse_terms()
        averaged = self.options.shift_space == "squashed"
        groups = [place.pairs] if averaged else [(pair,) for pair in place.pairs]
        found = tuple(
            self._summing.sums(
                self._views(alleles, [pair.ref for pair in group], place),
                self._views(alleles, [pair.alt for pair in group], place),
                terms,
                rows,
            )
            for group in groups
        )
        return AlleleSums(pairs=found, **place.facts(alleles))

    def _placed(self, fasta: Fasta, variant: Variant, genome_allele: str | None) -> tuple[Haplotypes, _Place]:
        """Return the haplotypes of a variant and what is compared where."""
        options = self.options
        alleles = haplotypes(
            fasta,
            variant,
            self.session.geometry,
            flank_bp=max(abs(shift) for shift in options.shifts),
            edge_fill=options.edge_fill,
            indel=options.indel,
            genome_allele=genome_allele,
            window=options.window,
        )
        pairs = allele_pairs(len(variant.alt) - len(variant.ref), options.shifts, options.indel)
        seam = stitch_bin(self.session.geometry, variant.pos, alleles.window_start)
        return alleles, _Place(pairs, seam, self._bins(variant, alleles.window_start))

    def pair(self, ref: np.ndarray, alt: np.ndarray) -> AllelePrediction:
        """Predict two windows, uint8 one-hot of shape (4, length), that no genome needs to hold.

        Raises
        ------
        InputError
            If the options shift windows: there is nothing beyond the ends of these.
        """
        if self.options.shifts != (0,):
            raise InputError(f"shifts are {self.options.shifts}; windows given as bases cannot be shifted")
        bins = (0, self.session.geometry.bins)
        coverage = [
            self.squash.inverse(self._recent.get(window, bins, self._predict)[None].copy()) for window in (ref, alt)
        ]
        n_fraction = float(1.0 - ref.sum(dtype=np.int64) / ref.shape[1])
        return AllelePrediction(coverage[0], coverage[1], window_start=0, stitch_bin=None, n_fraction=n_fraction)

    def window(self, fasta: Fasta, chrom: str, start: int) -> np.ndarray:
        """Predict one window of the genome, float32 of shape (tracks, bins), in squashed scale.

        Strands and shifts are averaged in squashed space, as the reference programs do for coverage.
        """
        length = self.session.geometry.sequence_length_bp
        flank = max(abs(shift) for shift in self.options.shifts)
        text = fasta.fetch(chrom, start - flank, start + length + flank)
        onehot = encode(text)
        alleles = Haplotypes(
            ref=onehot,
            alt=onehot,
            flank_bp=flank,
            window_start=start,
            length_bp=length,
            n_fraction=0.0,
            edge_fill=self.options.edge_fill,
            pad_deletion=False,
        )
        bins = (0, self.session.geometry.bins)
        views = [self._view(alleles, View("ref", shift), bins) for shift in self.options.shifts]
        return views[0].copy() if len(views) == 1 else np.stack(views).mean(axis=0, dtype=np.float32)

    def _bins(self, variant: Variant, window_start: int) -> tuple[int, int]:
        """Return the bins to keep: ``span_bp`` around the middle of REF, moved where it would leave the output."""
        grid = self.session.geometry
        if self.options.span_bp is None:
            return 0, grid.bins
        count = min(-(-self.options.span_bp // grid.bin_size_bp), grid.bins)
        middle = variant.pos - 1 + len(variant.ref) // 2 - window_start - grid.crop_bp
        first = (middle - count * grid.bin_size_bp // 2 + grid.bin_size_bp // 2) // grid.bin_size_bp
        first = min(max(first, 0), grid.bins - count)
        return first, first + count

    def _arrays(self, alleles: Haplotypes, place: _Place) -> tuple[np.ndarray, np.ndarray]:
        ref = np.stack([self._joined(alleles, pair.ref, place) for pair in place.pairs])
        alt = np.stack([self._joined(alleles, pair.alt, place) for pair in place.pairs])
        if self.options.shift_space == "squashed" and len(place.pairs) > 1:
            ref = ref.mean(axis=0, keepdims=True)
            alt = alt.mean(axis=0, keepdims=True)
        return self.squash.inverse(ref), self.squash.inverse(alt)

    def _joined(self, alleles: Haplotypes, views: tuple[View, ...], place: _Place) -> np.ndarray:
        first = self._view(alleles, views[0], place.bins)
        if len(views) == 1:
            return first
        second = self._view(alleles, views[1], place.bins)
        return np.concatenate([first[:, : place.inner_seam], second[:, place.inner_seam :]], axis=1)

    def _views(self, alleles: Haplotypes, groups: Sequence[tuple[View, ...]], place: _Place) -> Views:
        """Return the views of one allele, averaged over ``groups``; the strands of a view stand one after the other."""
        embeddings, shares = [], []
        for views in groups:
            edges = (0, place.inner_seam, place.count) if len(views) == 2 else (0, place.count)
            for view, (start, end) in zip(views, pairwise(edges), strict=True):
                strands = self._embedded.get(alleles.window(view), place.bins, self._embed)
                share = np.zeros((len(strands), place.count), dtype=np.float32)
                share[:, start:end] = 1.0 / (len(strands) * len(groups))
                embeddings.append(strands)
                shares.append(share)
        order = [self.positions, self._opposite] if self.options.rc else [self.positions]
        tracks = np.stack(order * len(embeddings))
        return Views(np.concatenate(embeddings), np.concatenate(shares), tracks)

    def _embed(self, window: np.ndarray, bins: tuple[int, int]) -> np.ndarray:
        """Return what the head reads, (strands, bins, channels), in the order of the forward strand."""
        strands = [self._summing.embed(window, self._n_fill, bins)]
        if self.options.rc:
            backward = self._summing.embed(reverse_complement(window), self._n_fill, self._mirrored(bins))
            strands.append(backward[::-1])
        return np.stack(strands)

    @property
    def _summing(self) -> SummingSession:
        if not isinstance(self.session, SummingSession):
            raise InputError("the session hands over coverage; open one with EngineOptions(fused=True)")
        return self.session

    def _view(self, alleles: Haplotypes, view: View, bins: tuple[int, int]) -> np.ndarray:
        """Return squashed coverage (tracks, bins) of one view; equal windows are predicted once."""
        window = alleles.window(view)
        return self._recent.get(window, bins, self._predict)

    def _predict(self, window: np.ndarray, bins: tuple[int, int]) -> np.ndarray:
        # One window a run, whatever its company: the same sequence then gives the same bits, so that a null variant
        # scores exactly 0 and no score depends on its neighbours.
        forward = self.session.run(window[None], self.positions, n_fill=self._n_fill, bins=bins)[0]
        if not self.options.rc:
            return forward
        reverse = reverse_complement(window)[None]
        backward = self.session.run(reverse, self._opposite, n_fill=self._n_fill, bins=self._mirrored(bins))[0]
        return (forward + backward[:, ::-1]) * np.float32(0.5)

    def _mirrored(self, bins: tuple[int, int]) -> tuple[int, int]:
        """Return where bins lie in the output of the reverse complement."""
        count = self.session.geometry.bins
        return count - bins[1], count - bins[0]


class _Recent:
    """The latest results of one function by content of the window, so that the ALTs of one line share their REF."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._held_bytes = 0
        self._entries: OrderedDict[tuple[bytes, tuple[int, int]], np.ndarray] = OrderedDict()

    def get(
        self,
        window: np.ndarray,
        bins: tuple[int, int],
        predict: Callable[[np.ndarray, tuple[int, int]], np.ndarray],
    ) -> np.ndarray:
        key = (hashlib.blake2b(window.data, digest_size=32).digest(), bins)
        found = self._entries.get(key)
        if found is not None:
            self._entries.move_to_end(key)
            return found
        result = predict(window, bins)
        result.setflags(write=False)
        self._entries[key] = result
        self._held_bytes += result.nbytes
        while self._held_bytes > self._limit_bytes and len(self._entries) > 1:
            _, oldest = self._entries.popitem(last=False)
            self._held_bytes -= oldest.nbytes
        return result
