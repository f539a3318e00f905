"""From variants to scores, one result per ALT allele, whatever happens to it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from types import MappingProxyType
from typing import Any

import numpy as np

from ..backends.device import Device
from ..backends.protocols import Session
from ..bundle.opening import Bundle, open_bundle
from ..engine.alleles import window_start as window_start_of
from ..engine.gene_bins import frames_of
from ..engine.prediction import AllelePrediction, AlleleSums, Predictor
from ..engine.regions import WINDOW, Region
from ..engine.sessions import EngineOptions, open_engine
from ..engine.summing import Rows, SummingSession
from ..errors import BackendError, FormatError, InputError
from ..genome.fasta import Fasta
from ..genome.gene_index import open_genes
from ..genome.genes import Genes
from ..genome.variants import Variant, VariantRecord, read_variants
from ..sequence import encode
from ..tracks import RowTable
from ..types import DoubleArray, FloatArray, SignArray
from .clusters import clustered
from .formulas import SiteSplit, Statistic
from .gene_scores import GeneBins, GeneFinder, GeneScorer, genes_of, nearest
from .options import ScoreOptions
from .reference import Reference, check_reference
from .results import RegionScores, ScoredVariant
from .selection import select_rows
from .site_scores import SiteBins
from .statistics import are_sums, joined_rows, profile_scales, score_pair, score_sums

_Prediction = AllelePrediction | AlleleSums


class Scorer:
    """A model, a genome and options, ready to score one variant after another.

    Parameters
    ----------
    bundle : Bundle
        The model.
    session : Session
        The bundle, loaded.
    fasta : Fasta
        The genome.
    options : ScoreOptions
        What to compute.
    genes : Genes, optional
        The annotation; needed where a score is over a region of genes.

    Attributes
    ----------
    options : ScoreOptions
        With nothing left open.
    notes : list of str
        Where the options depart from what the bundle says.
    rows : RowTable
        Meaning of the rows of every score: a merged row is named for its pair, ``RNA+/-``.

    Raises
    ------
    InputError
        If an annotation is missing, or given for nothing.
    """

    def __init__(
        self, bundle: Bundle, session: Session, fasta: Fasta, options: ScoreOptions, genes: Genes | None = None
    ) -> None:
        check_genes(options, genes is not None)
        check_sites(options, genes)
        self.options = options.resolved(bundle.info)
        self.notes = options.notes(bundle.info)
        self.fasta = fasta
        self.specs = self.options.specs
        every = tuple(dict.fromkeys(spec.region for spec in self.specs))
        self.regions = tuple(region for region in every if not region.of_genes)
        self.gene_regions = tuple(region for region in every if region.of_genes)
        self._finder = (
            None
            if genes is None
            else GeneFinder(
                genes,
                fasta,
                names=self.options.gene_names,
                types=self.options.gene_types,
                site_kind=self.options.sites,
            )
        )
        self.selection = select_rows(bundle.tracks, self.options)
        self.rows: RowTable = self.selection.rows
        self.predictor = Predictor(
            session,
            bundle.tracks,
            bundle.squash(
                self.selection.positions,
                kind=self.options.squash,
                unscale=self.options.unscale,
                unclip=self.options.unclip,
            ),
            positions=self.selection.positions,
            options=self.options.prediction,
        )
        statistics = {spec.stat: spec.statistic for spec in self.specs if not isinstance(spec.statistic, SiteSplit)}
        # The graph that sums has the bundle's own kind of the squashed scale in it, and knows no bins of genes.
        own_squash = self.options.squash == bundle.info.squash.kind
        sums = own_squash and are_sums(statistics) and not self.gene_regions
        fused = isinstance(session, SummingSession) and sums
        self._rows = self._summed_rows() if fused else None
        self._geometry = bundle.geometry
        self._longest_bp = bundle.geometry.sequence_length_bp // 4

    def score(self, item: VariantRecord) -> ScoredVariant:
        """Score one ALT allele; what is wrong with it becomes its status.

        Raises
        ------
        BackendError, FormatError
            If the model or the genome file itself fails; that is no fault of the variant.
        """
        reference = check_reference(
            self.fasta,
            item,
            policy=self.options.ref_policy,
            flip_deletions=self.options.flip_deletions,
            longest_bp=self._longest_bp,
        )
        if reference.variant is None:
            return self._failed(item, reference.status, reference.detail)
        fault = self._indel_fault(reference.variant)
        if fault:
            return self._failed(item, "error", fault)
        try:
            genes = self._genes(reference, item.window_start)
            if not self.regions and not any(genes.values()):
                return self._failed(item, "no_gene", "; ".join(filter(None, (self._nothing(), reference.detail))))
            prediction = self._predicted(reference, item.window_start, genes)
            return self._finished(item, prediction, reference.status, reference.detail, genes)
        except (BackendError, FormatError):
            raise
        except (ValueError, ArithmeticError, IndexError) as error:
            return self._failed(item, "error", f"{type(error).__name__}: {error}")

    def score_windows(self, ref: str, alt: str) -> ScoredVariant:
        """Score two windows given as bases, bin against bin, whatever made them differ.

        Raises
        ------
        InputError
            If a window has not the model's length, or the options move windows by shifts.
        """
        wrong = [region for region in (*self.regions, *self.gene_regions) if region != WINDOW]
        if wrong:
            raise InputError(f"region {wrong[0]} lies around a variant; windows given as bases have none")
        nowhere = VariantRecord(0, 0, Variant(".", 0, "N", "N"))
        prediction = self.predictor.pair(encode(ref.upper()), encode(alt.upper()))
        return self._finished(nowhere, prediction, "ok", "")

    def _indel_fault(self, variant: Variant) -> str:
        """Return what makes an indel impossible to score under the policy chosen, in words; nothing for most."""
        if variant.k and self.options.prediction.indel == "none":
            binwise = [spec.stat for spec in self.specs if spec.statistic.binwise]
            if binwise:
                return f"{binwise[0]} compares bins, which an indel moves; choose another indel policy than 'none'"
        return ""

    def _genes(self, reference: Reference, window_start: int | None) -> dict[Region, Sequence[GeneBins | SiteBins]]:
        """Return the genes of each region of genes that have bins in the window of a variant."""
        if self._finder is None:
            return {}
        variant, prediction = reference.variant, self.options.prediction
        assert variant is not None
        if window_start is None:
            window_start = window_start_of(variant.pos, self._geometry.sequence_length_bp, prediction.window)
        frames = frames_of(variant, window_start, self._geometry, prediction, reference.genome_allele)
        how: dict[str, Any] = {"rule": str(self.options.bin_rule), "mode": self.options.gene_mode}
        where: dict[str, Any] = {"window_start": window_start, "geometry": self._geometry}
        found: dict[Region, Sequence[GeneBins | SiteBins]] = {}
        for region in self.gene_regions:
            if region.kind == "pas":
                sites = self._finder.with_sites(variant, frames, **where)
                found[region] = nearest(sites, variant) if self.options.gene_mode == "nearest" else sites
            else:
                found[region] = genes_of(self._finder, variant, region, frames, **where, **how)
        return found

    def _nothing(self) -> str:
        """Say of what no gene has a bin."""
        return f"no gene has {' or '.join(map(str, self.gene_regions))} in the output window"

    def _finished(
        self,
        item: VariantRecord,
        prediction: _Prediction,
        status: str,
        detail: str,
        genes: Mapping[Region, Sequence[GeneBins | SiteBins]] = MappingProxyType({}),
    ) -> ScoredVariant:
        limit = self.options.max_n_fraction
        if limit is not None and prediction.n_fraction > limit:
            return self._failed(
                item, "too_many_n", f"{prediction.n_fraction:.3f} of the window is unknown, {limit} allowed"
            )
        turned = status == "flipped"
        windows = self._regions(prediction, turned=turned)
        of_genes = self._gene_parts(prediction, genes, turned=turned)
        if windows is None or of_genes is None:
            return self._failed(item, "error", "the model gave NaN or infinite coverage")
        regions = (*windows, *of_genes)
        reference, undefined = status, self._undefined(regions)
        if undefined:
            status, detail = "undefined", "; ".join(text for text in (undefined, detail) if text)
        return ScoredVariant(
            record=item.record,
            alt_index=item.alt_index,
            variant=item.variant,
            status=status,
            detail=detail,
            window_start=prediction.window_start,
            stitch_bin=prediction.stitch_bin,
            n_fraction=prediction.n_fraction,
            regions=regions,
            reference=reference,
        )

    def _regions(self, prediction: _Prediction, *, turned: bool) -> tuple[RegionScores, ...] | None:
        """Return the scores of every region; None where the coverage itself is not finite."""
        parts = []
        for number, (region, bins) in enumerate(zip(self.regions, prediction.regions, strict=True)):
            statistics = self._statistics(region)
            if bins[0] >= bins[1]:  # of several regions one may hold no bin, and must not go missing in silence
                nothing = np.full(len(self.rows), np.nan, dtype=np.float32)
                coverage = (nothing, nothing) if self.options.with_alleles else None
                parts.append(RegionScores(str(region), ".", dict.fromkeys(statistics, nothing), coverage=coverage))
                continue
            stronger: dict[str, SignArray] = {}
            how: dict[str, Any] = {
                "statistics": statistics,
                "strand_order": self.options.strand_order,
                "merge": self.selection.merge,
                "stronger": stronger,
            }
            with np.errstate(invalid="ignore", divide="ignore"):
                if isinstance(prediction, AlleleSums):
                    pairs = [sums.turned() if turned else sums for sums in prediction.sums[number] or ()]
                    finite = all(np.isfinite([sums.ref[0], sums.alt[0]]).all() for sums in pairs)
                    scores = score_sums(pairs, **how)
                    totals = [np.mean([getattr(sums, name)[0] for sums in pairs], axis=0) for name in ("ref", "alt")]
                else:
                    inner = slice(bins[0] - prediction.first_bin, bins[1] - prediction.first_bin)
                    ref, alt = prediction.ref[..., inner], prediction.alt[..., inner]
                    finite = bool(np.isfinite(ref).all() and np.isfinite(alt).all())
                    both = (alt, ref) if turned else (ref, alt)
                    scores = score_pair(*both, **how)
                    totals = [self._total(values) for values in both] if self.options.with_alleles else []
            if not finite:
                return None
            coverage = self._coverage(totals) if self.options.with_alleles else None
            parts.append(RegionScores(str(region), ".", scores, stronger, coverage=coverage))
        return tuple(parts)

    def _gene_parts(
        self, prediction: _Prediction, genes: Mapping[Region, Sequence[GeneBins | SiteBins]], *, turned: bool
    ) -> tuple[RegionScores, ...] | None:
        """Return the scores of every gene, and what has none last; None where the coverage itself is not finite."""
        if not genes:
            return ()
        assert isinstance(prediction, AllelePrediction)
        merge, order = self.selection.merge, str(self.options.strand_order)
        scorer = GeneScorer(prediction, merge, order, turned=turned)
        if any(genes.values()) and not (np.isfinite(prediction.ref).all() and np.isfinite(prediction.alt).all()):
            return None
        parts, missing = [], []
        for region, held in genes.items():
            if not held:
                missing.append(RegionScores(str(region), ".", {}, status="no_gene"))
            for item in held:
                if isinstance(item, SiteBins):
                    scores, where = scorer.score_sites(
                        item,
                        {spec.stat: spec.statistic for spec in self.specs if isinstance(spec.statistic, SiteSplit)},
                        pseudo=self.options.site_pseudo,
                        min_coverage=self.options.site_min_coverage,
                    )
                else:
                    scores, where = scorer.score(item, self._statistics(region)), ""
                part = RegionScores(
                    region=str(region),
                    gene=item.gene.id,
                    scores=scores,
                    detail=where,
                    gene_name=item.gene.name,
                    gene_strand=item.gene.strand,
                    covered_fraction=item.covered_fraction,
                    coverage=scorer.coverage(item)
                    if self.options.with_alleles and isinstance(item, GeneBins)
                    else None,
                )
                parts.append(part)
        return (*parts, *missing)

    def _statistics(self, region: Region) -> dict[str, Statistic]:
        return {
            spec.stat: spec.statistic
            for spec in self.specs
            if spec.region == region and not isinstance(spec.statistic, SiteSplit)
        }

    def _total(self, values: FloatArray) -> DoubleArray:
        """Return the coverage of a region, (tracks,), mean over pairs."""
        return np.asarray(values.sum(axis=-1, dtype=np.float64).mean(axis=0))

    def _coverage(self, totals: Sequence[DoubleArray]) -> tuple[FloatArray, FloatArray]:
        """Return the coverage of REF and ALT by row, strands added; sums made by the engine may be rows already."""
        merge = self.selection.merge
        joined = [
            values
            if merge is None or len(values) == len(merge) != len(self.selection.positions)
            else joined_rows(values[None, :, None], slice(None), merge)[0, :, 0]
            for values in totals
        ]
        return joined[0].astype(np.float32), joined[1].astype(np.float32)

    def _predicted(
        self, reference: Reference, window_start: int | None, genes: Mapping[Region, Sequence[GeneBins | SiteBins]]
    ) -> _Prediction:
        assert reference.variant is not None
        how: dict[str, Any] = {
            "genome_allele": reference.genome_allele,
            "regions": self.regions,
            "window_start": window_start,
        }
        if self._rows is not None:
            return self.predictor.sums(self.fasta, reference.variant, self._rows, **how)
        bins = [item.range for held in genes.values() for item in held]
        if bins and any(profile_scales(self._statistics(region)) for region in self.gene_regions):
            bins = [(0, self._geometry.bins)]  # a profile's pseudo-count is a percentile of the whole window
        return self.predictor.variant(self.fasta, reference.variant, bins=bins, **how)

    def _summed_rows(self) -> Rows:
        """Return the rows of sums: tracks, or strands together where the family adds them first."""
        merge = self.selection.merge
        if merge is not None and self.options.strand_order == "before":
            share = np.stack([np.ones(len(merge)), merge.first != merge.second], axis=1)
            return Rows(np.stack([merge.first, merge.second], axis=1), share)
        count = len(self.selection.positions)
        return Rows(np.arange(count)[:, None], np.ones((count, 1)))

    def _undefined(self, regions: Sequence[RegionScores]) -> str:
        """Return which scores are not finite numbers, in words; nothing where all are."""
        for part in regions:
            for stat, values in part.scores.items():
                wrong = np.flatnonzero(~np.isfinite(values))
                if len(wrong):
                    return (
                        f"{stat}@{part.region} is not defined for {len(wrong)} of {len(values)} tracks, first "
                        + repr(self.rows.identifier[int(wrong[0])])
                    )
        return ""

    @staticmethod
    def _failed(item: VariantRecord, status: str, detail: str) -> ScoredVariant:
        return ScoredVariant(item.record, item.alt_index, item.variant, status, detail)


def score_variants(
    variants: str | os.PathLike[str] | Iterable[Any],
    *,
    bundle: Bundle | str | os.PathLike[str],
    fasta: Fasta | str | os.PathLike[str],
    options: ScoreOptions | None = None,
    session: Session | None = None,
    device: str | Device | None = None,
    threads: int | None = None,
    engine: EngineOptions | None = None,
    backend: str | None = None,
    genes: Genes | str | os.PathLike[str] | None = None,
) -> Iterator[ScoredVariant]:
    """Score variants, one result per ALT allele, in the order of the input.

    :func:`borzoi_rt.open_model` does the same with named rows; this is its lower floor, for streams.

    Parameters
    ----------
    variants : path or iterable
        A VCF or BCF file (``-`` for stdin); or variants, each in a form that :meth:`Variant.of` takes.
    bundle, fasta : object or path
        Model and genome.
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
    return _score_all(variants, bundle, fasta, chosen, session, device or backend, threads, engine, genes)


