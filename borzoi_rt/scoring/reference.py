"""What REF says against what the genome holds: one policy for every score.

A variant is compared with the genome before anything is predicted. What comes of it is a status, and, where it can be
scored, the alleles to predict and what the genome holds instead of the first of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InputError, quoted
from ..genome.alleles import covers, is_bases
from ..genome.fasta import Fasta
from ..genome.variants import Variant, VariantRecord

POLICIES = ("strict", "flip", "edit")
SCORED = ("ok", "flipped", "ref_edited")


@dataclass(frozen=True, slots=True)
class Reference:
    """What became of one variant when it was compared with the genome.

    Attributes
    ----------
    status : str
        ``ok``, ``flipped``, ``ref_edited``; or ``ref_mismatch``, ``contig_missing``, ``out_of_bounds``,
        ``invalid_allele``, ``symbolic_alt``, or another problem that the maker of the record saw.
    detail : str
        What was found; also of a status that is scored, as ``scored as chr1``.
    variant : Variant or None
        What to predict, on the contig as the genome names it and in upper case, with REF and ALT exchanged where the
        status is ``flipped``; None where nothing is predicted.
    genome_allele : str or None
        What the genome holds from POS on where that is not REF of ``variant``, to be replaced by it; None where it is.
    """

    status: str
    detail: str = ""
    variant: Variant | None = None
    genome_allele: str | None = None

    @property
    def scored(self) -> bool:
        """Whether there is something to predict."""
        return self.variant is not None


def check_reference(
    fasta: Fasta,
    item: Variant | VariantRecord,
    *,
    policy: str = "strict",
    flip_deletions: bool = False,
    longest_bp: int | None = None,
) -> Reference:
    """Compare a variant with the genome and apply the policy.

    REF matches where the genome holds it, in upper or lower case, and where the genome holds a letter that stands for
    several bases, REF's among them (VCF 4.3: a genome's R is written A): the window then carries REF.

    Parameters
    ----------
    fasta : Fasta
        The genome.
    item : Variant or VariantRecord
        A problem of the record goes before everything else, but one of REF alone comes after the bounds.
    policy : str
        Of a REF that does not match. ``strict``: ``ref_mismatch``. ``flip``: where the genome holds the whole ALT, the
        alleles are exchanged. ``edit``: where the genome holds the whole ALT, it is edited to carry REF.
    flip_deletions : bool
        Whether ``flip`` does so with a deletion. Its ALT is but the base before the deleted ones, so that a wrong REF
        cannot be told from a genome that carries the deletion.
    longest_bp : int, optional
        Longest allele that is scored.

    Returns
    -------
    Reference

    Raises
    ------
    InputError
        If the policy is unknown.
    FormatError
        If the genome cannot be read.
    """
    if policy not in POLICIES:
        raise InputError(f"ref_policy {policy!r} is unknown; allowed: {', '.join(POLICIES)}")
    given = item.variant if isinstance(item, VariantRecord) else item
    problem = None if item.problem is None else Reference(item.problem, item.detail)
    # What is wrong with REF alone waits: N is what a VCF writes before the first base of a contig.
    if problem is not None and not (problem.status == "invalid_allele" and is_bases(given.alt)):
        return problem
    contig = fasta.resolve(given.chrom)
    if contig is None:
        return Reference("contig_missing", f"{fasta.name} has no contig {quoted(given.chrom)}")
    variant = Variant(contig, given.pos, *given.bases, given.id)
    fault = _bounds(fasta, variant) or problem or _length(variant, longest_bp)
    if fault is not None:
        return fault
    found = _compared(fasta, variant, policy, flip_deletions)
    if found.variant is None or contig == given.chrom:
        return found
    alias = f"scored as {contig}"
    detail = f"{found.detail}; {alias}" if found.detail else alias
    return Reference(found.status, detail, found.variant, found.genome_allele)


def _bounds(fasta: Fasta, variant: Variant) -> Reference | None:
    length = fasta.contigs[variant.chrom]
    last = variant.pos + len(variant.ref) - 1
    if variant.pos < 1 or last > length:
        detail = f"bases {variant.pos}-{last} do not lie in {variant.chrom} (1-{length})"
        return Reference("out_of_bounds", detail)
    return None


def _length(variant: Variant, longest_bp: int | None) -> Reference | None:
    longest = max(len(variant.ref), len(variant.alt))
    if longest_bp is not None and longest > longest_bp:
        return Reference("invalid_allele", f"allele of {longest} bp; the window allows {longest_bp}")
    return None


def _compared(fasta: Fasta, variant: Variant, policy: str, flip_deletions: bool) -> Reference:
    ref, alt = variant.bases
    held = _held(fasta, variant, ref)
    if held == ref:
        return Reference("ok", "", variant)
    here = f"the genome has {_shown(held)} at {variant.chrom}:{variant.pos}"
    if covers(held, ref):
        return Reference("ok", f"{here}, which REF {_shown(ref)} stands for", variant, held)
    detail = f"REF {_shown(ref)}, {here}"
    if policy == "strict":
        return Reference("ref_mismatch", detail)
    held = _held(fasta, variant, alt)
    if not covers(held, alt):
        return Reference("ref_mismatch", f"{detail}, which is not ALT {_shown(alt)} either")
    if policy == "edit":
        return Reference("ref_edited", detail, variant, held)
    if len(alt) < len(ref) and not flip_deletions:
        return Reference("ref_mismatch", f"{detail}; a deletion is not flipped unless flip_deletions is set")
    turned = Variant(variant.chrom, variant.pos, alt, ref, variant.id)
    return Reference("flipped", detail, turned, None if held == alt else held)


def _held(fasta: Fasta, variant: Variant, allele: str) -> str:
    """Return as many bases of the genome as an allele has, N beyond the contig."""
    start = variant.pos - 1
    return fasta.fetch(variant.chrom, start, start + len(allele))


def _shown(bases: str) -> str:
    return repr(bases) if len(bases) <= 20 else f"{bases[:20]!r}... ({len(bases)} bp)"
