"""From variants to scores, one result per ALT allele, whatever happens to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from ..backends.protocols import Session
from ..bundle.opening import Bundle
from ..engine.alleles import Comparison
from ..engine.alleles import window_start as window_start_of
from ..engine.gene_bins import Frame, frames_of
from ..engine.prediction import Predictor
from ..engine.regions import WINDOW, Region
from ..engine.summing import Rows, SummingSession
from ..errors import BackendError, FormatError, InputError
from ..genome.fasta import Fasta
from ..genome.genes import Genes
from ..genome.variants import Variant, VariantRecord
from ..sequence import encode
from ..tracks import RowTable
from .compare import compare
from .formulas import SiteSplit
from .gene_scores import GeneBins, GeneFinder, genes_of, nearest
from .measure import Measure, Prediction
from .options import ScoreOptions
from .results import ScoredVariant
from .selection import select_rows
from .site_scores import SiteBins
from .statistics import are_sums, profile_scales


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
        self._measure = Measure(self.options, self.selection, self.regions)
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

    def with_predictor(self, predictor: Any) -> Scorer:
        """Return a scorer that differs in what predicts alone, which gives coverage and no sums over bins."""
        other = copy(self)
        other.predictor, other._rows = predictor, None
        return other

    def score(self, item: VariantRecord) -> ScoredVariant:
        """Score one ALT allele; what is wrong with it becomes its status.

        Raises
        ------
        BackendError, FormatError
            If the model or the genome file itself fails; that is no fault of the variant.
        """
        found = compare(self.fasta, item, self.options, longest_bp=self._longest_bp)
        if found.comparison is None:
            return self._failed(item, found.status, found.detail)
        fault = self._indel_fault(found.comparison)
        if fault:
            return self._failed(item, "error", fault)
        try:
            genes = self._genes(found.comparison, item.window_start)
            if not self.regions and not any(genes.values()):
                return self._failed(item, "no_gene", "; ".join(filter(None, (self._nothing(), found.detail))))
            prediction = self._predicted(found.comparison, item.window_start, genes)
            result = self._finished(item, prediction, found.status, found.detail, genes)
            return result if found.normalized is None else replace(result, normalized=found.normalized)
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

    def _indel_fault(self, compared: Comparison) -> str:
        """Return what makes an indel impossible to score under the policy chosen, in words; nothing for most."""
        if any(compared.offsets) and self.options.prediction.indel == "none":
            binwise = [spec.stat for spec in self.specs if spec.statistic.binwise]
            if binwise:
                return f"{binwise[0]} compares bins, which an indel moves; choose another indel policy than 'none'"
        return ""

    def _genes(self, compared: Comparison, window_start: int | None) -> dict[Region, Sequence[GeneBins | SiteBins]]:
        """Return the genes of each region of genes that have bins in the window of a variant."""
        if self._finder is None:
            return {}
        variant, prediction = compared.anchor, self.options.prediction
        if window_start is None:
            window_start = window_start_of(variant.pos, self._geometry.sequence_length_bp, prediction.window)
        frames = frames_of(compared, window_start, self._geometry, prediction)
        how: dict[str, Any] = {"rule": str(self.options.bin_rule), "mode": self.options.gene_mode}
        how["moved_bp"] = compared.moved_bp
        where: dict[str, Any] = {"window_start": window_start, "geometry": self._geometry}
        found: dict[Region, Sequence[GeneBins | SiteBins]] = {}
        for region in self.gene_regions:
            if region.of_sites:
                sites = self._with_sites(region, variant, frames, where)
                found[region] = nearest(sites, variant) if self.options.gene_mode == "nearest" else sites
            else:
                found[region] = genes_of(self._finder, variant, region, frames, **where, **how)
        return found

    def _with_sites(
        self, region: Region, variant: Variant, frames: Sequence[tuple[Frame, Frame]], where: Mapping[str, Any]
    ) -> list[SiteBins]:
        """Return the genes whose sites are compared, with the bins that the statistics of the region ask for."""
        assert self._finder is not None
        if region.kind == "splice":
            return self._finder.with_splice_sites(variant, frames, **where)
        statistics = (spec.statistic for spec in self.specs if spec.region == region)
        layouts = tuple(dict.fromkeys(item.layout for item in statistics if isinstance(item, SiteSplit)))
        return self._finder.with_sites(variant, frames, layouts=layouts, **where)

    def _nothing(self) -> str:
        """Say of what no gene has a bin."""
        named = self.options.gene_names
        who = (
            f"none of the genes asked for ({', '.join(named[:3])}{', ...' * (len(named) > 3)})" if named else "no gene"
        )
        return f"{who} has {' or '.join(map(str, self.gene_regions))} in the output window"

    def _finished(
        self,
        item: VariantRecord,
        prediction: Prediction,
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
        windows = self._measure.windows(prediction, turned=turned)
        of_genes = self._measure.genes(prediction, genes, turned=turned)
        if windows is None or of_genes is None:
            return self._failed(item, "error", "the model gave NaN or infinite coverage")
        regions = (*windows, *of_genes)
        reference, undefined = status, self._measure.undefined(regions)
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
            haplotype=item.haplotype,
        )

    def _predicted(
        self, compared: Comparison, window_start: int | None, genes: Mapping[Region, Sequence[GeneBins | SiteBins]]
    ) -> Prediction:
        how: dict[str, Any] = {"regions": self.regions, "window_start": window_start}
        if self._rows is not None:
            return self.predictor.sums(self.fasta, compared, self._rows, **how)
        bins = [item.range for held in genes.values() for item in held]
        if bins and any(profile_scales(self._measure.statistics(region)) for region in self.gene_regions):
            bins = [(0, self._geometry.bins)]  # a profile's pseudo-count is a percentile of the whole window
        return self.predictor.variant(self.fasta, compared, bins=bins, **how)

    def _summed_rows(self) -> Rows:
        """Return the rows of sums: tracks, or strands together where the family adds them first."""
        merge = self.selection.merge
        if merge is not None and self.options.strand_order == "before":
            share = np.stack([np.ones(len(merge)), merge.first != merge.second], axis=1)
            return Rows(np.stack([merge.first, merge.second], axis=1), share)
        count = len(self.selection.positions)
        return Rows(np.arange(count)[:, None], np.ones((count, 1)))

    @staticmethod
    def _failed(item: VariantRecord, status: str, detail: str) -> ScoredVariant:
        return ScoredVariant(item.record, item.alt_index, item.variant, status, detail, haplotype=item.haplotype)


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
