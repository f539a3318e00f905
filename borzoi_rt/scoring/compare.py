"""What is compared for one record: its alleles under the REF policy, left-normalised where that is asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..engine.alleles import Comparison
from ..genome.fasta import Fasta
from ..genome.normalize import left_normalized
from ..genome.variants import Variant, VariantRecord
from .haplotypes import haplotype_comparison
from .options import ScoreOptions
from .reference import check_reference


@dataclass(frozen=True, slots=True)
class Compared:
    """What is compared for one record.

    Attributes
    ----------
    status : str
        Of the scores, or why there are none.
    detail : str
        What was found.
    comparison : Comparison or None
        The two sequences; None where nothing can be scored.
    normalized : Variant or None
        The left-normalised spelling, in the orientation of the input, where it was asked for.
    """

    status: str
    detail: str = ""
    comparison: Comparison | None = None
    normalized: Variant | None = None

    @property
    def as_written(self) -> Comparison | None:
        """REF and ALT as the input has them; ``comparison`` has them exchanged where the genome holds ALT."""
        if self.comparison is None or self.status != "flipped":
            return self.comparison
        edits = tuple(replace(edit, ref=edit.alt, alt=edit.ref) for edit in self.comparison.edits)
        return replace(self.comparison, edits=edits)


def compare(fasta: Fasta, item: VariantRecord, options: ScoreOptions, *, longest_bp: int) -> Compared:
    """Compare a record with the genome, under the policies of the options.

    Parameters
    ----------
    fasta : Fasta
        The genome.
    item : VariantRecord
        A variant, or a haplotype.
    options : ScoreOptions
        REF policy and spelling.
    longest_bp : int
        Longest allele that is scored.
    """
    if item.haplotype is not None:
        return Compared(*haplotype_comparison(fasta, item, longest_bp=longest_bp))
    found = check_reference(
        fasta, item, policy=options.ref_policy, flip_deletions=options.flip_deletions, longest_bp=longest_bp
    )
    variant, spelled = found.variant, None
    if variant is None:
        return Compared(found.status, found.detail)
    if options.normalize:
        # Where the genome does not hold REF, a base to the left of it says nothing about what REF may be moved over.
        variant = left_normalized(fasta, variant) if found.genome_allele is None else variant
        spelled = variant
        if found.status == "flipped":
            spelled = Variant(variant.chrom, variant.pos, variant.alt, variant.ref, variant.id)
    return Compared(found.status, found.detail, Comparison.of(variant, found.genome_allele), spelled)