def _score_all(
    variants: str | os.PathLike[str] | Iterable[Any],
    bundle: Bundle | str | os.PathLike[str],
    fasta: Fasta | str | os.PathLike[str],
    options: ScoreOptions,
    session: Session | None,
    device: str | Device | None,
    threads: int | None,
    engine: EngineOptions | None,
    genes: Genes | str | os.PathLike[str] | None,
) -> Iterator[ScoredVariant]:
    annotation = genes if genes is None or isinstance(genes, Genes) else open_genes(genes)
    with ExitStack() as stack:
        model = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
        genome = fasta if isinstance(fasta, Fasta) else stack.enter_context(Fasta(fasta))
        if session is None:
            session = open_engine(model, device or "cpu", threads=threads, options=engine)
            stack.callback(session.close)
        scorer = Scorer(model, session, genome, options, annotation)
        for item in records_of(variants, options, model):
            yield scorer.score(item)


def check_genes(options: ScoreOptions, given: bool) -> None:
    """Refuse scores of genes without an annotation, and an annotation without scores of genes.

    Raises
    ------
    InputError
        Naming a score.
    """
    of_genes = [spec.name for spec in options.specs if spec.of_genes]
    if of_genes and not given:
        raise InputError(f"{of_genes[0]} is a score of genes; give their annotation (genes), a GTF or GFF3 file")
    if given and not of_genes:
        raise InputError(
            f"genes are given, but no score is over a region of genes; name one, like {options.specs[0].stat}@exons"
        )


