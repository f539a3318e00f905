"""Substitutions as numbered jobs: of one stretch of bases or of many, each in its window."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate

import pyarrow as pa

from ..bundle.manifest import Geometry
from ..engine.gene_bins import gene_window
from ..errors import InputError
from ..genome.fasta import Fasta
from ..genome.genes import Gene
from ..genome.intervals import Interval
from ..genome.variants import Variant, VariantRecord
from ..scoring.options import ScoreOptions
from ..scoring.remote import is_scorer
from .plan import Tick, Worker
from .score_plan import ScorePlan, ScoreWorker

BASES = "ACGT"


@dataclass(frozen=True)
class Substitutions:
    """The substitutions of intervals in blocks of bases; a :class:`borzoi_rt.runs.score_plan.AlleleSource`.

    ``record`` counts bases, those of all intervals, ``alt_index`` is the index of ALT in ACGT. A base that is unknown
    in the genome gives four records, which are of status ``invalid_allele``.
    """

    intervals: tuple[Interval, ...]
    sequences: tuple[str, ...]
    block: int

    @property
    def blocks(self) -> int:
        """Number of blocks; none holds bases of two intervals."""
        return self._first[-1]

    def items(self, number: int) -> int:
        """Return the number of substitutions of a block."""
        return sum(3 if base in BASES else 4 for base in self._bases(number)[2])

    def read(self, number: int) -> list[VariantRecord]:
        """Return the substitutions of a block."""
        own, first, bases = self._bases(number)
        chrom, start = self.intervals[own].chrom, self.intervals[own].start
        before = self._before[own]
        return [
            VariantRecord(before + position, index, Variant(chrom, start + position + 1, ref, alt))
            for position, ref in enumerate(bases, start=first)
            for index, alt in enumerate(BASES)
            if alt != ref
        ]

    def interval(self, number: int) -> int:
        """Return the number of the interval that a block is of."""
        return bisect_right(self._first, number) - 1

    def _bases(self, number: int) -> tuple[int, int, str]:
        """Return interval, first base in it, and bases of a block."""
        own = self.interval(number)
        first = (number - self._first[own]) * self.block
        return own, first, self.sequences[own][first : first + self.block]

    @cached_property
    def _first(self) -> list[int]:
        """First block of each interval, then the number of blocks."""
        return [0, *accumulate(-(-len(text) // self.block) for text in self.sequences)]

    @cached_property
    def _before(self) -> list[int]:
        """Bases of the intervals before each."""
        return [0, *accumulate(map(len, self.sequences))]


@dataclass(frozen=True)
class IsmPlan(ScorePlan):
    """Substitutions to score; where intervals have windows of their own, ``windows`` holds one for each."""

    windows: tuple[str, ...] = ()

    def open(self) -> Worker:
        """Load the model and open the genome, or connect to a scorer that has both."""
        if not self.windows:
            return super().open()
        if self.device.kind == "triton" and is_scorer(self.device.url):
            raise InputError(f"{self.device}: scores one window, and each region has its own; name the whole model")
        return IsmWorker(self)

    def window(self, number: int) -> str:
        """Return the window of a job."""
        assert isinstance(self.alleles, Substitutions)
        return self.windows[self.alleles.interval(number)]


class IsmWorker(ScoreWorker):
    """A scorer that answers a job in the window of its interval."""

    _plan: IsmPlan

    def __init__(self, plan: IsmPlan) -> None:
        self._window = plan.windows[0]
        super().__init__(plan)

    def run(self, number: int, tick: Tick, part: range | None = None) -> pa.Table:
        """Score the substitutions of a job."""
        window = self._plan.window(number)
        if window != self._window:
            self._window = window
            self._scorer = self._ready()
        return super().run(number, tick, part)

    def _options(self) -> ScoreOptions:
        return in_window(self._plan.options, self._window)


def in_window(options: ScoreOptions, window: str) -> ScoreOptions:
    """Return options with another window."""
    return replace(options, prediction=replace(options.prediction, window=window))


def ism_intervals(intervals: Sequence[Interval], genome: Fasta, geometry: Geometry) -> tuple[Interval, ...]:
    """Return intervals under the genome's own names of their contigs.

    Raises
    ------
    InputError
        If one does not lie in the genome, or is longer than the output of the model.
    """
    return tuple(_checked(interval, genome, geometry) for interval in intervals)


def ism_windows(intervals: Sequence[Interval], geometry: Geometry, gene: Gene | None = None) -> tuple[str, ...]:
    """Return the window of each interval: around it, or around the gene.

    Raises
    ------
    InputError
        If an interval does not lie in the window of the gene.
    """
    length = geometry.sequence_length_bp
    if gene is None:
        return tuple(f"at:{interval.centred(length).start}" for interval in intervals)
    start = gene_window(gene, geometry)
    for interval in intervals:
        inside = start <= interval.start and interval.end <= start + length and interval.chrom == gene.chrom
        if not inside:
            raise InputError(
                f"region {interval.chrom}:{interval.start + 1}-{interval.end} does not lie in the window "
                f"{gene.chrom}:{start + 1}-{start + length} of gene {gene}"
            )
    return (f"at:{start}",) * len(intervals)


def _checked(interval: Interval, genome: Fasta, geometry: Geometry) -> Interval:
    contig = genome.resolve(interval.chrom)
    name = f"{interval.chrom}:{interval.start + 1}-{interval.end}"
    if contig is None:
        raise InputError(f"region {name}: {genome.name} has no contig {interval.chrom!r}")
    longest = geometry.bins * geometry.bin_size_bp
    if not 0 <= interval.start < interval.end <= genome.contigs[contig]:
        raise InputError(f"region {name} does not lie in {contig} (1-{genome.contigs[contig]})")
    if interval.end - interval.start > longest:
        raise InputError(f"region {name} is longer than the {longest} bp that the model gives; cut it into pieces")
    return replace(interval, chrom=contig)
