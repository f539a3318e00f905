"""Which bins of a predicted array belong to a gene: the array's frame, and the rule for bins that a gene part fills.

A frame says where the bases of the genome lie in one array: left of the variant at a constant distance, right of it
moved by what the allele is longer or shorter than what the genome holds, and all of it moved by what was cut off at the
left (``centre_trim``) or shifted to restore a phase (``average``). Where two predictions are joined (``stitch``) both
alleles have the frame of the one that was not: an insertion that of REF, a deletion that of ALT. Shifts that were asked
for leave the grid of bins alone, as in the reference programs: they ask for the same bins of another view.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..bundle.manifest import Geometry
from ..errors import InputError
from ..genome.genes import Gene
from ..genome.variants import Variant
from ..types import IndexArray
from .alleles import Comparison, allele_pairs
from .options import PredictionOptions
from .regions import Region

# A bin belongs to an interval that it shares a base with, or where the rounded ends of the interval say so: then about
# half of it must be covered, and short exons may have no bin.
BIN_RULES = ("overlap", "half")


@dataclass(frozen=True, slots=True)
class Frame:
    """Where the bases of the genome lie in one array.

    Attributes
    ----------
    start : int
        0-based base of the genome that is base 0 of the output, left of the first edit.
    edits : tuple of (int, int, int)
        Of each allele, in their order: the 0-based base where it begins, how many bases the genome has there, and how
        many bases the allele has.
    """

    start: int
    edits: tuple[tuple[int, int, int], ...]

    def lift(self, positions: IndexArray) -> IndexArray:
        """Return where ends of intervals of the genome lie in the output, in bp; inside an allele, at most its end."""
        lifted = positions - self.start
        for edit, held_bp, allele_bp in self.edits:
            after = positions > edit
            beyond = after & (positions >= edit + held_bp)
            inside = np.maximum(positions - (edit + allele_bp), 0)
            lifted = lifted + np.where(beyond, allele_bp - held_bp, np.where(after, -inside, 0))
        return lifted

    def bins(self, intervals: IndexArray, rule: str, geometry: Geometry) -> IndexArray:
        """Return the bins of the output that belong to intervals of the genome, ascending, each once.

        Parameters
        ----------
        intervals : int64 ndarray of shape (intervals, 2)
            [start, end) in bp.
        rule : str
            ``overlap``: from floor(start / w) to ceil(end / w), w the width of a bin. ``half``: both ends rounded to
            the nearest whole number, halves to the even one.
        """
        lifted = self.lift(intervals)
        ends = lifted[lifted[:, 1] > lifted[:, 0]] / geometry.bin_size_bp
        low, high = (np.floor(ends[:, 0]), np.ceil(ends[:, 1])) if rule == "overlap" else np.rint(ends).T
        held = np.zeros(geometry.bins, dtype=bool)
        for first, last in zip(*(np.clip(part, 0, geometry.bins).astype(int) for part in (low, high)), strict=True):
            held[first:last] = True
        return np.flatnonzero(held)


def gene_window(gene: Gene, geometry: Geometry) -> int:
    """Return the 0-based start of the window of a gene: its midpoint in the middle, output from base 0 on at least.

    As in ``borzoi_satg_gene.py`` of calico/borzoi.
    """
    return max(gene.midpoint - geometry.sequence_length_bp // 2, -geometry.crop_bp)


def frames_of(
    compared: Comparison | Variant,
    window_start: int,
    geometry: Geometry,
    options: PredictionOptions,
    genome_allele: str | None = None,
) -> tuple[tuple[Frame, Frame], ...]:
    """Return the frames of REF and ALT, one pair for each pair of arrays of :class:`AllelePrediction`.

    Parameters
    ----------
    compared : Comparison or Variant
        Alleles, REF first.
    window_start : int
        0-based start of the input window.
    geometry : Geometry
        Window and output grid.
    options : PredictionOptions
        With nothing left open.
    genome_allele : str, optional
        What the genome holds instead of REF of a variant.

    Raises
    ------
    InputError
        If arrays of different frames are averaged.
    """
    if isinstance(compared, Variant):
        compared = Comparison.of(compared, genome_allele)
    shared = options.window.startswith("cluster:")
    pairs = allele_pairs(compared.offsets, options.shifts, str(options.indel), shared=shared)
    phases = len(pairs) // len(options.shifts)
    averaged = options.shift_space == "squashed"
    if averaged and phases > 1:
        raise InputError(
            "indel policy 'average' with shift_space 'squashed' adds arrays in which genes lie elsewhere; choose "
            "another indel policy, or shift_space 'unsquashed'"
        )
    start = window_start + geometry.crop_bp
    found = []
    for number, pair in enumerate(pairs[:1] if averaged else pairs):
        if len(pair.ref) + len(pair.alt) > 2:
            frame = Frame(start, _joined_edits(compared, shared))
            found.append((frame, frame))
            continue
        shift = options.shifts[number // phases]
        ref, alt = (
            Frame(start + view.trim_bp - (view.shift_bp - shift), edits)
            for view, edits in zip((pair.ref[0], pair.alt[0]), _own_edits(compared), strict=True)
        )
        found.append((ref, alt))
    return tuple(found)


def _own_edits(compared: Comparison) -> tuple[tuple[tuple[int, int, int], ...], ...]:
    """Return the edits of REF and those of ALT."""
    return tuple(
        tuple((edit.start, edit.held_bp, len(getattr(edit, name))) for edit in compared.edits)
        for name in ("ref", "alt")
    )


def _joined_edits(compared: Comparison, shared: bool) -> tuple[tuple[int, int, int], ...]:
    """Return the edits of the frame that both alleles have once they were joined: in each part that of the shorter.

    Where REF is shared with other variants it never moves, and the frame is its own.
    """
    frame = [ref if shared else min(ref, alt) for ref, alt in compared.moves]
    return tuple(
        (edit.start, edit.held_bp, edit.held_bp + after - before)
        for edit, (before, after) in zip(compared.edits, pairwise(frame), strict=True)
    )


def intervals_of(
    gene: Gene, region: Region, *, window: tuple[int, int] = (0, 0), variant: tuple[int, int] = (0, 0)
) -> IndexArray:
    """Return the part of a gene that a region means, int64 (intervals, 2), [start, end) in bp of the genome.

    Parameters
    ----------
    window, variant : (int, int)
        Output window, and bases of the variant: [start, end) of what ``gene_mask`` and ``gene_body`` ask for.
    """
    if region.kind == "exons":
        return gene.exons
    if region.kind == "gene_mask":
        return gene.started_in(*window)
    start, end = gene.span
    if region.kind == "gene_body":
        met = start < variant[1] and end > variant[0]
        return np.array([gene.span] if met else np.zeros((0, 2)), dtype=np.int64)
    if region.kind == "span":
        return np.array([gene.span], dtype=np.int64)
    width = region.width_bp or 0
    start = gene.tss - width // 2
    return np.array([(start, start + width)], dtype=np.int64)


def covered_fraction(intervals: IndexArray, window_start: int, geometry: Geometry) -> float:
    """Return the share of the bases of intervals that the output window holds, before any allele is put in."""
    start = window_start + geometry.crop_bp
    inner = np.clip(intervals, start, start + geometry.bins * geometry.bin_size_bp)
    return float(np.diff(inner).sum() / np.diff(intervals).sum())
