"""Haplotypes of samples: which variants of a sample are compared together, and what makes that impossible.

The variants of a sample on one contig are joined as long as each begins at most ``within_bp`` behind the end of what
came before it, on whichever of the two haplotypes; what other samples carry plays no part. Such a group gives three
comparisons, in one window: haplotype 1 with the reference, haplotype 2 with the reference, haplotype 2 with haplotype
1. With one copy of the contig, as on chrX and chrY of a man, it gives the first alone.

What is not known is said and not guessed: a heterozygous genotype without phase, heterozygous genotypes of several
phase sets, a missing allele, edits of one haplotype that overlap.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..errors import InputError
from .genotypes import Call, GenotypeRecord
from .variants import Variant, VariantRecord

REFERENCE = "reference"


@dataclass(frozen=True, slots=True)
class Part:
    """A variant, and which of two compared sequences carry it.

    Attributes
    ----------
    variant : Variant
        As written.
    in_ref, in_alt : bool
        Whether the sequence that is compared with (REF of the comparison) and the haplotype itself (ALT) carry ALT.
    """

    variant: Variant
    in_ref: bool
    in_alt: bool


@dataclass(frozen=True, slots=True)
class Haplotype:
    """One haplotype of a sample and what it is compared with.

    Attributes
    ----------
    sample : str
        Name of the sample.
    name : str
        ``1`` or ``2``, in the order of the genotypes.
    against : str
        ``reference``, or the other haplotype.
    parts : tuple of Part
        Variants of the group that either of the two carries, in their order.
    middle_pos : int or None
        1-based middle of the group, which its window lies around; None where the group is one record, which then is
        treated like a variant alone.
    """

    sample: str
    name: str
    against: str
    parts: tuple[Part, ...]
    middle_pos: int | None

    @property
    def variants(self) -> str:
        """The variants that the haplotype carries, like ``chr1:100 A>G;chr1:150 C>T``."""
        return ";".join(str(part.variant) for part in self.parts if part.in_alt)

    @property
    def k(self) -> int:
        """Length of the haplotype minus length of what it is compared with, in bases."""
        return sum((part.variant.k or 0) * (part.in_alt - part.in_ref) for part in self.parts)


@dataclass(slots=True)
class _Item:
    """One variant of a group: of each haplotype, whether it carries ALT; None where that is not known."""

    variant: Variant
    call: Call
    carried: tuple[bool | None, ...]


def haplotype_records(
    records: Iterable[GenotypeRecord], samples: Sequence[str], *, within_bp: int, longest_bp: int
) -> Iterator[VariantRecord]:
    """Yield the comparisons of every sample, ordered by the first record of their group, then as samples are.

    Parameters
    ----------
    records : iterable of GenotypeRecord
        In blocks of contigs, by position.
    samples : sequence of str
        Names, in the order of the calls.
    within_bp : int
        Largest distance in bp between the end of a variant and the start of the next of a group.
    longest_bp : int
        Largest length of a group; a longer one is cut, and says so.

    Yields
    ------
    VariantRecord
        ``record`` is the first record of the group, ``alt_index`` the number of the comparison, 0 to 2.

    Raises
    ------
    InputError
        If the records are not sorted.
    """
    groups = [_Group(name, within_bp, longest_bp) for name in samples]
    ready: list[tuple[int, int, list[VariantRecord]]] = []
    order = _Order()
    for item in records:
        new_contig = order.see(item)
        for number, (group, call) in enumerate(zip(groups, item.calls, strict=True)):
            found = _item_of(item, call)
            closed = group.close() if new_contig else None
            if found is not None:
                closed = group.take(item.record, found) or closed
            elif group.is_behind(item):
                closed = group.close()
            if closed:
                heapq.heappush(ready, (closed[0].record, number, closed))
        limit = min((group.first for group in groups if group.items), default=item.record + 1)
        while ready and ready[0][0] < limit:
            yield from heapq.heappop(ready)[2]
    for number, group in enumerate(groups):
        closed = group.close()
        if closed:
            heapq.heappush(ready, (closed[0].record, number, closed))
    while ready:
        yield from heapq.heappop(ready)[2]


class _Order:
    """Refuses records that are not sorted; says where a contig begins."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._last: GenotypeRecord | None = None

    def see(self, item: GenotypeRecord) -> bool:
        last, self._last = self._last, item
        if last is not None and item.chrom == last.chrom:
            if item.pos < last.pos:
                raise InputError(
                    f"record {item.record + 1} at {item.chrom}:{item.pos} comes after {last.chrom}:{last.pos}; "
                    "haplotypes need variants sorted by contig and position"
                )
            return False
        if item.chrom in self._seen:
            raise InputError(f"contig {item.chrom!r} comes a second time; haplotypes need sorted variants")
        self._seen.add(item.chrom)
        return True


