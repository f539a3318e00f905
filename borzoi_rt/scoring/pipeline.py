"""From variants to scores, one result per ALT allele, whatever happens to it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backends.protocols import Session
from ..bundle.opening import Bundle, open_bundle
from ..engine.prediction import AllelePrediction, AlleleSums, Predictor
from ..engine.sessions import EngineOptions, open_engine
from ..engine.summing import Rows, SummingSession
from ..errors import BackendError, FormatError, InputError
from ..genome.fasta import Fasta
from ..genome.variants import Variant, VariantRecord, read_variants
from ..sequence import encode
from ..tracks import MergePlan, TrackTable
from .options import ScoreOptions
from .statistics import are_sums, find_statistics, score_pair, score_sums

STATUSES = (
    "ok",
    "flipped",
    "ref_edited",
    "ref_mismatch",
    "invalid_allele",
    "symbolic_alt",
    "contig_missing",
    "out_of_bounds",
    "too_many_n",
    "error",
)
SCORED = ("ok", "flipped", "ref_edited")


@dataclass(frozen=True)
class ScoredVariant:
    """What became of one ALT allele.

    Attributes
    ----------
    record, alt_index : int
        0-based number of the record in the input and of the ALT in the record.
    variant : Variant
        As in the input, upper case.
    status : str
        One of ``STATUSES``; ``scores`` is None unless it is one of ``SCORED``.
    detail : str
        What was found, for every status but ``ok``.
    window_start, stitch_bin, n_fraction
        See :class:`borzoi_rt.engine.prediction.AllelePrediction`; None without scores.
    scores : dict of str to float32 ndarray of shape (rows,), or None
        One vector per statistic, A = ALT of the input.
    """

    record: int
    alt_index: int
    variant: Variant
    status: str
    detail: str = ""
    window_start: int | None = None
    stitch_bin: int | None = None
    n_fraction: float | None = None
    scores: dict[str, np.ndarray] | None = None


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

    Attributes
    ----------
    rows : TrackTable
        Meaning of the rows of every score: merged strands carry the metadata of the '+' track.
    """

    def __init__(self, bundle: Bundle, session: Session, fasta: Fasta, options: ScoreOptions) -> None:
        self.options = options
        self.fasta = fasta
        self.statistics = find_statistics(options.stats, options.family)
        self.positions = bundle.tracks.select(options.tracks)
        selected = bundle.tracks.take(self.positions)
        self.merge: MergePlan | None = selected.merge_plan() if options.merge_strands else None
        self.rows: TrackTable = selected if self.merge is None else selected.take(self.merge.first)
        self.predictor = Predictor(
            session,
            bundle.tracks,
            bundle.squash(self.positions, unscale=options.unscale, unclip=options.unclip),
            positions=self.positions,
            options=options.prediction,
        )
        fused = isinstance(session, SummingSession) and are_sums(self.statistics)
        self._rows = self._summed_rows() if fused else None
        self._longest_bp = bundle.geometry.sequence_length_bp // 4

    def score(self, item: VariantRecord) -> ScoredVariant:
        """Score one ALT allele; what is wrong with it becomes its status.

        Raises
        ------
        BackendError, FormatError
            If the model or the genome file itself fails; that is no fault of the variant.
        """
        if item.problem is not None:
            return self._failed(item, item.problem, item.detail)
        contig = self.fasta.resolve(item.variant.chrom)
        if contig is None:
            return self._failed(item, "contig_missing", f"{self.fasta.name} has no contig {item.variant.chrom!r}")
        variant = Variant(contig, item.variant.pos, item.variant.ref, item.variant.alt)
        fault = self._bounds(variant)
        if fault:
            return self._failed(item, *fault)
        status, detail = self._reference(variant)
        if status not in SCORED:
            return self._failed(item, status, detail)
        try:
            return self._scored(item, variant, status, detail)
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
        nowhere = VariantRecord(0, 0, Variant(".", 0, "N", "N"))
        prediction = self.predictor.pair(encode(ref.upper()), encode(alt.upper()))
        return self._finished(nowhere, prediction, "ok", "")

    def _bounds(self, variant: Variant) -> tuple[str, str] | None:
        length = self.fasta.contigs[variant.chrom]
        last = variant.pos + len(variant.ref) - 1
        if variant.pos < 1 or last > length:
            return "out_of_bounds", f"bases {variant.pos}-{last} do not lie in {variant.chrom} (1-{length})"
        longest = max(len(variant.ref), len(variant.alt))
        if longest > self._longest_bp:
            return "invalid_allele", f"allele of {longest} bp; the window allows {self._longest_bp}"
        if variant.k and self.options.prediction.indel == "none":
            binwise = [name for name, statistic in self.statistics.items() if statistic.binwise]
            if binwise:
                return "error", f"{binwise[0]} compares bins, which an indel moves; choose another --indel policy"
        return None

    def _reference(self, variant: Variant) -> tuple[str, str]:
        """Compare REF with the genome and apply the policy."""
        start = variant.pos - 1
        held = self.fasta.fetch(variant.chrom, start, start + len(variant.ref))
        if held == variant.ref:
            return "ok", ""
        policy = self.options.ref_policy
        detail = f"REF {variant.ref[:20]!r}, the genome has {held[:20]!r} at {variant.chrom}:{variant.pos}"
        if policy == "strict":
            return "ref_mismatch", detail
        holds_alt = self.fasta.fetch(variant.chrom, start, start + len(variant.alt)) == variant.alt
        if not holds_alt:
            return "ref_mismatch", f"{detail}, which is not ALT {variant.alt[:20]!r} either"
        if policy == "edit":
            return "ref_edited", detail
        if variant.k < 0 and not self.options.flip_deletions:
            return "ref_mismatch", f"{detail}; a deletion is not flipped unless flip_deletions is set"
        return "flipped", detail

    def _scored(self, item: VariantRecord, variant: Variant, status: str, detail: str) -> ScoredVariant:
        return self._finished(item, self._predicted(variant, status), status, detail)

    def _finished(self, item: VariantRecord, prediction: _Prediction, status: str, detail: str) -> ScoredVariant:
        limit = self.options.max_n_fraction
        if limit is not None and prediction.n_fraction > limit:
            return self._failed(
                item, "too_many_n", f"{prediction.n_fraction:.3f} of the window is unknown, {limit} allowed"
            )
        finite, scores = self._scores(prediction, turned=status == "flipped")
        if not finite:
            return self._failed(item, "error", "the model gave NaN or infinite coverage")
        return ScoredVariant(
            record=item.record,
            alt_index=item.alt_index,
            variant=item.variant,
            status=status,
            detail=detail,
            window_start=prediction.window_start,
            stitch_bin=prediction.stitch_bin,
            n_fraction=prediction.n_fraction,
            scores=scores,
        )

    def _scores(self, prediction: _Prediction, *, turned: bool) -> tuple[bool, dict[str, np.ndarray]]:
        """Return whether all coverage is finite, and the scores."""
        how: dict[str, Any] = {"statistics": self.statistics, "family": self.options.family, "merge": self.merge}
        with np.errstate(invalid="ignore"):
            if isinstance(prediction, AlleleSums):
                pairs = [sums.turned() if turned else sums for sums in prediction.pairs]
                return all(np.isfinite([sums.ref, sums.alt]).all() for sums in pairs), score_sums(pairs, **how)
            ref, alt = (prediction.alt, prediction.ref) if turned else (prediction.ref, prediction.alt)
            return bool(np.isfinite(ref).all() and np.isfinite(alt).all()), score_pair(ref, alt, **how)

    def _predicted(self, variant: Variant, status: str) -> _Prediction:
        held = None
        if status == "flipped":
            variant = Variant(variant.chrom, variant.pos, variant.alt, variant.ref)
        elif status == "ref_edited":
            held = variant.alt
        if self._rows is not None:
            return self.predictor.sums(self.fasta, variant, self._rows, genome_allele=held)
        return self.predictor.variant(self.fasta, variant, genome_allele=held)

    def _summed_rows(self) -> Rows:
        """Return the rows of sums: tracks, or strands together where the family adds them first."""
        if self.merge is not None and self.options.family == "sad":
            share = np.stack([np.ones(len(self.merge)), self.merge.first != self.merge.second], axis=1)
            return Rows(np.stack([self.merge.first, self.merge.second], axis=1), share)
        count = len(self.positions)
        return Rows(np.arange(count)[:, None], np.ones((count, 1)))

    @staticmethod
    def _failed(item: VariantRecord, status: str, detail: str) -> ScoredVariant:
        return ScoredVariant(item.record, item.alt_index, item.variant, status, detail)


