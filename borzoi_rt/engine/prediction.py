"""Predictions of windows and of variants: strands, shifts, the squashed scale and its inverse."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from ..backends.protocols import BinSums, Embedding, Session, Views
from ..bundle.manifest import N_POLICIES
from ..errors import InputError
from ..genome.fasta import Fasta
from ..genome.variants import Variant
from ..sequence import encode, packed, reverse_complement
from ..squash import Squash
from ..tracks import TrackTable
from .alleles import Comparison, Haplotypes, Pair, View, allele_pairs, haplotypes
from .cache import Cache
from .options import PredictionOptions
from .regions import WINDOW, Region, hull
from .summing import Rows, SummingSession


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
    n_fraction : float
        Share of unknown bases in the REF window.
    first_bin : int
        Bin of the output that is bin 0 of ``ref`` and ``alt``.
    regions : tuple of (int, int)
        Bins [start, end) of the output of each region asked for; empty where a region holds none.
    """

    ref: np.ndarray
    alt: np.ndarray
    window_start: int
    stitch_bin: int | None
    n_fraction: float
    first_bin: int = 0
    regions: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class AlleleSums:
    """Sums over the bins of both alleles: of each region, one for each pair; see :class:`AllelePrediction`.

    ``sums`` holds None for a region without bins.
    """

    sums: tuple[tuple[BinSums, ...] | None, ...]
    window_start: int
    stitch_bin: int | None
    n_fraction: float
    first_bin: int = 0
    regions: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class _Work:
    """What is compared for one variant, the bins at which parts join, the bins kept and those of each region."""

    pairs: tuple[Pair, ...]
    seams: tuple[int, ...]
    bins: tuple[int, int]
    regions: tuple[tuple[int, int], ...]

    @property
    def count(self) -> int:
        return self.bins[1] - self.bins[0]

    def parts(self, views: Sequence[View]) -> Iterator[tuple[View, int, int]]:
        """Yield each view with its share of the bins kept."""
        inner = [min(max(seam - self.bins[0], 0), self.count) for seam in self.seams] if len(views) > 1 else []
        for view, (start, end) in zip(views, pairwise((0, *inner, self.count)), strict=True):
            yield view, start, end

    def facts(self, alleles: Haplotypes) -> dict[str, Any]:
        joined = any(len(pair.ref) + len(pair.alt) > 2 for pair in self.pairs)
        return {
            "window_start": alleles.window_start,
            "stitch_bin": self.seams[0] if joined else None,
            "n_fraction": alleles.n_fraction,
            "first_bin": self.bins[0],
            "regions": self.regions,
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
        Strands, shifts and alignment; what they leave open is taken from :data:`borzoi_rt.engine.options.DEFAULTS`.
    n_policy : str
        The bundle's code of unknown bases, where the options leave it open.

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
        n_policy: str = "zero",
    ) -> None:
        self.session = session
        self.squash = squash
        self.options = (options or PredictionOptions()).resolved({}, n_policy)
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
        self._n_fill = N_POLICIES[str(self.options.n_code)]
        # Several predictors may stand on one session: what tells their results apart is part of every key.
        self._memory: Cache = getattr(session, "memory", None) or Cache()
        chosen = hashlib.blake2b(self.positions.tobytes() + self._opposite.tobytes(), digest_size=16).digest()
        self._key = chosen + f"{self.options.rc} {self._n_fill!r}".encode()

    @property
    def memory(self) -> Cache:
        """What was computed before; the session's own where it has one."""
        return self._memory

    def variant(
        self,
        fasta: Fasta,
        variant: Variant | Comparison,
        *,
        genome_allele: str | None = None,
        regions: Sequence[Region] = (WINDOW,),
        bins: Sequence[tuple[int, int]] = (),
        window_start: int | None = None,
    ) -> AllelePrediction:
        """Predict both alleles of a variant whose REF has been checked.

        Parameters
        ----------
        fasta : Fasta
            The genome.
        variant : Variant or Comparison
            Alleles, or two haplotypes; ``chrom`` is a contig of ``fasta``.
        genome_allele : str, optional
            What the genome holds instead of REF; see :func:`borzoi_rt.engine.alleles.haplotypes`.
        regions : sequence of Region
            Which bins are needed; the smallest range that holds them all is computed.
        bins : sequence of (int, int)
            More ranges of bins that are needed, as those of genes.
        window_start : int, optional
            0-based start of the window, instead of what the options' rule says.

        Returns
        -------
        AllelePrediction

        Raises
        ------
        InputError
            If no region holds a bin of the output.
        """
        alleles, comparison = self._compared(fasta, variant, genome_allele, regions, window_start, bins)
        ref, alt = self._arrays(alleles, comparison)
        return AllelePrediction(ref=ref, alt=alt, **comparison.facts(alleles))

    def sums(
        self,
        fasta: Fasta,
        variant: Variant | Comparison,
        rows: Rows,
        *,
        genome_allele: str | None = None,
        regions: Sequence[Region] = (WINDOW,),
        window_start: int | None = None,
    ) -> AlleleSums:
        """Predict both alleles, but keep only sums over bins; the session must be a :class:`SummingSession`.

        Parameters
        ----------
        fasta, variant, genome_allele, regions, window_start
            See :meth:`variant`.
        rows : Rows
            Which of the selected tracks make the rows of the sums.

        Returns
        -------
        AlleleSums
        """
        alleles, comparison = self._compared(fasta, variant, genome_allele, regions, window_start)
        found = tuple(
            self._pair_sums(alleles, replace(comparison, bins=bins), rows) if bins[0] < bins[1] else None
            for bins in comparison.regions
        )
        return AlleleSums(sums=found, **comparison.facts(alleles))

    def _pair_sums(self, alleles: Haplotypes, comparison: _Work, rows: Rows) -> tuple[BinSums, ...]:
        terms = self.squash.inverse_terms()
        averaged = self.options.shift_space == "squashed"
        groups = [comparison.pairs] if averaged else [(pair,) for pair in comparison.pairs]
        return tuple(
            self._summing.sums(
                self._views(alleles, [pair.ref for pair in group], comparison),
                self._views(alleles, [pair.alt for pair in group], comparison),
                terms,
                rows,
            )
            for group in groups
        )

    def _compared(
        self,
        fasta: Fasta,
        variant: Variant | Comparison,
        genome_allele: str | None,
        regions: Sequence[Region],
        window_start: int | None,
        more: Sequence[tuple[int, int]] = (),
    ) -> tuple[Haplotypes, _Work]:
        """Return the haplotypes of a variant and what is compared where."""
        options, geometry = self.options, self.session.geometry
        compared = Comparison.of(variant, genome_allele) if isinstance(variant, Variant) else variant
        alleles = haplotypes(
            fasta,
            compared,
            geometry,
            flank_bp=max(abs(shift) for shift in options.shifts),
            edge_fill=str(options.edge_fill),
            indel=str(options.indel),
            window=options.window if window_start is None else f"at:{window_start}",
        )
        shared = options.window.startswith("cluster:")
        pairs = allele_pairs(compared.offsets, options.shifts, str(options.indel), shared=shared)
        seams = compared.seams(geometry, alleles.window_start)
        bins = tuple(region.bins(compared.anchor, alleles.window_start, geometry) for region in regions)
        return alleles, _Work(pairs, seams, hull((*bins, *more)), bins)

    def pair(self, ref: np.ndarray, alt: np.ndarray) -> AllelePrediction:
        """Predict two windows, uint8 one-hot of shape (4, length), that no genome needs to hold.

        Raises
        ------
        InputError
            If the options shift windows: there is nothing beyond the ends of these.
        """
        coverage = [self.squash.inverse(self.sequence(window)[None]) for window in (ref, alt)]
        n_fraction = float(1.0 - ref.sum(dtype=np.int64) / ref.shape[1])
        bins = ((0, self.session.geometry.bins),)
        return AllelePrediction(
            coverage[0], coverage[1], window_start=0, stitch_bin=None, n_fraction=n_fraction, regions=bins
        )

    def sequence(self, window: np.ndarray) -> np.ndarray:
        """Predict one window, uint8 one-hot of shape (4, length): float32 (tracks, bins), in squashed scale.

        Raises
        ------
        InputError
            If the options shift windows: there is nothing beyond the ends of this one.
        """
        if self.options.shifts != (0,):
            raise InputError(f"shifts are {self.options.shifts}; windows given as bases cannot be shifted")
        return self._predicted(window, (0, self.session.geometry.bins)).copy()

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
            edge_fill=str(self.options.edge_fill),
            pad_deletion=False,
        )
        bins = (0, self.session.geometry.bins)
        views = [self._view(alleles, View("ref", shift), bins) for shift in self.options.shifts]
        return views[0].copy() if len(views) == 1 else np.stack(views).mean(axis=0, dtype=np.float32)

    def _arrays(self, alleles: Haplotypes, comparison: _Work) -> tuple[np.ndarray, np.ndarray]:
        ref = np.stack([self._joined(alleles, pair.ref, comparison) for pair in comparison.pairs])
        alt = np.stack([self._joined(alleles, pair.alt, comparison) for pair in comparison.pairs])
        if self.options.shift_space == "squashed" and len(comparison.pairs) > 1:
            ref = ref.mean(axis=0, keepdims=True)
            alt = alt.mean(axis=0, keepdims=True)
        return self.squash.inverse(ref), self.squash.inverse(alt)

    def _joined(self, alleles: Haplotypes, views: tuple[View, ...], comparison: _Work) -> np.ndarray:
        if len(views) == 1:
            return self._view(alleles, views[0], comparison.bins)
        parts = [
            self._view(alleles, view, comparison.bins)[:, start:end]
            for view, start, end in comparison.parts(views)
            if start < end
        ]
        return np.concatenate(parts, axis=1)

    def _views(self, alleles: Haplotypes, groups: Sequence[tuple[View, ...]], comparison: _Work) -> Views:
        """Return the views of one allele, averaged over ``groups``; the strands of a view stand one after the other."""
        embeddings: list[Embedding] = []
        shares = []
        for views in groups:
            for view, start, end in comparison.parts(views):
                strands = self._embedded(alleles.window(view), comparison.bins)
                share = np.zeros((len(strands), comparison.count), dtype=np.float32)
                share[:, start:end] = 1.0 / (len(strands) * len(groups))
                embeddings += strands
                shares.append(share)
        order = [self.positions, self._opposite] if self.options.rc else [self.positions]
        tracks = np.stack(order * len(shares))
        return Views(embeddings, np.concatenate(shares), tracks)

    def _embed(self, window: np.ndarray, bins: tuple[int, int]) -> list[Embedding]:
        """Return what the head reads of each strand, (bins, channels) in the order of the forward strand."""
        strands = [self._summing.embed(window, self._n_fill, bins)]
        if self.options.rc:
            reverse, mirrored = reverse_complement(window), self._mirrored(bins)
            strands.append(self._summing.embed(reverse, self._n_fill, mirrored, turned=True))
        return strands

    @property
    def _summing(self) -> SummingSession:
        if not isinstance(self.session, SummingSession):
            raise InputError("the session hands over coverage; open one with EngineOptions(fused=True)")
        return self.session

    def _view(self, alleles: Haplotypes, view: View, bins: tuple[int, int]) -> np.ndarray:
        """Return squashed coverage (tracks, bins) of one view; equal windows are predicted once."""
        return self._predicted(alleles.window(view), bins)

    def _predicted(self, window: np.ndarray, bins: tuple[int, int]) -> np.ndarray:
        """Return the coverage of a window, held for the ALTs of one line, which share their REF."""
        return self._memory.get(self._key_of("coverage", window, bins), lambda: [self._predict(window, bins)])[0]

    def _embedded(self, window: np.ndarray, bins: tuple[int, int]) -> Sequence[Embedding]:
        return self._memory.get(self._key_of("embedding", window, bins), lambda: self._embed(window, bins))

    def _key_of(self, kind: str, window: np.ndarray, bins: tuple[int, int]) -> bytes:
        key = hashlib.blake2b(packed(window).data, digest_size=32)
        key.update(self._key + f"{kind} {bins}".encode())
        return key.digest()

    def _predict(self, window: np.ndarray, bins: tuple[int, int]) -> np.ndarray:
        # One window a run, whatever its company: the same sequence then gives the same bits, so that a null variant
        # scores exactly 0 and no score depends on its neighbours.
        forward: np.ndarray = self.session.run(window[None], self.positions, n_fill=self._n_fill, bins=bins)[0]
        if not self.options.rc:
            return forward
        reverse = reverse_complement(window)[None]
        backward = self.session.run(reverse, self._opposite, n_fill=self._n_fill, bins=self._mirrored(bins))[0]
        found: np.ndarray = (forward + backward[:, ::-1]) * np.float32(0.5)
        return found

    def _mirrored(self, bins: tuple[int, int]) -> tuple[int, int]:
        """Return where bins lie in the output of the reverse complement."""
        count = self.session.geometry.bins
        return count - bins[1], count - bins[0]
