"""Which bins of a predicted array belong to a gene: the array's frame, and the rule for bins that a gene part fills.

A frame says where the bases of the genome lie in one array: left of the variant at a constant distance, right of it
moved by what the allele is longer or shorter than what the genome holds, and all of it moved by what was cut off at the
left (``centre_trim``) or shifted to restore a phase (``average``). Where two predictions are joined (``stitch``) both
alleles have the frame of the one that was not: an insertion that of REF, a deletion that of ALT. Shifts that were asked
for leave the grid of bins alone, as in the reference programs: they ask for the same bins of another view.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..bundle.manifest import Geometry
from ..errors import InputError
from ..genome.genes import Gene
from ..genome.variants import Variant
from ..types import IndexArray
from .alleles import allele_pairs
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
        0-based base of the genome that is base 0 of the output, left of the variant.
    edit : int
        0-based base where the allele begins.
    held_bp, allele_bp : int
        Bases that the genome has there, and bases of the allele.
    """

    start: int
    edit: int
    held_bp: int
    allele_bp: int

    def lift(self, positions: IndexArray) -> IndexArray:
        """Return where ends of intervals of the genome lie in the output, in bp; inside the allele, at most its end."""
        beyond = positions >= self.edit + self.held_bp
        inner = np.minimum(positions, self.edit + self.allele_bp)
        moved = np.where(beyond, positions + self.allele_bp - self.held_bp, inner)
        return np.where(positions <= self.edit, positions, moved) - self.start

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


def frames_of(
    variant: Variant,
    window_start: int,
    geometry: Geometry,
    options: PredictionOptions,
    genome_allele: str | None = None,
) -> tuple[tuple[Frame, Frame], ...]:
    """Return the frames of REF and ALT, one pair for each pair of arrays of :class:`AllelePrediction`.

    Parameters
    ----------
    variant : Variant
        Alleles, REF first.
    window_start : int
        0-based start of the input window.
    geometry : Geometry
        Window and output grid.
    options : PredictionOptions
        With nothing left open.
    genome_allele : str, optional
        What the genome holds instead of REF.

    Raises
    ------
    InputError
        If arrays of different frames are averaged.
    """
    held_bp = len(variant.ref if genome_allele is None else genome_allele)
    length_bp = {"ref": len(variant.ref), "alt": len(variant.alt)}
    k = length_bp["alt"] - length_bp["ref"]
    shared = options.window.startswith("cluster:")
    pairs = allele_pairs(k, options.shifts, str(options.indel), shared=shared)
    phases = len(pairs) // len(options.shifts)
    averaged = options.shift_space == "squashed"
    if averaged and phases > 1:
        raise InputError(
            "indel policy 'average' with shift_space 'squashed' adds arrays in which genes lie elsewhere; choose "
            "another indel policy, or shift_space 'unsquashed'"
        )
    found = []
    for number, pair in enumerate(pairs[:1] if averaged else pairs):
        shift = options.shifts[number // phases]
        # Of an allele that two predictions were joined for, the other one's frame holds on both sides.
        alone = [views[0] for views in (pair.ref, pair.alt) if len(views) == 1]
        frames = [
            Frame(
                start=window_start + geometry.crop_bp + view.trim_bp - (view.shift_bp - shift),
                edit=variant.pos - 1,
                held_bp=held_bp,
                allele_bp=length_bp[view.allele],
            )
            for view in alone
        ]
        found.append((frames[0], frames[-1]))
    return tuple(found)


def intervals_of(gene: Gene, region: Region) -> IndexArray:
    """Return the part of a gene that a region means, int64 (intervals, 2), [start, end) in bp of the genome."""
    if region.kind == "exons":
        return gene.exons
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
