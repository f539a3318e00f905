"""The demo of the DFT score: synthetic promoters, and whether the score names the motif that drives each."""

from __future__ import annotations

import csv
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ..bundle.opening import Bundle
from ..genome.fasta import Fasta
from ..promoter.sites import Site, site_window
from ..runs.dft import Keep, score_file
from ..runs.settings import RunSettings
from .packaged import new_folder, packaged_bundle
from .promoter_grammar import DRIVERS, Planted, nearest_copies, write_data

SEED = 2025  # not that of the training genome
CONTIGS = {"demo1": 60_000}
_REACH_BP = 120  # of the TSS: where the grammar puts words


@dataclass(frozen=True)
class Recovery:
    """How often the dominant motif is the planted driver.

    Attributes
    ----------
    sites, correct : int
        Promoters, and those whose dominant motif is their driver.
    by_driver : dict of str to (int, int)
        Correct and all promoters of each driver.
    """

    sites: int
    correct: int
    by_driver: dict[str, tuple[int, int]]

    @property
    def accuracy(self) -> float:
        """Share of promoters whose driver is named."""
        return self.correct / self.sites

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy."""
        n, p, z = self.sites, self.accuracy, 1.96
        middle, half = p + z * z / (2 * n), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
        scale = 1 + z * z / n
        return max((middle - half) / scale, 0.0), min((middle + half) / scale, 1.0)


@dataclass(frozen=True)
class DemoResult:
    """What the demo found.

    Attributes
    ----------
    found : Recovery
        By the score.
    commonest : float
        Share of the commonest driver: what one gets by naming it always.
    words : Recovery
        By a search for the words of the grammar themselves, which the model has never seen: the most that a search can
        do. The whole copy nearest to the TSS names the driver.
    """

    found: Recovery
    commonest: float
    words: Recovery


def embedded_bundle() -> Bundle:
    """Open the small promoter model that is part of the package."""
    return packaged_bundle("promoter_bundle")


def run_demo(
    out: str | os.PathLike[str],
    *,
    seed: int = SEED,
    contigs: dict[str, int] | None = None,
    settings: RunSettings | None = None,
    keep: Keep | None = None,
) -> DemoResult:
    """Make a genome of promoters with known drivers, score it with the embedded bundle, and compare.

    Parameters
    ----------
    out : path
        Directory to make: genome.fa, plus.bw, minus.bw, tss.bed (name: driver), scores.tsv.
    seed, contigs
        Of the synthetic genome.
    settings, keep
        See :func:`borzoi_rt.runs.dft.score_file`.

    Returns
    -------
    DemoResult

    Raises
    ------
    InputError
        If ``out`` exists and is not an empty directory.
    """
    folder = new_folder(out)
    planted = write_data(folder, seed=seed, contigs=contigs or CONTIGS)
    score_file(
        folder / "scores.tsv",
        bundles=[embedded_bundle().path],
        fasta=folder / "genome.fa",
        bed=folder / "tss.bed",
        settings=settings,
        keep=keep,
    )
    drivers = Counter(promoter.driver for promoter in planted)
    return DemoResult(
        recovery(folder / "scores.tsv", planted),
        max(drivers.values()) / len(planted),
        word_recovery(folder / "genome.fa", planted),
    )


def recovery(table: Path, planted: list[Planted]) -> Recovery:
    """Compare a score table with the promoters it was made of."""
    dominant: dict[tuple[str, int], str] = {}
    with table.open(encoding="utf-8", newline="") as handle:
        for row in csv.DictReader(handle, delimiter="\t"):
            if row["dominant"] == "true":
                dominant[row["chrom"], int(row["pos0"])] = row["motif"]
    return _compared(planted, [dominant.get((item.chrom, item.tss), "") for item in planted])


def word_recovery(fasta: Path, planted: list[Planted]) -> Recovery:
    """Compare promoters with what a search for the words themselves finds."""
    named = []
    with Fasta(fasta) as genome:
        for item in planted:
            site = Site(item.chrom, item.tss, item.strand)
            window = site_window(genome, site, length_bp=2 * _REACH_BP, tss_bp=_REACH_BP)
            distance = nearest_copies(window, _REACH_BP)
            named.append(min(distance, key=lambda name: distance[name]) if distance else "")
    return _compared(planted, named)


def _compared(planted: list[Planted], named: list[str]) -> Recovery:
    right: Counter[str] = Counter()
    every: Counter[str] = Counter()
    for promoter, name in zip(planted, named, strict=True):
        every[promoter.driver] += 1
        right[promoter.driver] += name == promoter.driver
    counts = {driver: (right[driver], every[driver]) for driver in DRIVERS}
    return Recovery(len(planted), right.total(), counts)
