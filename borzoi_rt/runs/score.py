"""Score the variants of a file into a table."""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..backends.device import Device
from ..bundle.opening import Bundle
from ..errors import FormatError, InputError, ReferenceMismatchError
from ..genome.fasta import Fasta
from ..genome.gene_index import open_genes
from ..genome.genes import Genes
from ..genome.genotypes import GenotypeReader
from ..genome.variants import Variant, VariantReader, VariantRecord
from ..scoring.calibration import chosen_genes
from ..scoring.ensemble import Models, check_ensemble, ensemble_facts, model_identity, open_members
from ..scoring.haplotypes import HaplotypeOptions, check_uncalibrated
from ..scoring.options import ScoreOptions
from ..scoring.pipeline import check_genes, check_sites
from ..scoring.remote import is_scorer
from ..scoring.results import SCORED
from ..scoring.selection import UNITS, Selection, select_rows
from ..scoring.stream import records_of
from ..tables import WRITERS, TableContext, suffix_of
from ..tables.alphagenome import TidyFacts
from ..tables.kept import allele_facts
from ..tables.rows import Rows
from ..tables.vcf import annotate_some
from .alleles import AlleleFile, write_alleles
from .estimate import Output, Shards
from .explain import Explainer, ExplainOptions
from .journal import Journal
from .outputs import check_target, finish_output
from .run import do_jobs, is_over, open_journal
from .score_plan import ScorePlan, extras_of, fitted_calibration
from .settings import RunSettings

SCHEMA_VERSION = 2
_BASES_OF_JOB = 2**21  # windows x bp: 4 alleles of the published model, which take less than a minute on two cores
_LARGEST_JOB = 64
_ALLELES = "alleles.arrow"

_Share = Callable[[Iterable[Any]], Iterator[VariantRecord]]  # gives records the windows they share, or the haplotypes

log = logging.getLogger(__name__)


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

    def read(journal: Journal, share: _Share, block: int) -> _Input:
        keep = str(out).endswith(".vcf.gz")
        again = settings is not None and settings.shard is not None
        return _read_file(vcf, journal, share, block, keep=keep, again=again, haplotypes=haplotypes)

    sources = (vcf, fasta) if genes is None or isinstance(genes, Genes) else (vcf, fasta, genes)
    how: dict[str, Any] = {"options": options, "settings": settings, "layout": layout, "genes": genes}
    how |= {"calibration": calibration, "haplotypes": haplotypes, "explain": explain}
    return _score(read, Path(out), sources, bundle, fasta, **how)


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

    def read(journal: Journal, share: _Share, block: int) -> _Input:
        text = "\n".join(f"{item.variant.chrom}\t{item.variant}" for item in records)
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
        return _Input("variants", None, write_alleles(journal.directory / _ALLELES, share(records), block), digest)

    sources = (fasta,) if genes is None or isinstance(genes, Genes) else (fasta, genes)
    how: dict[str, Any] = {"options": options, "settings": settings, "layout": layout, "genes": genes}
    return _score(read, Path(out), sources, bundle, fasta, calibration=calibration, explain=explain, **how)


@dataclass(frozen=True)
class _Input:
    """What is scored: its name, a file that can be copied, its alleles and the hash of its content."""

    name: str
    source: Path | None
    alleles: AlleleFile
    digest: str


