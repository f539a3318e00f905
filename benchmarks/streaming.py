"""Memory of a run of millions of variants: ``python -m benchmarks.streaming [--variants N] [--out tsv|h5|...]``.

Most variants have a status that costs nothing (symbolic alleles, contigs that are missing, REF that is not in the
genome), one of a thousand is scored by the array backend, in a window of the demo's length; so the time is that of
reading, keeping and writing, and the memory that of the program around the model. The variants are not sorted, unless
``--sorted`` is given. The resident memory is read every second and printed for twenty moments of the run.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._common import peak_rss_gb, print_header, print_table
from borzoi_rt.backends.array import ArraySession
from borzoi_rt.demo.packaged import packaged_bundle
from borzoi_rt.genome.fasta import write_fasta
from borzoi_rt.runs import score_plan
from borzoi_rt.runs.score import score_file
from borzoi_rt.runs.settings import RunSettings
from borzoi_rt.scoring.options import ScoreOptions

LENGTH = 100_000


class Watch(threading.Thread):
    """Reads the resident memory every second, beside what the run says of its progress."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.started = time.monotonic()
        self.done = 0
        self.seen: list[tuple[float, str, int, float]] = []
        self.journal = (0, 0)
        self.over = threading.Event()

    def watch(self, total: int, journal: Path) -> None:
        """Begin."""
        self.total, self.folder, self.started = total, journal, time.monotonic()
        self.start()

    def run(self) -> None:
        """Read until the run is over."""
        while not self.over.wait(1.0):
            step = "reading" if not self.done else "scoring" if self.done < self.total else "writing"
            self.seen.append((time.monotonic() - self.started, step, self.done, resident_gb()))
            if step == "writing" and not self.journal[0]:
                sizes = [entry.stat().st_size for entry in os.scandir(self.folder) if entry.is_file()]
                self.journal = len(sizes), sum(sizes)

    def progress(self, done: int) -> None:
        """Take the number of variants done."""
        self.done = done


def main() -> None:
    """Make the input, score it, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", type=int, default=1_000_000)
    parser.add_argument("--out", choices=("tsv", "parquet", "h5", "vcf.gz"), default="tsv")
    parser.add_argument("--sorted", action="store_true", help="sort the variants by position")
    options = parser.parse_args()
    order = " --sorted" if options.sorted else ""
    print_header(f"python -m benchmarks.streaming --variants {options.variants} --out {options.out}{order}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fasta, vcf = folder / "genome.fa", folder / "in.vcf"
        text = "".join(np.random.default_rng(3).choice(list("ACGT"), LENGTH))
        write_fasta(fasta, {"chr1": text})
        with vcf.open("w", encoding="ascii") as handle:
            handle.write("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
            handle.writelines(lines(options.variants, text, in_order=options.sorted))
        watch = Watch()
        watch.watch(options.variants, folder / f"out.{options.out}.partial")
        counts = score(vcf, folder / f"out.{options.out}", fasta, watch)
        size = (folder / f"out.{options.out}").stat().st_size
    report(watch, counts, options.variants, size)


def lines(count: int, text: str, *, in_order: bool) -> Iterator[str]:
    """Yield the variants."""
    for number in range(count):
        step = number * (LENGTH - 20_000) // count if in_order else number * 7919 % (LENGTH - 20_000)
        pos = 10_000 + step
        ref = text[pos - 1]
        missing = number >= 0.95 * count if in_order else number % 20 == 1
        if missing:
            chrom, alt = "chrUn", "A"
        elif number % 1000 == 0:
            chrom, alt = "chr1", "ACGT"["CGTA".index(ref)]
        elif number % 20 == 2:
            chrom, ref, alt = "chr1", "ACGT"["CGTA".index(ref)], "N"
        else:
            chrom, alt = "chr1", "<DEL>"
        yield f"{chrom}\t{pos}\trs{number}\t{ref}\t{alt}\t.\t.\t.\n"


def score(vcf: Path, out: Path, fasta: Path, watch: Watch) -> Counter[str]:
    """Score with the array backend."""
    bundle = packaged_bundle("bundle")
    weights = np.arange(4.0 * len(bundle.tracks)).reshape(-1, 4)

    def array(*_: Any, **__: Any) -> ArraySession:
        return ArraySession(bundle.geometry, weights)

    score_plan.open_engine = array  # type: ignore[assignment]
    settings = RunSettings(progress=watch.progress)
    options = ScoreOptions(stats=("SUM",), tracks="0")
    counts = score_file(vcf, out, bundle=bundle, fasta=fasta, options=options, settings=settings)
    watch.over.set()
    watch.join()
    return counts


def report(watch: Watch, counts: Counter[str], variants: int, size: int) -> None:
    """Print twenty moments, and what the run came to."""
    shown = watch.seen[:: max(1, len(watch.seen) // 20)] + watch.seen[-1:]
    print_table(
        ("seconds", "step", "done", "resident GB"),
        [(f"{at:.0f}", step, done, f"{held:.3f}") for at, step, done, held in shown],
    )
    took, processor = watch.seen[-1][0], time.process_time()
    files, held = watch.journal
    print(f"\n{dict(counts)}; table of {size / 1e6:.0f} MB, journal of {files} files and {held / 1e6:.0f} MB")
    print(
        f"{took:.0f} s ({processor:.0f} s of processor), {variants / took:,.0f} variants/s, peak {peak_rss_gb():.3f} GB"
    )


def resident_gb() -> float:
    """Return the memory that this process holds now."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 2**20


if __name__ == "__main__":
    main()