def _item_of(record: GenotypeRecord, call: Call) -> list[_Item] | None:
    """Return the variants of one record that a sample carries, or may carry; None where it has REF alone."""
    if all(allele == 0 for allele in call.alleles):
        return None
    numbers = sorted({allele for allele in call.alleles if allele})
    found = [
        _Item(
            Variant(record.chrom, record.pos, record.ref, record.alts[number - 1], record.id),
            call,
            tuple(None if allele is None else allele == number for allele in call.alleles),
        )
        for number in numbers
    ]
    if not found:  # only missing alleles: any ALT may be there
        variant = Variant(record.chrom, record.pos, record.ref, record.alts[0], record.id)
        found = [_Item(variant, call, tuple(None if allele is None else False for allele in call.alleles))]
    return found


class _Group:
    """The variants of one sample that are compared together, until the next lies too far away."""

    def __init__(self, sample: str, within_bp: int, longest_bp: int) -> None:
        self._sample, self._within_bp, self._longest_bp = sample, within_bp, longest_bp
        self.items: list[_Item] = []
        self.first = 0
        self._start = self._end = 0
        self._after_cut = False

    def is_behind(self, record: GenotypeRecord) -> bool:
        """Tell whether the group cannot grow any more, so that it may be handed out."""
        return bool(self.items) and record.pos - 1 - self._end > self._within_bp

    def take(self, record: int, found: list[_Item]) -> list[VariantRecord] | None:
        """Add variants of a record; return the comparisons of the group that this closed, if it did."""
        start, closed = found[0].variant.pos - 1, None
        end = start + len(found[0].variant.ref)
        if self.items and start - self._end > self._within_bp:
            closed = self.close()
        elif self.items and max(end, self._end) - self._start > self._longest_bp:
            closed = self.close(cut=True)
            self._after_cut = True
        if not self.items:
            self.first, self._start, self._end = record, start, end
        self.items += found
        self._end = max(self._end, end)
        return closed

    def close(self, *, cut: bool = False) -> list[VariantRecord] | None:
        """Return the comparisons of the group and forget it; None where there is none."""
        items, after_cut = self.items, self._after_cut
        self.items, self._after_cut = [], False
        if not items:
            return None
        notes = [f"goes on after {self._longest_bp} bp, where it is cut"] if cut else []
        notes += ["began earlier, and was cut"] if after_cut else []
        return _comparisons(self._sample, self.first, items, "; ".join(notes))


def _comparisons(sample: str, record: int, items: list[_Item], note: str) -> list[VariantRecord]:
    ploidy = max(len(item.carried) for item in items)
    one_record = len({(item.variant.pos, item.variant.ref) for item in items}) == 1
    middle = None if one_record else (items[0].variant.pos + items[-1].variant.pos) // 2
    found = []
    pairs: list[tuple[int, int | None]] = [(0, None), (1, None), (1, 0)] if ploidy == 2 else [(0, None)]
    for number, (one, other) in enumerate(pairs):
        fault = _group_fault(items) or _side_fault(items, one) or ("", "")
        if not fault[0] and other is not None:
            fault = _side_fault(items, other) or ("", "")
        parts = tuple(
            Part(item.variant, other is not None and _has(item, other), _has(item, one))
            for item in items
            if _has(item, one) or (other is not None and _has(item, other))
        )
        against = REFERENCE if other is None else str(other + 1)
        named = Haplotype(sample, str(one + 1), against, _without_stars(parts), middle)
        text = "; ".join(filter(None, (fault[1], note)))
        found.append(VariantRecord(record, number, _summary(items, named), fault[0] or None, text, haplotype=named))
    return found


