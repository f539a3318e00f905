"""Rows to explain as numbered jobs: of each fold each row, or a part of one where the method takes base by base."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from .. import __version__
from ..backends.device import Device
from ..bundle.opening import Bundle
from ..engine.sessions import EngineOptions
from ..genome.fasta import Fasta
from ..genome.genes import Gene
from ..runs.plan import Tick
from ..runs.score_plan import open_genome
from ..runs.tally import Tally, tally_of
from .answer import Answer
from .explainer import Explainer, ExplainOptions, described
from .kept import to_table
from .methods import METHODS
from .remote import RemoteExplainer, open_explainer
from .rows import Row
from .target import TargetSpec

SCHEMA_VERSION = 1
_BASES_OF_PART = 2**20  # passes x bp, of three passes a base: two bases of the published model, 32 of a small one
_LARGEST_PART = 32


@dataclass(frozen=True)
class ExplainPlan:
    """Rows to explain by each of some bundles; results of a fold come before those of the next.

    Attributes
    ----------
    rows : tuple of Row
        Those that can be explained, of one width.
    part_bp : int
        Bases of a row that one job explains.
    measured : bool
        Whether it is only measured what a run costs: every fold is taken for the first, which costs as much.
    """

    rows: tuple[Row, ...]
    part_bp: int
    bundles: tuple[Bundle, ...]
    fasta: Path
    spec: TargetSpec
    options: ExplainOptions
    device: Device
    engine: EngineOptions | None
    identity: Mapping[str, Any]
    measured: bool = False

    @property
    def parts(self) -> int:
        """Jobs of each row."""
        return -(-self.rows[0].width // self.part_bp)

    @property
    def jobs(self) -> int:
        """Number of jobs."""
        return len(self.bundles) * len(self.rows) * self.parts

    def numbers(self, fold: int, row: int) -> range:
        """Return the jobs of a row of a fold."""
        first = (fold * len(self.rows) + row) * self.parts
        return range(first, first + self.parts)

    def task(self, number: int) -> tuple[int, Row]:
        """Return fold and row, or part of a row, of a job."""
        whole, part = divmod(number, self.parts)
        fold, row = divmod(whole, len(self.rows))
        held, low = self.rows[row], part * self.part_bp
        return fold, held.part(low, min(low + self.part_bp, held.width))

    def items(self, number: int) -> int:
        """Return 1: a job is a row, or a part of one."""
        return 1

    def units(self, number: int) -> int:
        """Return 1: a job is not cut."""
        return 1

    def failed(self, number: int, unit: int, detail: str) -> pa.Table:
        """Return what is kept of a job that cannot be done."""
        return to_table(Answer("error", detail))

    def open(self) -> ExplainWorker:
        """Load the first model that is needed and open the genome."""
        return ExplainWorker(self)


class ExplainWorker:
    """An explainer that answers a job, of one fold at a time."""

    def __init__(self, plan: ExplainPlan) -> None:
        self._plan = plan
        self._fasta = open_genome(plan.fasta, plan.identity["genome"])
        self._fold = -1
        self._explainer: Explainer | RemoteExplainer | None = None
        self._tallies: list[Tally] = []
        if plan.measured or len(plan.bundles) == 1:  # of several, the first job says which
            self._opened(0)

    def run(self, number: int, tick: Tick, part: range | None = None) -> pa.Table:
        """Explain a row, or a part of one; what is wrong with it is its status."""
        fold, row = self._plan.task(number)
        explainer = self._opened(fold)
        found = explainer.answer(row, self._plan.spec, self._plan.options)
        tick()
        return to_table(found)

    def _opened(self, fold: int) -> Explainer | RemoteExplainer:
        """Return the explainer of a fold; that of another is closed, two do not have to fit into memory."""
        plan = self._plan
        if self._explainer is not None and fold == self._fold:
            return self._explainer
        self._fold = fold
        if plan.measured and self._explainer is not None:  # another fold costs the same, and knows nothing yet
            self._tallies.append(self._tally_of(self._explainer))
            self._explainer.forget()
            return self._explainer
        self._close_explainer()
        self._explainer = open_explainer(plan.bundles[fold], self._fasta, plan.device, plan.engine)
        self._explainer.prepare(plan.options)
        return self._explainer

    @property
    def tiles(self) -> tuple[int, int]:
        """Tiles that were asked for, and of these computed."""
        tally = self.tally
        return int(tally.tiles), int(tally.computed)

    @property
    def tally(self) -> Tally:
        """What was computed."""
        held = [*self._tallies, *([] if self._explainer is None else [self._tally_of(self._explainer)])]
        return Tally.sum(held)

    def _tally_of(self, explainer: Explainer | RemoteExplainer) -> Tally:
        tracks = len(self._plan.identity["tracks"])
        return tally_of(explainer.counts, explainer.bundle, tracks)

    @property
    def held_bytes(self) -> tuple[int, int]:
        """Bytes of the caches, and their bound."""
        return (0, 0) if self._explainer is None else self._explainer.held_bytes

    def forget(self) -> None:
        """Empty caches and tally."""
        self._tallies.clear()
        if self._explainer is not None:
            self._explainer.forget()

    def _close_explainer(self) -> None:
        if self._explainer is not None:
            self._tallies.append(self._tally_of(self._explainer))
            self._explainer.close()
        self._explainer = None

    def close(self) -> None:
        """Free the model and close the genome."""
        self._close_explainer()
        self._fasta.close()


def part_bp(bundle: Bundle, options: ExplainOptions, width: int) -> int:
    """Return how many bases of a row a job explains: few enough that a kill costs less than a minute of work."""
    if not METHODS[options.method].divisible:
        return width
    passes = 2 if options.rc else 1
    return max(1, min(_LARGEST_PART, _BASES_OF_PART // (bundle.geometry.sequence_length_bp * passes), width))


def identity_of(
    bundles: Sequence[Bundle], fasta: Fasta, rows: Sequence[Row], spec: TargetSpec, options: ExplainOptions
) -> dict[str, Any]:
    """Return what must be equal for results to be used again; the device is not part of it, as of other runs.

    ``rows`` are those that are explained, of which the first gives tracks and scale.
    """
    about = described(bundles[0], rows[0], spec, options)
    about.pop("notes", None)  # words, on which nothing depends
    gene, sites = rows[0].where.gene, rows[0].where.sites
    return {
        "schema": SCHEMA_VERSION,
        "borzoi_rt": __version__,
        "bundle": [bundle.sha256 for bundle in bundles],
        "genome": fasta.fingerprint(),
        "genes": None if gene is None else _gene_identity(gene),
        "sites": None if sites is None else sites.digest,
        "target": spec.to_json(),
        "squash": about.pop("target")["squash"],
        "tracks": spec.bind(bundles[0], rows[0].where).positions.tolist(),
        "options": about,
        "windows": _hashed([_row_text(row) for row in rows]),
    }


def _gene_identity(gene: Gene) -> str:
    transcripts = [exons.tolist() for exons in gene.isoforms]
    return f"{gene.id} {_hashed([gene.chrom, gene.strand, gene.exons.tolist(), transcripts])[:16]}"


def _row_text(row: Row) -> str:
    """Return all that what is said of a row depends on, but gene and sites."""
    bases, where = row.bases, row.where
    who = (bases.chrom, bases.start, bases.end, bases.strand, row.name, row.allele, row.status)
    return repr((*who, where.window_start, where.anchor, where.frame, row.variant, row.genome_allele, row.segments))


def _hashed(value: object) -> str:
    return hashlib.sha256(repr(value).encode("utf-8", "surrogateescape")).hexdigest()
