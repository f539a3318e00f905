"""How large a score an indel has because it moves bases against the grid of bins, whatever bases these are.

Beside every indel a number of *neutral* indels are scored: of the same length, at positions near by that are drawn
without regard to what lies there, in the same input window and with the same options. A deletion takes the next bases
away, an insertion repeats them. The *phase floor* of a score is the median of its size over them: an indel whose score
is no larger than that may owe it to the pooling phase alone. Scores of genes are compared with those of the same gene;
regions around the variant (``span:BP``, ``center:BP``) lie around the neutral indel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from ..genome.fasta import Fasta
from ..genome.variants import Variant, VariantRecord
from ..tracks import RowTable
from ..types import FloatArray
from .options import ScoreOptions
from .results import RegionScores, ScoredVariant
from .spec import ScoreSpec

PHASE_FLOOR = "phase_floor"
REACH_BP = 4096  # how far neutral indels lie from the variant at most; an eighth of a shorter window
APART_BP = 64  # and at least, beyond the bases that the variant itself changes


class AnyScorer(Protocol):
    """What scores one record after another."""

    options: ScoreOptions
    notes: list[str]
    specs: tuple[ScoreSpec, ...]
    rows: RowTable

    def score(self, item: VariantRecord) -> ScoredVariant:
        """Score one record."""


class FloorScorer:
    """A scorer that adds the phase floor to every score of an indel.

    Parameters
    ----------
    inner : AnyScorer
        What scores variants and neutral indels; its options say how many of these there are.
    fasta : Fasta
        The genome.
    length_bp : int
        Length of the input window.
    """

    def __init__(self, inner: AnyScorer, fasta: Fasta, length_bp: int) -> None:
        self.options, self.notes, self.specs, self.rows = inner.options, inner.notes, inner.specs, inner.rows
        self._inner, self._fasta, self._length_bp = inner, fasta, length_bp

    def score(self, item: VariantRecord) -> ScoredVariant:
        """Score one record; what is no indel, or has no scores, has no floor."""
        found = self._inner.score(item)
        if not found.k or not found.regions or found.haplotype is not None:
            return found
        scored = found.normalized or found.variant
        neutral = neutral_indels(
            self._fasta,
            scored,
            count=self.options.phase_floor,
            seed=self.options.phase_floor_seed,
            reach_bp=min(REACH_BP, self._length_bp // 8),
        )
        how: dict[str, Any] = {"window_start": found.window_start}
        others = [self._inner.score(VariantRecord(item.record, item.alt_index, one, **how)) for one in neutral]
        kept = [other for other in others if other.regions]
        regions = tuple(_with_floor(part, kept) for part in found.regions)
        return replace(found, regions=regions, floor_pos=tuple(other.variant.pos for other in kept))


def neutral_indels(fasta: Fasta, variant: Variant, *, count: int, seed: int, reach_bp: int) -> list[Variant]:
    """Draw indels of the length of a variant near it, each at another position.

    Parameters
    ----------
    fasta : Fasta
        The genome.
    variant : Variant
        An indel.
    count : int
        How many are wanted; fewer are drawn where there are not so many positions with known bases.
    seed : int
        With contig, position and length it fixes the draw: no other variant has a part in it.
    reach_bp : int
        Largest distance from the variant.

    Returns
    -------
    list of Variant
        REF is what the genome holds.
    """
    contig, k = fasta.resolve(variant.chrom), variant.k
    if contig is None or not k:
        return []
    size = abs(k)
    first = max(1, variant.pos - reach_bp)
    last = min(fasta.contigs[contig] - size, variant.pos + reach_bp)
    bases = fasta.fetch(contig, first - 1, last + size)  # bases[0] is at first
    own_end = variant.pos + len(variant.ref) - 1
    free = [pos for pos in range(first, last + 1) if pos + size < variant.pos - APART_BP or pos > own_end + APART_BP]
    key = f"{seed} {contig} {variant.pos} {k}".encode("utf-8", "surrogateescape")
    rng = np.random.default_rng(np.frombuffer(hashlib.sha256(key).digest(), dtype=np.uint32))
    found: list[Variant] = []
    for index in rng.permutation(len(free)):
        if len(found) == count:
            break
        pos = free[int(index)]
        held = bases[pos - first : pos - first + size + 1]
        if set(held) <= set("ACGT"):
            ref, alt = (held, held[0]) if k < 0 else (held[0], held)
            found.append(Variant(variant.chrom, pos, ref, alt))
    return found


def _with_floor(part: RegionScores, others: Sequence[ScoredVariant]) -> RegionScores:
    same = [
        held
        for other in others
        for held in other.regions
        if (held.region, held.gene) == (part.region, part.gene) and held.status is None
    ]
    floors = {stat: _median([held.scores[stat] for held in same], len(values)) for stat, values in part.scores.items()}
    return replace(part, extras={**part.extras, PHASE_FLOOR: floors})


def _median(scores: Sequence[FloatArray], rows: int) -> FloatArray:
    """Return the median size of scores over neutral indels, float32 (rows,); NaN where none is defined."""
    if not scores:
        return np.full(rows, np.nan, dtype=np.float32)
    sizes = np.abs(np.stack(scores).astype(np.float64))
    defined = np.isfinite(sizes)
    floor = np.full(rows, np.nan)
    for row in np.flatnonzero(defined.any(axis=0)):
        floor[row] = np.median(sizes[defined[:, row], row])
    return floor.astype(np.float32)


def floor_extras(options: ScoreOptions) -> tuple[str, ...]:
    """Return what the phase floor adds beside every score."""
    return (PHASE_FLOOR,) if options.phase_floor else ()
