"""Scores of variants, one item per ALT allele, and the tables made of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ..errors import InputError
from ..genome.variants import Variant
from ..html import html_table
from ..scoring.results import ScoredVariant
from ..scoring.spec import ScoreSpec
from ..tables import check_layout
from ..tables.alphagenome import TidyFacts
from ..tables.frames import Frames
from ..tables.kept import HAPLOTYPE_FACTS
from ..tables.rows import Rows, empty_table, score_table, tables_of
from ..tracks import RowTable
from .variant import HTML_ROWS, SHOWN, TrackValues, VariantScores, what_of


class ScoreResult(Sequence[VariantScores], Frames):
    """Scores of variants, one item per ALT allele, in the order of the input.

    ``result[0]``, ``result["chr1:14677G>A"]``; tables by :meth:`to_arrow`, :meth:`to_pandas`, :meth:`to_polars`.

    Attributes
    ----------
    tracks : RowTable
        One for each value of a score; a merged strand pair is called ``RNA+/-``.
    specs : tuple of ScoreSpec
        The scores.
    notes : tuple of str
        Where the options depart from what the bundle says.
    with_alleles : bool
        Whether the coverage of both alleles is kept beside every score.
    extras : tuple of str
        What else stands beside every score: ``score_sd`` and ``sign_agreement`` of an ensemble, ...
    facts : tuple of str
        What else is said of every allele: sample and haplotype, the left-normalised spelling, ...
    """

    def __init__(
        self,
        found: Sequence[ScoredVariant],
        tracks: RowTable,
        specs: Sequence[ScoreSpec],
        notes: Sequence[str] = (),
        *,
        with_alleles: bool = False,
        extras: Sequence[str] = (),
        facts: Sequence[str] = (),
        tidy: TidyFacts | None = None,
    ) -> None:
        self.tracks = tracks
        self.specs = tuple(specs)
        self.notes = tuple(notes)
        self.with_alleles = with_alleles
        self.extras, self.facts = tuple(extras), tuple(facts)
        self._tidy = tidy
        self._found = list(found)

    @property
    def _how(self) -> dict[str, Any]:
        """What another result of the same run is made with."""
        return {"with_alleles": self.with_alleles, "extras": self.extras, "facts": self.facts, "tidy": self._tidy}

    def __len__(self) -> int:
        return len(self._found)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return ScoreResult(self._found[key], self.tracks, self.specs, self.notes, **self._how)
        if isinstance(key, str | Variant | tuple):
            return self._named(self._found[self._number(Variant.of(key))])
        return self._named(self._found[key])

    @property
    def counts(self) -> Counter[str]:
        """How many alleles have which status."""
        return Counter(item.status for item in self._found)

    def to_arrow(self, layout: str = "long") -> pa.Table:
        """Return a table.

        Parameters
        ----------
        layout : str
            ``long``: a row per allele, gene, region, track and statistic. ``wide``: a row per allele, with scores of
            genes one per allele and gene, and a column per score and track. ``alphagenome``: the columns of
            AlphaGenome's client, see :mod:`borzoi_rt.tables.alphagenome`.
        """
        check_layout(layout, haplotypes=HAPLOTYPE_FACTS[0] in self.facts)
        rows = self._rows
        tables = list(tables_of(self._kept, rows, layout))
        return pa.concat_tables(tables) if tables else empty_table(rows, layout)

    def to_anndata(self) -> Any:
        """Return an ``anndata.AnnData``: rows of the wide table by tracks, a layer for every score.

        Raises
        ------
        BackendError
            If anndata is not installed (extra ``anndata``).
        """
        from ..tables.annotated import to_anndata

        return to_anndata(
            self._kept, self._rows, {"scores": [spec.name for spec in self.specs], "notes": list(self.notes)}
        )

    @property
    def _rows(self) -> Rows:
        return Rows(self.tracks, self.specs, self.with_alleles, self.extras, self.facts, self._tidy)

    @property
    def _kept(self) -> pa.Table:
        size, extras = len(self.tracks), self.extras
        return score_table(self._found, self.specs, size, with_alleles=self.with_alleles, extras=extras)

    def plot(self, path: str | os.PathLike[str], *, score: str | None = None, top: int = 20) -> None:
        """Draw one score of the strongest alleles as bars, each that of the track where it is largest in size.

        Of one allele alone all its scores are drawn, see :meth:`VariantScores.plot`.

        Parameters
        ----------
        path : path
            Figure to write: PDF, SVG or PNG.
        score : str, optional
            The score, as ``logSED@exons``; of genes the strongest counts. The first of the run when None.
        top : int
            Alleles that are drawn.

        Raises
        ------
        InputError
            If no allele has that score.
        """
        if len(self) == 1 and score is None:
            self[0].plot(path)
            return
        from ..report.figures import plot_bars

        name = self.specs[0].name if score is None else score
        bars = []
        for number in range(len(self)):
            item = self[number]
            own = [found for key, found in item.scores.items() if name in (key, key.split("|")[0])]
            best = [(*found.top(1)[0], found.name) for found in own if np.isfinite(found.array).any()]
            if best:
                track, value, called = max(best, key=lambda one: abs(one[1]))
                gene = f" {called.split('|')[1]}" if "|" in called else ""
                bars.append((f"{what_of(item)}{gene}, {track}", value))
        if not bars:
            known = ", ".join(spec.name for spec in self.specs)
            raise InputError(f"no allele has a score {name!r} to draw; the scores are {known}")
        shown = sorted(bars, key=lambda bar: -abs(bar[1]))[:top]
        plot_bars(path, {name: shown}, title=f"the strongest of {len(bars)} alleles", left_out=len(bars) - len(shown))

    def _summary(self) -> str:
        counts = ", ".join(f"{count} {status}" for status, count in self.counts.most_common())
        scores = ", ".join(spec.name for spec in self.specs)
        size = f"{len(self)} allele{'' if len(self) == 1 else 's'}"
        return f"{size} ({counts}), {scores}, {len(self.tracks)} tracks"

    def _repr_html_(self) -> str:
        rows: list[tuple[object, ...]] = []
        for item in self[:HTML_ROWS]:
            largest = [(name, *pair) for name, values in item.scores.items() for pair in values.top(1)]
            first = (what_of(item), item.status)
            rows += [(*first, *largest[0])] if largest else [(*first, item.detail, "", "")]
            rows += [("", "", *other) for other in largest[1:SHOWN]]
        header = ("variant", "status", "score", "strongest track", "value")
        more = max(0, len(self) - HTML_ROWS)
        return html_table(f"{type(self).__name__}: {self._summary()}", header, rows, len(rows) + more)

    def __repr__(self) -> str:
        lines = [f"<ScoreResult: {self._summary()}>"]
        lines += [f"  {_line(self[number])}" for number in range(min(len(self), SHOWN))]
        return "\n".join(lines + (["  ..."] if len(self) > SHOWN else []))

    def _named(self, found: ScoredVariant) -> VariantScores:
        scores = found.scores or {}
        return VariantScores(found, {name: TrackValues(name, self.tracks, values) for name, values in scores.items()})

    def _number(self, wanted: Variant) -> int:
        key = (wanted.chrom, wanted.pos, wanted.ref.upper(), wanted.alt.upper())
        for number, item in enumerate(self._found):
            variant = item.variant
            if (variant.chrom, variant.pos, variant.ref.upper(), variant.alt.upper()) == key:
                return number
        raise KeyError(f"{wanted} is not among the {len(self)} alleles scored")


def _line(item: VariantScores) -> str:
    """Return an allele with the largest value of each score."""
    largest = (f"{name} {track} {value:.4g}" for name, found in item.scores.items() for track, value in found.top(1))
    return f"{what_of(item)} {item.status}: " + (", ".join(largest) or item.detail)
