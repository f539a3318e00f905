"""Haplotypes to score: the options, and what a haplotype and its counterpart have at each site of the genome.

The sequences are put together as VCF means it: of each record a haplotype has REF or the ALT that its genotype names.
Records that share bases of REF but not the bases they change, as an SNV and a deletion anchored on it, make one site.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..engine.alleles import Comparison, Edit
from ..errors import InputError
from ..genome.fasta import Fasta
from ..genome.haplotypes import Part, changed
from ..genome.variants import Variant, VariantRecord
from ..plain import check_types, plain
from .options import ScoreOptions
from .reference import Reference, check_reference

WITHIN_BP = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class HaplotypeOptions:
    """Whose haplotypes are scored, and what belongs to one.

    Parameters
    ----------
    samples : tuple of str
        Samples of the VCF, each once.
    within_bp : int
        Largest distance in bp between the end of a variant and the start of the next that are scored together. The
        default of 1,000 joins what may lie in one promoter or enhancer; 0 joins neighbouring bases alone.
    """

    samples: tuple[str, ...]
    within_bp: int = WITHIN_BP

    def __post_init__(self) -> None:
        check_types(self)
        several = isinstance(self.samples, Iterable) and not isinstance(self.samples, str | Mapping)
        samples = tuple(map(plain, self.samples)) if several else ("",)
        if not all(isinstance(name, str) and name for name in samples):
            raise InputError(f"samples is {self.samples!r:.60}; a tuple of names is needed")
        object.__setattr__(self, "samples", samples)
        if not self.samples:
            raise InputError("samples is empty; name at least one sample of the VCF")
        twice = [name for name in self.samples if self.samples.count(name) > 1]
        if twice:
            raise InputError(f"sample {twice[0]!r} is named twice")
        if self.within_bp < 0:
            raise InputError(f"within_bp is {self.within_bp!r}; a whole number of bp from 0 on is needed")


def check_haplotypes(options: ScoreOptions) -> None:
    """Refuse options that have no meaning for haplotypes.

    Raises
    ------
    InputError
        Naming one.
    """
    if options.ref_policy != "strict":
        raise InputError(f"ref_policy {options.ref_policy!r} turns single variants round; haplotypes need 'strict'")
    if options.normalize:
        raise InputError("normalize spells single variants anew; a haplotype is the same however they are spelled")
    if options.prediction.cluster_share is not None:
        raise InputError("window 'cluster' lies around neighbours in the file; haplotypes have windows of their own")
    if options.phase_floor:
        raise InputError("phase_floor is for single indels; leave it out of a run over haplotypes")


def check_uncalibrated(haplotypes: HaplotypeOptions | None, calibration: object) -> None:
    """Refuse to compare haplotypes with a background of single variants.

    Raises
    ------
    InputError
        Where both are given.
    """
    if haplotypes is not None and calibration is not None:
        raise InputError("calibration is a background of single variants, which haplotypes are not; leave it out")


def longest_group_bp(length_bp: int) -> int:
    """Return the largest length of a group: what a window of ``length_bp`` allows a single allele too."""
    return length_bp // 4


def haplotype_comparison(fasta: Fasta, item: VariantRecord, *, longest_bp: int) -> tuple[str, str, Comparison | None]:
    """Check every variant of a haplotype against the genome, strictly, and put the sequences together.

    Parameters
    ----------
    fasta : Fasta
        The genome.
    item : VariantRecord
        One that has a haplotype.
    longest_bp : int
        Longest allele that is scored.

    Returns
    -------
    status : str
        ``ok``; or the status of the first variant that cannot be scored, whose haplotype then cannot be.
    detail : str
        What was found.
    comparison : Comparison or None
        The two sequences; None where there is a fault.
    """
    haplotype = item.haplotype
    assert haplotype is not None
    if item.problem is not None:
        return item.problem, item.detail, None
    checked: list[_Checked] = []
    for part in haplotype.parts or (Part(item.variant, False, False),):
        found = check_reference(fasta, part.variant, longest_bp=longest_bp)
        if found.variant is None:
            return found.status, f"{part.variant}: {found.detail}", None
        checked.append((part, found, found.variant))
    first = checked[0][2]
    middle = haplotype.middle_pos
    anchor = first if middle is None else Variant(first.chrom, middle, "N", "N", first.id)
    sites = [_edit(fasta, site) for site in _sites(checked)] if haplotype.parts else []
    notes = dict.fromkeys(filter(None, [*(found.detail for _, found, _ in checked), item.detail]))
    return "ok", "; ".join(notes), Comparison(tuple(sites), anchor)


_Checked = tuple[Part, Reference, Variant]


def _sites(checked: Sequence[_Checked]) -> list[list[_Checked]]:
    """Group variants whose REF alleles overlap, in the order of the genome."""
    sites: list[list[_Checked]] = []
    end = -1
    for item in sorted(checked, key=lambda item: (item[2].pos, len(item[2].ref))):
        variant = item[2]
        if sites and variant.pos - 1 < end:
            sites[-1].append(item)
        else:
            sites.append([item])
        end = max(end, variant.pos - 1 + len(variant.ref))
    return sites


def _edit(fasta: Fasta, site: Sequence[_Checked]) -> Edit:
    """Return what both sequences have at a site."""
    part, reference, variant = site[0]
    start = variant.pos - 1
    if len(site) == 1:
        held_bp = len(variant.ref if reference.genome_allele is None else reference.genome_allele)
        alleles = [variant.alt if carried else variant.ref for carried in (part.in_ref, part.in_alt)]
        return Edit(start, held_bp, alleles[0], alleles[1], variant.pos)
    end = max(item.pos - 1 + len(item.ref) for _, _, item in site)
    text = fasta.fetch(variant.chrom, start, end)
    for _, _, item in site:  # the genome may have letters for several bases where REF has one
        text = _spliced(text, start, item.pos - 1, len(item.ref), item.ref)
    ref = _carrying(text, start, [item for held, _, item in site if held.in_ref])
    alt = _carrying(text, start, [item for held, _, item in site if held.in_alt])
    return Edit(start, end - start, ref, alt, variant.pos)


def _carrying(text: str, start: int, variants: Sequence[Variant]) -> str:
    """Return bases of the genome from ``start`` on with variants that change different bases of them."""
    for variant in sorted(variants, key=changed, reverse=True):
        first, last = changed(variant)
        offset = first - (variant.pos - 1)
        bases = variant.alt[offset : len(variant.alt) - (len(variant.ref) - offset - (last - first))]
        text = _spliced(text, start, first, last - first, bases)
    return text


def _spliced(text: str, start: int, first: int, held_bp: int, bases: str) -> str:
    return text[: first - start] + bases + text[first - start + held_bp :]
