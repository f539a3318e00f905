"""Score the variants of a file into a table."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import FormatError, InputError
from ..genome.fasta import Fasta
from ..genome.gene_index import genes_of
from ..genome.genes import Genes
from ..genome.variants import Variant, VariantRecord
from ..plain import path_of
from ..scoring.ensemble import Models, check_ensemble, open_members
from ..scoring.haplotypes import HaplotypeOptions, check_uncalibrated
from ..scoring.options import ScoreOptions
from ..scoring.pipeline import check_genes, check_sites
from ..scoring.remote import check_not_served
from ..scoring.selection import select_rows
from ..scoring.stream import records_of
from ..tables import WRITERS, TableContext, check_layout, suffix_of
from ..tables.alphagenome import TidyFacts
from ..tables.kept import allele_facts
from ..tables.rows import Rows
from ..tables.vcf import annotate_some
from .estimate import Output, Shards
from .explain import Explainer, ExplainOptions
from .outputs import check_target, finish_output
from .run import do_jobs, is_over, open_journal
from .score_input import Input, Reader, read_file, read_list
from .score_plan import ScorePlan, job_size
from .score_record import calibration_facts, inputs_of, run_context, run_identity
from .settings import RunSettings
from .statuses import count_statuses, judge, say_unscored

_READ_AT_ONCE = 4096  # alleles between two signs of life


def score_file(
    vcf: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    bundle: Models,
    fasta: str | os.PathLike[str],
    options: ScoreOptions | None = None,
    settings: RunSettings | None = None,
    layout: str = "long",
    genes: Genes | str | os.PathLike[str] | None = None,
    calibration: str | os.PathLike[str] | None = None,
    haplotypes: HaplotypeOptions | None = None,
    explain: ExplainOptions | None = None,
) -> Counter[str]:
    """Score the variants of a file and write a table whose form the suffix of ``out`` names.

    Parameters
    ----------
    vcf : path
        VCF or BCF; ``-`` for stdin, or a pipe. It is read once.
    out : path
        ``.tsv``, ``.tsv.gz``, ``.parquet``, ``.h5`` or ``.vcf.gz``. It appears whole, by one rename; until then results
        lie in ``OUT.partial``.
    bundle : Bundle or path, or a sequence of these
        The model; several are an ensemble, see :mod:`borzoi_rt.scoring.ensemble`.
    fasta : path
        The genome.
    options : ScoreOptions, optional
        Statistics and policies.
    settings : RunSettings, optional
        Device, processes, resumption.
    layout : str
        ``long``: a row per allele, gene, region, track and statistic. ``wide``: a row per allele, with scores of genes
        one per allele and gene, and a column per score and track; for text and Parquet. ``alphagenome``: the columns
        of AlphaGenome's client, see :mod:`borzoi_rt.tables.alphagenome`; likewise.
    genes : Genes or path, optional
        Annotation in GTF or GFF3, for scores over regions of genes.
    calibration : path, optional
        Folder that :func:`borzoi_rt.runs.calibrate.calibrate` made in the same way: every score gets a quantile, phred
        and vs_null_max, see :mod:`borzoi_rt.scoring.calibration`.
    haplotypes : HaplotypeOptions, optional
        Score the haplotypes of samples instead of alleles; the VCF must be sorted. Tables then also say ``sample``,
        ``haplotype``, what it is compared with (``against``) and its ``variants``.
    explain : ExplainOptions, optional
        Write the motifs that the strongest alleles gain and lose to ``OUT.motifs.tsv`` and ``OUT.motifs.json``.

    Returns
    -------
    Counter
        Statuses.

    Raises
    ------
    FormatError
        If a file is malformed.
    ReferenceMismatchError
        If no REF allele agrees with the genome: the assembly is another.
    InputError
        If options, names or paths cannot be used, or another run is writing ``out``.
    """
    vcf = path_of("vcf", vcf)
    read = partial(
        read_file,
        vcf,
        keep=str(out).endswith(".vcf.gz"),
        again=settings is not None and settings.shard is not None,
        haplotypes=haplotypes,
    )
    asked = _Asked(
        bundle=bundle,
        fasta=fasta,
        options=options or ScoreOptions(),
        settings=settings or RunSettings(),
        layout=layout,
        genes=genes,
        calibration=calibration,
        haplotypes=haplotypes,
        explain=explain,
    )
    return _score(read, path_of("out", out), asked, vcf)


def score_list(
    variants: Iterable[Any],
    out: str | os.PathLike[str],
    *,
    bundle: Models,
    fasta: str | os.PathLike[str],
    options: ScoreOptions | None = None,
    settings: RunSettings | None = None,
    layout: str = "long",
    genes: Genes | str | os.PathLike[str] | None = None,
    calibration: str | os.PathLike[str] | None = None,
    explain: ExplainOptions | None = None,
) -> Counter[str]:
    """Score variants given one by one, as text or as :class:`Variant`, into a table.

    Parameters and errors are those of :func:`score_file`; there is no VCF to annotate, so that ``.vcf.gz`` is refused.
    """
    records = [VariantRecord(number, 0, Variant.of(item)) for number, item in enumerate(variants)]
    if str(out).endswith(".vcf.gz"):
        raise InputError(f"{out}: a VCF is a copy of the input, and there is none; choose another suffix")
    asked = _Asked(
        bundle=bundle,
        fasta=fasta,
        options=options or ScoreOptions(),
        settings=settings or RunSettings(),
        layout=layout,
        genes=genes,
        calibration=calibration,
        explain=explain,
    )
    return _score(partial(read_list, records), path_of("out", out), asked)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What is asked of a run, wherever its variants come from; see :func:`score_file`."""

    bundle: Models
    fasta: str | os.PathLike[str]
    options: ScoreOptions
    settings: RunSettings
    layout: str
    genes: Genes | str | os.PathLike[str] | None
    calibration: str | os.PathLike[str] | None
    haplotypes: HaplotypeOptions | None = None
    explain: ExplainOptions | None = None