def _score(
    read: Callable[[Journal, _Share, int], _Input],
    target: Path,
    sources: Sequence[str | os.PathLike[str]],
    bundle: Models,
    fasta: str | os.PathLike[str],
    *,
    options: ScoreOptions | None,
    settings: RunSettings | None,
    layout: str,
    genes: Genes | str | os.PathLike[str] | None,
    calibration: str | os.PathLike[str] | None,
    haplotypes: HaplotypeOptions | None = None,
    explain: ExplainOptions | None = None,
) -> Counter[str]:
    chosen, settings = options or ScoreOptions(), settings or RunSettings()
    check_not_served(settings.worker_device, haplotypes)
    check_uncalibrated(haplotypes, calibration)
    if layout == "alphagenome" and haplotypes is not None:
        raise InputError("layout 'alphagenome' has columns for variants alone; choose long or wide for haplotypes")
    check_genes(chosen, genes is not None)
    suffix = suffix_of(target, WRITERS, layout)
    if chosen.with_alleles and suffix == ".vcf.gz":
        raise InputError(f"{target.name}: a VCF holds scores alone; leave with_alleles out, or choose another suffix")
    motifs = None if explain is None else explain.motifs
    check_target(target, (*sources, *inputs_of(bundle, chosen), calibration, motifs))
    model, *others = members = open_members(bundle)
    check_ensemble(members, chosen)
    annotation = genes if genes is None or isinstance(genes, Genes) else open_genes(genes)
    check_sites(chosen, annotation)
    resolved, longest_bp = chosen.resolved(model.info), model.geometry.sequence_length_bp // 4
    explainer = None if explain is None else Explainer(explain, resolved, longest_bp=longest_bp)
    with Fasta(fasta) as genome:
        selection = select_rows(model.tracks, chosen)
        context = run_context(model, genome, chosen, selection, settings.worker_device, annotation, others, haplotypes)
        held = None if calibration is None else Path(calibration)
        if held is not None:
            context |= calibration_facts(held, members, chosen, selection, settings.worker_device, context)
        with open_journal(target, settings) as journal:
            given = read(journal, lambda items: records_of(items, chosen, model, haplotypes), job_size(model, chosen))
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
                genes=annotation,
                others=tuple(others),
                calibration=held,
            )
            do_jobs(plan, journal, settings)
            counts = count_statuses(journal)
            extras = extras_of(len(members), chosen, calibrated=held is not None)
            facts = allele_facts(chosen, haplotypes=haplotypes is not None)
            tidy = TidyFacts.of(model.geometry.sequence_length_bp, model.tracks, selection.rows)
            rows = Rows(selection.rows, resolved.specs, chosen.with_alleles, extras, facts, tidy)
            table = TableContext(rows, context, given.source, layout)
            if is_over(plan, journal, settings, _output(target, suffix, table, given)):
                return counts
            try:
                _judge(counts, journal, genome, given.name)
            except (FormatError, InputError):
                journal.remove()
                raise
            if layout == "alphagenome":
                _say_unscored(counts)

            def write(draft: Path) -> None:
                if suffix == ".vcf.gz":
                    _check_unchanged(given)
                WRITERS[suffix](draft, journal.tables, table)
                if explainer is not None:
                    explainer.write(draft, journal.tables, given.alleles, rows, genome)
                if suffix == ".vcf.gz":
                    _check_unchanged(given)

            finish_output(target, journal, write)
    return counts


def _output(target: Path, suffix: str, table: TableContext, given: _Input) -> Output:
    """Return what is written, for an estimate; an annotated VCF is about as long as its source."""
    if suffix == ".vcf.gz" and given.source is not None:

        def annotate(draft: Path, shards: Shards) -> None:
            _check_unchanged(given)
            annotate_some(draft, shards, table)
            _check_unchanged(given)

        return Output(target.name, annotate, given.source.stat().st_size if given.source.exists() else 0)
    return Output(target.name, lambda draft, shards: WRITERS[suffix](draft, shards, table))


def _say_unscored(counts: Counter[str]) -> None:
    """Say how many alleles a table without statuses leaves out."""
    missing = sum(count for status, count in counts.items() if status not in SCORED)
    if missing:
        log.warning("%d of %d alleles have no scores, and no row in this layout", missing, counts.total())


