"""A model as one object: ``open_model("BUNDLE", fasta="hg38.fa.gz").score("chr1:14677:G:A")``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from .backends.device import Device
from .backends.opening import open_session
from .backends.protocols import Session
from .bundle.opening import Bundle
from .engine.sessions import EngineOptions, open_engine
from .errors import InputError
from .explain.compare import Comparison, chosen_methods, compare
from .explain.explainer import Explainer, ExplainOptions
from .explain.remote import RemoteExplainer, open_explainer
from .explain.result import Explanation
from .explain.rows import VARIANT_WIDTH_BP, Row, gene_row, region_rows, variant_rows
from .explain.segments import read_segments
from .explain.target import TargetSpec, with_text
from .genome.fasta import Fasta
from .genome.gene_index import open_genes
from .genome.genes import Genes
from .genome.intervals import Interval
from .genome.pas import read_sites
from .genome.variants import Variant
from .html import html_table
from .inside.face import LooksInside
from .results import CoverageResult, IsmResult, ScoreResult
from .runs.ism import check_substitutions
from .runs.ism_plan import Substitutions, in_window, ism_intervals, ism_windows
from .runs.predict import CoverageOptions, check_windows, coverage_predictor, windows_of
from .runs.score_plan import extras_of, fitted_calibration
from .scoring.calibration import chosen_genes
from .scoring.ensemble import Models, member_engine, open_members, open_scorer
from .scoring.haplotypes import HaplotypeOptions, check_uncalibrated
from .scoring.named_gene import one_gene
from .scoring.options import ScoreOptions, texts_of
from .scoring.phase_floor import AnyScorer
from .scoring.pipeline import check_genes, check_sites
from .scoring.presets import PRESETS, check_preset, preset_options
from .scoring.results import ScoredVariant
from .scoring.stream import records_of
from .sequence import encode
from .tables.alphagenome import TidyFacts
from .tables.kept import allele_facts
from .tracks import TrackTable

_VCF_SUFFIXES = (".vcf", ".vcf.gz", ".vcf.bgz", ".bcf")


class Model(LooksInside):
    """A bundle and a genome, loaded where it runs; made by :func:`open_model`. A context manager.

    Not to be shared between threads or over a fork.
    """

    def __init__(
        self,
        members: tuple[Bundle, ...],
        fasta: Fasta | None,
        device: Device,
        engine: EngineOptions | None,
        stack: ExitStack,
    ) -> None:
        self.members = members
        self.bundle = members[0]
        self._fasta = fasta
        self._device = device
        self._engine_options = engine
        self._stack = stack
        self._engines: list[Session] = []
        self._whole: Session | None = None
        self._scorers: dict[tuple[ScoreOptions, bytes, str], AnyScorer] = {}
        self._explainer: Explainer | RemoteExplainer | None = None
        self._closed = False

    @property
    def tracks(self) -> TrackTable:
        """The tracks of the model, one per output."""
        return self.bundle.tracks

    @property
    def device(self) -> str:
        """Where the model runs."""
        return str(self._device)

    @property
    def fasta(self) -> Fasta:
        """The genome.

        Raises
        ------
        InputError
            If the model was opened without one.
        """
        self._check_open()
        if self._fasta is None:
            raise InputError("this needs a genome: open_model(bundle, fasta='GENOME.fa.gz')")
        return self._fasta

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the model and close the genome."""
        self._closed = True
        self._scorers.clear()
        self._engines, self._whole, self._explainer = [], None, None
        self._inside, self._local = None, None
        self._stack.close()

    def __repr__(self) -> str:
        genome = "no genome" if self._fasta is None else self._fasta.name
        grid = self.bundle.geometry
        names = " + ".join(item.info.name for item in self.members)
        return (
            f"<Model {names}: {grid.sequence_length_bp:,} bp -> {grid.bins:,} bins of "
            f"{grid.bin_size_bp} bp x {len(self.tracks):,} tracks, {genome}, on {self._device}>"
        )

    def _repr_html_(self) -> str:
        grid = self.bundle.geometry
        rows = [
            ("window", f"{grid.sequence_length_bp:,} bp -> {grid.bins:,} bins of {grid.bin_size_bp} bp"),
            ("tracks", f"{len(self.tracks):,}"),
            ("squash", self.bundle.info.squash.kind),
            ("genome", "none" if self._fasta is None else self._fasta.name),
            ("device", self._device),
        ]
        return html_table("Model " + " + ".join(item.info.name for item in self.members), (), rows, len(rows))

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
        annotation = genes if genes is None or isinstance(genes, Genes) else open_genes(genes)
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
            null, _ = fitted_calibration(Path(calibration), self.members, chosen, scorer.rows, self._device)
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
        region = _interval(interval)
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

    def explain(
        self,
        target: TargetSpec | str,
        region: Interval | str | None = None,
        *,
        method: str = "saliency",
        tracks: str | None = None,
        against: str | None = None,
        gene: str | None = None,
        genes: Genes | str | os.PathLike[str] | None = None,
        variant: Variant | str | None = None,
        options: ExplainOptions | Mapping[str, Any] | None = None,
    ) -> Explanation:
        """Attribute a number made of predicted coverage to bases.

        Parameters
        ----------
        target : TargetSpec or str
            What is explained, as ``"log SUM@exons"``; see :mod:`borzoi_rt.explain.target`.
        region : Interval or str, optional
            The bases, text as browsers write it; with ``gene`` alone the whole window around it.
        method : str
            A key of :data:`borzoi_rt.explain.methods.METHODS`.
        tracks, against : str, optional
            Selections, see :class:`borzoi_rt.explain.target.TargetSpec`.
        gene : str, optional
            Gene of the target, by id or name.
        genes : Genes or path, optional
            Annotation with that gene.
        variant : Variant or str, optional
            Explain the bases around it on the ALT haplotype; ``region`` is then left out.
        options : ExplainOptions or mapping, optional
            Options of the method by name; or everything, which then also says the method.

        Returns
        -------
        Explanation
            ``.scores`` (4, bases), ``.projected``, ``.plot(path)``, ``.to_bed()``, ``.to_pandas()``.
        """
        spec = with_text(target, tracks=tracks, against=against)
        if isinstance(options, ExplainOptions):
            if method not in ("saliency", options.method):
                raise InputError(f"method {method!r} and options of {options.method!r}; leave one of the two out")
            chosen = options
        else:
            chosen = ExplainOptions(method=method, options=options)
        row = self._explained(region, gene, genes, variant)
        return self._opened_explainer([chosen]).explain(self._segmented(row, [chosen]), spec, chosen)

    def explain_compare(
        self,
        target: TargetSpec | str,
        region: Interval | str | None = None,
        *,
        methods: Sequence[str] = ("saliency", "ism"),
        tracks: str | None = None,
        against: str | None = None,
        gene: str | None = None,
        genes: Genes | str | os.PathLike[str] | None = None,
        variant: Variant | str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Comparison:
        """Explain one target by several methods: what each says, what it costs, how far they agree.

        Parameters
        ----------
        target, region, tracks, against, gene, genes, variant
            See :meth:`explain`.
        methods : sequence of str
            Keys of :data:`borzoi_rt.explain.methods.METHODS`.
        options : mapping, optional
            Options by name; each goes to every method that has it.

        Returns
        -------
        Comparison
            ``.explanations[method]``, ``.table()``, ``.agreement(one, other)``, ``.plot(path)``.
        """
        spec = with_text(target, tracks=tracks, against=against)
        chosen = chosen_methods(methods, options or {})
        row = self._explained(region, gene, genes, variant)
        return compare(self._segmented(row, chosen), spec, chosen, self._opened_explainer(chosen))

    def _segmented(self, row: Row, chosen: Sequence[ExplainOptions]) -> Row:
        """Return a row with the stretches that options of methods ask for."""
        asked = next((text for item in chosen if (text := getattr(item.options, "segments", ""))), "")
        return read_segments(asked).of([row], self.fasta, self.bundle.geometry)[0] if asked else row

    def _opened_explainer(self, chosen: Sequence[ExplainOptions]) -> Explainer | RemoteExplainer:
        if self._explainer is None:
            methods = [item.method for item in chosen]
            self._explainer = open_explainer(
                self.bundle, self.fasta, self._device, self._engine_options, methods=methods
            )
            self._stack.callback(self._explainer.close)
        return self._explainer

    def _explained(
        self,
        region: Interval | str | None,
        gene: str | None,
        genes: Genes | str | os.PathLike[str] | None,
        variant: Variant | str | None,
    ) -> Row:
        """Return the one row that the arguments of :meth:`explain` mean."""
        if (gene is None) != (genes is None):
            raise InputError("gene and genes, its annotation, belong together; give both or neither")
        if len(self.members) > 1:
            raise InputError(f"this takes one model, this one has {len(self.members)} members; open each by itself")
        grid, owner = self.bundle.geometry, None
        if genes is not None and gene is not None:
            owner = one_gene(genes if isinstance(genes, Genes) else open_genes(genes), gene, self.fasta)
        if variant is not None:
            if region is not None:
                raise InputError("region and variant both say which bases; leave one of the two out")
            allele = variant if isinstance(variant, Variant) else Variant.parse(variant)
            return variant_rows(allele, self.fasta, grid, width_bp=VARIANT_WIDTH_BP, gene=owner)[1]
        if region is not None:
            (row,) = region_rows([_interval(region)], self.fasta, grid, gene=owner)
            return row
        if owner is None:
            raise InputError("nothing says which bases are explained: give region, gene or variant")
        return gene_row(owner, self.fasta, grid)

    def predict(
        self,
        region: Interval | str,
        *,
        tracks: str | None = None,
        options: CoverageOptions | None = None,
    ) -> CoverageResult:
        """Predict the coverage of a region, or of a sequence.

        Parameters
        ----------
        region : Interval or str
            A region of the genome, also as text like ``chr1:1,001-2,000``; a region longer than the output of the model
            gives adjacent windows. Or the bases of one input window, which need no genome.
        tracks : str, optional
            Selection, see :meth:`borzoi_rt.tracks.TrackTable.select`; all when None.
        options : CoverageOptions, optional
            Strands, shifts, scale.

        Returns
        -------
        CoverageResult
        """
        if options is not None and options.tracks is not None and tracks is not None:
            raise InputError("tracks stand in the options too; leave one of the two out")
        chosen = options or CoverageOptions()
        check_windows(chosen.prediction)
        positions = self.tracks.select(tracks if tracks is not None else chosen.tracks)
        predictor = coverage_predictor(self.bundle, self._whole_session(), positions, chosen)
        grid = self.bundle.geometry
        if isinstance(region, str) and set(region.upper()) <= set("ACGTN") and region:
            if len(region) != grid.sequence_length_bp:
                raise InputError(f"the sequence has {len(region)} bases; the window has {grid.sequence_length_bp}")
            windows = [Interval(".", grid.crop_bp, grid.crop_bp + grid.bins * grid.bin_size_bp)]
            values = [predictor.sequence(encode(region.upper()))]
        else:
            _, found = windows_of([_interval(region)], self.fasta, grid)
            windows = list(found)
            values = [predictor.window(self.fasta, item.chrom, item.start - grid.crop_bp) for item in windows]
        if not chosen.squashed:
            values = [predictor.squash.inverse(np.ascontiguousarray(item)) for item in values]
        return CoverageResult(windows, self.tracks.take(positions), np.stack(values), grid.bin_size_bp)

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
        if preset is not None and preset not in PRESETS:
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

    def _scorer(self, options: ScoreOptions, genes: Genes | None = None) -> AnyScorer:
        self._check_open()
        # A list of tracks may have changed in its file; names and types of genes are not in their digest.
        tracks = self.tracks.select(options.tracks).tobytes() if str(options.tracks)[:1] == "@" else b""
        key = options, tracks, "" if genes is None else _digest(genes)
        if key not in self._scorers:
            engine = member_engine(self._engine_options, len(self.members))
            for member in self.members[len(self._engines) :]:
                self._engines.append(open_engine(member, self._device, options=engine))
                self._stack.callback(self._engines[-1].close)
            self._scorers[key] = open_scorer(self.members, self._engines, self.fasta, options, genes)
        return self._scorers[key]

    def _whole_session(self) -> Session:
        self._check_open()
        if len(self.members) > 1:
            raise InputError(
                f"predict gives the coverage of one model, and {len(self.members)} are open; open the one that is meant"
            )
        if self._whole is None:
            self._whole = open_session(self.bundle, self._device)
            self._stack.callback(self._whole.close)
        return self._whole

    def _check_open(self) -> None:
        if self._closed:
            raise InputError("this model is closed; open another with open_model")


def open_model(
    bundle: Models,
    *,
    fasta: Fasta | str | os.PathLike[str] | None = None,
    device: str | Device = "cpu",
    threads: int | None = None,
    engine: EngineOptions | None = None,
) -> Model:
    """Open a model; what it needs is loaded when it is first used.

    Parameters
    ----------
    bundle : Bundle or path, or a sequence of these
        The model; a path is opened and verified. Several are the members of an ensemble, with the same tracks and
        window: their scores are averaged, see :mod:`borzoi_rt.scoring.ensemble`.
    fasta : Fasta or path, optional
        Indexed genome; needed for everything but ``predict`` of a sequence.
    device : str or Device
        ``cpu``, ``cpu:THREADS``, ``cuda:N``, ``tensorrt:N`` or ``triton:grpc://HOST:PORT/MODEL``.
    threads : int, optional
        CPU threads inside one operator; every core this process may use when None.
    engine : EngineOptions, optional
        Tiles kept between runs, checks against whole passes.

    Returns
    -------
    Model

    Examples
    --------
    >>> with open_model("BUNDLE", fasta="hg38.fa.gz") as model:  # doctest: +SKIP
    ...     print(model.score("chr1:14677:G:A", stats="logSED", tracks="spleen"))
    """
    where = Device.parse(device, threads=threads)
    members = open_members(bundle)
    if len(members) > 1 and where.kind == "triton":
        raise InputError(f"{where}: is one model; an ensemble runs on cpu, cuda or tensorrt")
    stack = ExitStack()
    genome = fasta if fasta is None or isinstance(fasta, Fasta) else stack.enter_context(Fasta(fasta))
    return Model(members, genome, where, engine, stack)


def _variants(variants: Any) -> Path | Iterable[Any]:
    """Return the file or the variants that one argument means."""
    if isinstance(variants, os.PathLike) or (isinstance(variants, str) and variants.endswith(_VCF_SUFFIXES)):
        return Path(variants)
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


def _digest(genes: Genes) -> str:
    """Return what tells annotations apart: everything that scores of genes and their names depend on."""
    return f"{genes.digest} {genes.transcript_digest} {genes.label_digest}"


def _interval(region: Interval | str) -> Interval:
    if isinstance(region, Interval):
        return region
    if not isinstance(region, str):
        raise InputError(f"region is {region!r:.60}; an Interval or text like 'chr1:1,001-2,000' is needed")
    return Interval.parse(region)