def score_variants(
    variants: str | os.PathLike[str] | Iterable[Variant | VariantRecord],
    *,
    bundle: Bundle | str | os.PathLike[str],
    fasta: Fasta | str | os.PathLike[str],
    options: ScoreOptions | None = None,
    session: Session | None = None,
    backend: str = "onnx:cpu",
    threads: int | None = None,
    engine: EngineOptions | None = None,
) -> Iterator[ScoredVariant]:
    """Score variants, one result per ALT allele, in the order of the input.

    Parameters
    ----------
    variants : path or iterable of Variant or VariantRecord
        A VCF or BCF file (``-`` for stdin), or variants made by hand.
    bundle, fasta : object or path
        Model and genome.
    options : ScoreOptions, optional
        Statistics and policies.
    session : Session, optional
        The bundle, loaded; otherwise it is loaded into ``backend`` and closed at the end.
    backend, threads
        See :func:`borzoi_rt.open_session`.
    engine : EngineOptions, optional
        Whether tiles are kept and shared, where, and how many windows are checked against whole passes.

    Yields
    ------
    ScoredVariant

    Examples
    --------
    >>> for result in score_variants("in.vcf", bundle="BUNDLE", fasta="hg38.fa"):  # doctest: +SKIP
    ...     print(result.variant, result.status, result.scores and result.scores["logSUM"].max())
    """
    options = options or ScoreOptions()
    with ExitStack() as stack:
        model = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
        genome = fasta if isinstance(fasta, Fasta) else stack.enter_context(Fasta(fasta))
        loaded = session
        if loaded is None:
            loaded = open_engine(model, backend, threads=threads, options=engine)
            stack.callback(loaded.close)
        scorer = Scorer(model, loaded, genome, options)
        for item in _items(variants):
            yield scorer.score(item)


def _items(variants: str | os.PathLike[str] | Iterable[Variant | VariantRecord]) -> Iterator[VariantRecord]:
    if isinstance(variants, str | os.PathLike):
        yield from read_variants(variants)
        return
    for number, item in enumerate(variants):
        if isinstance(item, VariantRecord):
            yield item
        elif isinstance(item, Variant):
            yield VariantRecord(number, 0, item)
        else:
            raise InputError(f"variant {number} is {type(item).__name__}; a Variant or VariantRecord is needed")
