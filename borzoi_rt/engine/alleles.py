"""From one variant to the windows that are predicted: haplotypes, shifts and the alignment of indels.

Notation: k = len(ALT) - len(REF), L the window length, s a shift in bp. A shift moves the sequence to the right. The
window of a variant starts at ``pos - L/2`` (0-based), so that POS is base L/2 - 1 of it, or at a multiple of a grid.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

import numpy as np

from ..bundle.manifest import Geometry
from ..errors import InputError
from ..genome.fasta import Fasta
from ..genome.variants import Variant
from ..sequence import apply_variant, encode

INDEL_POLICIES = ("stitch", "average", "centre_trim", "none")
EDGE_FILLS = ("genome", "pad")
_WINDOW = re.compile(r"centered|grid:[1-9][0-9]{0,9}|at:-?[0-9]{1,10}|cluster:0?\.[0-9]{0,9}[1-9]")


@dataclass(frozen=True, slots=True)
class View:
    """One window of one allele: ``shift_bp`` moves the sequence right, ``trim_bp`` bases are first cut at its left."""

    allele: Literal["ref", "alt"]
    shift_bp: int
    trim_bp: int = 0


@dataclass(frozen=True, slots=True)
class Edit:
    """A site of the genome where two sequences carry alleles.

    Attributes
    ----------
    start : int
        0-based first base that is replaced.
    held_bp : int
        How many bases of the genome are replaced.
    ref, alt : str
        What either sequence has there.
    seam : int
        0-based base from which on the allele moves what follows: the one after the anchor.
    """

    start: int
    held_bp: int
    ref: str
    alt: str
    seam: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sequences that differ from the genome at some sites: REF and ALT of a variant, or two haplotypes.

    Attributes
    ----------
    edits : tuple of Edit
        In the order of the genome; none meets another.
    anchor : Variant
        What windows and regions lie around: the variant, or the middle of several.
    """

    edits: tuple[Edit, ...]
    anchor: Variant

    @classmethod
    def of(cls, variant: Variant, genome_allele: str | None = None) -> Comparison:
        """Return the comparison of REF with ALT; ``genome_allele`` is what the genome holds where that is not REF."""
        held_bp = len(variant.ref if genome_allele is None else genome_allele)
        return cls((Edit(variant.pos - 1, held_bp, variant.ref, variant.alt, variant.pos),), variant)

    @property
    def chrom(self) -> str:
        """The contig."""
        return self.anchor.chrom

    @property
    def moves(self) -> tuple[tuple[int, int], ...]:
        """How far REF and ALT have moved to the right of the genome before the first edit and after each, in bp."""
        steps = ((len(edit.ref) - edit.held_bp, len(edit.alt) - edit.held_bp) for edit in self.edits)
        return tuple(accumulate(steps, lambda at, step: (at[0] + step[0], at[1] + step[1]), initial=(0, 0)))

    @property
    def offsets(self) -> tuple[int, ...]:
        """How far ALT has moved to the right of REF before the first edit and after each, in bp; the last is k."""
        return tuple(alt - ref for ref, alt in self.moves)

    @property
    def moved_bp(self) -> int:
        """How far bases may move at most, whichever way, in bp."""
        return sum(abs(len(edit.alt) - len(edit.ref)) + abs(len(edit.ref) - edit.held_bp) for edit in self.edits)

    def seams(self, geometry: Geometry, window_start: int) -> tuple[int, ...]:
        """Return the output bin from which on each edit counts, where both are in the frame of the shorter one."""
        moved = [min(pair) for pair in self.moves]
        found = (
            stitch_bin(geometry, edit.seam + before, window_start)
            for edit, before in zip(self.edits, moved, strict=False)
        )
        return tuple(accumulate(found, max))


@dataclass(frozen=True, slots=True)
class Pair:
    """What is compared: the views of each allele; several, one for each part between edits, are joined at the seams."""

    ref: tuple[View, ...]
    alt: tuple[View, ...]


