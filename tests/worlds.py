"""Small genomes and VCF files, written where a test wants them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pysam

from borzoi_rt.backends.array import ArraySession
from borzoi_rt.bundle.manifest import SquashSpec
from borzoi_rt.bundle.opening import Bundle

# Weights of A, C, G, T in the six tracks of toys.tracks(); every substitution changes every track.
WEIGHTS = np.array(
    [[1, 2, 3, 4], [4, 3, 2, 1], [1, 3, 5, 9], [9, 5, 3, 1], [2, 4, 8, 16], [5, 1, 2, 3]], dtype=np.float64
)


def random_dna(length: int, seed: int = 0) -> str:
    return "".join(np.random.default_rng(seed).choice(list("ACGT"), length))


def reverse_complement(text: str) -> str:
    return text[::-1].translate(str.maketrans("ACGTN", "TGCAN"))


def write_fasta(path: Path, contigs: Mapping[str, str]) -> Path:
    """Write an indexed FASTA of 60 letters a line."""
    lines = []
    for name, text in contigs.items():
        lines += [f">{name}", *(text[start : start + 60] for start in range(0, len(text), 60))]
    path.write_text("\n".join(lines) + "\n")
    pysam.faidx(str(path))
    return path


def write_vcf(path: Path, rows: Sequence[str], *, header: Sequence[str] = ()) -> Path:
    """Write a VCF from rows of ``CHROM POS ID REF ALT [more]`` separated by blanks."""
    columns = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
    lines = ["##fileformat=VCFv4.2", *header, columns]
    for row in rows:
        fields = row.split()
        lines.append("\t".join(fields + ["."] * (8 - len(fields))))
    path.write_text("\n".join(lines) + "\n")
    return path


def unsquashed(bundle: Bundle) -> Bundle:
    """Return the bundle with coverage that is not squashed, so that scores can be counted by eye."""
    return replace(bundle, info=replace(bundle.info, squash=SquashSpec(kind="none")))


def counting_session(bundle: Bundle) -> ArraySession:
    """Return a session instead of the bundle's network that sums ``WEIGHTS`` over the bases of each bin."""
    return ArraySession(bundle.geometry, WEIGHTS)
