"""From the predictions of both alleles to scores, region by region and gene by gene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..engine.prediction import AllelePrediction, AlleleSums
from ..engine.regions import Region
from ..types import DoubleArray, FloatArray, SignArray
from .formulas import SiteSplit, Statistic
from .gene_scores import GeneBins, GeneScorer
from .options import ScoreOptions
from .results import RegionScores
from .selection import Selection
from .site_scores import SiteBins
from .statistics import joined_rows, score_pair, score_sums

Prediction = AllelePrediction | AlleleSums


class Measure:
    """What is made of a prediction.

    Parameters
    ----------
    options : ScoreOptions
        With nothing left open.
    selection : Selection
        Tracks and rows.
    regions : sequence of Region
        Regions of the window, in the order of the prediction's bins.
    """

    def __init__(self, options: ScoreOptions, selection: Selection, regions: Sequence[Region]) -> None:
        self._options = options
        self._specs = options.specs
        self._merge = selection.merge
        self._tracks = len(selection.positions)
        self._rows = selection.rows
        self._regions = tuple(regions)

    def windows(self, prediction: Prediction, *, turned: bool) -> tuple[RegionScores, ...] | None:
        """Return the scores of every region; None where the coverage itself is not finite."""
        parts = []
        for number, (region, bins) in enumerate(zip(self._regions, prediction.regions, strict=True)):
            statistics = self.statistics(region)
            if bins[0] >= bins[1]:  # of several regions one may hold no bin, and must not go missing in silence
                nothing = np.full(len(self._rows), np.nan, dtype=np.float32)
                coverage = (nothing, nothing) if self._options.with_alleles else None
                parts.append(RegionScores(str(region), ".", dict.fromkeys(statistics, nothing), coverage=coverage))
                continue
            stronger: dict[str, SignArray] = {}
            how: dict[str, Any] = {
                "statistics": statistics,
                "strand_order": self._options.strand_order,
                "merge": self._merge,
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
                    totals = [self._total(values) for values in both] if self._options.with_alleles else []
            if not finite:
                return None
            coverage = self._coverage(totals) if self._options.with_alleles else None
            parts.append(RegionScores(str(region), ".", scores, stronger, coverage=coverage))
        return tuple(parts)

    def genes(
        self, prediction: Prediction, genes: Mapping[Region, Sequence[GeneBins | SiteBins]], *, turned: bool
    ) -> tuple[RegionScores, ...] | None:
        """Return the scores of every gene, and what has none last; None where the coverage itself is not finite."""
        if not genes:
            return ()
        assert isinstance(prediction, AllelePrediction)
        merge, order = self._merge, str(self._options.strand_order)
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
                        self._site_statistics(region),
                        pseudo=self._options.site_pseudo,
                        min_coverage=self._options.site_min_coverage,
                    )
                else:
                    scores, where = scorer.score(item, self.statistics(region)), ""
                part = RegionScores(
                    region=str(region),
                    gene=item.gene.id,
                    scores=scores,
                    detail=where,
                    gene_name=item.gene.name,
                    gene_strand=item.gene.strand,
                    gene_type=item.gene.type,
                    covered_fraction=item.covered_fraction,
                    coverage=scorer.coverage(item)
                    if self._options.with_alleles and isinstance(item, GeneBins)
                    else None,
                )
                parts.append(part)
        return (*parts, *missing)

    def statistics(self, region: Region) -> dict[str, Statistic]:
        """Return the statistics that are taken over a region, by name."""
        return {
            spec.stat: spec.statistic
            for spec in self._specs
            if spec.region == region and not isinstance(spec.statistic, SiteSplit)
        }

    def _site_statistics(self, region: Region) -> dict[str, SiteSplit]:
        """Return the statistics that compare the sites of a region, by name."""
        return {
            spec.stat: spec.statistic
            for spec in self._specs
            if spec.region == region and isinstance(spec.statistic, SiteSplit)
        }

    def _total(self, values: FloatArray) -> DoubleArray:
        """Return the coverage of a region, (tracks,), mean over pairs."""
        return np.asarray(values.sum(axis=-1, dtype=np.float64).mean(axis=0))

    def _coverage(self, totals: Sequence[DoubleArray]) -> tuple[FloatArray, FloatArray]:
        """Return the coverage of REF and ALT by row, strands added; sums made by the engine may be rows already."""
        merge = self._merge
        joined = [
            values
            if merge is None or len(values) == len(merge) != self._tracks
            else joined_rows(values[None, :, None], slice(None), merge)[0, :, 0]
            for values in totals
        ]
        return joined[0].astype(np.float32), joined[1].astype(np.float32)

    def undefined(self, regions: Sequence[RegionScores]) -> str:
        """Return which scores are not finite numbers, in words; nothing where all are."""
        for part in regions:
            for stat, values in part.scores.items():
                wrong = np.flatnonzero(~np.isfinite(values))
                if len(wrong):
                    return (
                        f"{stat}@{part.region} is not defined for {len(wrong)} of {len(values)} tracks, first "
                        + repr(self._rows.identifier[int(wrong[0])])
                    )
        return ""