def _check(asked: _Asked, target: Path, vcf: str | os.PathLike[str] | None) -> str:
    """Refuse what can be refused before a model is opened, and return the suffix of the table."""
    check_not_served(asked.settings.worker_device, asked.haplotypes)
    check_uncalibrated(asked.haplotypes, asked.calibration)
    check_layout(asked.layout, haplotypes=asked.haplotypes is not None)
    check_genes(asked.options, asked.genes is not None)
    suffix = suffix_of(target, WRITERS, asked.layout)
    if asked.options.with_alleles and suffix == ".vcf.gz":
        raise InputError(f"{target.name}: a VCF holds scores alone; leave with_alleles out, or choose another suffix")
    annotation = None if isinstance(asked.genes, Genes) else asked.genes
    motifs = None if asked.explain is None else asked.explain.motifs
    read = (vcf, asked.fasta, annotation, *inputs_of(asked.bundle, asked.options), asked.calibration, motifs)
    check_target(target, read)
    return suffix


def _score(read: Reader, target: Path, asked: _Asked, vcf: str | os.PathLike[str] | None = None) -> Counter[str]:
    suffix = _check(asked, target, vcf)
    chosen, settings, haplotypes, layout = asked.options, asked.settings, asked.haplotypes, asked.layout
    model, *others = members = open_members(asked.bundle)
    check_ensemble(members, chosen)
    genes = genes_of(asked.genes)
    check_sites(chosen, genes)
    resolved, length_bp = chosen.resolved(model.info), model.geometry.sequence_length_bp
    explainer = None if asked.explain is None else Explainer(asked.explain, resolved, longest_bp=length_bp // 4)
    calibration = None if asked.calibration is None else path_of("calibration", asked.calibration)
    with Fasta(asked.fasta) as genome:
        selection = select_rows(model.tracks, chosen)
        context = run_context(model, genome, chosen, selection, settings.worker_device, genes, others, haplotypes)
        if calibration is not None:
            context |= calibration_facts(calibration, members, chosen, selection, settings.worker_device, context)
        with open_journal(target, settings) as journal:

            def share(items: Iterable[Any]) -> Iterator[VariantRecord]:
                return _counted(records_of(items, chosen, model, haplotypes), settings.reading)

            given = read(journal, share, job_size(model, chosen))
            context["input"] = given.name
            plan = ScorePlan(
                alleles=given.alleles,
                bundle=model,
                fasta=genome.path,
                options=chosen,
                device=settings.worker_device,
                engine=settings.engine,
                identity=run_identity(context, selection, given.digest),
                genome=context["identity_genome"],
                genes=genes,
                others=tuple(others),
                calibration=calibration,
            )
            do_jobs(plan, journal, settings)
            counts = count_statuses(journal)
            facts = allele_facts(chosen, haplotypes=haplotypes is not None)
            tidy = TidyFacts.of(length_bp, model.tracks, selection.rows)
            rows = Rows(selection.rows, resolved.specs, chosen.with_alleles, plan.extras, facts, tidy)
            table = TableContext(rows, context, given.source, layout)
            if is_over(plan, journal, settings, _output(target, suffix, table, given)):
                return counts
            try:
                judge(counts, journal, genome, given.name)
            except (FormatError, InputError):
                journal.remove()
                raise
            if layout == "alphagenome":
                say_unscored(counts)

            def write(draft: Path) -> None:
                with given.unchanged() if suffix == ".vcf.gz" else nullcontext():
                    WRITERS[suffix](draft, journal.tables, table)
                    if explainer is not None:
                        explainer.write(draft, journal.tables, given.alleles, rows, genome)

            finish_output(target, journal, write)
    return counts


def _counted(records: Iterator[VariantRecord], told: Callable[[int], None] | None) -> Iterator[VariantRecord]:
    """Give records on, and say now and then how many there were."""
    for number, item in enumerate(records, start=1):
        if told is not None and number % _READ_AT_ONCE == 0:
            told(number)
        yield item


def _output(target: Path, suffix: str, table: TableContext, given: Input) -> Output:
    """Return what is written, for an estimate; an annotated VCF is about as long as its source."""
    if suffix == ".vcf.gz" and given.source is not None:

        def annotate(draft: Path, shards: Shards) -> None:
            with given.unchanged():
                annotate_some(draft, shards, table)

        return Output(target.name, annotate, given.source.stat().st_size if given.source.exists() else 0)
    return Output(target.name, lambda draft, shards: WRITERS[suffix](draft, shards, table))
