"""Alleles to score as numbered jobs, and who answers a job: a scorer in this process, or one on a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from ..backends.device import Device
from ..bundle.opening import Bundle
from ..engine.sessions import EngineOptions, open_engine
from ..errors import BackendError, FormatError, InputError
from ..genome.fasta import Fasta
from ..genome.genes import Genes
from ..genome.variants import VariantRecord
from ..scoring.calibration import CALIBRATION_EXTRAS, Calibration, calibration_key
from ..scoring.ensemble import ENSEMBLE_EXTRAS, member_engine, open_scorer
from ..scoring.options import ScoreOptions
from ..scoring.phase_floor import AnyScorer, floor_extras
from ..scoring.remote import RemoteScorer, check_served, is_scorer
from ..scoring.results import ScoredVariant
from ..scoring.selection import select_rows
from ..tables.calibration import read_calibration
from ..tables.rows import score_table
from ..tracks import RowTable
from .plan import Tick, Worker
from .tally import Tally, counted, tally_of

_BASES_OF_JOB = 2**21  # windows x bp: 4 alleles of the published model, which take less than a minute on two cores
_LARGEST_JOB = 64


class AlleleSource(Protocol):
    """Alleles in numbered blocks; block N is the input of job N. Must be picklable."""

    @property
    def blocks(self) -> int:
        """Number of blocks."""

    def items(self, number: int) -> int:
        """Return how many alleles a block holds."""

    def read(self, number: int) -> list[VariantRecord]:
        """Return the alleles of a block."""


@dataclass(frozen=True)
class ScorePlan:
    """Blocks of alleles to score with one model, or the ensemble of it and ``others``, genome and options."""

    alleles: AlleleSource
    bundle: Bundle
    fasta: Path
    options: ScoreOptions
    device: Device
    engine: EngineOptions | None
    identity: Mapping[str, Any]
    genome: str
    genes: Genes | None = None
    others: tuple[Bundle, ...] = ()
    calibration: Path | None = None

    @property
    def jobs(self) -> int:
        """One for each block of alleles."""
        return self.alleles.blocks

    def items(self, number: int) -> int:
        """Return the number of alleles of a job."""
        return self.alleles.items(number)

    @property
    def extras(self) -> tuple[str, ...]:
        """What is kept beside every score."""
        return extras_of(1 + len(self.others), self.options, calibrated=self.calibration is not None)

    def units(self, number: int) -> int:
        """Return the number of alleles of a job."""
        return self.items(number)

    def failed(self, number: int, unit: int, detail: str) -> pa.Table:
        """Return the row of an allele that cannot be scored."""
        specs = self.options.resolved(self.bundle.info).specs
        rows = len(select_rows(self.bundle.tracks, self.options).rows)
        result = failed(self.alleles.read(number)[unit], detail)
        return score_table([result], specs, rows, with_alleles=self.options.with_alleles, extras=self.extras)

    def open(self) -> Worker:
        """Load the model and open the genome, or connect to a scorer that has both."""
        if self.device.kind == "triton" and self.others:
            raise InputError(f"{self.device}: is one model; an ensemble runs on cpu, cuda or tensorrt")
        if self.device.kind == "triton" and is_scorer(self.device.url):
            return RemoteWorker(self)
        return ScoreWorker(self)


def job_size(bundle: Bundle, options: ScoreOptions) -> int:
    """Return how many alleles a job holds: few enough that a kill costs less than a minute of work."""
    passes = len(options.prediction.shifts) * (2 if options.prediction.rc else 1)
    return max(1, min(_LARGEST_JOB, _BASES_OF_JOB // (bundle.geometry.sequence_length_bp * passes)))


def failed(item: VariantRecord, detail: str) -> ScoredVariant:
    """Return the result of an allele whose scoring went wrong."""
    return ScoredVariant(item.record, item.alt_index, item.variant, "error", detail, haplotype=item.haplotype)


def extras_of(members: int, options: ScoreOptions, *, calibrated: bool) -> tuple[str, ...]:
    """Return what stands beside every score of an ensemble, of what is calibrated, and of indels."""
    ensemble, calibration = ENSEMBLE_EXTRAS if members > 1 else (), CALIBRATION_EXTRAS if calibrated else ()
    return (*ensemble, *calibration, *floor_extras(options))


def open_genome(path: Path, fingerprint: str) -> Fasta:
    """Open the genome of a plan, which may be long after the plan was made.

    Raises
    ------
    InputError
        If it is another one by now.
    """
    genome = Fasta(path)
    if genome.fingerprint() != fingerprint:
        genome.close()
        raise InputError(
            f"{path}: was replaced by another genome after the run had begun ({genome.fingerprint()} now, "
            f"{fingerprint} then); put it back and resume, or start anew"
        )
    return genome


def fitted_calibration(
    folder: Path, members: Sequence[Bundle], options: ScoreOptions, rows: RowTable, device: Device
) -> tuple[Calibration, dict[str, Any]]:
    """Open a calibration for scores of a model, and what its folder says of it.

    Raises
    ------
    InputError
        If it does not hold for these.
    """
    found, document = read_calibration(folder)
    chosen = options.resolved(members[0].info)
    return found.fitted(calibration_key(members, chosen, device.kind), chosen.specs, rows), document


def _calibration_of(plan: ScorePlan, rows: RowTable) -> Calibration | None:
    if plan.calibration is None:
        return None
    return fitted_calibration(plan.calibration, (plan.bundle, *plan.others), plan.options, rows, plan.device)[0]


class ScoreWorker:
    """A scorer that answers a job."""

    def __init__(self, plan: ScorePlan) -> None:
        self._plan = plan
        self._fasta = open_genome(plan.fasta, plan.genome)
        self._members = (plan.bundle, *plan.others)
        engine = member_engine(plan.engine, len(self._members))
        self._sessions = [counted(open_engine(member, plan.device, options=engine)) for member in self._members]
        self._scorer = self._ready()
        self._calibration = _calibration_of(plan, self._scorer.rows)

    def _ready(self) -> AnyScorer:
        return open_scorer(self._members, self._sessions, self._fasta, self._options(), self._plan.genes)

    def _options(self) -> ScoreOptions:
        return self._plan.options

    def run(self, number: int, tick: Tick, part: range | None = None) -> pa.Table:
        """Score the alleles of a job."""
        results = []
        for item in _some(self._plan.alleles.read(number), part):
            results.append(self._score(item))
            tick()
        kept = self._plan.options.with_alleles
        extras = self._plan.extras
        return score_table(results, self._scorer.specs, len(self._scorer.rows), with_alleles=kept, extras=extras)

    @property
    def tiles(self) -> tuple[int, int]:
        """Tiles that were asked for, and of these computed."""
        counts = [session.counts for session in self._sessions]
        return sum(held["tiles"] for held in counts), sum(held["computed"] for held in counts)

    @property
    def tally(self) -> Tally:
        """What was computed."""
        tracks = len(select_rows(self._plan.bundle.tracks, self._plan.options).positions)
        pairs = zip(self._sessions, self._members, strict=True)
        return Tally.sum(tally_of(session.counts, member, tracks) for session, member in pairs)

    @property
    def held_bytes(self) -> tuple[int, int]:
        """Bytes of the caches, and their bound."""
        sizes = [session.memory.size for session in self._sessions if getattr(session, "memory", None) is not None]
        return sum(held for held, _ in sizes), sum(bound for _, bound in sizes)

    def forget(self) -> None:
        """Empty caches and tally."""
        for session in self._sessions:
            session.counts.clear()
            caches: tuple[Any, ...] = (getattr(session, "memory", None), session)  # it may hold more than its cache
            for held in caches:
                if hasattr(held, "clear"):
                    held.clear()
        self._scorer = self._ready()  # predictors on a session without a cache have one of their own

    def _score(self, item: VariantRecord) -> ScoredVariant:
        """Score an allele; what nobody foresaw costs its row, and not the run."""
        try:
            found = self._scorer.score(item)
            return found if self._calibration is None else self._calibration.apply(found)
        except (BackendError, FormatError, OSError, MemoryError):
            raise
        except Exception as error:
            return failed(item, f"{type(error).__name__}: {error}")

    def close(self) -> None:
        """Free the model and close the genome."""
        for session in self._sessions:
            session.close()
        self._fasta.close()


def _some(items: list[VariantRecord], part: range | None) -> list[VariantRecord]:
    return items if part is None else items[part.start : part.stop]


class RemoteWorker:
    """A scorer on a server that answers a job: variants go there and scores come back, no coverage."""

    def __init__(self, plan: ScorePlan) -> None:
        if plan.engine not in (None, EngineOptions()):
            raise InputError(f"{plan.device}: computes as its server was set up; leave out the options of the engine")
        check_served(plan.options)
        self._plan = plan
        self._specs = plan.options.resolved(plan.bundle.info).specs
        rows = select_rows(plan.bundle.tracks, plan.options).rows
        self._rows = len(rows)
        with open_genome(plan.fasta, plan.genome) as genome:
            self._scorer = RemoteScorer(plan.device.url, bundle=plan.bundle, fasta=genome, genes=plan.genes)
        self._scorer.check(plan.options.resolved(plan.bundle.info), rows.identifier)
        self._calibration = _calibration_of(plan, rows)

    def run(self, number: int, tick: Tick, part: range | None = None) -> pa.Table:
        """Have the alleles of a job scored."""
        items = _some(self._plan.alleles.read(number), part)
        names = [spec.name for spec in self._specs]
        found = self._scorer.score_all([item.variant for item in items], stats=names)
        results = []
        for item, result in zip(items, found, strict=True):
            own = replace(result, record=item.record, alt_index=item.alt_index)
            results.append(own if self._calibration is None else self._calibration.apply(own))
            tick()
        return score_table(results, self._specs, self._rows, extras=self._plan.extras)

    @property
    def tally(self) -> Tally:
        """Nothing: the server computes."""
        return Tally(0, 0, 0, None)

    @property
    def held_bytes(self) -> tuple[int, int]:
        """Nothing."""
        return 0, 0

    def forget(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Close the connection."""
        self._scorer.close()
