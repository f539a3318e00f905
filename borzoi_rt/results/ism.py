"""Scores of every substitution of an interval."""

from __future__ import annotations

import os

import numpy as np

from ..genome.intervals import Interval
from .scores import ScoreResult


class IsmResult(ScoreResult):
    """Scores of every substitution of an interval.

    Attributes
    ----------
    interval : Interval
        Under the genome's own name of its contig.
    sequence : str
        Its bases.
    """

    def __init__(self, found: ScoreResult, interval: Interval, sequence: str) -> None:
        super().__init__(found._found, found.tracks, found.specs, found.notes, **found._how)
        self.interval = interval
        self.sequence = sequence

    def matrix(self, score: str) -> np.ndarray:
        """Return one score as float32 (positions, 4, tracks) in the order A, C, G, T.

        0 for the base of the genome, NaN where there is no score.
        """
        if score not in {spec.name for spec in self.specs}:
            raise KeyError(f"no score {score!r}; there are {', '.join(spec.name for spec in self.specs)}")
        values = np.full((len(self.sequence), 4, len(self.tracks)), np.nan, dtype=np.float32)
        for position, base in enumerate(self.sequence):
            if base in "ACGT":
                values[position, "ACGT".index(base)] = 0.0
        for item in self._found:
            if item.scores is not None:
                values[item.record, item.alt_index] = item.scores[score]
        return values

    def plot(
        self, path: str | os.PathLike[str], *, score: str | None = None, top: int = 1, track: str | None = None
    ) -> None:
        """Draw a score of every substitution: a row for each base below the sequence; PDF, SVG or PNG.

        Letters are as high as minus the mean of the score over the four bases (0 for the base that is there): what the
        base that is there adds.

        Parameters
        ----------
        path : path
            Figure to write; the suffix chooses the form.
        score : str, optional
            The score; the first of the run when None.
        top : int
            Tracks that are drawn, each with its letters: those with the largest score in size.
        track : str, optional
            The one track that is drawn.
        """
        from ..report.attribution import plot_substitutions, strongest_rows

        name = self.specs[0].name if score is None else score
        values = self.matrix(name)
        shown = strongest_rows(values, top) if track is None else [self.tracks.position(track)]
        labels = [self.tracks.labels[number] for number in shown]
        plot_substitutions(
            path,
            values[:, :, shown],
            labels,
            chrom=self.interval.chrom,
            start=self.interval.start,
            letters=self.sequence,
            score=name,
        )

    def __repr__(self) -> str:
        where = f"{self.interval.chrom}:{self.interval.start + 1}-{self.interval.end}"
        return f"<IsmResult: {where}, mode exact>\n{super().__repr__()}"
