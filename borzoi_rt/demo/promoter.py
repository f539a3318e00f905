"""The demo of the DFT score: synthetic promoters, and whether the score names the motif that drives each."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..bundle.opening import Bundle, open_bundle
from ..errors import InputError
from ..runs.dft import score_file
from ..tables.dft import ScoredWindow
from .promoter_grammar import DRIVERS, Planted, write_data

SEED = 2025  # not that of the training genome
CONTIGS = {"demo1": 60_000}


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


def embedded_bundle() -> Bundle:
    """Open the small promoter model that is part of the package."""
    return open_bundle(Path(__file__).parent / "promoter_bundle")


def run_demo(
    out: str | os.PathLike[str],
    *,
    seed: int = SEED,
    contigs: dict[str, int] | None = None,
    backend: str = "onnx:cpu",
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
    keep: Callable[[ScoredWindow], None] | None = None,
) -> Recovery:
    """Make a genome of promoters with known drivers, score it with the embedded bundle, and compare.

    Parameters
    ----------
    out : path
        Directory to make: genome.fa, plus.bw, minus.bw, tss.bed (name: driver), scores.tsv.
    seed, contigs
        Of the synthetic genome.
    backend, threads, progress, keep
        See :func:`borzoi_rt.runs.dft.score_file`.

    Returns
    -------
    Recovery

    Raises
    ------
    InputError
        If ``out`` exists and is not an empty directory.
    """
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: exists and is not an empty directory; choose another with --out")
    folder.mkdir(parents=True, exist_ok=True)
    planted = write_data(folder, seed=seed, contigs=contigs or CONTIGS)
    score_file(
        folder / "scores.tsv",
        bundles=[embedded_bundle().path],
        fasta=folder / "genome.fa",
        bed=folder / "tss.bed",
        backend=backend,
        threads=threads,
        progress=progress,
        keep=keep,
    )
    return recovery(folder / "scores.tsv", planted)


def recovery(table: Path, planted: list[Planted]) -> Recovery:
    """Compare a score table with the promoters it was made of."""
    dominant: dict[tuple[str, int], str] = {}
    with table.open(encoding="utf-8", newline="") as handle:
        for row in csv.DictReader(handle, delimiter="\t"):
            if row["dominant"] == "1":
                dominant[row["chrom"], int(row["pos0"])] = row["motif"]
    right: Counter[str] = Counter()
    every: Counter[str] = Counter()
    for promoter in planted:
        every[promoter.driver] += 1
        right[promoter.driver] += dominant.get((promoter.chrom, promoter.tss)) == promoter.driver
    counts = {driver: (right[driver], every[driver]) for driver in DRIVERS}
    return Recovery(len(planted), right.total(), counts)
