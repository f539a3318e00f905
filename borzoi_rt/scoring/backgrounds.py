"""Variants to make a null of: random SNVs of the genome, and copies of given variants where nothing is known of them.

Each is a function of the seed and its own number: more of them leave the first ones as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

import numpy as np

from ..errors import InputError
from ..genome.fasta import Fasta
from ..genome.variants import Variant, VariantRecord
from .reference import check_reference

_BASES = "ACGT"
_TRIES = 20_000
_MATCHED_BP = 4  # of a substitution; a longer one is found too seldom

log = logging.getLogger(__name__)


def random_snvs(fasta: Fasta, count: int, *, seed: int = 0, window_bp: int = 0) -> Iterator[VariantRecord]:
    """Yield SNVs at bases that are drawn evenly from the genome, ALT evenly from the other three bases.

    Parameters
    ----------
    fasta : Fasta
        The genome.
    count : int
        How many.
    seed : int
        Of the random numbers.
    window_bp : int
        Where a contig is long enough, the window around a base lies in it.

    Raises
    ------
    InputError
        If no known base is found.
    """
    spots = _Spots(fasta, window_bp)
    for number in range(count):
        random = np.random.default_rng((seed, number))
        for _ in range(_TRIES):
            chrom, start = spots.draw(random)
            ref = fasta.fetch(chrom, start, start + 1).upper()
            if ref in _BASES:
                break
        else:
            raise InputError(f"{fasta.name}: no known base found in {_TRIES} draws")
        alt = _BASES.replace(ref, "")[int(random.integers(3))]
        yield VariantRecord(number, 0, Variant(chrom, start + 1, ref, alt))


def matched_variants(
    fasta: Fasta, items: Iterable[VariantRecord], copies: int, *, seed: int = 0, window_bp: int = 0
) -> Iterator[VariantRecord]:
    """Yield each variant that agrees with the genome ``copies`` times, at random positions that match it.

    A copy of an SNV has the same REF and ALT between the same two neighbouring bases. Other substitutions of up to four
    bases have the same REF and ALT. Indels and longer alleles, whose bases are seldom found again, have the same first
    base: a deletion takes as many bases from behind it, an insertion brings the same bases. What has no match, or does
    not agree with the genome, is left out, and how many are is said.
    """
    spots, number, left_out = _Spots(fasta, window_bp), 0, 0
    for item in items:
        variant = check_reference(fasta, item).variant
        if variant is None:
            left_out += 1
            continue
        for copy in range(copies):
            random = np.random.default_rng((seed, item.record, item.alt_index, copy))
            match = _match(fasta, variant, spots, random)
            if match is None:
                left_out += 1
                break
            yield VariantRecord(number, 0, match)
            number += 1
    if left_out:
        log.warning("%d variants are left out: they disagree with %s, or nothing in it matches", left_out, fasta.name)


def _match(fasta: Fasta, variant: Variant, spots: _Spots, random: np.random.Generator) -> Variant | None:
    """Return a variant of the same kind at another position; None where none is found."""
    start, length = variant.pos - 1, len(variant.ref)
    same = length == len(variant.alt) and length <= _MATCHED_BP
    left, right = (1, 2) if same and length == 1 else (0, length if same else 1)
    wanted = fasta.fetch(variant.chrom, start - left, start + right).upper()
    anchored_deletion = len(variant.alt) < length and variant.ref.startswith(variant.alt)
    for _ in range(_TRIES):
        chrom, at = spots.draw(random)
        if (chrom, at) == (variant.chrom, start) or at + length > fasta.contigs[chrom]:
            continue
        if fasta.fetch(chrom, at - left, at + right).upper() != wanted:
            continue
        ref = fasta.fetch(chrom, at, at + length).upper()
        alt = ref[: len(variant.alt)] if anchored_deletion else variant.alt
        if set(ref) <= set(_BASES) and alt != ref:
            return Variant(chrom, at + 1, ref, alt)
    return None


class _Spots:
    """Bases of the genome, drawn evenly."""

    def __init__(self, fasta: Fasta, window_bp: int) -> None:
        inner = {name: size - window_bp for name, size in fasta.contigs.items() if size > window_bp}
        self._margin = window_bp // 2 if inner else 0
        sizes = inner or dict(fasta.contigs)
        self._names, self._ends = list(sizes), np.cumsum(list(sizes.values()), dtype=np.int64)

    def draw(self, random: np.random.Generator) -> tuple[str, int]:
        """Return a contig and a 0-based base."""
        at = int(random.integers(int(self._ends[-1])))
        number = int(np.searchsorted(self._ends, at, side="right"))
        before = int(self._ends[number - 1]) if number else 0
        return self._names[number], at - before + self._margin
