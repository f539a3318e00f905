"""In-silico saturation mutagenesis: every substitution of an interval, in order, in one window."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..bundle.opening import Bundle, open_bundle
from ..errors import InputError
from ..genome.fasta import Fasta
from ..genome.intervals import Interval
from ..genome.variants import Variant, VariantRecord
from ..scoring.ensemble import check_ensemble
from ..scoring.options import ScoreOptions
from ..scoring.pipeline import check_genes, check_sites
from ..scoring.selection import select_rows
from ..tables import ISM_WRITERS, TableContext, suffix_of
from ..tables.rows import Rows
from .estimate import Output
from .outputs import check_target, finish_output
from .run import do_jobs, is_over, open_journal
from .score import count_statuses, inputs_of, job_size, run_context, run_identity
from .score_plan import ScorePlan
from .settings import RunSettings

BASES = "ACGT"


@dataclass(frozen=True)
class Substitutions:
    """The substitutions of an interval in blocks of bases; a :class:`borzoi_rt.runs.score_plan.AlleleSource`.

    ``record`` counts bases, ``alt_index`` is the index of ALT in ACGT. A base that is unknown in the genome gives four
    records, which are of status ``invalid_allele``.
    """

    interval: Interval
    sequence: str
    block: int

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return -(-len(self.sequence) // self.block)

    def items(self, number: int) -> int:
        """Return the number of substitutions of a block."""
        return sum(3 if base in BASES else 4 for base in self._bases(number))

    def read(self, number: int) -> list[VariantRecord]:
        """Return the substitutions of a block."""
        first = number * self.block
        return [
            VariantRecord(position, index, Variant(self.interval.chrom, self.interval.start + position + 1, ref, alt))
            for position, ref in enumerate(self._bases(number), start=first)
            for index, alt in enumerate(BASES)
            if alt != ref
        ]

    def _bases(self, number: int) -> str:
        return self.sequence[number * self.block : (number + 1) * self.block]


def score_ism(
    interval: Interval,
    out: str | os.PathLike[str],
    *,
    bundle: Bundle | str | os.PathLike[str],
    fasta: str | os.PathLike[str],
    options: ScoreOptions | None = None,
    settings: RunSettings | None = None,
) -> Counter[str]:
    """Score every substitution of an interval in the one window that is centred on it.

    Each is scored exactly: tiles that hold the base are redone, and the transformer for every substitution. A score
    equals that of the same SNV given as a variant with ``window='at:START'``.

    Parameters
    ----------
    interval : Interval
        At most as long as the output of the model.
    out : path
        ``.h5``: one dataset per score, float32 (positions, 4, rows) in the order A, C, G, T, 0 for the base of the
        genome and NaN where there is no score. ``.tsv``, ``.tsv.gz`` and ``.parquet`` as for variants.
    bundle, fasta, options, settings
        See :func:`borzoi_rt.runs.score.score_file`; the window is the one around the interval.

    Returns
    -------
    Counter
        Statuses.
    """
    target, settings, options = Path(out), settings or RunSettings(), options or ScoreOptions()
    suffix = suffix_of(target, ISM_WRITERS)
    if options.with_alleles and suffix == ".h5":
        raise InputError(f"{target.name}: holds scores alone; leave with_alleles out, or choose another suffix")
    check_target(target, (fasta, *inputs_of(bundle, options)))
    model = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    check_substitutions(options, (model,))
    with Fasta(fasta) as genome:
        where, chosen = ism_window(interval, genome, model, options)
        selection = select_rows(model.tracks, chosen)
        context = run_context(model, genome, chosen, selection, settings.worker_device)
        context["input"] = f"{where.chrom}:{where.start + 1}-{where.end}"
        context["mode"] = "exact"  # approximations, where there will be any, carry their name in every output
        context["interval"] = [where.chrom, where.start, where.end]
        context["sequence"] = genome.fetch(where.chrom, where.start, where.end)
        source = Substitutions(where, context["sequence"], max(1, job_size(model, chosen) // 3))
        plan = ScorePlan(
            alleles=source,
            bundle=model,
            fasta=genome.path,
            options=chosen,
            device=settings.worker_device,
            engine=settings.engine,
            identity=run_identity(context, selection, context["input"]),
            genome=context["identity_genome"],
        )
        with open_journal(target, settings) as journal:
            do_jobs(plan, journal, settings)
            counts = count_statuses(journal)
            table = TableContext(Rows(selection.rows, chosen.resolved(model.info).specs, chosen.with_alleles), context)
            if is_over(plan, journal, settings, _output(target, suffix, table)):
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
    check_genes(options, given=False)
    check_sites(options, None)
    check_ensemble(members, options)
    if options.prediction.window != "centered":
        raise InputError(f"window is {options.prediction.window!r}; it is the one around the interval: leave it out")
    if options.phase_floor:
        raise InputError("phase_floor is for indels, and these are substitutions; leave it out")


def _output(target: Path, suffix: str, table: TableContext) -> Output:
    """Return what is written, for an estimate; an array has its size whatever is in it."""
    cells = 4 * len(table.metadata["sequence"]) * len(table.rows.tracks) * len(table.rows.specs)
    size = 4 * cells if suffix == ".h5" else None
    return Output(target.name, lambda draft, shards: ISM_WRITERS[suffix](draft, shards, table), size)


def ism_window(
    interval: Interval, genome: Fasta, model: Bundle, options: ScoreOptions
) -> tuple[Interval, ScoreOptions]:
    """Return the interval under the genome's own name of its contig, and the options with the one window around it.

    Raises
    ------
    InputError
        If the interval does not lie in the genome, or is longer than the output of the model.
    """
    contig = genome.resolve(interval.chrom)
    name = f"{interval.chrom}:{interval.start + 1}-{interval.end}"
    if contig is None:
        raise InputError(f"region {name}: {genome.name} has no contig {interval.chrom!r}")
    grid = model.geometry
    longest = grid.bins * grid.bin_size_bp
    if not 0 <= interval.start < interval.end <= genome.contigs[contig]:
        raise InputError(f"region {name} does not lie in {contig} (1-{genome.contigs[contig]})")
    if interval.end - interval.start > longest:
        raise InputError(f"region {name} is longer than the {longest} bp that the model gives; cut it into pieces")
    where = Interval(contig, interval.start, interval.end)
    start = where.centred(grid.sequence_length_bp).start
    return where, replace(options, prediction=replace(options.prediction, window=f"at:{start}"))
