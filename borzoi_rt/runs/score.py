"""Score a file into a file: shards, resumption, one final rename."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

from .. import __version__
from ..bundle.opening import Bundle, open_bundle
from ..engine.sessions import EngineOptions, open_engine
from ..errors import FormatError, InputError, ReferenceMismatchError
from ..genome.fasta import Fasta
from ..genome.variants import VariantRecord, read_variants
from ..scoring.options import ScoreOptions
from ..scoring.pipeline import ScoredVariant, Scorer
from ..tables import WRITERS, TableContext, Writer, suffix_of
from .journal import Journal, shard_schema, shard_table

SCHEMA_VERSION = 1
SHARD_VARIANTS = 64

Progress = Callable[[int], None]


def score_file(
    vcf: str | os.PathLike[str],
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
    """Score the variants of a file and write a table whose form the suffix of ``out`` names.

    Parameters
    ----------
    vcf : path
        VCF or BCF; ``-`` for stdin, or a pipe.
    out : path
        ``.tsv``, ``.tsv.gz``, ``.parquet``, ``.h5`` or ``.vcf.gz``. It appears whole, by one rename; until then results
        lie in ``OUT.partial``.
    bundle, fasta, options, backend, threads, engine
        See :func:`borzoi_rt.score_variants`.
    resume : bool
        Use what an interrupted run with the same input and options left.
    progress : callable, optional
        Called with the number of ALT alleles done.

    Returns
    -------
    Counter
        Statuses.

    Raises
    ------
    FormatError
        If a file is malformed, or the VCF holds no variants.
    ReferenceMismatchError
        If no REF allele agrees with the genome: the assembly is another.
    InputError
        If options, names or paths cannot be used, or another run is writing ``out``.
    """
    options = options or ScoreOptions()
    target = Path(out)
    suffix = suffix_of(target, WRITERS)
    check_target(target, vcf)
    model = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    with (
        Fasta(fasta) as genome,
        _spooled(vcf) as source,
        closing(open_engine(model, backend, threads=threads, options=engine)) as session,
    ):
        scorer = Scorer(model, session, genome, options)
        context = run_context(scorer, model, genome, source.name, session.provider)
        with Journal(target, run_header(context, scorer, _digest(source)), resume=resume) as journal:
            counts = fill_journal(journal, scorer, read_variants(source), progress)
            try:
                _judge(counts, journal, genome, Path(vcf).name)
            except (FormatError, InputError):
                journal.remove()
                raise
            table = TableContext(scorer.rows, tuple(options.stats), context, source)
            finish_table(target, WRITERS[suffix], journal, table)
    return counts


def fill_journal(
    journal: Journal, scorer: Scorer, items: Iterator[VariantRecord], progress: Progress | None
) -> Counter[str]:
    """Score what the journal does not hold yet, shard by shard, and return the statuses of all.

    A journal that is no use to a later run does not stay: nothing is done yet, or the input itself is at fault.
    """
    try:
        return _fill(journal, scorer, items, progress)
    except BaseException:
        if not journal.done:
            journal.remove()
        raise


def _fill(journal: Journal, scorer: Scorer, items: Iterator[VariantRecord], progress: Progress | None) -> Counter[str]:
    stats, rows = list(scorer.options.stats), len(scorer.rows)
    schema = shard_schema(stats, rows)
    counts: Counter[str] = Counter()
    for table in journal.tables():
        counts.update(table.column("status").to_pylist())
    items = islice(items, counts.total(), None)
    done = counts.total()
    while True:
        try:
            shard = list(islice(items, SHARD_VARIANTS))
        except FormatError:
            journal.remove()
            raise
        results: list[ScoredVariant] = []
        for item in shard:
            results.append(scorer.score(item))
            done += 1
            if progress:
                progress(done)
        if not results:
            return counts
        journal.add(shard_table(results, schema, stats, rows))
        counts.update(result.status for result in results)


def _judge(counts: Counter[str], journal: Journal, genome: Fasta, name: str) -> None:
    """Refuse a table in which nothing can be right."""
    if not counts:
        raise FormatError(f"{name}: no variants; a VCF needs at least one data line")
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


def finish_table(target: Path, write: Writer, journal: Journal, context: TableContext) -> None:
    """Write the table from the journal, move it to its name, and forget the journal."""
    folder = Path(tempfile.mkdtemp(prefix="final-", dir=journal.directory))
    draft = folder / target.name
    write(draft, journal.tables, context)
    index = f"{target.name}.tbi"
    if target.name.endswith(".vcf.gz") and not (folder / index).exists():  # an earlier output may have been sorted
        (target.parent / index).unlink(missing_ok=True)
    for path in sorted(folder.iterdir(), key=lambda item: item == draft):
        with path.open("rb") as handle:
            os.fsync(handle.fileno())
        path.replace(target.parent / path.name)
    journal.remove()


def check_target(target: Path, source: str | os.PathLike[str] | None = None) -> None:
    """Refuse an output that cannot be written, or is the input, before anything is computed."""
    if target.is_dir():
        raise InputError(f"{target}: is a directory; name a file")
    if source is not None and target.exists() and Path(source).exists() and target.samefile(source):
        raise InputError(f"{target}: is the input, which is never written over; choose another name")
    folder = target.parent
    if not folder.is_dir():
        raise InputError(f"{folder}: no such directory; make it first")
    if not os.access(folder, os.W_OK):
        raise InputError(f"{folder}: not writable; choose another place for {target.name}")


@contextmanager
def _spooled(vcf: str | os.PathLike[str]) -> Iterator[Path]:
    """Give the path of the input; what can be read only once, stdin or a pipe, is kept in a file."""
    path, stdin = Path(vcf), str(vcf) == "-"
    if path.is_file() and not stdin:
        yield path
        return
    if not stdin and not path.is_fifo():
        raise FormatError(f"{path}: no such VCF file")
    with tempfile.TemporaryDirectory(prefix="borzoi-rt-") as folder:
        kept = Path(folder) / f"{'stdin' if stdin else path.name}.vcf"
        with kept.open("wb") as handle, nullcontext(sys.stdin.buffer) if stdin else path.open("rb") as stream:
            shutil.copyfileobj(stream, handle)
        yield kept


def run_header(context: dict[str, Any], scorer: Scorer, source: str) -> dict[str, Any]:
    """Return what must be equal for shards to be used again.

    The provider is not part of it: a run may be finished on another, shards do not depend on it beyond rounding.
    """
    return {
        "schema": SCHEMA_VERSION,
        "scores": context["score_ids"],
        "options": context["options"],
        "input": source,
        "tracks": list(scorer.rows.identifier),
    }


def run_context(scorer: Scorer, model: Bundle, genome: Fasta, source: str, provider: str) -> dict[str, Any]:
    """Return everything a score depends on, as JSON values."""
    squash = scorer.predictor.squash
    identity = {
        "bundle": model.sha256,
        "genome": genome.fingerprint(),
        "squash": {"kind": squash.kind, "unscale": squash.unscale, "unclip": squash.unclip},
        "bins": model.geometry.bins,
        "window": scorer.options.prediction.window,
    }
    return {
        "schema_version": SCHEMA_VERSION,
        "borzoi_rt": __version__,
        "python": platform.python_version(),
        "provider": provider,
        "precision": model.info.precision,
        "model": model.info.name,
        "genome": genome.name,
        "input": source,
        "options": scorer.options.to_dict(),
        "score_ids": scorer.options.score_ids(identity),
        **{f"identity_{key}": value for key, value in identity.items()},
    }


def _digest(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def count_alleles(source: str | os.PathLike[str]) -> int | None:
    """Count the ALT alleles of a file, for progress; None for what can be read only once."""
    if str(source) == "-" or Path(source).is_fifo():
        return None
    items: Iterator[VariantRecord] = read_variants(source)
    return sum(1 for _ in items)
