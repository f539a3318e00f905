"""Alleles to score as numbered jobs, and who answers a job: a scorer in this process, or one on a server."""

from __future__ import annotations

from collections.abc import Mapping
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
from ..scoring.options import ScoreOptions
from ..scoring.pipeline import Scorer
from ..scoring.remote import RemoteScorer, check_served, is_scorer
from ..scoring.results import ScoredVariant
from ..scoring.selection import select_rows
from ..tables.rows import score_table
from .plan import Tick, Worker
from .tally import Tally, counted, tally_of


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
    """Blocks of alleles to score with one model, genome and options."""

    alleles: AlleleSource
    bundle: Bundle
    fasta: Path
    options: ScoreOptions
    device: Device
    engine: EngineOptions | None
    identity: Mapping[str, Any]
    genome: str
    genes: Genes | None = None

    @property
    def jobs(self) -> int:
        """One for each block of alleles."""
        return self.alleles.blocks

    def items(self, number: int) -> int:
        """Return the number of alleles of a job."""
        return self.alleles.items(number)

    def units(self, number: int) -> int:
        """Return the number of alleles of a job."""
        return self.items(number)

    def failed(self, number: int, unit: int, detail: str) -> pa.Table:
        """Return the row of an allele that cannot be scored."""
        specs = self.options.resolved(self.bundle.info).specs
        rows = len(select_rows(self.bundle.tracks, self.options).rows)
        result = failed(self.alleles.read(number)[unit], detail)
        return score_table([result], specs, rows, with_alleles=self.options.with_alleles)

    def open(self) -> Worker:
        """Load the model and open the genome, or connect to a scorer that has both."""
        if self.device.kind == "triton" and is_scorer(self.device.url):
            return RemoteWorker(self)
        return ScoreWorker(self)


def failed(item: VariantRecord, detail: str) -> ScoredVariant:
    """Return the result of an allele whose scoring went wrong."""
    return ScoredVariant(item.record, item.alt_index, item.variant, "error", detail)


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


class ScoreWorker:
    """A scorer that answers a job."""

    def __init__(self, plan: ScorePlan) -> None:
        self._plan = plan
        self._fasta = open_genome(plan.fasta, plan.genome)
        self._session = counted(open_engine(plan.bundle, plan.device, options=plan.engine))
        self._scorer = Scorer(plan.bundle, self._session, self._fasta, plan.options, plan.genes)

    def run(self, number: int, tick: Tick, part: range | None = None) -> pa.Table:
        """Score the alleles of a job."""
        results = []
        for item in _some(self._plan.alleles.read(number), part):
            results.append(self._score(item))
            tick()
        kept = self._plan.options.with_alleles
        return score_table(results, self._scorer.specs, len(self._scorer.rows), with_alleles=kept)

    @property
    def tiles(self) -> tuple[int, int]:
        """Tiles that were asked for, and of these computed."""
        return self._session.counts["tiles"], self._session.counts["computed"]

    @property
    def tally(self) -> Tally:
        """What was computed."""
        return tally_of(self._session.counts, self._plan.bundle, len(self._scorer.selection.positions))

    @property
    def held_bytes(self) -> tuple[int, int]:
        """Bytes of the cache, and their bound."""
        return self._scorer.predictor.memory.size

    def forget(self) -> None:
        """Empty cache and tally."""
        self._session.counts.clear()
        self._scorer.predictor.memory.clear()
        if hasattr(self._session, "clear"):  # what lies on a device too
            self._session.clear()

    def _score(self, item: VariantRecord) -> ScoredVariant:
        """Score an allele; what nobody foresaw costs its row, and not the run."""
        try:
            return self._scorer.score(item)
        except (BackendError, FormatError, OSError, MemoryError):
            raise
        except Exception as error:
            return failed(item, f"{type(error).__name__}: {error}")

    def close(self) -> None:
        """Free the model and close the genome."""
        self._session.close()
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
            self._scorer = RemoteScorer(plan.device.url, bundle=plan.bundle, fasta=genome)
        self._scorer.check(plan.options.resolved(plan.bundle.info), rows.identifier)

    def run(self, number: int, tick: Tick, part: range | None = None) -> pa.Table:
        """Have the alleles of a job scored."""
        items = _some(self._plan.alleles.read(number), part)
        names = [spec.name for spec in self._specs]
        found = self._scorer.score_all([item.variant for item in items], stats=names)
        results = []
        for item, result in zip(items, found, strict=True):
            results.append(replace(result, record=item.record, alt_index=item.alt_index))
            tick()
        return score_table(results, self._specs, self._rows)

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
