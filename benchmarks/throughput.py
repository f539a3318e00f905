"""Variants a second, and what a million cost: ``python -m benchmarks.throughput [--price 0.10] [--bundle B ...]``.

Every line is a run of the same variants: by device, processes, tracks, bins around the variant, and strategy (``whole``
passes, or ``tiles`` that are computed once). The speed is that of the steady run, from the first result to the last,
without loading; ``CPU s`` is the processor time of the whole run for 1,000 variants, loading included, which other
programs on the machine change little. Beside it stands the error: the largest difference to whole passes in one process
on the CPU, as a share of the largest score. The price is that of the machine per hour; a million variants cost
price / speed.

Without ``--bundle`` the demo's model, genome and variants are used. Give the published model, hg38 and a VCF, and
``--device cuda``, to size a run; ``--variants`` takes the first of the file.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from benchmarks._common import print_header, print_table
from borzoi_rt.demo.data import write_demo_data
from borzoi_rt.demo.packaged import packaged_bundle
from borzoi_rt.engine.sessions import EngineOptions
from borzoi_rt.genome.variants import read_variants
from borzoi_rt.runs import score as score_runs
from borzoi_rt.runs.settings import RunSettings
from borzoi_rt.scoring.options import ScoreOptions

STAT = "logSED"
JOB = 5  # variants a job: several processes are heard of by the job
COLUMNS = ("device", "workers", "tracks", "bins", "strategy", "variants/s", "CPU s", "$ a million", "error")


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    device: str
    workers: int
    tracks: str | None
    span: int | None
    full: bool


def main() -> None:
    """Measure and print."""
    options = arguments()
    print_header(" ".join(["python -m benchmarks.throughput", *sys.argv[1:]]))
    print(f"price     {options.price:.2f} $ an hour for the machine\n")
    with tempfile.TemporaryDirectory() as name:
        bundle, fasta, vcf = inputs(Path(name), options)
        variants = [item.variant for item in itertools.islice(read_variants(vcf), options.variants)]
        rows, wanted = [], {}
        for case in cases(options):
            before = processor_s()
            rate, scores = measure(case, bundle, fasta, variants, Path(name))
            spent = (processor_s() - before) / len(variants) * 1000
            whole = wanted.setdefault((case.tracks, case.span), scores)  # the first of each is whole, on the CPU
            rows.append(row(case, rate, spent, scores, whole, options.price))
    print_table(COLUMNS, rows)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle")
    parser.add_argument("--fasta")
    parser.add_argument("--vcf")
    parser.add_argument("--variants", type=int, default=200)
    parser.add_argument("--device", action="append", help="more devices than the CPU, like cuda:0")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--tracks", nargs="*", default=["0"], help="choices of tracks beside all of them")
    parser.add_argument("--span", type=int, nargs="*", default=[2000], help="bp around the variant beside all bins")
    parser.add_argument("--price", type=float, default=0.10, help="$ an hour of the machine")
    return parser.parse_args()


def inputs(folder: Path, options: argparse.Namespace) -> tuple[Any, Path, Path]:
    """Return model, genome and variants."""
    if options.bundle is not None:
        return options.bundle, Path(options.fasta), Path(options.vcf)
    fasta, vcf, _ = write_demo_data(folder)
    return packaged_bundle("bundle"), fasta, vcf


def cases(options: argparse.Namespace) -> Iterator[Case]:
    """Yield the lines, whole passes on the CPU first for every choice of tracks and bins."""
    for tracks, span in itertools.product([None, *options.tracks], [None, *options.span]):
        yield Case("cpu", 1, tracks, span, full=True)
        yield from (Case("cpu", workers, tracks, span, full=False) for workers in options.workers)
        for device in options.device or ():
            yield Case(device, 1, tracks, span, full=True)
            yield Case(device, 1, tracks, span, full=False)


def measure(case: Case, bundle: Any, fasta: Path, variants: list[Any], folder: Path) -> tuple[float, np.ndarray]:
    """Score and return variants a second, and float32 (variants, rows) of the scores."""
    moments: list[tuple[float, int]] = []
    settings = RunSettings(
        device=case.device,
        workers=case.workers,
        engine=EngineOptions(full=case.full),
        progress=lambda done: moments.append((time.perf_counter(), done)),
    )
    name = STAT if case.span is None else f"{STAT}@span:{case.span}"
    chosen = ScoreOptions(stats=(name,), tracks=case.tracks)
    out = folder / "scores.h5"
    score_runs.job_size = lambda *_: JOB
    score_runs.score_list(variants, out, bundle=bundle, fasta=fasta, options=chosen, settings=settings)
    with h5py.File(out) as file:
        scores = np.asarray(file[name])
    steady = [moment for moment in moments if moment[1] >= case.workers * JOB]  # each process has done one
    seconds, count = steady[-1][0] - steady[0][0], steady[-1][1] - steady[0][1]
    return (count / seconds if seconds else float("nan")), scores


def processor_s() -> float:
    """Return the processor time of this process, and of those it started that have ended."""
    spent = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(item.ru_utime + item.ru_stime for item in spent)


def row(case: Case, rate: float, spent: float, scores: np.ndarray, whole: np.ndarray, price: float) -> tuple[Any, ...]:
    """Return a line."""
    error = np.nanmax(np.abs(scores - whole)) / np.nanmax(np.abs(whole))
    return (
        case.device,
        case.workers,
        case.tracks or "all",
        "all" if case.span is None else f"{case.span} bp",
        "whole" if case.full else "tiles",
        f"{rate:.3g}",
        f"{spent:.3g}",
        f"{price / 3600 / rate * 1e6:.3g}",
        f"{error:.0e}",
    )


if __name__ == "__main__":
    main()
