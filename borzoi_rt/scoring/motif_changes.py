"""Which motifs a variant makes, breaks, strengthens or weakens: REF against ALT, at the bases that differ.

The score of a motif at a position is its log2 odds against equal base frequencies. Of each allele the best score over
both strands counts, among the positions where the motif covers a base that differs, or the joint where bases are
missing; an indel among repeats differs at every base that it may be written at. A motif is ``gained`` where only ALT
reaches the threshold that its p-value asks for, ``lost`` where only REF does; where both do and the scores differ it is
``stronger`` or ``weaker``. Motifs elsewhere are the same in both alleles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..engine.alleles import Comparison, Edit
from ..genome.fasta import Fasta
from ..genome.variants import Variant
from ..motifs.matrices import Motif
from ..motifs.scan import MotifScanner
from ..sequence import encode

CHANGES = ("gained", "lost", "stronger", "weaker")
_SMALLEST = 1e-6  # of scores that differ; sums in another order differ by less


@dataclass(frozen=True, slots=True)
class Match:
    """The best match of a motif in one allele.

    Attributes
    ----------
    score : float
        Log2 odds.
    start : int
        1-based position of its first base. It is counted in the allele: up to the first base that differs that is the
        position in the genome.
    strand : str
        Of the genome, ``+`` or ``-``.
    bases : str
        What the allele has there, on the strand of the genome.
    """

    score: float
    start: int
    strand: str
    bases: str


@dataclass(frozen=True, slots=True)
class MotifChange:
    """What a variant does to one motif.

    Attributes
    ----------
    motif : Motif
    change : str
        One of ``CHANGES``.
    threshold : float
        Log2 odds that a match needs.
    ref, alt : Match or None
        Best match in either allele, also where it does not reach the threshold; None where there is no room for one.
    """

    motif: Motif
    change: str
    threshold: float
    ref: Match | None
    alt: Match | None

    @property
    def difference(self) -> float | None:
        """Score of the best match in ALT less that in REF; None where an allele has no room for one."""
        return None if self.ref is None or self.alt is None else self.alt.score - self.ref.score

    @property
    def above_threshold(self) -> float:
        """By how much the scores differ above the threshold: how good the match is that is lost or gained.

        What lies below is no match, and how far below says little: one base more or less of a chance likeness.
        """
        ref, alt = (self.threshold if one is None else max(one.score, self.threshold) for one in (self.ref, self.alt))
        return alt - ref


def motif_changes(fasta: Fasta, compared: Comparison | Variant, scanner: MotifScanner) -> list[MotifChange]:
    """Compare the motifs of two alleles.

    Parameters
    ----------
    fasta : Fasta
        The genome.
    compared : Comparison or Variant
        REF and ALT, or two haplotypes; the contig is one of the genome's, alleles are in upper case.
    scanner : MotifScanner
        Motifs and their thresholds.

    Returns
    -------
    list of MotifChange
        Largest :attr:`MotifChange.above_threshold` first.
    """
    if isinstance(compared, Variant):
        compared = Comparison.of(compared)
    if not compared.edits:
        return []
    flank = max((motif.matrix.shape[1] for motif in scanner.motifs), default=1)
    sides = [_Side(fasta, compared, name, flank) for name in ("ref", "alt")]
    found = []
    scores = [scanner.scores(side.onehot) for side in sides]
    for number, (motif, threshold) in enumerate(zip(scanner.motifs, scanner.thresholds, strict=True)):
        ref, alt = (
            side.best(values[number], motif.matrix.shape[1]) for side, values in zip(sides, scores, strict=True)
        )
        change = _change(ref, alt, threshold)
        if change:
            found.append(MotifChange(motif, change, threshold, ref, alt))
    return sorted(found, key=lambda item: (-abs(item.above_threshold), item.motif.label))


class _Side:
    """One allele around its edits, and where it differs from the other."""

    def __init__(self, fasta: Fasta, compared: Comparison, name: str, flank: int) -> None:
        first, last = compared.edits[0], compared.edits[-1]
        start, end = first.start - 2 * flank, last.start + last.held_bp + 2 * flank
        text = fasta.fetch(compared.chrom, start, end)
        self.start = start
        self._changed: list[tuple[int, int]] = []

        def held_after(edit: Edit) -> str:
            after = edit.start + edit.held_bp
            return fasta.fetch(compared.chrom, after, after + flank)

        moved = 0
        for edit in compared.edits:
            bases, other = (edit.ref, edit.alt) if name == "ref" else (edit.alt, edit.ref)
            at = edit.start - start + moved
            if bases != other:
                around = (fasta.fetch(compared.chrom, edit.start - flank, edit.start), held_after(edit))
                low, high = _extent(bases, other, *around)
                self._changed.append((at + low, at + high))
            text = text[:at] + bases + text[at + edit.held_bp :]
            moved += len(bases) - edit.held_bp
        self.text = text
        self.onehot = encode(text)

    def best(self, scores: np.ndarray, width: int) -> Match | None:
        """Return the best match that covers a changed base, or the joint where bases are missing."""
        count = scores.shape[1]
        touches = np.zeros(count, dtype=bool)
        for low, high in self._changed:
            # A joint has no base of its own: one on each side must be covered.
            last = high if high > low else low
            touches[max(low - width + 1, 0) : max(last, 0)] = True
        allowed = np.where(touches, scores, -np.inf)
        if not np.isfinite(allowed).any():
            return None
        strand, at = np.unravel_index(int(allowed.argmax()), allowed.shape)
        position = int(at)
        return Match(
            float(allowed[strand, at]),
            self.start + position + 1,
            "+-"[int(strand)],
            self.text[position : position + width],
        )


def _extent(own: str, other: str, before: str, after: str) -> tuple[int, int]:
    """Return which bases of an allele, counted from its first, may be those that differ, as [low, high).

    Empty, at a joint, where the allele lacks bases that the other one has. Where an indel may be written at several
    bases, all of these, and those between.
    """
    one, two = before + own + after, before + other + after
    shorter = min(len(one), len(two))
    left = next((number for number in range(shorter) if one[number] != two[number]), shorter)
    right = next((number for number in range(shorter) if one[-1 - number] != two[-1 - number]), shorter)
    low, high = min(left, shorter - right), max(left, shorter - right)
    return low - len(before), high + len(one) - shorter - len(before)


def _change(ref: Match | None, alt: Match | None, threshold: float) -> str:
    """Return the name of a change; nothing where there is none."""
    before, after = (one is not None and one.score >= threshold for one in (ref, alt))
    if before != after:
        return "gained" if after else "lost"
    if not before or ref is None or alt is None or abs(alt.score - ref.score) <= _SMALLEST:
        return ""
    return "stronger" if alt.score > ref.score else "weaker"


def read_rows(changes: Sequence[MotifChange]) -> list[dict[str, object]]:
    """Return changes as rows of a table, as JSON values."""
    return [
        {
            "motif": item.motif.name,
            "motif_name": item.motif.alternative or None,
            "change": item.change,
            "difference": None if item.difference is None else round(item.difference, 4),
            "threshold": round(item.threshold, 4),
            **_cells("ref", item.ref),
            **_cells("alt", item.alt),
        }
        for item in changes
    ]


def _cells(side: str, match: Match | None) -> dict[str, object]:
    values = (None,) * 4 if match is None else (round(match.score, 4), match.start, match.strand, match.bases)
    return {f"{side}_{name}": value for name, value in zip(("score", "start", "strand", "bases"), values, strict=True)}
