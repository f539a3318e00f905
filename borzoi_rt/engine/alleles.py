"""From one variant to the windows that are predicted: haplotypes, shifts and the alignment of indels.

Notation: k = len(ALT) - len(REF), L the window length, s a shift in bp. A shift moves the sequence to the right. The
window of a variant starts at ``pos - L/2`` (0-based), so that POS is base L/2 - 1 of it, or at a multiple of a grid.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..bundle.manifest import Geometry
from ..errors import InputError
from ..genome.fasta import Fasta
from ..genome.variants import Variant
from ..sequence import apply_variant, encode

INDEL_POLICIES = ("stitch", "average", "centre_trim", "none")
EDGE_FILLS = ("genome", "pad")


@dataclass(frozen=True, slots=True)
class View:
    """One window of one allele: ``shift_bp`` moves the sequence right, ``trim_bp`` bases are first cut at its left."""

    allele: Literal["ref", "alt"]
    shift_bp: int
    trim_bp: int = 0


@dataclass(frozen=True, slots=True)
class Pair:
    """What is compared: the views of each allele; two views are joined at the stitch bin."""

    ref: tuple[View, ...]
    alt: tuple[View, ...]


def allele_pairs(k: int, shifts: Sequence[int], indel: str, *, shared: bool = False) -> tuple[Pair, ...]:
    """List the comparisons of one variant, one or two per shift.

    - ``stitch``: the longer allele is predicted in two phases, ``s`` left of the variant and moved by the length
      difference right of it, and the two are joined at the stitch bin; both alleles then have one phase on each side.
    - ``average``: the same predictions as separate pairs, whose scores are averaged (the default of ``hound_snp``).
    - ``centre_trim``: both alleles keep the shift; the allele that is longer than the window loses ``|k| // 2`` bases
      on the left and the rest on the right (``borzoi_sad``).
    - ``none``: every allele in its own frame.

    Parameters
    ----------
    k : int
        len(ALT) - len(REF).
    shifts : sequence of int
        Shifts in bp.
    indel : str
        One of ``INDEL_POLICIES``; all are the same for k = 0.
    shared : bool
        Whether REF is shared with other variants, as in a cluster: then ALT is moved for deletions too.

    Returns
    -------
    tuple of Pair
    """
    if indel not in INDEL_POLICIES:
        raise InputError(f"indel policy {indel!r} is unknown; allowed: {', '.join(INDEL_POLICIES)}")
    pairs: list[Pair] = []
    for shift in shifts:
        ref, alt = View("ref", shift), View("alt", shift)
        if k == 0 or indel == "none":
            pairs.append(Pair((ref,), (alt,)))
        elif indel == "centre_trim":
            trim_bp = abs(k) // 2
            pairs.append(
                Pair((View("ref", shift, trim_bp),), (alt,)) if k < 0 else Pair((ref,), (View("alt", shift, trim_bp),))
            )
        else:
            # A deletion brings ALT |k| bases closer on the right: moving REF left by |k| restores the phase there.
            # An insertion is the mirror image. Both are a move of the longer allele by -|k|.
            # Where REF is shared it cannot move: ALT of a deletion moves right by |k| instead.
            moves_ref = k < 0 and not shared
            moved = View("ref", shift + k) if moves_ref else View("alt", shift - k)
            phases = (ref, moved) if moves_ref else (alt, moved)
            other = alt if moves_ref else ref
            if indel == "stitch":
                pairs.append(Pair(phases, (other,)) if moves_ref else Pair((other,), phases))
            else:
                pairs.extend(Pair((view,), (other,)) if moves_ref else Pair((other,), (view,)) for view in phases)
    return tuple(pairs)


def stitch_bin(geometry: Geometry, pos: int, window_start: int) -> int:
    """Return the first output bin taken from the moved prediction: that of the base after the anchor."""
    position = (pos - window_start - geometry.crop_bp) // geometry.bin_size_bp
    return min(max(position, 0), geometry.bins)


def check_window(window: str) -> None:
    """Refuse a window rule that is none of ``centered``, ``grid:BP``, ``at:START`` and ``cluster:SHARE``."""
    if not isinstance(window, str) or not re.fullmatch(r"centered|grid:[1-9]\d*|at:-?\d+|cluster:0?\.\d*[1-9]", window):
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
    """REF and ALT of one variant as one-hot DNA, with enough flank for every view.

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
    variant: Variant,
    geometry: Geometry,
    *,
    flank_bp: int,
    edge_fill: str = "genome",
    indel: str = "stitch",
    genome_allele: str | None = None,
    window: str = "centered",
) -> Haplotypes:
    """Read the window of a variant and splice both alleles in.

    Parameters
    ----------
    fasta : Fasta
        The genome; ``variant.chrom`` must be one of its contigs.
    variant : Variant
        Alleles to compare.
    geometry : Geometry
        Window of the model.
    flank_bp : int
        Bases kept on each side beyond the window for shifts; |k| more are read.
    edge_fill : str
        ``genome`` or ``pad``.
    indel : str
        ``centre_trim`` always completes a shortened ALT from the genome; the others do so as ``edge_fill`` says.
    genome_allele : str, optional
        What the genome holds at POS where that is not REF (a flipped or an edited record); it is replaced by REF.
    window : str
        See :func:`window_start`.

    Returns
    -------
    Haplotypes
    """
    length = geometry.sequence_length_bp
    first = window_start(variant.pos, length, window)
    if not first < variant.pos <= first + length - len(variant.ref) + 1:
        raise InputError(f"{variant} does not lie in the window {variant.chrom}:{first + 1}-{first + length}")
    held = variant.ref if genome_allele is None else genome_allele
    flank = flank_bp + abs(len(variant.alt) - len(variant.ref)) + abs(len(variant.ref) - len(held))
    text = fasta.fetch(variant.chrom, first - flank, first + length + flank)
    genome = encode(text)
    index = flank + variant.pos - 1 - first
    ref = genome if held == variant.ref else apply_variant(genome, index, len(held), variant.ref)
    alt = apply_variant(ref, index, len(variant.ref), variant.alt)
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
