"""Make null distributions of scores with the user's own engine: a run over variants without effect."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..errors import InputError
from ..genome.fasta import Fasta
from ..genome.gene_index import genes_of
from ..genome.genes import Genes
from ..genome.variants import VariantRecord, read_variants
from ..plain import path_of, whole_number
from ..scoring.backgrounds import matched_variants, random_snvs
from ..scoring.calibration import (
    LEAST,
    MIN_COUNT,
    Calibration,
    Null,
    calibration_key,
    check_count,
    chosen_genes,
    null_notes,
    rows_of,
)
from ..scoring.ensemble import Models, check_ensemble, open_members
from ..scoring.options import ScoreOptions
from ..scoring.pipeline import check_genes, check_sites
from ..scoring.selection import select_rows
from ..scoring.spec import ScoreSpec
from ..tables.calibration import write_calibration
from ..tables.kept import scores_of
from .alleles import write_alleles
from .estimate import Output, Shards
from .outputs import check_directory, finish_directory
from .run import do_jobs, is_over, open_journal
from .score_plan import ScorePlan, job_size
from .score_record import inputs_of, run_context, run_identity
from .settings import RunSettings
from .statuses import count_statuses

log = logging.getLogger(__name__)


def calibrate(
    out: str | os.PathLike[str],
    *,
    bundle: Models,
    fasta: str | os.PathLike[str],
    variants: str | os.PathLike[str] | None = None,
    random: int = 0,
    matched: int = 0,
    seed: int = 0,
    options: ScoreOptions | None = None,
    settings: RunSettings | None = None,
    genes: Genes | str | os.PathLike[str] | None = None,
    min_count: int = MIN_COUNT,
) -> Counter[str]:
    """Score variants without effect and keep the distribution of every score and track as a folder.

    Parameters
    ----------
    out : path
        Folder to make, for ``score_file(calibration=...)``. It appears whole; until then results lie in
        ``OUT.partial``.
    bundle : Bundle or path, or a sequence of these
        The model, or the members of an ensemble, as scores will be made.
    fasta : path
        The genome.
    variants : path, optional
        VCF or BCF of the null, as of common variants.
    random : int
        Instead of ``variants``: number of SNVs drawn from the genome.
    matched : int
        Instead of ``variants`` themselves: number of copies of each at random positions that match it, see
        :func:`borzoi_rt.scoring.backgrounds.matched_variants`.
    seed : int
        Of what is drawn.
    options : ScoreOptions, optional
        Scores and policies, as scores will be made.
    settings : RunSettings, optional
        Device, processes, resumption.
    genes : Genes or path, optional
        Annotation, for scores over regions of genes: every pair of a variant and a gene is one null value.
    min_count : int
        Least number of null values of every score.

    Returns
    -------
    Counter
        Statuses of the variants.

    Raises
    ------
    InputError
        If options cannot be used, or a score has too few null values.
    """
    chosen, settings, target = options or ScoreOptions(), settings or RunSettings(), path_of("out", out)
    given = {"random": random, "matched": matched, "seed": seed, "min_count": min_count}
    random, matched, seed, min_count = (whole_number(name, value) for name, value in given.items())
    source = _Source(variants, random, matched, seed)
    source.check(min_count)
    if chosen.with_alleles or chosen.prediction.cluster_share is not None:
        what = "with_alleles" if chosen.with_alleles else "windows that neighbours share"
        raise InputError(f"{what}: no part of a null; leave that out")
    check_genes(chosen, genes is not None)
    inputs = [item for item in (variants, fasta) if item is not None]
    check_directory(target, [*inputs, *inputs_of(bundle, chosen)], resume=settings.resume)
    model, *others = members = open_members(bundle)
    check_ensemble(members, chosen)
    annotation = genes_of(genes)
    check_sites(chosen, annotation)
    with Fasta(fasta) as genome:
        selection = select_rows(model.tracks, chosen)
        context = run_context(model, genome, chosen, selection, settings.worker_device, annotation, others)
        with open_journal(target, settings) as journal:
            drawn = source.read(genome, model.geometry.sequence_length_bp)
            alleles = write_alleles(journal.directory / "alleles.arrow", drawn, job_size(model, chosen))
            digest = hashlib.sha256(alleles.path.read_bytes()).hexdigest()
            plan = ScorePlan(
                alleles=alleles,
                bundle=model,
                fasta=genome.path,
                options=chosen,
                device=settings.worker_device,
                engine=settings.engine,
                identity=run_identity({**context, "calibration": source.about}, selection, digest),
                genome=context["identity_genome"],
                genes=annotation,
                others=tuple(others),
            )
            do_jobs(plan, journal, settings)
            counts = count_statuses(journal)
            resolved = chosen.resolved(model.info)

            def nulls_of(shards: Shards) -> dict[str, Null]:
                return {spec.name: _null(shards, spec, len(selection.rows)) for spec in resolved.specs}

            def write(folder: Path, nulls: Mapping[str, Null], shards: Shards) -> None:
                calibration = Calibration(
                    source=target.name,
                    key=calibration_key(members, resolved, settings.worker_device.kind),
                    rows=rows_of(selection.rows),
                    nulls=nulls,
                    genome=genome.fingerprint(),
                    annotation="" if annotation is None else annotation.digest,
                    genes=chosen_genes(chosen),
                )
                facts = {"variants": {**source.about, "statuses": dict(counts)}, "min_count": min_count, "run": context}
                write_calibration(folder, calibration, _variants(shards), facts)

            values = alleles.count * len(selection.rows) * len(resolved.specs)
            output = Output(
                target.name,
                lambda folder, shards: write(folder, nulls_of(shards), shards),
                size=4 * values,
                least=1,
                finish=finish_directory,
            )
            if is_over(plan, journal, settings, output):
                return counts
            nulls = nulls_of(journal.tables)
            for name, null in nulls.items():
                check_count(name, null, min_count, counts.total())
            finish_directory(target, journal, lambda folder: write(folder, nulls, journal.tables))
    for note in null_notes(target.name, nulls, selection.rows.identifier):
        log.warning("%s", note)
    return counts


@dataclass(frozen=True)
class _Source:
    """Where the variants of a null come from; see :func:`calibrate`."""

    variants: str | os.PathLike[str] | None
    random: int
    matched: int
    seed: int

    def check(self, min_count: int) -> None:
        """Refuse what does not go together."""
        if (self.variants is None) == (self.random == 0):
            raise InputError("the null is of variants or of random ones; give one of variants and random")
        if self.matched and self.variants is None:
            raise InputError("matched copies are of variants; give these, or leave matched out")
        if min(self.random, self.matched, self.seed) < 0 or min_count < LEAST:
            raise InputError(
                f"random is {self.random}, matched {self.matched}, seed {self.seed}, min_count {min_count}; 0 or more "
                f"are needed, and at least {LEAST} of min_count"
            )
        if self.seed and self.random == self.matched == 0:
            raise InputError(
                f"seed {self.seed} is for variants that are drawn; give random or matched too, or leave it out"
            )

    @property
    def about(self) -> dict[str, Any]:
        """What the variants are, as JSON values."""
        if self.variants is None:
            return {"kind": "random SNVs", "count": self.random, "seed": self.seed}
        name = Path(self.variants).name
        if self.matched:
            return {"kind": "matched", "of": name, "copies": self.matched, "seed": self.seed}
        return {"kind": "given", "of": name}

    def read(self, genome: Fasta, window_bp: int) -> Iterable[VariantRecord]:
        """Read the variants, or draw them."""
        if self.variants is None:
            return random_snvs(genome, self.random, seed=self.seed, window_bp=window_bp)
        given = read_variants(self.variants)
        if self.matched:
            return matched_variants(genome, given, self.matched, seed=self.seed, window_bp=window_bp)
        return given


def _null(shards: Shards, spec: ScoreSpec, rows: int) -> Null:
    """Return the null of one score: every kept row of its region that has it."""
    parts = [np.zeros((0, rows), dtype=np.float32)]
    for table in shards():
        held = np.array(table["region"].to_pylist(), dtype=object) == str(spec.region)
        valid = table[f"score:{spec.stat}"].is_valid().to_numpy(zero_copy_only=False)
        parts.append(scores_of(table, spec.stat, rows)[held & valid])
    return Null.of(spec, np.concatenate(parts))


def _variants(shards: Shards) -> pa.Table:
    """Return the variants of the null with their statuses."""
    names = ["chrom", "pos", "ref", "alt", "status"]
    return pa.concat_tables([table.select(names).filter(table["first"]) for table in shards()])
