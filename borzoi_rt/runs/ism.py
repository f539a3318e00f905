"""In-silico saturation mutagenesis: every substitution of an interval, in order, in one window."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from ..bundle.opening import Bundle, open_bundle
from ..engine.sessions import EngineOptions, open_engine
from ..errors import InputError
from ..genome.fasta import Fasta
from ..genome.intervals import Interval
from ..genome.variants import Variant, VariantRecord
from ..scoring.options import ScoreOptions
from ..scoring.pipeline import Scorer
from ..tables import ISM_WRITERS, TableContext, suffix_of
from .journal import Journal
from .score import Progress, check_target, fill_journal, finish_table, run_context, run_header

BASES = "ACGT"


def substitutions_of(fasta: Fasta, interval: Interval) -> Iterator[VariantRecord]:
    """Yield the three substitutions of every base; ``record`` counts bases, ``alt_index`` is the place of ALT in ACGT.

    A base that is unknown in the genome gives four records of status ``invalid_allele``.
    """
    sequence = fasta.fetch(interval.chrom, interval.start, interval.end)
    for place, ref in enumerate(sequence):
        for index, alt in enumerate(BASES):
            variant = Variant(interval.chrom, interval.start + place + 1, ref, alt)
            if ref not in BASES:
                yield VariantRecord(place, index, variant, "invalid_allele", f"the genome has {ref!r} here")
            elif alt != ref:
                yield VariantRecord(place, index, variant)


def score_ism(
    interval: Interval,
    out: str | os.PathLike[str],
    *,
    bundle: Bundle | str | os.PathLike[str],
    fasta: str | os.PathLike[str],
    options: ScoreOptions | None = None,
    backend: str = "onnx:cpu",
    threads: int | None = None,
    engine: EngineOptions | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Counter[str]:
    """Score every substitution of an interval in the one window that is centred on it.

    Each is scored exactly: tiles that hold the base are redone, and the transformer for every substitution. A score
    equals that of the same SNV given as a variant with ``window='at:START'``.

    Parameters
    ----------
    interval : Interval
        At most as long as the output of the model.
    out : path
        ``.h5``: one dataset per statistic, float32 (positions, 4, rows) in the order A, C, G, T, 0 for the base of the
        genome and NaN where there is no score. ``.tsv``, ``.tsv.gz`` and ``.parquet`` as for variants.
    bundle, fasta, options, backend, threads, engine, resume, progress
        See :func:`borzoi_rt.runs.score.score_file`; ``options.prediction.window`` is replaced.

    Returns
    -------
    Counter
        Statuses.
    """
    target = Path(out)
    suffix = suffix_of(target, ISM_WRITERS)
    check_target(target)
    model = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    with Fasta(fasta) as genome:
        where = _checked(interval, genome, model)
        start = where.centred(model.geometry.sequence_length_bp).start
        chosen = options or ScoreOptions()
        chosen = replace(chosen, prediction=replace(chosen.prediction, window=f"at:{start}"))
        with closing(open_engine(model, backend, threads=threads, options=engine)) as session:
            scorer = Scorer(model, session, genome, chosen)
            source = f"{where.chrom}:{where.start + 1}-{where.end}"
            context = run_context(scorer, model, genome, source, session.provider)
            context["mode"] = "exact"  # approximations, where there will be any, carry their name in every output
            context["interval"] = [where.chrom, where.start, where.end]
            context["sequence"] = genome.fetch(where.chrom, where.start, where.end)
            with Journal(target, run_header(context, scorer, source), resume=resume) as journal:
                counts = fill_journal(journal, scorer, substitutions_of(genome, where), progress)
                table = TableContext(scorer.rows, tuple(chosen.stats), context)
                finish_table(target, ISM_WRITERS[suffix], journal, table)
    return counts


def _checked(interval: Interval, genome: Fasta, model: Bundle) -> Interval:
    """Return the interval under the genome's own name of its contig."""
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
    return Interval(contig, interval.start, interval.end)
