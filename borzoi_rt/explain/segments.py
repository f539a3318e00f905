"""Stretches of bases that mean something: intervals of a BED file, or hits of motifs.

``bed:FILE``     the intervals of the file, by their names or numbers. Adjacent ones are stretches of their own; ones
                 that overlap in a row are refused, for a base would count twice. What reaches out of a row is cut at
                 its ends, and says so.
``motifs:FILE``  the matches of the motifs of a MEME or JASPAR file on either strand (chance of a match at one base
                 1e-4). Of matches that overlap, the one with the highest log2 odds is kept, of equal ones the first of
                 the row.

Bases outside of all stretches are never changed and have no score. A stretch that is absent takes its letters from a
shuffle of the 1,024 bases around it, dinucleotides kept: motifs are too short to be shuffled by themselves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from ..bundle.manifest import Geometry
from ..errors import InputError
from ..genome.fasta import Fasta
from ..genome.intervals import Interval, read_bed
from ..motifs.files import read_motifs
from ..motifs.scan import PVALUE, Hit, MotifScanner, say_unreachable
from ..types import ByteArray
from .objective import Bases
from .rows import OK, Row, Segment
from .shuffles import BIN_BP, shuffled

KINDS = ("bed", "motifs")
_Find = Callable[[Row, Fasta, Geometry], list[Segment]]


@dataclass(frozen=True)
class SegmentSource:
    """Where stretches come from; made by :func:`read_segments`.

    Attributes
    ----------
    label : str
        ``bed:NAME`` or ``motifs:NAME``, as outputs name it.
    find : callable
        Returns the stretches of a row, ascending and apart.
    """

    label: str
    find: _Find

    def of(self, rows: Sequence[Row], fasta: Fasta, geometry: Geometry, *, keep: bool = True) -> list[Row]:
        """Return rows with their stretches.

        Parameters
        ----------
        rows : sequence of Row
        fasta : Fasta
            The genome.
        geometry : Geometry
            Window of the model.
        keep : bool
            Give a row without any the status ``no_segment``, where there are others; otherwise it is an error.

        Raises
        ------
        InputError
            If stretches of a row overlap, or a row has none.
        """
        made = []
        for row in rows:
            held = self.find(row, fasta, geometry) if row.status == OK else []
            lost = f"{row.name}: none of {self.label} lies in these bases"
            if not held and row.status == OK and (not keep or len(rows) == 1):
                raise InputError(lost)
            named = replace(row, segments=tuple(held))
            made.append(named if held or row.status != OK else named.failed("no_segment", lost))
        return made


def read_segments(text: str) -> SegmentSource:
    """Read ``bed:FILE`` or ``motifs:FILE``.

    Raises
    ------
    InputError
        If it is written otherwise.
    FormatError
        If the file cannot be read.
    """
    kind, _, name = text.partition(":")
    if kind not in KINDS or not name:
        raise InputError(f"segments are {text!r}; write bed:FILE or motifs:FILE")
    label = f"{kind}:{Path(name).name}"
    if kind == "bed":
        return SegmentSource(label, _of_bed(read_bed(name)))
    scanner = MotifScanner(read_motifs(name))
    say_unreachable(scanner.motifs, PVALUE)
    return SegmentSource(label, _of_motifs(scanner))


def _of_bed(intervals: Sequence[Interval]) -> _Find:
    held: dict[str, list[Interval]] = defaultdict(list)
    for number, interval in enumerate(intervals, start=1):
        held[interval.chrom].append(replace(interval, name=interval.name or str(number)))

    def find(row: Row, fasta: Fasta, geometry: Geometry) -> list[Segment]:
        near = [item for chrom, items in held.items() if fasta.resolve(chrom) == row.bases.chrom for item in items]
        if not near:
            return []
        frame, first = row.where.framed(geometry), row.columns[0]
        ends = np.array([(item.start, item.end) for item in near], dtype=np.int64)
        low, high = (frame.lift(part) + geometry.crop_bp - first for part in ends.T)  # an allele may have moved them
        found = [
            Segment(max(start, 0), min(end, row.width), item.name, not 0 <= start < end <= row.width)
            for item, start, end in zip(near, low.tolist(), high.tolist(), strict=True)
            if start < end and start < row.width and end > 0
        ]
        found.sort(key=lambda item: (item.start, item.end))
        for one, other in pairwise(found):
            if other.start < one.end:
                raise InputError(
                    f"{row.name}: segments {one.name} and {other.name} overlap at {row.bases.chrom}:"
                    f"{row.bases.start + other.start + 1}; merge them, or keep one"
                )
        return found

    return find


def _of_motifs(scanner: MotifScanner) -> _Find:
    labels = [motif.label for motif in scanner.motifs]

    def find(row: Row, fasta: Fasta, geometry: Geometry) -> list[Segment]:
        low, high = row.columns
        hits = scanner.hits(row.window(fasta, geometry)[:, low:high])
        every = [(hit, label) for label, found in zip(labels, hits, strict=True) for hit in found]
        kept: list[tuple[Hit, str]] = []
        for hit, label in sorted(every, key=lambda item: (-item[0].score, item[0].start)):
            end = hit.start + hit.width
            if all(end <= other.start or hit.start >= other.start + other.width for other, _ in kept):
                kept.append((hit, label))
        kept.sort(key=lambda item: item[0].start)
        return [Segment(hit.start, hit.start + hit.width, f"{label}({hit.strand})", False) for hit, label in kept]

    return find


def check_tiles(tiles: Sequence[Bases], bases: Bases) -> list[Bases]:
    """Return stretches that are ascending, apart and inside the bases.

    Raises
    ------
    InputError
        If they are not, or there is none.
    """
    edges = [bases[0], *(edge for tile in tiles for edge in tile), bases[1]]
    if not tiles or any(low >= high for low, high in tiles) or any(np.diff(edges) < 0):
        raise InputError(f"stretches {list(tiles)!r:.80} are not ascending and apart in the bases {bases}")
    return list(tiles)


def absent(window: ByteArray, tiles: Sequence[Bases], rng: np.random.Generator) -> ByteArray:
    """Return a window whose stretches have letters from a shuffle of what is around each; the rest stays."""
    found = window.copy()
    for low, high in tiles:
        middle = (low + high) // 2
        left, right = max(min(low, middle - BIN_BP // 2), 0), min(max(high, middle + BIN_BP // 2), window.shape[1])
        found[:, low:high] = shuffled(window, left, right, rng, bin_bp=right - left)[:, low:high]
    return found
