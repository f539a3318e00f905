"""What an explanation gives: scores of bases, with the means to look at them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..genome.intervals import Interval
from ..tables.frames import Frames
from ..types import ByteArray, DoubleArray
from .objective import Attribution
from .panels import panel_of, title_of
from .rows import Row

_LETTERS = np.array(list("ACGTN"))


@dataclass(frozen=True, eq=False)
class Explanation(Frames):
    """What a method says of a stretch of bases.

    Attributes
    ----------
    row : Row
        What was explained.
    codes : uint8 ndarray of shape (bases,)
        0 to 3 for A, C, G, T, 4 for an unknown base.
    attribution : Attribution
        The answer.
    projected_only : bool
        Whether it is about the base that is there alone.
    about : mapping
        Target, method and options as JSON values.
    passes : mapping of str to int
        What it took, see :mod:`borzoi_rt.explain.costs`.
    """

    row: Row
    codes: ByteArray
    attribution: Attribution
    projected_only: bool
    about: Mapping[str, Any]
    passes: Mapping[str, int] = field(default_factory=dict)

    @property
    def interval(self) -> Interval:
        """The bases, 0-based."""
        return self.row.bases

    @property
    def sequence(self) -> str:
        """The bases as text."""
        return "".join(_LETTERS[self.codes])

    @property
    def value(self) -> float:
        """The target of the window as it is."""
        return self.attribution.value

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the method says about the quality of its answer."""
        return self.attribution.facts

    @property
    def arrays(self) -> Mapping[str, np.ndarray]:
        """What else the method says, by name, as ``effects`` (4, bases) or ``dependency`` (bases, bases)."""
        return self.attribution.arrays

    @property
    def onehot(self) -> ByteArray:
        """The bases as one-hot DNA, uint8 (4, bases)."""
        found: ByteArray = (self.codes == np.arange(4)[:, None]).astype(np.uint8)
        return found

    @property
    def hypothetical(self) -> DoubleArray:
        """What each base would add, float64 (4, bases) in the order A, C, G, T."""
        return self.attribution.hypothetical

    @property
    def projected(self) -> DoubleArray:
        """What the base that is there adds, float64 (bases,); 0 where it is unknown."""
        return self.attribution.projected(self.onehot)

    @property
    def scores(self) -> DoubleArray:
        """Scores (4, bases): of every base, or, of a method about the base that is there, 0 for the others."""
        return self.hypothetical * self.onehot if self.projected_only else self.hypothetical

    def __repr__(self) -> str:
        where = f"{self.interval.chrom}:{self.interval.start + 1}-{self.interval.end}"
        if self.row.variant is not None:
            where += f", {self.row.allele.upper()} of {self.row.variant}"
        projected = self.projected
        strongest = int(np.abs(projected).argmax())
        base = f"{self.sequence[strongest]} at {self.interval.start + strongest + 1}"
        return (
            f"<{self.about['method']} of {self.about['target']['target']} at {where}: value {self.value:.5g}, "
            f"strongest {base}, {projected[strongest]:.3g}>"
        )

    def to_arrow(self, layout: str = "long") -> pa.Table:
        """Return a row for each base: ``chrom, start, end, base, score`` and what A, C, G, T would add."""
        start = np.arange(self.interval.start, self.interval.end)
        columns = {
            "chrom": [self.interval.chrom] * len(start),
            "start": start,
            "end": start + 1,
            "base": list(self.sequence),
            "score": self.projected,
            **dict(zip("ACGT", self.hypothetical, strict=True)),
        }
        return pa.table(columns)

    def to_bed(self, path: str | os.PathLike[str] | None = None, *, share: float = 0.05, gap_bp: int = 3) -> str:
        """Return the stretches of bases that count most, as BED of six columns and their attribution.

        Parameters
        ----------
        path : path, optional
            File to write.
        share : float
            Share of the bases that is taken, the largest in size.
        gap_bp : int
            Stretches of one sign that are at most as far apart are joined.

        Returns
        -------
        str
            The lines; the fifth column is the size of the attribution, 1000 for the largest.
        """
        found = stretches(self.projected, share=share, gap_bp=gap_bp)
        largest = max((abs(total) for _, _, total in found), default=1.0) or 1.0
        first = self.interval.start
        lines = [
            f"{self.interval.chrom}\t{first + low}\t{first + high}\t{self.row.name}|{number}\t"
            f"{round(1000 * abs(total) / largest)}\t.\t{total:.6g}\n"
            for number, (low, high, total) in enumerate(found, start=1)
        ]
        if path is not None:
            Path(path).write_text("".join(lines), encoding="utf-8")
        return "".join(lines)

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the scores of the bases that are there: letters up to 300 bases, otherwise a curve.

        Effects of mutagenesis are drawn below, a row for each base, and dependencies as a triangle. PDF, SVG or PNG.
        """
        from ..report.dependency import plot_maps
        from ..report.style import check_form

        check_form(path)
        plot_maps(path, [self.panel()], title=title_of(self.about))

    def panel(self) -> dict[str, Any]:
        """Return what :func:`borzoi_rt.report.attribution.plot_attributions` draws of it."""
        arrays = {"hypothetical": self.hypothetical, **self.arrays}
        return panel_of(self.row.name, self.interval, self.codes, arrays, self.about, allele=self.row.allele)


def stretches(projected: DoubleArray, *, share: float, gap_bp: int) -> list[tuple[int, int, float]]:
    """Return [start, end) and sum of the stretches of one sign that hold the largest bases, ascending."""
    count = max(1, round(share * len(projected)))
    limit = np.partition(np.abs(projected), -count)[-count]
    strong = np.flatnonzero((np.abs(projected) >= limit) & (projected != 0.0))
    found: list[tuple[int, int]] = []
    for base in strong.tolist():
        if found and base - found[-1][1] <= gap_bp and projected[base] * projected[found[-1][0]] > 0.0:
            found[-1] = (found[-1][0], base + 1)
        else:
            found.append((base, base + 1))
    return [(low, high, float(projected[low:high].sum())) for low, high in found]
