"""Bins of a region, found base by base: which bin of the output a base lies in, and which bins stand around it."""

from __future__ import annotations


def bin_of(base: int, *, window_start: int, crop_bp: int, bin_size_bp: int) -> int:
    """Return the bin that holds a 0-based base of the genome; negative before the output."""
    return (base - window_start - crop_bp) // bin_size_bp


def center(pos: int, *, width_bp: int, window_start: int, crop_bp: int, bin_size_bp: int, bins: int) -> list[int]:
    """Return the centre mask of AlphaGenome's variant scorers: bins [c - n // 2, c - n // 2 + n) that exist."""
    count = -(-width_bp // bin_size_bp)
    middle = bin_of(pos - 1, window_start=window_start, crop_bp=crop_bp, bin_size_bp=bin_size_bp)
    return [number for number in range(middle - count // 2, middle - count // 2 + count) if 0 <= number < bins]


def span(
    pos: int, ref_bp: int, *, width_bp: int, window_start: int, crop_bp: int, bin_size_bp: int, bins: int
) -> list[int]:
    """Return the run of bins whose middle is nearest to the middle of REF, among those that lie in the output.

    Of two runs that are equally near, the right one.
    """
    count = min(-(-width_bp // bin_size_bp), bins)
    target = pos - 1 + ref_bp // 2
    best: tuple[int, int] | None = None
    for first in range(bins - count + 1):
        twice_middle = 2 * (window_start + crop_bp + first * bin_size_bp) + count * bin_size_bp
        distance = abs(twice_middle - 2 * target)
        if best is None or distance <= best[0]:
            best = distance, first
    assert best is not None
    return list(range(best[1], best[1] + count))