def allele_pairs(
    k: int | Sequence[int], shifts: Sequence[int], indel: str, *, shared: bool = False
) -> tuple[Pair, ...]:
    """List the comparisons of one variant, or of two haplotypes, one or more per shift.

    - ``stitch``: the longer allele is predicted in two phases, ``s`` left of the variant and moved by the length
      difference right of it, and the two are joined at the stitch bin; both alleles then have one phase on each side.
      Of several edits, each part between them has the phase that the lengths before it ask for.
    - ``average``: the same predictions as separate pairs, whose scores are averaged (the default of ``hound_snp``).
    - ``centre_trim``: both alleles keep the shift; the allele that is longer than the window loses ``|k| // 2`` bases
      on the left and the rest on the right (``borzoi_sad``).
    - ``none``: every allele in its own frame.

    Parameters
    ----------
    k : int, or sequence of int
        len(ALT) - len(REF); of several edits, :attr:`Comparison.offsets`.
    shifts : sequence of int
        Shifts in bp.
    indel : str
        One of ``INDEL_POLICIES``; all are the same where lengths are.
    shared : bool
        Whether REF is shared with other variants, as in a cluster: then ALT is moved for deletions too.

    Returns
    -------
    tuple of Pair
    """
    if indel not in INDEL_POLICIES:
        raise InputError(f"indel policy {indel!r} is unknown; allowed: {', '.join(INDEL_POLICIES)}")
    offsets = (0, k) if isinstance(k, int) else tuple(k)
    total = offsets[-1]
    pairs: list[Pair] = []
    for shift in shifts:
        ref, alt = View("ref", shift), View("alt", shift)
        if indel == "none" or not any(offsets):
            pairs.append(Pair((ref,), (alt,)))
        elif indel == "centre_trim":
            trim_bp = abs(total) // 2
            trimmed = View("ref" if total < 0 else "alt", shift, trim_bp)
            pairs.append(Pair((trimmed,), (alt,)) if total < 0 else Pair((ref,), (trimmed,)))
        elif indel == "stitch":
            moved = [_in_phase(shift, offset, shared) for offset in offsets]
            pairs.append(Pair(_views("ref", moved, 0), _views("alt", moved, 1)))
        else:
            for offset in dict.fromkeys(offsets):
                shifted = _in_phase(shift, offset, shared)
                pairs.append(Pair((View("ref", shifted[0]),), (View("alt", shifted[1]),)))
    return tuple(pairs)


def _in_phase(shift: int, offset: int, shared: bool) -> tuple[int, int]:
    """Return the shifts of REF and ALT that give both one phase where ALT has moved by ``offset``.

    A deletion brings ALT closer on the right: moving REF left by as much restores the phase there. An insertion is the
    mirror image. Both are a move of the longer allele. Where REF is shared with other variants it cannot move: ALT of a
    deletion moves right instead.
    """
    return (shift + offset, shift) if offset < 0 and not shared else (shift, shift - offset)


def _views(allele: Literal["ref", "alt"], moved: Sequence[tuple[int, int]], which: int) -> tuple[View, ...]:
    """Return the view of each part; a single one where all are the same."""
    shifts = [pair[which] for pair in moved]
    same = len(set(shifts)) == 1
    return tuple(View(allele, shift) for shift in (shifts[:1] if same else shifts))


def stitch_bin(geometry: Geometry, pos: int, window_start: int) -> int:
    """Return the first output bin taken from the moved prediction: that of the base after the anchor."""
    position = (pos - window_start - geometry.crop_bp) // geometry.bin_size_bp
    return min(max(position, 0), geometry.bins)


def check_window(window: str) -> None:
    """Refuse a window rule that is none of ``centered``, ``grid:BP``, ``at:START`` and ``cluster:SHARE``."""
    if not isinstance(window, str) or not _WINDOW.fullmatch(window):
        raise InputError(f"window {window!r} is unknown; allowed: centered, grid:BP, at:START")


