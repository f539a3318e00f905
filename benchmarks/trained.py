"""The trained test model on real DNA: whole command, and seconds a variant once it runs.

    python -m benchmarks.trained [--shared DIR]

The reference tool takes 34 s for the eight variants of the first line on 2 cores, 2.4 s a variant in steady state
(TensorFlow 2.15, calico/baskerville ``hound_snp``; those two figures are quoted, not measured here).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.engine.sessions import EngineOptions
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.variants import Variant
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.stream import score_variants

from ._common import print_header, print_table

SHARED = Path(os.environ.get("BORZOI_RT_SHARED", Path(__file__).resolve().parents[2] / "shared"))
ALL = ("SUM", "logSUM", "logSED", "sqrtSUM", "SAX", "D1", "D2", "logD1", "logD2", "sqrtD1", "sqrtD2", "JS")
ROUNDS = 5


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=SHARED)
    data = parser.parse_args().shared / "data"
    print_header("python -m benchmarks.trained")
    with tempfile.TemporaryDirectory() as scratch:
        bundle = export_tiny(data / "tiny_model", Path(scratch) / "bundle")
        genome = next((data / "hg38_1m").glob("*.fa.gz"))
        rows = [("8 SNVs, 12 statistics, whole command", _command(data, genome, bundle, Path(scratch)), 34.0)]
        rows += [(name, seconds, 2.4) for name, seconds in _steady(bundle, genome).items()]
    print_table(("what", "seconds", "reference s", "ratio"), [(*row, row[1] / row[2]) for row in rows])


def export_tiny(source: Path, out: Path) -> Bundle:
    from borzoi_export.convert import convert_calico

    from borzoi_rt.bundle.manifest import SquashSpec

    files = (source / name for name in ("model.h5", "params.json", "targets.txt"))
    return convert_calico(*files, out, squash=SquashSpec(kind="new"))


def _command(data: Path, genome: Path, bundle: Bundle, scratch: Path) -> float:
    """Return the median wall seconds of ``borzoi-rt score`` in a process of its own."""
    run = "from borzoi_rt.cli import run; run()"
    vcf = str(data / "variants" / "eqtl.vcf")
    out = str(scratch / "out.tsv")
    options = ["--bundle", str(bundle.path), "--fasta", str(genome), "--out", out, "--stats", ",".join(ALL)]
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", run, "score", vcf, *options], check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _steady(bundle: Bundle, genome: Path) -> dict[str, float]:
    """Return the median wall seconds of one more SNV, the forms taking turns."""
    with Fasta(genome) as fasta:
        chrom = next(iter(fasta.contigs))
        forms = {
            "an SNV, whole passes": (ScoreOptions(stats=ALL), EngineOptions(full=True)),
            "an SNV, tiles": (ScoreOptions(stats=ALL), EngineOptions()),
            "an SNV of many in one window": (ScoreOptions.for_family(stats=ALL, window="at:555000"), EngineOptions()),
            "the same, 2,000 bp around it": (
                ScoreOptions.for_family(stats=ALL, window="at:555000", span_bp=2000),
                EngineOptions(),
            ),
        }
        runs = {
            name: score_variants(_snvs(fasta, chrom), bundle=bundle, fasta=fasta, options=options, engine=engine)
            for name, (options, engine) in forms.items()
        }
        seconds: dict[str, list[float]] = {name: [] for name in forms}
        for number in range(12):
            for name, run in runs.items():
                start = time.perf_counter()
                result = next(run)
                if result.status != "ok":
                    raise SystemExit(f"{result.variant}: {result.status} {result.detail}")
                if number > 1:  # the first loads the graphs and the tiles of the window
                    seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _snvs(fasta: Fasta, chrom: str) -> Iterator[Variant]:
    generator = np.random.default_rng(5)
    while True:
        pos = int(generator.integers(610_000, 640_000))
        ref = fasta.fetch(chrom, pos - 1, pos)
        yield Variant(chrom, pos, ref, "ACGT"[("ACGT".find(ref) + 1) % 4])


if __name__ == "__main__":
    main()
