"""Predicted coverage by track."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ..errors import InputError
from ..genome.genes import Genes
from ..genome.intervals import Interval
from ..html import html_table
from ..tables.frames import Frames
from ..tracks import TrackTable
from .variant import HTML_ROWS, SHOWN


class CoverageResult(Frames):
    """Coverage of adjacent windows, by track.

    ``result["RNA+"]`` is float32 (bins,), all windows joined; for identifiers that come twice see :class:`TrackValues`.

    Attributes
    ----------
    windows : tuple of Interval
        Output windows, in order.
    tracks : TrackTable
        The tracks.
    values : float32 ndarray of shape (windows, tracks, bins)
        Coverage.
    bin_size_bp : int
        Width of a bin.
    """

    def __init__(self, windows: Sequence[Interval], tracks: TrackTable, values: np.ndarray, bin_size_bp: int) -> None:
        self.windows = tuple(windows)
        self.tracks = tracks
        self.values = values
        self.bin_size_bp = bin_size_bp

    def __getitem__(self, track: str) -> np.ndarray:
        return self.values[:, self.tracks.position(track)].reshape(-1)

    @property
    def start(self) -> np.ndarray:
        """0-based start of every bin, int64 (windows x bins,)."""
        bins = self.values.shape[2]
        starts = [np.arange(bins, dtype=np.int64) * self.bin_size_bp + window.start for window in self.windows]
        return np.concatenate(starts)

    def plot(
        self,
        path: str | os.PathLike[str],
        *,
        region: Interval | str | None = None,
        genes: Genes | str | os.PathLike[str] | None = None,
        top: int = 4,
    ) -> list[str]:
        """Draw the coverage over the genes: PDF, SVG or PNG.

        Parameters
        ----------
        path : path
            Figure to write; the suffix chooses the form.
        region : Interval or str, optional
            What is drawn, as ``chr1:1,001-2,000``; all windows when None.
        genes : Genes or path, optional
            Annotation, whose genes are drawn above.
        top : int
            How many tracks, or pairs of strands, are drawn: those with the largest mean coverage in the figure.

        Returns
        -------
        list of str
            What is drawn.
        """
        from ..report.regions import plot_region

        where = Interval.parse(region) if isinstance(region, str) else region
        how: dict[str, Any] = {"region": where, "genes": genes, "top": top}
        return plot_region(path, self.windows, self.tracks, self.values, self.bin_size_bp, **how)

    def to_arrow(self, layout: str = "wide") -> pa.Table:
        """Return a table.

        Parameters
        ----------
        layout : str
            ``wide``: a row per bin and a column per track. ``long``: a row per bin and track.
        """
        if layout not in ("wide", "long"):
            raise InputError(f"layout {layout!r} is unknown; allowed: wide, long")
        bins = self.values.shape[2]
        base = {
            "chrom": pa.array(np.repeat([window.chrom for window in self.windows], bins)),
            "start": pa.array(self.start),
            "end": pa.array(self.start + self.bin_size_bp),
        }
        flat = {name: self[name] for name in self.tracks.labels}
        if layout == "wide":
            return pa.table({**base, **flat})
        count = len(self.start)
        return pa.table(
            {
                **{name: pa.concat_arrays([values] * len(flat)) for name, values in base.items()},
                "track_id": pa.array(np.repeat(list(flat), count)),
                "coverage": pa.array(np.concatenate(list(flat.values()))),
            }
        )

    def to_pandas(self, layout: str = "wide") -> Any:
        """Return a ``pandas.DataFrame``; see :meth:`to_arrow`."""
        return super().to_pandas(layout)

    def to_polars(self, layout: str = "wide") -> Any:
        """Return a ``polars.DataFrame``; see :meth:`to_arrow`."""
        return super().to_polars(layout)

    def _repr_html_(self) -> str:
        joined = self.values.transpose(1, 0, 2).reshape(len(self.tracks), -1)
        means, peaks, order = joined.mean(axis=1), joined.max(axis=1), np.argsort(-joined.max(axis=1), kind="stable")
        rows = [(self.tracks.labels[track], float(means[track]), float(peaks[track])) for track in order[:HTML_ROWS]]
        return html_table(repr(self)[1:-1], ("track", "mean", "largest"), rows, len(self.tracks))

    def __repr__(self) -> str:
        shown = ", ".join(f"{item.chrom}:{item.start + 1}-{item.end}" for item in self.windows[:SHOWN])
        size = f"{self.values.shape[2]} bins of {self.bin_size_bp} bp"
        return f"<CoverageResult: {shown}, {len(self.tracks)} tracks, {size} a window>"
