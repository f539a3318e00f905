"""Synthetic promoters whose driver is known: DNA with planted motifs, and the start counts that follow from them.

Each motif is a word with a curve of effects. A copy acts in full, a copy with one mismatch ``ONE_MISMATCH`` as much;
the expected track of a strand, as ln(1 + count), is the sum of the curves of all copies, cut at 0 and ``CEILING``.
Counts are Poisson draws. A promoter has one driver; weak copies (one mismatch) of up to two other motifs lie around it,
and in three of ten a repressor.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..genome.bigwig import write_bigwig
from ..genome.fasta import write_fasta
from ..sequence import BASES, encode, reverse_complement

ONE_MISMATCH = 0.3
CEILING = 4.0
SPACING_BP = 900
CONTIGS = {"synth1": 400_000, "synth2": 400_000, "synth3": 150_000, "synth4": 150_000}
VALID = "synth3"
TEST = "synth4"


@dataclass(frozen=True, slots=True)
class Word:
    """A motif: where its effect peaks (bp downstream of its start), how wide and how high, and if it acts both ways."""

    letters: str
    peak_bp: int
    width_bp: float
    height: float
    both_strands: bool = False

    def curve(self, reach_bp: int) -> np.ndarray:
        """Return the effect at ``-reach_bp .. reach_bp`` from the start of the word."""
        position = np.arange(-reach_bp, reach_bp + 1) - self.peak_bp
        return np.asarray(self.height * np.exp(-0.5 * (position / self.width_bp) ** 2))


WORDS = {
    "tata": Word("TATAAAAG", 32, 3.0, 2.6),
    "ets": Word("CCGGAAGT", 40, 15.0, 1.8, both_strands=True),
    "nrf": Word("GCGCATGC", 30, 9.0, 2.0),
    "yy1": Word("AAGATGGC", 6, 5.0, 2.2),
    "silencer": Word("GTCATCAA", 20, 25.0, -1.5),
}
DRIVERS = ("tata", "ets", "nrf", "yy1")
REACH_BP = 75


@dataclass(frozen=True, slots=True)
class Planted:
    """A promoter of the synthetic genome: its TSS (0-based), strand and driver."""

    chrom: str
    tss: int
    strand: str
    driver: str


def expected(sequence: str) -> np.ndarray:
    """Return the expected ln(1 + count) of both strands of a sequence, float64 (2, length), ``+`` first."""
    onehot = encode(sequence)
    track = np.zeros((2, len(sequence)))
    for word in WORDS.values():
        for strand, seen in enumerate((onehot, reverse_complement(onehot))):
            effect = _spread(_copies(seen, word.letters), word.curve(REACH_BP))
            here = effect if strand == 0 else effect[::-1]
            track[strand] += here
            if word.both_strands:
                # The curve of a copy on the other strand is the mirror image about the copy.
                opposite = _spread(_copies(seen, word.letters), word.curve(REACH_BP)[::-1], len(word.letters) - 1)
                track[1 - strand] += opposite if strand == 0 else opposite[::-1]
    return np.clip(track, 0.0, CEILING)


def make_genome(seed: int, contigs: dict[str, int] | None = None) -> tuple[dict[str, str], list[Planted]]:
    """Return random DNA with a promoter about every ``SPACING_BP``, and the list of promoters."""
    generator = np.random.default_rng(seed)
    genome, planted = {}, []
    for chrom, length in (contigs or CONTIGS).items():
        letters = list("".join(generator.choice(list(BASES), length)))
        for start in range(600, length - 600, SPACING_BP):
            strand = "+" if generator.random() < 0.5 else "-"
            driver = DRIVERS[int(generator.integers(len(DRIVERS)))]
            tss = start + int(generator.integers(0, 200))
            for word, offset in _block(generator, driver):
                text = word
                first = tss + offset
                if strand == "-":
                    text = word.translate(str.maketrans("ACGT", "TGCA"))[::-1]
                    first = tss - offset - len(word) + 1
                letters[first : first + len(word)] = text
            planted.append(Planted(chrom, tss, strand, driver))
        genome[chrom] = "".join(letters)
    return genome, planted


def write_data(folder: Path, *, seed: int = 7, contigs: dict[str, int] | None = None) -> list[Planted]:
    """Write ``genome.fa``, ``plus.bw``, ``minus.bw``, ``tss.bed`` (name: driver) to a folder; return the promoters."""
    genome, planted = make_genome(seed, contigs)
    write_fasta(folder / "genome.fa", genome)
    generator = np.random.default_rng(seed + 1)
    counts = {chrom: generator.poisson(np.expm1(expected(text))) for chrom, text in genome.items()}
    sizes = {chrom: len(text) for chrom, text in genome.items()}
    for strand, name in enumerate(("plus.bw", "minus.bw")):
        rows = (
            (chrom, int(base), int(base) + 1, float(counts[chrom][strand, base]))
            for chrom in sorted(genome)
            for base in np.flatnonzero(counts[chrom][strand])
        )
        write_bigwig(folder / name, sizes, rows)
    lines = [f"{p.chrom}\t{p.tss}\t{p.tss + 1}\t{p.driver}\t0\t{p.strand}" for p in planted]
    (folder / "tss.bed").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return planted


def nearest_copies(onehot: NDArray[np.uint8], tss: int) -> dict[str, int]:
    """Return how far from the TSS, in bp, the nearest whole copy of each driver lies, on the strand of the window."""
    found = {}
    for name in DRIVERS:
        starts = np.flatnonzero(_copies(onehot, WORDS[name].letters) == 1.0)
        if len(starts):
            found[name] = int(np.abs(starts - tss).min())
    return found


def _block(generator: np.random.Generator, driver: str) -> list[tuple[str, int]]:
    """Return words and their offsets from the TSS: the driver in full, weak copies of others, a repressor."""
    word = WORDS[driver]
    block = [(word.letters, -word.peak_bp)]
    taken = [-word.peak_bp]
    others = [name for name in DRIVERS if name != driver]
    for name in generator.permutation(others)[: int(generator.integers(0, 3))]:
        block.append((_mutated(generator, WORDS[name].letters), _free(generator, taken)))
    if generator.random() < 0.3:
        block.append((WORDS["silencer"].letters, _free(generator, taken)))
    return block


def _free(generator: np.random.Generator, taken: list[int]) -> int:
    """Return an offset within 120 bp upstream and 60 bp downstream that no other word is near; it is then taken."""
    while True:
        offset = int(generator.integers(-120, 60))
        if all(abs(offset - other) > 12 for other in taken):
            taken.append(offset)
            return offset


def _mutated(generator: np.random.Generator, letters: str) -> str:
    index = int(generator.integers(len(letters)))
    others = [base for base in BASES if base != letters[index]]
    return letters[:index] + others[int(generator.integers(3))] + letters[index + 1 :]


def _copies(onehot: np.ndarray, letters: str) -> np.ndarray:
    """Return the weight of a copy at every start: 1, or less for one mismatch."""
    starts = onehot.shape[1] - len(letters) + 1
    matches = sum(onehot[BASES.index(base), at : at + starts].astype(int) for at, base in enumerate(letters))
    weight = np.zeros(onehot.shape[1])
    weight[:starts] = np.select([matches == len(letters), matches == len(letters) - 1], [1.0, ONE_MISMATCH], 0.0)
    return weight


def _spread(weight: np.ndarray, curve: np.ndarray, shift_bp: int = 0) -> np.ndarray:
    """Sum the curve at every copy, its middle ``shift_bp`` downstream of the start of the copy."""
    full = np.convolve(weight, curve)
    first = len(curve) // 2 - shift_bp
    return full[first : first + len(weight)]