def _has(item: _Item, side: int) -> bool:
    return side < len(item.carried) and item.carried[side] is True


def _group_fault(items: Sequence[_Item]) -> tuple[str, str] | None:
    """Return what keeps every haplotype of a group from being known."""
    counts = {len(item.carried) for item in items}
    if max(counts) > 2:
        return "error", f"{max(counts)} copies at {_where(items)}; 1 or 2 can be scored"
    missing = [item for item in items if len(item.carried) == 1 and item.carried[0] is None]
    if len(counts) > 1:
        if missing:  # './.' may be written '.'
            return "missing_genotype", f"the genotype of {missing[0].variant} is missing"
        return "error", f"one copy and two copies in one group, at {_where(items)}"
    partly = [item for item in items if item.call.missing and any(known is not None for known in item.carried)]
    halved = [item for item in partly if not item.call.phased]
    if halved:
        return "missing_genotype", f"an allele of {halved[0].variant} is missing, and which haplotype lacks it"
    mixed = [item for item in items if item.call.heterozygous or item in partly]
    loose = [item for item in mixed if not item.call.phased]
    if loose:
        return "unphased", f"{loose[0].variant} is heterozygous without phase"
    sets = list(dict.fromkeys(item.call.phase_set for item in mixed))
    if len(sets) > 1:
        shown = " and ".join(name or "none" for name in sets[:2])
        return "unphased", f"phase sets {shown} in one group, at {_where(items)}"
    return None


def _side_fault(items: Sequence[_Item], side: int) -> tuple[str, str] | None:
    """Return what keeps one haplotype from being known."""
    unknown = [item for item in items if item.carried[side] is None]
    if unknown:
        return "missing_genotype", f"an allele of {unknown[0].variant} is missing"
    carried = [item.variant for item in items if item.carried[side]]
    for variant in carried:
        if variant.alt == "*":
            if not any(other.pos < variant.pos < other.pos + len(other.ref) for other in carried):
                return "symbolic_alt", f"{variant}: no deletion of this haplotype covers it"
        elif variant.problem is not None:
            return variant.problem, f"{variant}: {variant.detail}"
    known = sorted((*changed(variant), str(variant)) for variant in carried if variant.alt != "*")
    for (start, end, first), (next_start, next_end, second) in pairwise(known):
        both_insert = start == end == next_start == next_end
        if next_start < end or both_insert:
            return "overlapping_edits", f"{first} and {second} overlap on one haplotype"
    return None


def changed(variant: Variant) -> tuple[int, int]:
    """Return the bases [start, end) of the genome, 0-based, that an allele changes; empty where it only inserts."""
    ref, alt = variant.bases
    left = 0
    while left < min(len(ref), len(alt)) and ref[left] == alt[left]:
        left += 1
    right = 0
    while right < min(len(ref), len(alt)) - left and ref[-1 - right] == alt[-1 - right]:
        right += 1
    return variant.pos - 1 + left, variant.pos - 1 + len(ref) - right


def _without_stars(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """Leave out ``*``, which says only that a deletion in another record covers this one."""
    return tuple(part for part in parts if part.variant.alt != "*")


def _summary(items: Sequence[_Item], named: Haplotype) -> Variant:
    """Return the variants of a comparison as one: texts joined by semicolons, at the first position."""
    first = items[0].variant
    if not named.parts:
        return Variant(first.chrom, first.pos, first.ref, first.ref, first.id)
    variants = [part.variant for part in named.parts]
    ids = [variant.id for variant in variants if variant.id != "."]
    return Variant(
        first.chrom,
        variants[0].pos,
        ";".join(part.variant.alt if part.in_ref else part.variant.ref for part in named.parts),
        ";".join(part.variant.alt if part.in_alt else part.variant.ref for part in named.parts),
        ";".join(ids) or ".",
    )


def _where(items: Sequence[_Item]) -> str:
    first, last = items[0].variant, items[-1].variant
    return f"{first.chrom}:{first.pos}" if first.pos == last.pos else f"{first.chrom}:{first.pos}-{last.pos}"
