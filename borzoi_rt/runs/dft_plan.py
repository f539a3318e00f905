"""What a DFT score run computes: TSSs with the variants in their windows, in numbered jobs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from .. import __version__
from ..backends.device import Device
from ..backends.opening import open_session
from ..bundle.opening import Bundle
from ..errors import BorzoiError, quoted
from ..genome.fasta import Fasta
from ..genome.variants import Variant, VariantRecord
from ..motifs.matrices import Motif
from ..promoter.options import DftOptions
from ..promoter.scorer import SiteScorer, net_names
from ..promoter.sites import Site
from ..scoring.reference import check_reference
from ..tables.dft import Row, as_table, failed_row, rows_of
from .plan import Tick
from .score_plan import open_genome
from .tally import Tally, counted

SCHEMA_VERSION = 2
TARGET_VARIANTS = 16  # variants of one target, which scores the window of the genome once more
JOB_TARGETS = 64
JOB_OPERATIONS = 1e12  # about a minute of a few cores


@dataclass(frozen=True)
class Target:
    """A site and some of the variants in its window.

    Attributes
    ----------
    site : Site
        On the contig as the genome names it, where it has the contig.
    records : tuple of VariantRecord
    first : bool
        Whether the rows of the site itself are among those of the target.
    status, detail : str
        Why the target cannot be scored; empty where it can.
    """

    site: Site
    records: tuple[VariantRecord, ...] = ()
    first: bool = True
    status: str = ""
    detail: str = ""

    @property
    def windows(self) -> int:
        """Number of windows that have rows."""
        return len(self.records) + self.first


def plan_targets(
    genome: Fasta, window: Mapping[str, int], sites: Sequence[Site] | None, records: Sequence[VariantRecord]
) -> list[Target]:
    """Return what is scored, in the order of the table.

    Parameters
    ----------
    genome : Fasta
    window : mapping
        ``length_bp`` and ``tss_bp`` of the model.
    sites : sequence of Site or None
        TSSs; each variant is scored at all whose window holds it, and has a row ``no_site`` where none does. None:
        every variant makes its own site, on the ``+`` strand.
    records : sequence of VariantRecord
    """
    if sites is None:
        return [_own_target(genome, record) for record in records]
    numbers: dict[str | None, list[int]] = {}
    for number, record in enumerate(records):
        numbers.setdefault(genome.resolve(record.variant.chrom), []).append(number)
    used: set[int] = set()
    targets: list[Target] = []
    for site in sites:
        chrom = genome.resolve(site.chrom)
        start, end = site.window(**window)
        near = [] if chrom is None else numbers.get(chrom, [])
        inside = [number for number in near if _holds(start, end, records[number].variant)]
        used.update(inside)
        targets += _cut(genome, site, [records[number] for number in inside])
    for number, record in enumerate(records):
        if number not in used:
            site = Site(record.variant.chrom, max(record.variant.pos - 1, 0))
            status, detail = record.problem or "no_site", record.detail
            targets.append(Target(site, (record,), first=False, status=status, detail=detail))
    return targets


def _own_target(genome: Fasta, record: VariantRecord) -> Target:
    """Return the target of a variant that is its own TSS: one row where it cannot be scored."""
    site = Site(record.variant.chrom, max(record.variant.pos - 1, 0))
    if record.problem is not None:
        return Target(site, (record,), first=False, status=record.problem, detail=record.detail)
    (target,) = _cut(genome, site, [record])
    return replace(target, first=not target.status)


def _cut(genome: Fasta, site: Site, records: Sequence[VariantRecord]) -> Iterator[Target]:
    chrom = genome.resolve(site.chrom)
    status = detail = ""
    if chrom is None:
        status, detail = "contig_missing", f"the genome has no contig {quoted(site.chrom)}"
    elif not 0 <= site.pos0 < genome.contigs[chrom]:
        status, detail = "out_of_bounds", f"{chrom} has {genome.contigs[chrom]} bases"
    here = site if chrom is None else replace(site, chrom=chrom)
    for start in range(0, max(len(records), 1), TARGET_VARIANTS):
        part = tuple(records[start : start + TARGET_VARIANTS])
        yield Target(here, part, first=start == 0, status=status, detail=detail)


def _holds(start: int, end: int, variant: Variant) -> bool:
    return start <= variant.pos - 1 and variant.pos - 1 + len(variant.ref) <= end


@dataclass(frozen=True)
class DftPlan:
    """A run as numbered jobs.

    Parameters
    ----------
    nets : tuple of Bundle
    fasta : Path
    genome : str
        What identifies the bases of the genome.
    targets : tuple of Target
    motifs : tuple of Motif or None
        For sequence mode.
    options : DftOptions
        See :func:`borzoi_rt.promoter.scorer.resolved`.
    device : Device
    near : slice or None
        Bins whose curves are kept with the rows; None keeps none.
    """

    nets: tuple[Bundle, ...]
    fasta: Path
    genome: str
    targets: tuple[Target, ...]
    motifs: tuple[Motif, ...] | None
    options: DftOptions
    device: Device
    near: slice | None

    @property
    def identity(self) -> dict[str, Any]:
        """JSON values that must be equal for results of an earlier run to be used again."""
        motifs = [(motif.name, motif.matrix.tolist()) for motif in self.motifs or ()]
        return {
            "schema": SCHEMA_VERSION,
            "borzoi_rt": __version__,
            "nets": [(name, net.sha256) for name, net in zip(net_names(self.nets), self.nets, strict=True)],
            "genome": self.genome,
            "options": asdict(self.options),
            "targets": hashlib.sha256(repr(self.targets).encode()).hexdigest(),
            "motifs": hashlib.sha256(repr(motifs).encode()).hexdigest(),
            "curves": None if self.near is None else [self.near.start, self.near.stop],
        }

    @property
    def jobs(self) -> int:
        """Number of jobs."""
        return -(-len(self.targets) // self._targets_per_job)

    def targets_of(self, number: int) -> tuple[Target, ...]:
        """Return the targets of a job."""
        size = self._targets_per_job
        return self.targets[number * size : (number + 1) * size]

    def items(self, number: int) -> int:
        """Return how many windows a job has."""
        return sum(target.windows for target in self.targets_of(number))

    def units(self, number: int) -> int:
        """Return the number of targets of a job."""
        return len(self.targets_of(number))

    def failed(self, number: int, unit: int, detail: str) -> pa.Table:
        """Return the rows of a target that cannot be scored."""
        return as_table(failed_rows(self.targets_of(number)[unit], detail))

    def open(self) -> DftWorker:
        """Open models and genome in this process."""
        return DftWorker(self)

    @property
    def _targets_per_job(self) -> int:
        """Every weight is used once a base, at most, and every window is predicted once a motif and more."""
        operations = 0.0
        for net in self.nets:
            weights = sum(entry.bytes for entry in net.files.values()) / 4
            removals = len(self.motifs or net.info.architecture.get("motif_names", ()))
            repeats = self.options.shuffles or 1
            operations += 2 * weights * net.geometry.sequence_length_bp * (removals * repeats + 2)
        return int(min(max(JOB_OPERATIONS // max(operations, 1.0), 1), JOB_TARGETS))


def failed_rows(target: Target, detail: str) -> list[Row]:
    """Return a row of status ``error`` for each window of a target."""
    variants = [None] * target.first + [record.variant for record in target.records]
    return [failed_row(target.site, variant, "error", detail) for variant in variants]


class DftWorker:
    """A plan made ready in one process."""

    def __init__(self, plan: DftPlan) -> None:
        self._plan = plan
        self._open = ExitStack()
        try:
            sessions = []
            for net in plan.nets:
                session = counted(open_session(net, plan.device))
                self._open.callback(session.close)
                sessions.append(session)
            self._sessions = sessions
            self._genome = self._open.enter_context(open_genome(plan.fasta, plan.genome))
            self.scorer = SiteScorer(plan.nets, sessions, self._genome, plan.motifs, plan.options)
        except BaseException:
            self._open.close()
            raise

    def close(self) -> None:
        """Free models and genome."""
        self._open.close()

    @property
    def tally(self) -> Tally:
        """What was computed: passes alone, for the arithmetic of promoter networks has no count."""
        return Tally(sum(session.counts["whole"] for session in self._sessions), 0, 0, None)

    @property
    def held_bytes(self) -> tuple[int, int]:
        """Nothing is kept."""
        return 0, 0

    def forget(self) -> None:
        """Empty the tally."""
        for session in self._sessions:
            session.counts.clear()

    def run(self, number: int, tick: Tick, part: range | None = None) -> pa.Table:
        """Return the rows of a job."""
        rows: list[Row] = []
        targets = self._plan.targets_of(number)
        for target in targets if part is None else targets[part.start : part.stop]:
            for found in self._rows(target):
                rows += found
                tick()
        return as_table(rows)

    def _rows(self, target: Target) -> list[list[Row]]:
        """Return the rows of each window; what nobody foresaw costs those of the target, and not the run."""
        try:
            return list(self._target(target))
        except (BorzoiError, OSError, MemoryError):
            raise
        except Exception as error:
            return [[row] for row in failed_rows(target, f"{type(error).__name__}: {error}")]

    def _target(self, target: Target) -> Iterator[list[Row]]:
        """Yield the rows of each window."""
        if target.status:
            if target.first:
                yield [failed_row(target.site, None, target.status, target.detail)]
            for record in target.records:
                yield [failed_row(target.site, record.variant, record.problem or target.status, target.detail)]
            return
        near = self._plan.near
        checked = [check_reference(self._genome, record) for record in target.records]
        reference = None
        if target.first or any(found.scored for found in checked):
            reference = self.scorer.score(target.site)
        if target.first and reference is not None:
            yield rows_of(reference, None, near)
        for record, found in zip(target.records, checked, strict=True):
            if found.variant is None:
                yield [failed_row(target.site, record.variant, found.status, found.detail)]
                continue
            windows = self.scorer.score(target.site, found.variant)
            base = reference
            if found.genome_allele is not None:  # a letter for several bases, of which REF is one
                base = self.scorer.score(target.site, replace(found.variant, alt=found.variant.ref))
            # The table names the variant as it was written.
            yield rows_of([replace(window, variant=record.variant) for window in windows], base, near, found.detail)
