"""Genomes, bigWigs and tables for the tests of data making."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pybigtools

from borzoi_rt.cli import main
from borzoi_rt.dataset import Data, open_data
from borzoi_rt.genome.fasta import write_fasta
from borzoi_rt.tracks import TrackTable

CONTIGS = {"c1": 6000, "c2": 3000}
STATS = ("sum", "sum_sqrt", "mean", "avg_sqrt", "sum_exp75")

LENGTH, BIN, CROP = 1024, 32, 192  # 20 bins
BINS = (LENGTH - 2 * CROP) // BIN


def write_bigwig(path: Path, coverage: dict[str, np.ndarray], contigs: dict[str, int] = CONTIGS) -> None:
    """Write coverage per base; NaN is left out."""
    entries = []
    for chrom, values in coverage.items():
        edges = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
        for start, end in zip(edges, np.append(edges[1:], len(values)), strict=True):
            if not np.isnan(values[start]):
                entries.append((chrom, int(start), int(end), float(values[start])))
    pybigtools.open(str(path), "w").write(contigs, iter(entries))


def genome(folder: Path, seed: int = 0) -> dict[str, str]:
    """Write ``g.fa`` with a run of unknown bases, and return the sequences."""
    generator = np.random.default_rng(seed)
    made = {name: "".join(generator.choice(list("ACGT"), length)) for name, length in CONTIGS.items()}
    made["c1"] = "N" * 40 + made["c1"][40:]
    write_fasta(folder / "g.fa", made)
    return made


def coverage(track: int) -> dict[str, np.ndarray]:
    """Return coverage with steps of a few bases, some of it far above the knee."""
    generator = np.random.default_rng(100 + track)
    made = {}
    for name, length in CONTIGS.items():
        steps = generator.gamma(0.4, 20.0, length // 7 + 1) * (generator.random(length // 7 + 1) < 0.7)
        made[name] = np.repeat(steps, 7)[:length].astype("f4").astype("f8")
    return made


def table(stats: tuple[str, ...] = STATS) -> TrackTable:
    """Return one track per statistic, the first two a strand pair."""
    count = len(stats)
    pairs = np.arange(count)
    pairs[:2] = [1, 0] if count > 1 else [0]
    return TrackTable(
        index=np.arange(count),
        identifier=tuple(f"t{n}+" if n != 1 else "t1-" for n in range(count)),
        description=tuple(f"track {n}" for n in range(count)),
        sum_stat=stats,
        clip=np.full(count, 90, dtype="f4"),
        clip_soft=np.full(count, 40, dtype="f4"),
        scale=np.array([0.3, 0.5, 2.0, 1.5, 0.7][:count], dtype="f4"),
        strand_pair=pairs,
        extra={"file": tuple(f"bw/{n}.bw" for n in range(count))},
    )


def write_sources(folder: Path, stats: tuple[str, ...] = STATS) -> tuple[dict[str, str], list[dict[str, np.ndarray]]]:
    """Write genome, bigWigs, ``targets.txt`` and three BED files; return sequences and coverage."""
    (folder / "bw").mkdir()
    sequences = genome(folder)
    tracks = [coverage(number) for number in range(len(stats))]
    for number, values in enumerate(tracks):
        write_bigwig(folder / "bw" / f"{number}.bw", values)
    table(stats).write(folder / "targets.txt")
    regions = {"train": [("c1", 100, 900), ("c1", 1400, 1500), ("c1", 3300, 3307), ("c1", 4000, 4640)],
               "valid": [("c1", 5000, 5600)], "test": [("c2", 500, 1100), ("c2", 1700, 2300)]}  # fmt: skip
    for split, intervals in regions.items():
        lines = [f"{chrom}\t{start}\t{end}\n" for chrom, start, end in intervals]
        (folder / f"{split}.bed").write_text("".join(lines))
    return sequences, tracks


def change(folder: Path, **changes: object) -> None:
    """Replace columns of the table."""
    replace(TrackTable.read(folder / "targets.txt"), **changes).write(folder / "targets.txt")  # type: ignore[arg-type]


def make(folder: Path, *more: object, squash: str = "new", out: str = "data") -> Data:
    words = ["--targets", folder / "targets.txt", "--fasta", folder / "g.fa", "--regions", folder / "train.bed"]
    words += ["--squash", squash, "--out", folder / out, "--bin-size", BIN]
    sizes = {"--length": LENGTH, "--crop": CROP}
    words += [word for name, size in sizes.items() if name not in more for word in (name, size)]
    words += more
    main.main(["data", "make", *map(str, words)], standalone_mode=False)
    return open_data(folder / out)


def all_splits(folder: Path) -> list[object]:
    return ["--valid", folder / "valid.bed", "--test", folder / "test.bed"]
