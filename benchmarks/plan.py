"""What ``--plan`` says against what the run then takes: ``python -m benchmarks.plan [--shared DIR]``; four minutes.

Every run is planned and made by the command line, in processes of its own. ``--shared`` is the folder of reference data
whose trained test model (131,072 bp) is scored too. Time is that of the whole command; memory is the peak of the
process (with one worker). Medians of three turns.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks._common import print_header, print_table

ALLOWED = 0.30
REPEATS = 3


def main() -> None:
    """Plan, run, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path(__file__).resolve().parents[2] / "shared")
    options = parser.parse_args()
    print_header("python -m benchmarks.plan")
    with tempfile.TemporaryDirectory() as name:
        rows = [compare(title, command) for title, command in cases(Path(name), options.shared)]
    print_table(("run", "planned s", "took s", "ratio", "planned GB", "took GB", "planned MB", "wrote MB"), rows)
    worst = max(abs(row[3] - 1.0) for row in rows)
    print(f"\nlargest error of the time: {worst:.0%} (allowed: {ALLOWED:.0%})")


def cases(folder: Path, shared: Path) -> list[tuple[str, list[str]]]:
    """Return the runs by name, each without ``borzoi-rt``."""
    demo = folder / "demo"
    call(["demo", "--out", str(demo)])
    from borzoi_rt.demo.packaged import packaged_bundle

    model = ["--bundle", str(packaged_bundle("bundle").path), "--fasta", str(demo / "genome.fa")]
    vcf, contig = str(demo / "variants.vcf"), (demo / "genome.fa.fai").read_text().split()[0]
    found = [
        ("demo, score to tsv", ["score", vcf, *model, "--out", str(folder / "a.tsv")]),
        ("demo, score --rc to h5", ["score", vcf, *model, "--out", str(folder / "b.h5"), "--rc"]),
        ("demo, 2 workers", ["score", vcf, *model, "--out", str(folder / "c.parquet"), "--workers", "2"]),
        ("demo, ism of 200 bp", ["ism", f"{contig}:20001-20200", *model, "--out", str(folder / "d.h5")]),
    ]
    source = shared / "data" / "tiny_model"
    if source.is_dir():
        found += tiny_cases(folder, source)
    return found


def tiny_cases(folder: Path, source: Path) -> list[tuple[str, list[str]]]:
    """Return runs of the trained test model on a genome of random bases."""
    import numpy as np
    from borzoi_export.convert import convert_calico

    from borzoi_rt.bundle.manifest import SquashSpec
    from borzoi_rt.genome.fasta import write_fasta

    files = (source / name for name in ("model.h5", "params.json", "targets.txt"))
    convert_calico(*files, folder / "tiny", squash=SquashSpec(kind="new"))
    text = "".join(np.random.default_rng(5).choice(list("ACGT"), 600_000))
    write_fasta(folder / "random.fa", {"chr1": text})
    lines = ["##fileformat=VCFv4.2", "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]
    for number, pos in enumerate(range(100_000, 500_000, 10_000)):
        ref = text[pos - 1]
        alt = f"{ref}TT" if number % 5 == 4 else "ACGT"["CGTA".index(ref)]  # every fifth an insertion
        lines.append(f"chr1\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.")
    (folder / "random.vcf").write_text("\n".join(lines) + "\n")
    model = ["--bundle", str(folder / "tiny"), "--fasta", str(folder / "random.fa")]
    score = ["score", str(folder / "random.vcf"), *model]
    return [
        ("tiny, score to tsv", [*score, "--out", str(folder / "e.tsv")]),
        ("tiny, --span 2000", [*score, "--out", str(folder / "f.tsv"), "--span", "2000"]),
        ("tiny, whole passes", [*score, "--out", str(folder / "g.tsv"), "--full"]),
    ]


def compare(title: str, command: list[str]) -> tuple[Any, ...]:
    """Plan a run and make it, in turns, so that a busy moment of the machine meets both."""
    plans, times = [], []
    out = Path(command[command.index("--out") + 1])
    for _ in range(REPEATS):
        plans.append(json.loads(call([*command, "--plan", "--json"])))
        started = time.perf_counter()
        memory = call(command, peak=True)
        times.append(time.perf_counter() - started)
    planned, seconds, took = plans[0], median(plan["seconds"] for plan in plans), median(times)
    workers = planned["workers"]
    return (
        title,
        seconds,
        took,
        seconds / took,
        planned["memory_bytes"] / 1e9,
        float(memory) / 1e9 if workers == 1 else "-",
        planned["output_bytes"] / 1e6,
        out.stat().st_size / 1e6,
    )


def call(arguments: list[str], *, peak: bool = False) -> str:
    """Run a command; return what it prints, or the most memory that its process held."""
    entry = "from borzoi_rt.cli import run; run()"
    if peak:
        entry = (
            "import resource, atexit\n"
            "atexit.register(lambda: print(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))\n" + entry
        )
    done = subprocess.run([sys.executable, "-c", entry, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