def inputs_of(bundle: Models, options: ScoreOptions) -> list[str | os.PathLike[str]]:
    """Return what is read besides the variants and the genome: the bundle and, where there is one, a list of tracks."""
    listed = [options.tracks.removeprefix("@")] if options.tracks is not None and options.tracks[:1] == "@" else []
    bundles = [bundle] if isinstance(bundle, Bundle | str | os.PathLike) else bundle
    return [*(item.path if isinstance(item, Bundle) else item for item in bundles), *listed]


def _check_unchanged(given: _Input) -> None:
    """Refuse to copy an input that is not what was scored: its records would stand beside scores of others.

    Raises
    ------
    FormatError
        If the file was changed or is gone.
    """
    assert given.source is not None
    try:
        with given.source.open("rb") as handle:
            same = hashlib.file_digest(handle, "sha256").hexdigest() == given.digest
    except OSError:
        same = False
    if not same:
        raise FormatError(
            f"{given.source}: was changed after its variants were read; the scores are kept: put the file back and "
            "resume, or score it anew"
        )


def job_size(bundle: Bundle, options: ScoreOptions) -> int:
    """Return how many alleles a job holds: few enough that a kill costs less than a minute of work."""
    passes = len(options.prediction.shifts) * (2 if options.prediction.rc else 1)
    return max(1, min(_LARGEST_JOB, _BASES_OF_JOB // (bundle.geometry.sequence_length_bp * passes)))


def check_not_served(device: Device, haplotypes: HaplotypeOptions | None) -> None:
    """Refuse haplotypes where a scorer on a server would have to know what they are.

    Raises
    ------
    InputError
        Naming the device.
    """
    if haplotypes is not None and device.kind == "triton" and is_scorer(device.url):
        raise InputError(
            f"{device}: haplotypes are not served; name a server of the whole model, or score on this machine"
        )


def _read_file(
    vcf: str | os.PathLike[str],
    journal: Journal,
    share: _Share,
    block: int,
    *,
    keep: bool,
    again: bool,
    haplotypes: HaplotypeOptions | None,
) -> _Input:
    """Read the variants of a file into the journal; ``keep`` what can be read only once, where a copy is to be made.

    ``again``: the file must be such that other runs can read it too.
    """
    path, stdin = Path(vcf), str(vcf) == "-"
    once = stdin or path.is_fifo()
    if not once and not path.is_file():
        raise FormatError(f"{path}: no such VCF file")
    name = "stdin" if stdin else path.name
    if once and again:
        raise InputError(f"{name}: can be read only once, and every shard reads the whole input; name a file")
    copied = once and (keep or not stdin)  # a reader of variants takes stdin as it comes, but no other pipe
    kept = journal.directory / f"{name}.vcf" if copied else path
    if copied:
        with kept.open("wb") as handle, nullcontext(sys.stdin.buffer) if stdin else path.open("rb") as stream:
            shutil.copyfileobj(stream, handle)
    name_or_path = "-" if stdin and not copied else kept
    reader: VariantReader | GenotypeReader = (
        VariantReader(name_or_path) if haplotypes is None else GenotypeReader(name_or_path, haplotypes.samples)
    )
    alleles = write_alleles(journal.directory / _ALLELES, share(reader), block)
    return _Input(name, kept, alleles, reader.sha256)


def count_statuses(journal: Journal) -> Counter[str]:
    """Return how many alleles have which status."""
    counts: Counter[str] = Counter()
    for table in journal.tables():
        for found in table["status"].filter(table["first"]).value_counts().to_pylist():
            counts[found["values"]] += found["counts"]
    return counts


def _judge(counts: Counter[str], journal: Journal, genome: Fasta, name: str) -> None:
    """Refuse a table in which nothing can be right; an empty one is only said."""
    if not counts:
        log.warning("%s: no variants; the table has no rows", name)
        return
    checked = counts.total() - counts["symbolic_alt"] - counts["invalid_allele"]
    if not checked or checked not in (counts["ref_mismatch"], counts["contig_missing"]):
        return
    first = next(
        row
        for table in journal.tables()
        for row in table.select(["status", "status_detail"]).to_pylist()
        if row["status"] in ("ref_mismatch", "contig_missing")
    )
    raise ReferenceMismatchError(
        f"{name}: none of {checked} variants agrees with {genome.name} ({first['status_detail']}); "
        "use the assembly the variants were called on"
    )


def run_identity(context: Mapping[str, Any], selection: Selection, source: str) -> dict[str, Any]:
    """Return what must be equal for results to be used again.

    The device is not part of it: a run may be finished on another, results do not depend on it beyond rounding.
    """
    return {
        "schema": SCHEMA_VERSION,
        "borzoi_rt": __version__,
        "bundle": context["identity_bundle"],
        "genome": context["identity_genome"],
        "genes": context.get("identity_genes"),
        **({"gene_labels": context["identity_gene_labels"]} if "identity_gene_labels" in context else {}),
        "scores": context["score_ids"],
        "options": context["options"],
        "input": source,
        "tracks": [selection.positions.tolist(), list(selection.rows.identifier)],
        **({"calibration": context["calibration"]} if "calibration" in context else {}),
        **({"haplotypes": context["haplotypes"]} if "haplotypes" in context else {}),
    }


def calibration_facts(
    folder: Path,
    members: Sequence[Bundle],
    options: ScoreOptions,
    selection: Selection,
    device: Device,
    context: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what the record of a run says of a calibration, and say what a reader of quantiles should know.

    Raises
    ------
    InputError
        If the null does not hold for what is scored.
    """
    found, document = fitted_calibration(folder, members, options, selection.rows, device)
    genes = chosen_genes(options) if options.of_genes else None
    notes = found.notes(context["identity_genome"], context.get("identity_genes", ""), genes)
    for note in notes:
        log.warning("%s", note)
    facts = {
        "source": found.source,
        "positions_sha256": document["positions_sha256"],
        "files": document["files"],
        "n": {name: null.count for name, null in found.nulls.items()},
    }
    return {"calibration": facts, "notes": [*context["notes"], *notes]}


def run_context(
    model: Bundle,
    genome: Fasta,
    options: ScoreOptions,
    selection: Selection,
    device: Device,
    genes: Genes | None = None,
    others: Sequence[Bundle] = (),
    haplotypes: HaplotypeOptions | None = None,
) -> dict[str, Any]:
    """Return everything a score depends on, as JSON values; ``others`` make an ensemble with the model."""
    chosen, members = options.resolved(model.info), (model, *others)
    identity = model_identity(members, chosen, genome)
    if haplotypes is not None:  # whose they are changes no score; what belongs to one does
        identity["haplotype_bp"] = haplotypes.within_bp
    notes = options.notes(model.info)
    if selection.added:
        notes.append(f"the other strand was taken along: {', '.join(selection.added)}")
    return {
        "schema_version": SCHEMA_VERSION,
        "borzoi_rt": __version__,
        "python": platform.python_version(),
        "device": str(device),
        "precision": model.info.precision,
        "model": " + ".join(item.info.name for item in members),
        "genome": genome.name,
        "input": "",
        "options": chosen.to_dict(),
        **({UNITS: model.tracks.index[selection.positions].tolist()} if str(chosen.tracks)[:1] == "@" else {}),
        "notes": notes,
        "score_ids": chosen.score_ids(
            identity, *((None, None) if genes is None else (genes.digest, genes.transcript_digest))
        ),
        **{f"identity_{key}": value for key, value in identity.items()},
        **({"ensemble": ensemble_facts(members, chosen)} if others else {}),
        **({} if genes is None else _genes_context(genes)),
        **({} if haplotypes is None else {"haplotypes": asdict(haplotypes)}),
    }


def _genes_context(genes: Genes) -> dict[str, str]:
    """Return which annotation it is; names and types change no score, but which genes have one."""
    return {
        "genes": genes.source,
        "identity_genes": genes.digest,
        "identity_gene_labels": genes.label_digest,
    }
