"""Windows shared by neighbours, as ``hound_snp -c`` of calico/baskerville makes them; only for reproducing it.

A window holds the variants of a contig whose POS lies less than a share of the window length behind that of the first,
and is centred on the middle of its first and last POS: ``start = (first + last) // 2 - length // 2``. A score then
depends on which other variants the file holds, which is why no other rule of this package looks at neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ..errors import InputError
from ..genome.variants import VariantRecord


def clustered(records: Iterable[VariantRecord], share: float, length_bp: int) -> Iterator[VariantRecord]:
    """Yield records with the start of their shared window.

    Parameters
    ----------
    records : iterable of VariantRecord
        In blocks of contigs, by position.
    share : float
        Share of the window length that a cluster spans.
    length_bp : int
        Length of the window.

    Raises
    ------
    InputError
        If the records are not sorted.
    """
    reach_bp = int(length_bp * share)
    held: list[VariantRecord] = []
    seen: set[str] = set()
    for item in records:
        variant = item.variant
        first, last = (held[0].variant, held[-1].variant) if held else (None, None)
        if last is not None and variant.chrom == last.chrom and variant.pos < last.pos:
            raise InputError(f"{variant} comes after {last}; clusters need variants sorted by contig and position")
        if first is not None and (variant.chrom != first.chrom or variant.pos >= first.pos + reach_bp):
            yield from _closed(held, length_bp)
            held = []
        if variant.chrom in seen and (last is None or variant.chrom != last.chrom):
            raise InputError(f"{variant}: contig {variant.chrom!r} comes a second time; clusters need sorted variants")
        seen.add(variant.chrom)
        held.append(item)
    yield from _closed(held, length_bp)


def _closed(held: list[VariantRecord], length_bp: int) -> Iterator[VariantRecord]:
    if held:
        middle = (held[0].variant.pos + held[-1].variant.pos) // 2
        yield from (replace(item, window_start=middle - length_bp // 2) for item in held)
