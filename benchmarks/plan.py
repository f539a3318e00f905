"""What ``--plan`` says against what the run then takes: ``python -m benchmarks.plan [--shared DIR] [--repeats N]``.

Every run is planned and made by the command line, in processes of its own, one after the other: the ratio is that of
such a pair, and of several pairs the median stands. ``--shared`` is the folder of reference data whose trained test
model (131,072 bp) is scored too. Time is that of the whole command, on the clock and of processors, its workers
included; memory is the peak of the process (with one worker).
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from operator import truediv
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks._common import print_header, print_table

ALLOWED = 0.30
COLUMNS = (
    *("run", "planned s", "took s", "ratio", "planned CPU s", "took CPU s", "ratio"),
    *("planned GB", "took GB", "planned MB", "wrote MB"),
)
SOME = 100  # variants of the demo: on a busy machine all of them take long


def main() -> None:
    """Plan, run, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path(__file__).resolve().parents[2] / "shared")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print_header("python -m benchmarks.plan")
    with tempfile.TemporaryDirectory() as name:
        rows = [compare(title, command, options.repeats) for title, command in cases(Path(name), options.shared)]
    print_table(COLUMNS, rows)
    for what, column in (("time", 3), ("processor time", 6)):
        worst = max(abs(row[column] - 1.0) for row in rows)
        print(f"\nlargest error of the {what}: {worst:.0%} (allowed: {ALLOWED:.0%})", end="")
    print()


def cases(folder: Path, shared: Path) -> list[tuple[str, list[str]]]:
    """Return the runs by name, each without ``borzoi-rt``."""
    demo = folder / "demo"
    call(["demo", "--out", str(demo)])
    from borzoi_rt.demo.packaged import packaged_bundle

    model = ["--bundle", str(packaged_bundle("bundle").path), "--fasta", str(demo / "genome.fa")]
    contig = (demo / "genome.fa.fai").read_text().split()[0]
    lines = (demo / "variants.vcf").read_text().splitlines(keepends=True)
    some, bed = folder / "some.vcf", folder / "some.bed"
    some.write_text("".join(lines[: -len(lines) + SOME + sum(line.startswith("#") for line in lines)]))
    bed.write_text("".join(f"{contig}\t{start}\t{start + 100}\n" for start in range(10_000, 30_000, 1000)))
    promoters = ["--bundle", str(packaged_bundle("promoter_bundle").path), "--fasta", str(demo / "genome.fa")]
    found = [
        ("demo, score to tsv", ["score", str(some), *model, "--out", str(folder / "a.tsv")]),
        ("demo, score --rc to h5", ["score", str(some), *model, "--out", str(folder / "b.h5"), "--rc"]),
        ("demo, score to vcf.gz", ["score", str(some), *model, "--out", str(folder / "b.vcf.gz")]),
        ("demo, 2 workers", ["score", str(some), *model, "--out", str(folder / "c.parquet"), "--workers", "2"]),
        ("demo, ism of 50 bp", ["ism", f"{contig}:20001-20050", *model, "--out", str(folder / "d.h5")]),
        ("demo, predict 20 regions", ["predict", str(bed), *model, "--out", str(folder / "coverage")]),
        (
            "demo, calibrate of 60",
            ["calibrate", "--random", "60", "--min-count", "20", *model, "--out", str(folder / "null")],
        ),
        ("demo, dft score", ["dft", "score", "--bed", str(bed), *promoters, "--out", str(folder / "d.tsv")]),
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
    for number, pos in enumerate(range(100_000, 500_000, 20_000)):
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


def compare(title: str, command: list[str], repeats: int) -> tuple[Any, ...]:
    """Plan a run and make it, in turns, so that a busy moment of the machine meets both."""
    plans, times, processors = [], [], []
    out = Path(command[command.index("--out") + 1])
    memory = ""
    for _ in range(repeats):
        if out.is_dir():
            shutil.rmtree(out)
        plans.append(json.loads(call([*command, "--plan", "--json"])))
        started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        memory = call(command, peak=True)
        times.append(time.perf_counter() - started)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        processors.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    planned, workers = plans[0], plans[0]["workers"]
    seconds, spent = [plan["seconds"] for plan in plans], [plan["processor_seconds"] for plan in plans]
    written = [path.stat().st_size for path in (out.iterdir() if out.is_dir() else [out])]
    return (
        title,
        *(median(seconds), median(times), median(map(truediv, seconds, times))),
        *(median(spent), median(processors), median(map(truediv, spent, processors))),
        planned["memory_bytes"] / 1e9,
        float(memory.split()[-1]) / 1e9 if workers == 1 else "-",
        planned["output_bytes"] / 1e6,
        sum(written) / 1e6,
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
