"""The demo: score the synthetic genome with the bundle that comes with the package, and compare with the truth."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..backends.opening import open_session
from ..bundle.opening import Bundle
from ..engine.prediction import Predictor
from ..errors import FormatError
from ..explain.explainer import ExplainOptions
from ..explain.rows import variant_rows
from ..explain.run import ExplainOutputs, explain_rows
from ..explain.target import TargetSpec
from ..genome.fasta import Fasta
from ..model import open_model
from ..report.figures import plot_alleles
from ..runs.score import score_file
from ..runs.settings import RunSettings
from ..scoring.options import ScoreOptions
from .accuracy import Estimate, auroc, average_precision, correlation, estimate, same_sign
from .data import PlantedVariant, write_demo_data
from .packaged import new_folder, packaged_bundle

STATISTIC = "logD2"
SIGNED = "logSED@span:800"  # as far as the truth looks for promoters: 400 bp either way
PLOTTED = 4
EXPLAINED_BP = 100  # around the strongest variant: both alleles, as letters
SHOWN = 12
GENE_SCORE = "logSED@exons"
_PLOT_REACH_BP = 1500


@dataclass(frozen=True)
class DemoHit:
    """A scored variant beside its truth: the largest ``STATISTIC`` over the rows of the table, and the row that has it.

    ``track`` is the name of that row: of a pair of strands (``RNA+/-``), or of a track that has no strand.
    ``log2_fold`` is the mean of ``SIGNED`` over the rows.
    """

    planted: PlantedVariant
    score: float
    track: str
    log2_fold: float


@dataclass(frozen=True)
class Classifier:
    """How well a number tells causal from neutral variants; ``hard`` is the AUROC against those in motifs alone."""

    name: str
    auroc: Estimate
    average_precision: Estimate
    hard: Estimate


@dataclass(frozen=True)
class GeneHit:
    """The nearest gene of one of the strongest variants, with the largest ``GENE_SCORE`` of its tracks."""

    planted: PlantedVariant
    gene: str
    strand: str
    covered_fraction: float
    score: float
    track: str


@dataclass(frozen=True)
class DemoReport:
    """What the demo found.

    Attributes
    ----------
    hits : tuple of DemoHit
        By falling score.
    classifiers : tuple of Classifier
        The score, and two baselines that need no model.
    correlation, same_sign : Estimate
        Of ``SIGNED`` and the true log2 fold over the causal variants: Pearson's correlation, share of equal signs.
    genes : tuple of GeneHit
        Nearest genes of the first hits.
    files : tuple of Path
        What was written.
    """

    hits: tuple[DemoHit, ...]
    classifiers: tuple[Classifier, ...]
    correlation: Estimate
    same_sign: Estimate
    genes: tuple[GeneHit, ...]
    files: tuple[Path, ...]


def embedded_bundle() -> Bundle:
    """Open the small model that is part of the package."""
    return packaged_bundle("bundle")


def run_demo(
    out: str | os.PathLike[str],
    *,
    device: str = "cpu",
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> DemoReport:
    """Make a genome with planted variants, score them, plot the strongest and explain the first.

    Parameters
    ----------
    out : path
        Directory to make: genome.fa, genes.gtf, tss.bed, motifs.meme, variants.vcf, truth.tsv, scores.tsv,
        explanation.h5 and PNG figures.
    device, threads
        See :func:`borzoi_rt.open_session`.
    progress : callable, optional
        Called with the number of variants done.

    Returns
    -------
    DemoReport

    Raises
    ------
    InputError
        If ``out`` exists and is not an empty directory.
    """
    folder = new_folder(out)
    bundle = embedded_bundle()
    fasta, vcf, planted = write_demo_data(folder)
    options = ScoreOptions(stats=("SUM", "logSED", SIGNED, STATISTIC))
    score_file(
        vcf,
        folder / "scores.tsv",
        bundle=bundle,
        fasta=fasta,
        options=options,
        settings=RunSettings(device=device, threads=threads, progress=progress),
    )
    hits = read_hits(folder / "scores.tsv", planted)
    genes = _genes_of([hit.planted for hit in hits[:SHOWN]], folder / "genes.gtf", bundle, fasta, device, threads)
    _plot_strongest(folder, hits[:PLOTTED], bundle, fasta, device, threads)
    _explain_strongest(folder, hits[0], bundle, fasta, device, threads)
    return DemoReport(
        tuple(hits),
        (
            _classifier(f"model, {STATISTIC}", hits, lambda hit: hit.score),
            _classifier("TSS distance", hits, lambda hit: -hit.planted.tss_distance_bp),
            _classifier("motif changed", hits, lambda hit: hit.planted.motif_changed),
        ),
        *_signed(hits),
        genes,
        tuple(sorted(folder.iterdir())),
    )


def _classifier(name: str, hits: Sequence[DemoHit], score: Callable[[DemoHit], float]) -> Classifier:
    """Measure one score, the larger the more causal; promoters are drawn whole for its intervals."""

    def measure(statistic: Callable[..., float], hits: Sequence[DemoHit]) -> Estimate:
        causal = [hit.planted.causal for hit in hits]
        return estimate(statistic, [float(score(hit)) for hit in hits], causal, groups=_promoters_of(hits))

    hard = [hit for hit in hits if hit.planted.kind != "neutral elsewhere"]
    return Classifier(name, measure(auroc, hits), measure(average_precision, hits), measure(auroc, hard))


def _signed(hits: Sequence[DemoHit]) -> tuple[Estimate, Estimate]:
    """Compare sign and size of the change with the truth, over the causal variants."""
    hits = [hit for hit in hits if hit.planted.causal]
    scores, truth = [hit.log2_fold for hit in hits], [hit.planted.log2_fold for hit in hits]
    groups = _promoters_of(hits)
    return estimate(correlation, scores, truth, groups=groups), estimate(same_sign, scores, truth, groups=groups)


def _promoters_of(hits: Sequence[DemoHit]) -> list[str]:
    return [f"{hit.planted.variant.chrom}:{hit.planted.tss}" for hit in hits]


def _genes_of(
    planted: Sequence[PlantedVariant], genes: Path, bundle: Bundle, fasta: Path, device: str, threads: int | None
) -> tuple[GeneHit, ...]:
    """Score the nearest gene of each variant over its exons; a variant without a gene in its window is left out."""
    options = ScoreOptions(stats=(GENE_SCORE,), gene_mode="nearest")
    with open_model(bundle, fasta=fasta, device=device, threads=threads) as model:
        result = model.score([item.variant for item in planted], options=options, genes=genes)
    hits = []
    for item, found in zip(planted, result, strict=True):
        for part in found.found.regions:
            values = part.scores.get(GENE_SCORE.partition("@")[0])
            if values is not None and np.isfinite(values).any():
                best = int(np.nanargmax(np.abs(values)))
                share = part.covered_fraction if part.covered_fraction is not None else 0.0
                track = result.tracks.identifier[best]
                hits.append(GeneHit(item, part.gene_name, part.gene_strand, share, float(values[best]), track))
    return tuple(hits)


def read_hits(scores: Path, planted: Sequence[PlantedVariant]) -> list[DemoHit]:
    """Read a score table back and return its variants, strongest first.

    Raises
    ------
    FormatError
        If a variant has no score.
    """
    best: dict[int, tuple[float, str]] = {}
    signed: dict[int, list[float]] = {}
    stat, _, region = SIGNED.partition("@")
    with scores.open(encoding="utf-8", newline="") as handle:
        for row in csv.DictReader(handle, delimiter="\t"):
            if row["stat"] == STATISTIC and row["score"]:
                record, score = int(row["record"]), float(row["score"])
                best[record] = max(best.get(record, (-1.0, "")), (score, row["track_id"]))
            elif (row["stat"], row["region"]) == (stat, region) and row["score"]:
                signed.setdefault(int(row["record"]), []).append(float(row["score"]))
    for name, found in ((STATISTIC, best.keys()), (SIGNED, signed.keys())):
        missing = sorted(set(range(len(planted))) - found)
        if missing:
            raise FormatError(
                f"{scores}: no {name} for {planted[missing[0]].variant}; the demo's own variants all have one"
            )
    hits = [DemoHit(item, *best[number], float(np.mean(signed[number]))) for number, item in enumerate(planted)]
    return sorted(hits, key=lambda hit: -hit.score)


def _plot_strongest(
    folder: Path, hits: Sequence[DemoHit], bundle: Bundle, fasta: Path, device: str, threads: int | None
) -> None:
    session = open_session(bundle, device, threads=threads)
    predictor = Predictor(session, bundle.tracks, bundle.squash())
    grid = bundle.geometry
    with Fasta(fasta) as genome:
        for rank, hit in enumerate(hits, start=1):
            variant = hit.planted.variant
            prediction = predictor.variant(genome, variant)
            start = prediction.window_start + grid.crop_bp
            first = max(0, (variant.pos - _PLOT_REACH_BP - start) // grid.bin_size_bp)
            last = min(grid.bins, (variant.pos + _PLOT_REACH_BP - start) // grid.bin_size_bp)
            plot_alleles(
                folder / f"hit{rank}_{variant.chrom}_{variant.pos}.png",
                prediction.ref[0, :, first:last],
                prediction.alt[0, :, first:last],
                names=bundle.tracks.identifier,
                chrom=variant.chrom,
                start=start + first * grid.bin_size_bp,
                bin_size_bp=grid.bin_size_bp,
                position=variant.pos,
                title=f"{variant}: {hit.planted.site}, true log2 fold {hit.planted.log2_fold:+.2f}",
            )
    session.close()


def _explain_strongest(
    folder: Path, hit: DemoHit, bundle: Bundle, fasta: Path, device: str, threads: int | None
) -> None:
    """Write which bases drive ``SIGNED`` (mean of all tracks) on either haplotype of a variant."""
    outputs = ExplainOutputs(out=folder / "explanation.h5", plot=folder / "explanation.png")
    with Fasta(fasta) as genome:
        explain_rows(
            variant_rows(hit.planted.variant, genome, bundle.geometry, width_bp=EXPLAINED_BP),
            outputs,
            bundles=[bundle],
            fasta=genome,
            spec=TargetSpec.parse(SIGNED),
            options=ExplainOptions(method="saliency"),
            settings=RunSettings(device=device, threads=threads),
        )
