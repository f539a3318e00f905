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
from ..errors import InputError
from ..genome.fasta import Fasta
from ..genome.genes import Genes
from ..genome.variants import VariantRecord
from ..scoring.ensemble import ENSEMBLE_EXTRAS, member_engine, open_scorer
from ..scoring.options import ScoreOptions
from ..scoring.remote import RemoteScorer, check_served, is_scorer
from ..scoring.selection import select_rows
from ..tables.rows import score_table
from .plan import Tick, Worker


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
    genes: Genes | None = None
    others: tuple[Bundle, ...] = ()

    @property
    def jobs(self) -> int:
        """One for each block of alleles."""
        return self.alleles.blocks

    def items(self, number: int) -> int:
        """Return the number of alleles of a job."""
        return self.alleles.items(number)

    def open(self) -> Worker:
        """Load the model and open the genome, or connect to a scorer that has both."""
        if self.device.kind == "triton" and self.others:
            raise InputError(f"{self.device}: is one model; an ensemble runs on cpu, cuda or tensorrt")
        if self.device.kind == "triton" and is_scorer(self.device.url):
            return RemoteWorker(self)
        return ScoreWorker(self)


class ScoreWorker:
    """A scorer that answers a job."""

    def __init__(self, plan: ScorePlan) -> None:
        self._plan = plan
        self._fasta = Fasta(plan.fasta)
        members = (plan.bundle, *plan.others)
        engine = member_engine(plan.engine, len(members))
        self._sessions = [open_engine(member, plan.device, options=engine) for member in members]
        self._scorer = open_scorer(members, self._sessions, self._fasta, plan.options, plan.genes)

    def run(self, number: int, tick: Tick) -> pa.Table:
        """Score the alleles of a job."""
        results = []
        for item in self._plan.alleles.read(number):
            results.append(self._scorer.score(item))
            tick()
        kept = self._plan.options.with_alleles
        extras = ENSEMBLE_EXTRAS if self._plan.others else ()
        return score_table(results, self._scorer.specs, len(self._scorer.rows), with_alleles=kept, extras=extras)

    def close(self) -> None:
        """Free the model and close the genome."""
        for session in self._sessions:
            session.close()
        self._fasta.close()


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
        with Fasta(plan.fasta) as genome:
            self._scorer = RemoteScorer(plan.device.url, bundle=plan.bundle, fasta=genome)
        self._scorer.check(plan.options.resolved(plan.bundle.info), rows.identifier)

    def run(self, number: int, tick: Tick) -> pa.Table:
        """Have the alleles of a job scored."""
        items = self._plan.alleles.read(number)
        names = [spec.name for spec in self._specs]
        found = self._scorer.score_all([item.variant for item in items], stats=names)
        results = []
        for item, result in zip(items, found, strict=True):
            results.append(replace(result, record=item.record, alt_index=item.alt_index))
            tick()
        return score_table(results, self._specs, self._rows)

    def close(self) -> None:
        """Close the connection."""
        self._scorer.close()
