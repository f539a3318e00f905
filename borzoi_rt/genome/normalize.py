"""Left-normalised variants: the one spelling of an allele that `vt normalize` and `bcftools norm` choose.

Alleles lose what they have in common at their right ends, an empty one is extended to the left by the base of the
genome before it, and so on until nothing changes; then common bases at the left go, down to one (Tan, Abecasis and Kang
2015, doi:10.1093/bioinformatics/btv112). Every ALT is normalised by itself, as after ``bcftools norm -m -any``.
"""

from __future__ import annotations

from .fasta import Fasta
from .variants import Variant

_BLOCK_BP = 256


def left_normalized(fasta: Fasta, variant: Variant) -> Variant:
    """Return a variant in its left-normalised spelling.

    Parameters
    ----------
    fasta : Fasta
        The genome; ``variant.chrom`` is one of its contigs.
    variant : Variant
        Alleles of bases whose REF is what the genome holds; in upper case.

    Returns
    -------
    Variant
        The variant itself where nothing changes, or its alleles are equal. It is not moved beyond the first base of the
        contig, nor over a base that is not A, C, G or T.
    """
    ref, alt = variant.ref, variant.alt
    if ref == alt:
        return variant
    left = _Left(fasta, variant.chrom, variant.pos - 1)
    while ref[-1] == alt[-1]:
        if min(len(ref), len(alt)) == 1:
            base = left.take()
            if base is None:
                break
            ref, alt = base + ref, base + alt
        ref, alt = ref[:-1], alt[:-1]
    common = 0
    while common < min(len(ref), len(alt)) - 1 and ref[common] == alt[common]:
        common += 1
    pos = left.end + 1 + common
    if (pos, ref[common:], alt[common:]) == (variant.pos, variant.ref, variant.alt):
        return variant
    return Variant(variant.chrom, pos, ref[common:], alt[common:], variant.id)


class _Left:
    """The bases of a contig before a position, from right to left."""

    def __init__(self, fasta: Fasta, chrom: str, end: int) -> None:
        self._fasta, self._chrom = fasta, chrom
        self.end = end
        self._start, self._bases = end, ""

    def take(self) -> str | None:
        """Return the base before ``end`` and move there; None at the start of the contig or at an unknown base."""
        if self.end == 0:
            return None
        if self.end == self._start:
            self._start = max(0, self.end - _BLOCK_BP)
            self._bases = self._fasta.fetch(self._chrom, self._start, self.end)
        base = self._bases[self.end - 1 - self._start]
        if base not in "ACGT":
            return None
        self.end -= 1
        return base
