"""The coverage of both alleles of a variant, with the names of its tracks and the positions of its bins."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ..errors import InputError
from ..genome.genes import Genes
from ..genome.variants import Variant
from ..html import html_table
from ..tables.frames import Frames
from ..tracks import TrackTable
from ..types import FloatArray, IndexArray

_SHOWN = 20  # tracks of a table in a notebook
_NEAR_BINS = 64  # on either side of the variant, of a figure


@dataclass(frozen=True, eq=False)
class AlleleCoverage(Frames):
    """REF and ALT around one variant, bin by bin; made by :meth:`borzoi_rt.Model.predict_variant`.

    ``found["RNA+"]`` is float32 (2, bins): REF, then ALT.

    Attributes
    ----------
    variant : Variant
        As it was given.
    chrom : str
        The contig, as the genome calls it.
    start, end : int64 ndarray of shape (bins,)
        The bins, 0-based and half-open. Behind a deletion they are moved by what is deleted, which has no bin itself,
        and neither has what is inserted: REF and ALT of a bin are the same bases.
    tracks : TrackTable
    ref, alt : float32 ndarray of shape (tracks, bins)
    """

    variant: Variant
    chrom: str
    start: IndexArray
    end: IndexArray
    tracks: TrackTable
    ref: FloatArray
    alt: FloatArray

    def __getitem__(self, track: str) -> np.ndarray:
        position = self.tracks.position(track)
        return np.stack([self.ref[position], self.alt[position]])

    @property
    def difference(self) -> FloatArray:
        """ALT - REF, float32 (tracks, bins)."""
        return np.asarray(self.alt - self.ref)

    def change(self, first: int = 0, last: int | None = None) -> np.ndarray:
        """Return ``log2((sum ALT + 1) / (sum REF + 1))`` of each track over the bins [first, last)."""
        return _change(self.ref[:, first:last], self.alt[:, first:last])

    def plot(
        self,
        path: str | os.PathLike[str],
        *,
        genes: Genes | str | os.PathLike[str] | None = None,
        top: int = 4,
        width_bp: int | None = None,
    ) -> list[str]:
        """Draw REF (filled), ALT (line) and ALT - REF around the variant, below the genes: PDF, SVG or PNG.

        Parameters
        ----------
        path : path
            Figure to write; the suffix chooses the form.
        genes : Genes or path, optional
            Annotation, whose genes are drawn above.
        top : int
            How many tracks are drawn, both strands of a pair one below the other and counted as one: those whose
            :meth:`change` in the figure is largest in size, of a pair that of either strand.
        width_bp : int, optional
            How much is drawn around the variant; 64 bins on either side when None.

        Returns
        -------
        list of str
            What is drawn.
        """
        from ..report.coverage import titled
        from ..report.figures import plot_alleles, short_name
        from ..report.regions import curves_of, gene_models
        from ..report.style import check_form

        check_form(path)
        if top < 1:
            raise InputError(f"top is {top}; a whole number from 1 on is needed")
        size = int(self.end[0] - self.start[0])
        reach = _NEAR_BINS if width_bp is None else max(1, width_bp // size // 2)
        middle = min(max(int(np.searchsorted(self.end, self.variant.pos - 1, side="right")), 0), len(self.start) - 1)
        first, last = max(middle - reach, 0), min(middle + reach + 1, len(self.start))
        ref, alt = (values[:, first:last] for values in (self.ref, self.alt))
        sizes = np.abs(_change(ref, alt))
        rows = curves_of(self.tracks, np.arange(len(self.tracks))[:, None])  # which tracks make a pair
        pairs = [[int(part[0]) for part in (one.values, one.below) if part is not None] for one in rows]
        order = sorted(range(len(pairs)), key=lambda number: -max(sizes[pairs[number]]))[:top]
        shown = [row for number in order for row in pairs[number]]
        names = [titled(*both) for both in zip(self.tracks.identifier, self.tracks.description, strict=True)]
        low, high = int(self.start[first]), int(self.end[last - 1])
        jump = np.flatnonzero(self.start[first + 1 : last] > self.end[first : last - 1])
        gap = None if not len(jump) else (int(jump[0]) + 1, high - low - size * (last - first))
        plot_alleles(
            path,
            ref[shown],
            alt[shown],
            names=[names[row] for row in shown],
            chrom=self.chrom,
            start=low,
            bin_size_bp=size,
            position=self.variant.pos,
            title=short_name(self.variant),
            genes=[] if genes is None else gene_models(genes, self.chrom, low, high),
            gap=gap,
        )
        return [rows[number].name for number in order]

    def to_arrow(self, layout: str = "long") -> pa.Table:
        """Return a row per track and bin: chrom, start, end, track_id, ref, alt, difference."""
        if layout != "long":
            raise InputError(f"layout {layout!r} is unknown; allowed: long")
        tracks, bins = self.ref.shape
        return pa.table(
            {
                "chrom": pa.array([self.chrom] * (tracks * bins)),
                "start": pa.array(np.tile(self.start, tracks)),
                "end": pa.array(np.tile(self.end, tracks)),
                "track_id": pa.array(np.repeat(list(self.tracks.labels), bins)),
                "ref": pa.array(self.ref.reshape(-1)),
                "alt": pa.array(self.alt.reshape(-1)),
                "difference": pa.array(self.difference.reshape(-1)),
            }
        )

    def _repr_html_(self) -> str:
        sums = [values.sum(axis=1, dtype=np.float64) for values in (self.ref, self.alt)]
        change = self.change()
        order = np.argsort(-np.abs(change), kind="stable")[:_SHOWN]
        rows = [(self.tracks.labels[row], *(float(part[row]) for part in sums), float(change[row])) for row in order]
        return html_table(
            repr(self)[1:-1], ("track", "sum of REF", "sum of ALT", "log2 change"), rows, len(self.tracks)
        )

    def __repr__(self) -> str:
        return f"<AlleleCoverage: {self.variant}, {len(self.tracks)} tracks, {len(self.start)} bins>"


def _change(ref: np.ndarray, alt: np.ndarray) -> np.ndarray:
    sums = [values.sum(axis=1, dtype=np.float64) for values in (ref, alt)]
    found: np.ndarray = np.log2((sums[1] + 1.0) / (sums[0] + 1.0))
    return found