def check_sites(options: ScoreOptions, genes: Genes | None) -> None:
    """Refuse scores of polyadenylation sites without a table of them, and a table for nothing.

    Raises
    ------
    InputError
        Naming a score.
    """
    asked = [spec.name for spec in options.specs if spec.region.kind == "pas"]
    given = genes is not None and genes.sites is not None
    if asked and not given:
        raise InputError(f"{asked[0]} compares polyadenylation sites; give a table of them (pas)")
    if given and not asked:
        raise InputError("a table of polyadenylation sites is given (pas), but no score of region pas, like COVR@pas")


def records_of(
    variants: str | os.PathLike[str] | Iterable[Any], options: ScoreOptions, bundle: Bundle
) -> Iterator[VariantRecord]:
    """Yield what is to be scored: the alleles of a file, or variants by their number, with windows they share."""
    records = _records(variants)
    share = options.prediction.cluster_share
    return records if share is None else clustered(records, share, bundle.geometry.sequence_length_bp)


def _records(variants: str | os.PathLike[str] | Iterable[Any]) -> Iterator[VariantRecord]:
    if isinstance(variants, str | os.PathLike):
        yield from read_variants(variants)
        return
    for number, item in enumerate(variants):
        yield item if isinstance(item, VariantRecord) else VariantRecord(number, 0, Variant.of(item))
