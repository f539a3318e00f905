"""A planted promoter grammar: DNA whose coverage is known, because it is computed from the motifs that are in it.

A core promoter is a TATA box followed, ``GAPS`` bases later, by an initiator on the same strand. Alone, either is a
decoy and does nothing. One mismatch in the core leaves ``ONE_MISMATCH`` of the strength, more leave nothing. GC boxes
within ``ENHANCER_BP`` upstream of the core, on either strand, multiply the strength; a silencer there divides it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..sequence import decode, encode

MOTIFS = {"tata": "TATAAAAG", "inr": "TCAGTCTT", "gc": "GGGGCGGA", "silencer": "ACGTCATG"}
GAPS = (20, 21, 22, 23, 24)
ENHANCER_BP = 120
ONE_MISMATCH = 0.25
GC_GAIN = (1.0, 2.5, 4.0, 5.0)
SILENCED = 0.2
TSS_OFFSET = 2  # the A of TCAGTCTT

TRACKS = ("CAGE+", "CAGE-", "RNA+", "RNA-", "DNASE")
_COMPLEMENT = str.maketrans("ACGT", "TGCA")


@dataclass(frozen=True, slots=True)
class Promoter:
    """An active core promoter.

    Attributes
    ----------
    tss : int
        0-based start of transcription.
    strand : str
        ``+`` or ``-``.
    strength : float
        Relative to a perfect core without GC boxes.
    """

    tss: int
    strand: str
    strength: float


def reverse_complement(sequence: str) -> str:
    """Return the other strand of a text of DNA."""
    return sequence.translate(_COMPLEMENT)[::-1]


def promoters(sequence: str) -> list[Promoter]:
    """Read the grammar: return every active promoter of a sequence, both strands."""
    length = len(sequence)
    forward = [Promoter(tss, "+", strength) for tss, strength in _read_strand(sequence)]
    other = _read_strand(reverse_complement(sequence))
    return forward + [Promoter(length - 1 - tss, "-", strength) for tss, strength in other]


def _read_strand(sequence: str) -> list[tuple[int, float]]:
    onehot = encode(sequence).astype(np.int8)
    tata, inr = (_mismatches(onehot, MOTIFS[name]) for name in ("tata", "inr"))
    width = len(MOTIFS["tata"])
    found = []
    for start in map(int, np.flatnonzero(tata <= 1)):
        for gap in GAPS:
            inr_start = start + width + gap
            if inr_start < len(inr) and tata[start] + inr[inr_start] <= 1:
                core = 1.0 if tata[start] + inr[inr_start] == 0 else ONE_MISMATCH
                found.append((inr_start + TSS_OFFSET, core * _context(sequence[max(0, start - ENHANCER_BP) : start])))
    return found


def _context(upstream: str) -> float:
    """Return the factor of the bases upstream of a core."""
    boxes = sum(upstream.count(box) for box in (MOTIFS["gc"], reverse_complement(MOTIFS["gc"])))
    silenced = MOTIFS["silencer"] in upstream
    return GC_GAIN[min(boxes, len(GC_GAIN) - 1)] * (SILENCED if silenced else 1.0)


def _mismatches(onehot: np.ndarray, motif: str) -> np.ndarray:
    """Count mismatches of a motif at every start."""
    starts = onehot.shape[1] - len(motif) + 1
    hits = np.zeros(max(starts, 0), dtype=np.int8)
    for offset, row in enumerate("ACGT".index(base) for base in motif):
        hits += onehot[row, offset : offset + len(hits)]
    return len(motif) - hits


def coverage(sequence: str) -> np.ndarray:
    """Return the noise-free coverage of a sequence, float64 (tracks, length), tracks in the order of ``TRACKS``.

    CAGE is a peak at the start of transcription, RNA decays downstream of it, DNASE is a broad unstranded peak.
    """
    length = len(sequence)
    signal = np.zeros((len(TRACKS), length))
    position = np.arange(length)
    for promoter in promoters(sequence):
        step = 1 if promoter.strand == "+" else -1
        downstream = (position - promoter.tss) * step
        row = 0 if step == 1 else 1
        signal[row] += 2.0 * promoter.strength * np.exp(-0.5 * (downstream / 25.0) ** 2)
        signal[2 + row] += np.where(
            downstream >= 0, 3.0 * promoter.strength * np.exp(-np.maximum(downstream, 0) / 500.0), 0.0
        )
        signal[4] += 1.5 * promoter.strength * np.exp(-0.5 * ((downstream + 60) / 90.0) ** 2)
    return signal


def plant(generator: np.random.Generator, length: int, *, spacing_bp: int = 900) -> str:
    """Return random DNA with promoters and decoys planted about every ``spacing_bp``, on both strands."""
    letters = bytearray(decode(_random_onehot(generator, length)), "ascii")
    start = int(generator.integers(0, spacing_bp))
    while start + 260 < length:
        block = _promoter(generator) if generator.random() < 0.65 else _decoy(generator)
        if generator.random() < 0.5:
            block = {260 - offset - len(motif): reverse_complement(motif) for offset, motif in block.items()}
        for offset, motif in block.items():
            letters[start + offset : start + offset + len(motif)] = motif.encode()
        start += 260 + int(generator.integers(0, 2 * max(spacing_bp - 260, 1)))
    return letters.decode()


def _random_onehot(generator: np.random.Generator, length: int) -> np.ndarray:
    bases = generator.choice(4, length, p=(0.29, 0.21, 0.21, 0.29))
    found: np.ndarray = (bases[None, :] == np.arange(4)[:, None]).astype(np.uint8)
    return found


def _promoter(generator: np.random.Generator) -> dict[int, str]:
    """Return motifs by offset in a block of 260 bp: GC boxes, perhaps a silencer, then the core at 160."""
    block: dict[int, str] = {}
    slots = list(generator.permutation([45, 62, 79, 96, 113, 130]))
    for _ in range(int(generator.integers(0, 4))):
        block[int(slots.pop())] = MOTIFS["gc"] if generator.random() < 0.5 else reverse_complement(MOTIFS["gc"])
    if generator.random() < 0.2:
        block[int(slots.pop())] = MOTIFS["silencer"]
    block.update(_core(generator))
    if generator.random() < 0.3:
        broken = int(generator.choice([160, max(block)]))
        block[broken] = _mutated(generator, block[broken])
    return block


def _core(generator: np.random.Generator) -> dict[int, str]:
    gap = int(generator.choice(GAPS))
    return {160: MOTIFS["tata"], 160 + len(MOTIFS["tata"]) + gap: MOTIFS["inr"]}


def _decoy(generator: np.random.Generator) -> dict[int, str]:
    """Return motifs without the context that makes them work."""
    kind = int(generator.integers(0, 4))
    if kind == 0:
        return {160: MOTIFS["tata"], 100: MOTIFS["gc"]}
    if kind == 1:
        return {190: MOTIFS["inr"], 110: MOTIFS["gc"]}
    if kind == 2:
        return {60: MOTIFS["gc"], 100: MOTIFS["gc"], 140: MOTIFS["silencer"]}
    return {120: MOTIFS["tata"], 200: MOTIFS["inr"]}  # too far apart


def _mutated(generator: np.random.Generator, motif: str) -> str:
    index = int(generator.integers(len(motif)))
    others = [base for base in "ACGT" if base != motif[index]]
    return motif[:index] + str(generator.choice(others)) + motif[index + 1 :]