def window_start(pos: int, length_bp: int, window: str = "centered") -> int:
    """Return the 0-based start of the window of a variant.

    ``centered``: POS is base L/2 - 1. ``grid:BP``: the nearest multiple of BP. ``at:START``: always START.
    """
    rule, _, number = window.partition(":")
    centred = pos - length_bp // 2
    if rule == "at":
        return int(number)
    if rule == "grid":
        return (centred + int(number) // 2) // int(number) * int(number)
    return centred


@dataclass(frozen=True)
class Haplotypes:
    """REF and ALT of one variant, or two haplotypes, as one-hot DNA, with enough flank for every view.

    Attributes
    ----------
    ref, alt : uint8 ndarray of shape (4, flank + length + flank')
        The alleles; column ``flank_bp`` is base 0 of the window.
    window_start : int
        0-based start of the window; negative where it begins before the chromosome.
    n_fraction : float
        Share of unknown bases in the unshifted REF window.
    """

    ref: np.ndarray
    alt: np.ndarray
    flank_bp: int
    window_start: int
    length_bp: int
    n_fraction: float
    edge_fill: str
    pad_deletion: bool

    def window(self, view: View) -> np.ndarray:
        """Return one window, uint8 of shape (4, length), C-contiguous.

        With ``edge_fill='genome'`` bases that enter at an end come from the chromosome (N only beyond it); with
        ``'pad'`` the window is cut first and moved then, so that unknown bases enter, as in the reference programs.
        """
        haplotype = self.ref if view.allele == "ref" else self.alt
        start = self.flank_bp + view.trim_bp
        if self.edge_fill == "genome":
            start -= view.shift_bp
            return np.ascontiguousarray(haplotype[:, start : start + self.length_bp])
        window = np.zeros((4, self.length_bp), dtype=np.uint8)
        base = haplotype[:, start : start + self._kept_bp(view.allele)]
        left = max(view.shift_bp, 0)
        source = base[:, max(-view.shift_bp, 0) : self.length_bp - left]
        window[:, left : left + source.shape[1]] = source
        return window

    def _kept_bp(self, allele: str) -> int:
        """Return how many bases of the window an edit leaves; the rest of a shortened ALT is padded on the right."""
        k = self.alt.shape[1] - self.ref.shape[1]
        return self.length_bp + min(k, 0) if allele == "alt" and self.pad_deletion else self.length_bp


def haplotypes(
    fasta: Fasta,
    compared: Comparison | Variant,
    geometry: Geometry,
    *,
    flank_bp: int,
    edge_fill: str = "genome",
    indel: str = "stitch",
    genome_allele: str | None = None,
    window: str = "centered",
) -> Haplotypes:
    """Read the window of a variant, or of two haplotypes, and splice both alleles in.

    Parameters
    ----------
    fasta : Fasta
        The genome; ``chrom`` must be one of its contigs.
    compared : Comparison or Variant
        Alleles to compare.
    geometry : Geometry
        Window of the model.
    flank_bp : int
        Bases kept on each side beyond the window for shifts; as many more are read as alleles may move them.
    edge_fill : str
        ``genome`` or ``pad``.
    indel : str
        ``centre_trim`` always completes a shortened ALT from the genome; the others do so as ``edge_fill`` says.
    genome_allele : str, optional
        What the genome holds at POS of a variant where that is not REF (a flipped or an edited record); it is replaced
        by REF.
    window : str
        See :func:`window_start`.

    Returns
    -------
    Haplotypes
    """
    if isinstance(compared, Variant):
        compared = Comparison.of(compared, genome_allele)
    length = geometry.sequence_length_bp
    first = window_start(compared.anchor.pos, length, window)
    for edit in compared.edits:
        if not first <= edit.start <= first + length - max(edit.held_bp, len(edit.ref)):
            where = f"{compared.chrom}:{first + 1}-{first + length}"
            raise InputError(f"{compared.anchor} does not lie in the window {where}")
    # Whatever an allele adds or takes away may have to be made up for at an end.
    flank = flank_bp + compared.moved_bp
    genome = encode(fasta.fetch(compared.chrom, first - flank, first + length + flank))
    ref = alt = genome
    for edit in reversed(compared.edits):  # from the right: what is left of an edit stays where it is
        index = flank + edit.start - first
        ref = apply_variant(ref, index, edit.held_bp, edit.ref)
        alt = apply_variant(alt, index, edit.held_bp, edit.alt)
    inner = ref[:, flank : flank + length]
    return Haplotypes(
        ref=ref,
        alt=alt,
        flank_bp=flank,
        window_start=first,
        length_bp=length,
        n_fraction=float(1.0 - inner.sum(dtype=np.int64) / length),
        edge_fill=edge_fill,
        pad_deletion=edge_fill == "pad" and indel != "centre_trim",
    )
