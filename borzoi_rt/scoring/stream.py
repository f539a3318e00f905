"""Variants in, results out, one at a time; files and the model are opened where paths are given."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any

from ..backends.device import Device
from ..backends.protocols import Session
from ..bundle.opening import Bundle
from ..engine.sessions import EngineOptions, open_engine
from ..errors import InputError
from ..genome.fasta import Fasta
from ..genome.gene_index import genes_of
from ..genome.genes import Genes
from ..genome.genotypes import GenotypeReader
from ..genome.haplotypes import haplotype_records
from ..genome.variants import Variant, VariantRecord, is_table, read_variants, table_variants
from .clusters import clustered
from .ensemble import Models, member_engine, open_members, open_scorer
from .haplotypes import HaplotypeOptions, check_haplotypes, longest_group_bp
from .options import ScoreOptions
from .pipeline import check_genes
from .results import ScoredVariant


def score_variants(
    variants: str | os.PathLike[str] | Iterable[Any],
    *,
    bundle: Models,
    fasta: Fasta | str | os.PathLike[str],
    options: ScoreOptions | None = None,
    session: Session | None = None,
    device: str | Device | None = None,
    threads: int | None = None,
    engine: EngineOptions | None = None,
    backend: str | None = None,
    genes: Genes | str | os.PathLike[str] | None = None,
    haplotypes: HaplotypeOptions | None = None,
) -> Iterator[ScoredVariant]:
    """Score variants, one result per ALT allele, in the order of the input.

    :func:`borzoi_rt.open_model` does the same with named rows; this is its lower floor, for streams.

    Parameters
    ----------
    variants : path or iterable
        A VCF or BCF file (``-`` for stdin); or variants, each in a form that :meth:`Variant.of` takes, or a table with
        the columns chrom, pos, ref and alt.
    bundle : object or path, or a sequence of these
        The model; several are an ensemble.
    fasta : object or path
        The genome.
    options : ScoreOptions, optional
        Statistics and policies.
    session : Session, optional
        The bundle, loaded: where it runs is settled, so that device, threads and engine must be left out. Otherwise
        the bundle is loaded, with tiles shared between variants, and closed at the end.
    device, threads
        See :func:`borzoi_rt.open_session`; the CPU when None.
    engine : EngineOptions, optional
        Whether tiles are kept and shared, where, and how many windows are checked against whole passes.
    backend : str, optional
        The device, under its name of release 0.1.
    genes : object or path, optional
        Annotation in GTF or GFF3, for scores over regions of genes.
    haplotypes : HaplotypeOptions, optional
        Score the haplotypes of samples of a VCF instead of its alleles.

    Yields
    ------
    ScoredVariant

    Raises
    ------
    InputError
        If choices exclude each other.

    Examples
    --------
    >>> for result in score_variants("in.vcf", bundle="BUNDLE", fasta="hg38.fa"):  # doctest: +SKIP
    ...     print(result.variant, result.status, result.scores and result.scores["logSUM"].max())
    """
    given = {"device": device, "backend": backend, "threads": threads, "engine": engine}
    named = [name for name, value in given.items() if value is not None]
    if session is not None and named:
        raise InputError(f"{named[0]} is given with a session, which is loaded already; leave one of the two out")
    if device is not None and backend is not None:
        raise InputError("backend is an older name of device; leave one of the two out")
    chosen = options or ScoreOptions()
    check_genes(chosen, genes is not None)
    return _score_all(variants, bundle, fasta, chosen, session, device or backend, threads, engine, genes, haplotypes)


def _score_all(
    variants: str | os.PathLike[str] | Iterable[Any],
    bundle: Models,
    fasta: Fasta | str | os.PathLike[str],
    options: ScoreOptions,
    session: Session | None,
    device: str | Device | None,
    threads: int | None,
    engine: EngineOptions | None,
    genes: Genes | str | os.PathLike[str] | None,
    haplotypes: HaplotypeOptions | None,
) -> Iterator[ScoredVariant]:
    annotation = genes_of(genes)
    with ExitStack() as stack:
        members = open_members(bundle)
        genome = fasta if isinstance(fasta, Fasta) else stack.enter_context(Fasta(fasta))
        sessions = [] if session is None else [session]
        if session is None:
            engine = member_engine(engine, len(members))
            for member in members:
                sessions.append(open_engine(member, device or "cpu", threads=threads, options=engine))
                stack.callback(sessions[-1].close)
        elif len(members) > 1:
            raise InputError("a session is one model, and several bundles are given; leave session out")
        scorer = open_scorer(members, sessions, genome, options, annotation)
        for item in records_of(variants, options, members[0], haplotypes):
            yield scorer.score(item)


def records_of(
    variants: str | os.PathLike[str] | Iterable[Any],
    options: ScoreOptions,
    bundle: Bundle,
    haplotypes: HaplotypeOptions | None = None,
) -> Iterator[VariantRecord]:
    """Yield what is to be scored: the alleles of a file, or variants by their number, with windows they share.

    With ``haplotypes``, those of the samples of a file, given by its path or as a :class:`GenotypeReader`.
    """
    length_bp = bundle.geometry.sequence_length_bp
    if haplotypes is not None:
        check_haplotypes(options)
        return _haplotypes(variants, haplotypes, longest_group_bp(length_bp))
    records = _records(variants)
    share = options.prediction.cluster_share
    return records if share is None else clustered(records, share, length_bp)


def _haplotypes(
    variants: str | os.PathLike[str] | Iterable[Any], chosen: HaplotypeOptions, longest_bp: int
) -> Iterator[VariantRecord]:
    if isinstance(variants, str | os.PathLike):
        variants = GenotypeReader(variants, chosen.samples)
    if not isinstance(variants, GenotypeReader):
        raise InputError("haplotypes come from the genotypes of a VCF; name a file instead of variants")
    return haplotype_records(variants, variants.samples, within_bp=chosen.within_bp, longest_bp=longest_bp)


def _records(variants: str | os.PathLike[str] | Iterable[Any]) -> Iterator[VariantRecord]:
    if isinstance(variants, str | os.PathLike):
        yield from read_variants(variants)
        return
    for number, item in enumerate(table_variants(variants) if is_table(variants) else variants):
        yield item if isinstance(item, VariantRecord) else VariantRecord(number, 0, Variant.of(item))
