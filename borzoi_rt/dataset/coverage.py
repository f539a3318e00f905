"""Coverage of one region from a bigWig, binned and cleaned, before the squash.

A base that a bigWig does not cover has no reads: 0 (or, on request, what a line between its covered neighbours gives).
The baseline of a region and track is a percentile (50) of its coverage per base. Blacklisted bases are clipped to it.
Coverage per base is limited to the range of half precision, as in the reference, but not rounded to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import InputError
from ..genome.bigwig import BigWig
from ..genome.intervals import Interval
from ..squash import SUM_STATS

HALF_MAX = 65504.0


def check_contigs(
    bigwig: BigWig, regions: Sequence[Interval], contigs: Mapping[str, int], fasta: str, *, empty_contigs: bool
) -> None:
    """Compare the contigs of a bigWig with those of the genome, as far as regions lie on them.

    Raises
    ------
    InputError
        If a contig has another length, or is missing and ``empty_contigs`` does not allow it.
    """
    for chrom in dict.fromkeys(region.chrom for region in regions):
        if chrom in bigwig.contigs:
            if bigwig.contigs[chrom] != contigs[chrom]:
                raise InputError(
                    f"{bigwig.path}: {chrom} has {bigwig.contigs[chrom]} bp, in {fasta} {contigs[chrom]}; they are of "
                    "different assemblies"
                )
        elif not empty_contigs:
            held = ", ".join(list(bigwig.contigs)[:4])
            raise InputError(
                f"{bigwig.path}: no contig {chrom!r}; it has {held}, ...; where a contig without reads is left out of "
                "the file, pass empty_contigs"
            )


def clean(values: np.ndarray, blacklist: np.ndarray | None, *, percentile: float, interpolate: bool) -> np.ndarray:
    """Return coverage per base without gaps, blacklisted bases clipped to the baseline.

    Parameters
    ----------
    values : float64 ndarray of shape (length,)
        Coverage per base, NaN where there is none.
    blacklist : bool ndarray of shape (length,), optional
        Bases to clip.
    percentile : float
        Of the baseline, in [0, 100].
    interpolate : bool
        Fill gaps by lines between covered bases, not by 0.
    """
    missing = np.isnan(values)
    filled = np.where(missing, 0.0, values)
    if interpolate and missing.any() and not missing.all():
        positions = np.arange(len(values))
        filled = np.interp(positions, positions[~missing], values[~missing])
    if blacklist is not None and blacklist.any():
        baseline = np.percentile(filled, percentile)
        filled = np.where(blacklist, np.clip(filled, -baseline, baseline), filled)
    return np.clip(filled, -HALF_MAX, HALF_MAX)


def bin_coverage(values: np.ndarray, bin_size_bp: int, sum_stat: str) -> np.ndarray:
    """Return the sum or the mean of each bin, float32 (bins,), as ``sum_stat`` begins.

    Raises
    ------
    InputError
        If the statistic is unknown.
    """
    if sum_stat not in SUM_STATS:
        raise InputError(f"sum_stat {sum_stat!r} cannot be made; allowed: {', '.join(SUM_STATS)}")
    bins = values.reshape(-1, bin_size_bp)
    made = bins.sum(axis=1) if sum_stat.startswith("sum") else bins.mean(axis=1)
    found: np.ndarray = made.astype(np.float32)
    return found


class Mask:
    """Intervals of a BED file as a mask of bases."""

    def __init__(self, intervals: Sequence[Interval], *, buffer_bp: int = 0) -> None:
        self._by_chrom: dict[str, list[tuple[int, int]]] = {}
        for item in intervals:
            spans = self._by_chrom.setdefault(item.chrom, [])
            spans.append((item.start - buffer_bp, item.end + buffer_bp))

    def of(self, region: Interval) -> np.ndarray:
        """Return the bases of a region that are masked, bool (length,)."""
        masked = np.zeros(region.end - region.start, dtype=bool)
        for start, end in self._by_chrom.get(region.chrom, ()):
            low, high = max(start - region.start, 0), min(end - region.start, len(masked))
            if low < high:
                masked[low:high] = True
        return masked
