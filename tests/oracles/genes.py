"""Which bins a gene has in an array, base by base: every base of a haplotype carries the position it stands for.

An inserted base stands for the last base that it replaces or follows; a deleted base is nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence


def haplotype(first: int, last: int, edit: int, held_bp: int, allele_bp: int) -> list[int]:
    """Positions of the genome that the bases of an allele stand for, from ``first`` on."""
    inner = [edit + min(number, held_bp - 1) for number in range(allele_bp)]
    return [*range(first, edit), *inner, *range(edit + held_bp, last)]


def output(labels: Sequence[int], offset: int, crop_bp: int, width: int, bins: int) -> list[list[int]]:
    """Positions in each bin of an array whose base 0 is base ``offset`` of a haplotype."""
    start = offset + crop_bp
    return [list(labels[start + number * width : start + (number + 1) * width]) for number in range(bins)]


def overlap(content: Sequence[Sequence[int]], intervals: Sequence[tuple[int, int]]) -> list[int]:
    """Bins that hold a base of an interval."""
    return [
        number
        for number, positions in enumerate(content)
        if any(start <= position < end for position in positions for start, end in intervals)
    ]


def half(start: int, width: int, bins: int, intervals: Sequence[tuple[int, int]]) -> list[int]:
    """Bins between rounded ends, halves to the even number, in an array that starts at a base of the genome."""

    def rounded(position: int) -> int:
        whole, rest = divmod(position - start, width)
        up = 2 * rest > width or (2 * rest == width and whole % 2 == 1)
        return whole + up

    found: set[int] = set()
    for low, high in intervals:
        found |= set(range(max(rounded(low), 0), min(rounded(high), bins)))
    return sorted(found)
