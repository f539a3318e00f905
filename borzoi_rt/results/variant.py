"""Scores of one variant by the names of their tracks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from ..genome.haplotypes import Haplotype
from ..genome.variants import Variant
from ..html import html_table
from ..scoring.results import ScoredVariant
from ..tracks import RowTable

SHOWN = 5
HTML_ROWS = 20  # of a table in a notebook
_PANELS = 4  # of a figure


@dataclass(frozen=True, eq=False)
class TrackValues(Mapping[str, float]):
    """One score of one allele: a value for every track, by its name; NumPy reads it as an array.

    The names are identifiers; where any of these comes twice, the unit of the head is part of each, ``RNA#7``.

    Attributes
    ----------
    name : str
        The score, like ``logSED`` or ``logSED@span:2000``.
    tracks : RowTable
        Meaning of the values.
    array : float32 ndarray of shape (tracks,)
        NaN where the score is not defined.
    """

    name: str
    tracks: RowTable
    array: np.ndarray

    def __getitem__(self, track: str) -> float:
        return float(self.array[self.tracks.position(track)])

    def __iter__(self) -> Iterator[str]:
        return iter(self.tracks.labels)

    def __len__(self) -> int:
        return len(self.array)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.array, dtype=dtype)

    def __repr__(self) -> str:
        shown = ", ".join(f"{track} {value:.4g}" for track, value in self.top(SHOWN))
        return f"<{self.name} of {len(self)} tracks, largest: {shown}>"

    def _repr_html_(self) -> str:
        caption = f"{self.name} of {len(self)} tracks, largest first"
        return html_table(caption, ("track", self.name), self.top(HTML_ROWS), len(self))

    def top(self, count: int = SHOWN) -> list[tuple[str, float]]:
        """Return the tracks where the score is largest in size, with its value."""
        order = np.argsort(-np.nan_to_num(np.abs(self.array), nan=-1.0), kind="stable")[:count]
        labels = self.tracks.labels
        return [(labels[int(index)], float(self.array[index])) for index in order]


@dataclass(frozen=True)
class VariantScores:
    """The scores of one ALT allele with the names of their tracks; a status where there are none.

    ``scores["logSED"]["RNA+/-"]`` is one number. A score of a gene is called ``logSED@exons|GENE``, by its id; it is
    found by ``scores["logSED@exons", "GENE"]`` too, id or name, and by ``scores["logSED@exons"]`` where there is one
    gene alone.
    """

    found: ScoredVariant
    scores: Mapping[str, TrackValues]

    @property
    def variant(self) -> Variant:
        """The allele, as in the input."""
        return self.found.variant

    @property
    def status(self) -> str:
        """See :data:`borzoi_rt.scoring.results.STATUSES`."""
        return self.found.status

    @property
    def detail(self) -> str:
        """What was found, where there is something to say."""
        return self.found.detail

    @property
    def haplotype(self) -> Haplotype | None:
        """Whose haplotype was scored, and what it was compared with; None of an allele."""
        return self.found.haplotype

    @property
    def genes(self) -> dict[str, str]:
        """Names of the genes that have scores, by id."""
        return {part.gene: part.gene_name for part in self.found.regions if part.gene != "."}

    def __getitem__(self, score: str | tuple[str, str]) -> TrackValues:
        if isinstance(score, str) and score in self.scores:
            return self.scores[score]
        name, gene = score if isinstance(score, tuple) else (score, None)
        ids = [key for key, called in self.genes.items() if gene in (None, key, called)]
        found = [f"{name}|{key}" for key in ids if f"{name}|{key}" in self.scores]
        if len(found) != 1:
            known = ", ".join(self.scores) or f"none: status {self.status!r}, {self.detail}"
            fault = "more than one score" if found else "no score"
            raise KeyError(f"{self.variant} has {fault} {score!r}; it has {known}")
        return self.scores[found[0]]

    def plot(self, path: str | os.PathLike[str], *, scores: Sequence[str] | None = None, top: int = 12) -> None:
        """Draw the scores as bars by track: PDF, SVG or PNG.

        Parameters
        ----------
        path : path
            Figure to write; the suffix chooses the form.
        scores : sequence of str, optional
            Keys of ``scores``, a panel for each; the first four when None.
        top : int
            Bars of a panel: the tracks where the score is largest in size.

        Raises
        ------
        InputError
            If there is no score to draw.
        """
        from ..report.figures import plot_bars

        names = list(self.scores)[:_PANELS] if scores is None else list(scores)
        groups = {name: _tallest(self[name].top(top)) for name in names}
        if not groups:
            raise InputError(f"{what_of(self)} has no score to draw: {self.status}, {self.detail}")
        more = max(len(self[name]) for name in names) - top
        plot_bars(
            path,
            groups,
            title=what_of(self) + ("" if self.status == "ok" else f": {self.status}"),
            left_out=max(more, 0),
        )

    def __repr__(self) -> str:
        inner = ", ".join(map(repr, self.scores.values())) or self.detail
        return f"<{self.variant} {self.status}: {inner}>"

    def _repr_html_(self) -> str:
        rows = [(name, *pair) for name, values in self.scores.items() for pair in values.top(SHOWN)]
        caption = f"{what_of(self)}: {self.status}" + (f", {self.detail}" if self.detail else "")
        return html_table(caption, ("score", "track", "value"), rows[:HTML_ROWS], len(rows))


def _tallest(bars: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """Return the bars that have a height, from the largest down."""
    return sorted((bar for bar in bars if np.isfinite(bar[1])), key=lambda bar: -bar[1])


def what_of(item: VariantScores) -> str:
    """Return what was scored: an allele, or a haplotype of a sample."""
    named = item.haplotype
    return str(item.variant) if named is None else f"{named.sample} haplotype {named.name} against {named.against}"
