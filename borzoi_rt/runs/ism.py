"""In-silico saturation mutagenesis: every substitution of intervals, in order, each interval in one window."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..bundle.opening import Bundle, open_bundle
from ..errors import InputError
from ..genome.fasta import Fasta
from ..genome.gene_index import genes_of
from ..genome.genes import Gene, Genes
from ..genome.intervals import Interval
from ..plain import path_of
from ..scoring.ensemble import check_ensemble
from ..scoring.named_gene import one_gene
from ..scoring.options import ScoreOptions
from ..scoring.pipeline import check_genes, check_sites
from ..scoring.selection import select_rows
from ..tables import ISM_WRITERS, Stretches, TableContext, suffix_of
from ..tables.rows import Rows
from .estimate import Output
from .ism_plan import IsmPlan, Substitutions, in_window, ism_intervals, ism_windows
from .outputs import check_target, finish_output
from .run import do_jobs, is_over, open_journal
from .score_plan import job_size
from .score_record import inputs_of, run_context, run_identity
from .settings import RunSettings
from .statuses import count_statuses


def score_ism(
    interval: Interval | Sequence[Interval],
    out: str | os.PathLike[str],
    *,
    bundle: Bundle | str | os.PathLike[str],
    fasta: str | os.PathLike[str],
    options: ScoreOptions | None = None,
    settings: RunSettings | None = None,
    genes: Genes | str | os.PathLike[str] | None = None,
) -> Counter[str]:
    """Score every substitution of an interval in the one window that is centred on it, or of several.

    Each is scored exactly: tiles that hold the base are redone, and the transformer for every substitution. A score
    equals that of the same SNV given as a variant with ``window='at:START'``.

    Parameters
    ----------
    interval : Interval, or sequence of Interval
        Each at most as long as the output of the model. Several have windows of their own.
    out : path
        ``.h5``: one dataset per score, float32 (positions, 4, rows) in the order A, C, G, T, 0 for the base of the
        genome and NaN where there is no score; of a sequence of intervals, which then need one length, (intervals,
        positions, 4, rows). ``.tsv``, ``.tsv.gz`` and ``.parquet`` as for variants.
    bundle, fasta, options, settings
        See :func:`borzoi_rt.runs.score.score_file`; the window is the one around the interval.
    genes : Genes or path, optional
        Annotation with the one gene that ``options.gene_names`` names: scores are over its regions, and all intervals
        have the window around it, as :mod:`borzoi_rt.explain.rows` has.

    Returns
    -------
    Counter
        Statuses.
    """
    target, settings, options = path_of("out", out), settings or RunSettings(), options or ScoreOptions()
    suffix, single = suffix_of(target, ISM_WRITERS), isinstance(interval, Interval | str)
    given = Interval.several(interval)
    if options.with_alleles and suffix == ".h5":
        raise InputError(f"{target.name}: holds scores alone; leave with_alleles out, or choose another suffix")
    if suffix == ".h5":
        _check_lengths(given)
    check_genes(options, genes is not None)
    check_target(target, (fasta, *inputs_of(bundle, options)))
    model = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    check_substitutions(options, (model,))
    annotation = genes_of(genes)
    check_sites(options, annotation)
    with Fasta(fasta) as genome:
        wheres = ism_intervals(given, genome, model.geometry)
        windows = ism_windows(wheres, model.geometry, _the_gene(annotation, options, genome))
        shared = len(set(windows)) == 1
        chosen = in_window(options, windows[0]) if shared else options
        selection = select_rows(model.tracks, chosen)
        context = run_context(model, genome, chosen, selection, settings.worker_device, annotation)
        sequences = tuple(genome.fetch(where.chrom, where.start, where.end) for where in wheres)
        context["input"] = _name_of(wheres)
        context["mode"] = "exact"  # approximations, where there will be any, carry their name in every output
        if single:
            context["interval"] = [wheres[0].chrom, wheres[0].start, wheres[0].end]
            context["sequence"] = sequences[0]
        plan = IsmPlan(
            alleles=Substitutions(wheres, sequences, max(1, job_size(model, chosen) // 3)),
            bundle=model,
            fasta=genome.path,
            options=chosen,
            device=settings.worker_device,
            engine=settings.engine,
            identity=run_identity(context, selection, _digest(wheres)),
            genome=context["identity_genome"],
            genes=annotation,
            windows=() if shared else windows,
        )
        with open_journal(target, settings) as journal:
            do_jobs(plan, journal, settings)
            counts = count_statuses(journal)
            stretches = None if single else Stretches(wheres, sequences, windows)
            rows = Rows(selection.rows, chosen.resolved(model.info).specs, chosen.with_alleles)
            table = TableContext(rows, context, stretches=stretches)
            cells = 4 * sum(map(len, sequences)) * len(rows.tracks) * len(rows.specs)
            if is_over(plan, journal, settings, _output(target, suffix, table, cells)):
                return counts
            finish_output(target, journal, lambda draft: ISM_WRITERS[suffix](draft, journal.tables, table))
    return counts


def check_substitutions(options: ScoreOptions, members: Sequence[Bundle]) -> None:
    """Refuse choices that the substitutions of one window do not heed.

    Raises
    ------
    InputError
        Naming the first.
    """
    check_ensemble(members, options)
    if options.prediction.window != "centered":
        raise InputError(f"window is {options.prediction.window!r}; it is the one around the interval: leave it out")
    if options.phase_floor:
        raise InputError("phase_floor is for indels, and these are substitutions; leave it out")


def _the_gene(genes: Genes | None, options: ScoreOptions, genome: Fasta) -> Gene | None:
    """Return the gene whose window all intervals have, its contig called as the genome calls it."""
    if genes is None:
        return None
    if len(options.gene_names) != 1:
        raise InputError(f"{len(options.gene_names)} genes are named; mutagenesis is scored over regions of one gene")
    gene = one_gene(genes, options.gene_names[0], genome)
    return replace(gene, chrom=genome.resolve(gene.chrom) or gene.chrom)


def _check_lengths(intervals: Sequence[Interval]) -> None:
    lengths = sorted({interval.end - interval.start for interval in intervals})
    if len(lengths) > 1:
        raise InputError(
            f"regions of {lengths[0]} to {lengths[-1]} bases; an array has one length: give one (width), which is "
            "taken around their middle, or write a table"
        )


def _name_of(intervals: Sequence[Interval]) -> str:
    first = f"{intervals[0].chrom}:{intervals[0].start + 1}-{intervals[0].end}"
    return first if len(intervals) == 1 else f"{first} and {len(intervals) - 1} more"


def _digest(intervals: Sequence[Interval]) -> str:
    """Return what tells lists of intervals apart; of one it is its name."""
    if len(intervals) == 1:
        return _name_of(intervals)
    text = repr([(item.chrom, item.start, item.end, item.name, item.strand) for item in intervals])
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _output(target: Path, suffix: str, table: TableContext, cells: int) -> Output:
    """Return what is written, for an estimate; an array has its size whatever is in it."""
    size = 4 * cells if suffix == ".h5" else None
    return Output(target.name, lambda draft, shards: ISM_WRITERS[suffix](draft, shards, table), size)
