"""Scores of variants and of substitutions, kept in memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..genome.gene_index import genes_of
from ..genome.genes import Genes
from ..genome.intervals import Interval
from ..genome.pas import read_sites
from ..genome.variants import Variant, is_table, table_variants
from ..plain import path_of
from ..results import IsmResult, ScoreResult
from ..runs.ism import check_substitutions
from ..runs.ism_plan import Substitutions, in_window, ism_intervals, ism_windows
from ..runs.score_plan import extras_of, fitted_calibration
from ..scoring.calibration import chosen_genes
from ..scoring.haplotypes import HaplotypeOptions, check_uncalibrated
from ..scoring.options import ScoreOptions, texts_of
from ..scoring.phase_floor import AnyScorer
from ..scoring.pipeline import check_genes, check_sites
from ..scoring.presets import PRESETS, check_preset, preset_options
from ..scoring.results import ScoredVariant
from ..scoring.stream import records_of
from ..tables.alphagenome import TidyFacts
from ..tables.kept import allele_facts
from .opened import Opened

_VCF_SUFFIXES = (".vcf", ".vcf.gz", ".vcf.bgz", ".bcf")


class Scores(Opened):
    """What :meth:`score` and :meth:`ism` of a model do."""

    def score(
        self,
        variants: Any,
        *,
        stats: Iterable[str] | str | None = None,
        tracks: str | None = None,
        preset: str | None = None,
        options: ScoreOptions | None = None,
        genes: Genes | str | os.PathLike[str] | None = None,
        pas: str | os.PathLike[str] | None = None,
        calibration: str | os.PathLike[str] | None = None,
        haplotypes: HaplotypeOptions | None = None,
    ) -> ScoreResult:
        """Score variants, and keep the result in memory.

        For files too large for that see :func:`borzoi_rt.score_file`, for streams :func:`borzoi_rt.score_variants`.

        Parameters
        ----------
        variants : path, str, Variant, tuple, or an iterable of these
            A VCF or BCF file; or variants like ``"chr1:14677:G:A"``, ``("chr1", 14677, "G", "A")``.
        stats : str or iterable of str, optional
            Scores, ``STAT`` or ``STAT@REGION``; SUM, logSUM and logSED when None.
        tracks : str, optional
            Selection, see :meth:`borzoi_rt.tracks.TrackTable.select`; all when None.
        preset : str, optional
            Options of a published command, a key of :data:`borzoi_rt.scoring.presets.PRESETS`.
        options : ScoreOptions, optional
            Everything else.
        genes : Genes or path, optional
            Annotation in GTF or GFF3, for scores over regions of genes, like ``logSED@exons``.
        pas : path, optional
            Table of polyadenylation sites, for scores of region ``pas``, like ``COVR@pas``.
        calibration : path, optional
            Folder that ``borzoi-rt calibrate`` made in the same way: every score gets a quantile, phred and
            vs_null_max, see :mod:`borzoi_rt.scoring.calibration`.
        haplotypes : HaplotypeOptions, optional
            Score the haplotypes of samples of a VCF instead of its alleles.

        Returns
        -------
        ScoreResult
            One item per ALT allele; what cannot be scored has a status that says why.
        """
        chosen = self._options(stats, tracks, preset, options)
        check_genes(chosen, genes is not None)
        annotation = genes_of(genes)
        if pas is not None:
            if annotation is None:
                raise InputError("polyadenylation sites (pas) are compared along genes; give their annotation (genes)")
            annotation = replace(annotation, sites=read_sites(pas))
        check_sites(chosen, annotation)
        check_uncalibrated(haplotypes, calibration)
        scorer = self._scorer(chosen, annotation)
        records = records_of(_variants(variants), chosen, self.bundle, haplotypes)
        found = [scorer.score(item) for item in records]
        notes = [*scorer.notes, *(check_preset(preset, self.bundle.info) if preset is not None else ())]
        if calibration is not None:
            folder = path_of("calibration", calibration)
            null, _ = fitted_calibration(folder, self.members, chosen, scorer.rows, self._device)
            of_genes = ("", None) if annotation is None else (annotation.digest, chosen_genes(chosen))
            notes += null.notes(self.fasta.fingerprint(), *of_genes)
            found = [null.apply(item) for item in found]
        return self._result(found, scorer, notes, calibrated=calibration is not None)

    def ism(
        self,
        interval: Interval | str,
        *,
        stats: Iterable[str] | str | None = None,
        tracks: str | None = None,
        options: ScoreOptions | None = None,
    ) -> IsmResult:
        """Score every substitution of an interval in the one window around it, exactly.

        Parameters
        ----------
        interval : Interval or str
            Text as browsers write it, ``chr1:1,001-1,100``: 1-based, both ends included.
        stats, tracks, options
            See :meth:`score`.

        Returns
        -------
        IsmResult
        """
        region = Interval.of(interval)
        chosen = self._options(stats, tracks, None, options)
        check_genes(chosen, given=False)
        check_sites(chosen, None)
        check_substitutions(chosen, self.members)
        (where,) = ism_intervals([region], self.fasta, self.bundle.geometry)
        chosen = in_window(chosen, *ism_windows([where], self.bundle.geometry))
        sequence = self.fasta.fetch(where.chrom, where.start, where.end)
        scorer = self._scorer(chosen)
        source = Substitutions((where,), (sequence,), len(sequence))
        found = [scorer.score(item) for item in source.read(0)]
        return IsmResult(self._result(found, scorer, scorer.notes), where, sequence)

    def _options(
        self,
        stats: Iterable[str] | str | None,
        tracks: str | None,
        preset: str | None,
        options: ScoreOptions | None,
    ) -> ScoreOptions:
        if preset is not None and options is not None:
            raise InputError("preset and options both say how to score; leave one of the two out")
        if options is not None and not isinstance(options, ScoreOptions):
            raise InputError(
                f"options is {type(options).__name__}; a ScoreOptions is needed, as ScoreOptions.for_family('hound') "
                "makes it"
            )
        if preset is not None and (not isinstance(preset, str) or preset not in PRESETS):
            raise InputError(f"preset {preset!r} is unknown; allowed: {', '.join(PRESETS)}")
        names = None if stats is None else texts_of("stats", stats)
        if preset is not None:
            check_preset(preset, self.bundle.info)
            return preset_options(preset, names, **({} if tracks is None else {"tracks": tracks}))
        chosen = options or ScoreOptions()
        if options is not None and tracks is not None and options.tracks is not None:
            raise InputError("tracks stand in the options too; leave one of the two out")
        if tracks is not None:
            chosen = replace(chosen, tracks=tracks)
        return chosen if names is None else replace(chosen, stats=names)

    def _result(
        self,
        found: list[ScoredVariant],
        scorer: AnyScorer,
        notes: Sequence[str],
        *,
        calibrated: bool = False,
    ) -> ScoreResult:
        extras = extras_of(len(self.members), scorer.options, calibrated=calibrated)
        facts = allele_facts(scorer.options, haplotypes=any(item.haplotype is not None for item in found))
        kept = scorer.options.with_alleles
        tidy = TidyFacts.of(self.bundle.geometry.sequence_length_bp, self.tracks, scorer.rows)
        how: dict[str, Any] = {"with_alleles": kept, "extras": extras, "facts": facts, "tidy": tidy}
        return ScoreResult(found, scorer.rows, scorer.specs, notes, **how)


def _variants(variants: Any) -> Path | Iterable[Any]:
    """Return the file or the variants that one argument means."""
    if isinstance(variants, os.PathLike) or (isinstance(variants, str) and variants.endswith(_VCF_SUFFIXES)):
        return Path(variants)
    if is_table(variants):
        return table_variants(variants)
    # (chrom, pos, ref, alt[, id]) is told from as many variants by its second item, a number.
    fields = isinstance(variants, tuple | list) and len(variants) in (4, 5)
    if isinstance(variants, str | Variant) or (fields and isinstance(variants[1], int | np.integer)):
        return [variants]
    if isinstance(variants, bytes | Mapping) or not isinstance(variants, Iterable):
        raise InputError(
            f"{variants!r:.60} is no variant; a file, a Variant, text like 'chr1:14677:G:A', (chrom, pos, ref, alt), "
            "or several of these are needed"
        )
    return variants
