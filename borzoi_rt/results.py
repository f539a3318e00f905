"""What the facade gives: scores and coverage with the names of their variants, tracks and positions."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from .errors import InputError
from .genome.genes import Genes
from .genome.haplotypes import Haplotype
from .genome.intervals import Interval
from .genome.variants import Variant
from .html import html_table
from .scoring.results import ScoredVariant
from .scoring.spec import ScoreSpec
from .tables import LAYOUTS
from .tables.alphagenome import TidyFacts
from .tables.frames import Frames
from .tables.kept import HAPLOTYPE_FACTS
from .tables.rows import Rows, score_table, tables_of
from .tracks import RowTable, TrackTable

_SHOWN = 5
_PANELS = 4  # of a figure
_HTML_ROWS = 20  # of a table in a notebook


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
        shown = ", ".join(f"{track} {value:.4g}" for track, value in self.top(_SHOWN))
        return f"<{self.name} of {len(self)} tracks, largest: {shown}>"

    def _repr_html_(self) -> str:
        caption = f"{self.name} of {len(self)} tracks, largest first"
        return html_table(caption, ("track", self.name), self.top(_HTML_ROWS), len(self))

    def top(self, count: int = _SHOWN) -> list[tuple[str, float]]:
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
        from .report.figures import plot_bars

        names = list(self.scores)[:_PANELS] if scores is None else list(scores)
        groups = {name: _tallest(self[name].top(top)) for name in names}
        if not groups:
            raise InputError(f"{_what(self)} has no score to draw: {self.status}, {self.detail}")
        more = max(len(self[name]) for name in names) - top
        plot_bars(path, groups, title=f"{_what(self)}: {self.status}", left_out=max(more, 0))

    def __repr__(self) -> str:
        inner = ", ".join(map(repr, self.scores.values())) or self.detail
        return f"<{self.variant} {self.status}: {inner}>"

    def _repr_html_(self) -> str:
        rows = [(name, *pair) for name, values in self.scores.items() for pair in values.top(_SHOWN)]
        caption = f"{_what(self)}: {self.status}" + (f", {self.detail}" if self.detail else "")
        return html_table(caption, ("score", "track", "value"), rows[:_HTML_ROWS], len(rows))


def _tallest(bars: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """Return the bars that have a height, from the largest down."""
    return sorted((bar for bar in bars if np.isfinite(bar[1])), key=lambda bar: -bar[1])


def _line(item: VariantScores) -> str:
    """Return an allele with the largest value of each score."""
    largest = (f"{name} {track} {value:.4g}" for name, found in item.scores.items() for track, value in found.top(1))
    return f"{_what(item)} {item.status}: " + (", ".join(largest) or item.detail)


def _what(item: VariantScores) -> str:
    """Return what was scored: an allele, or a haplotype of a sample."""
    named = item.haplotype
    return str(item.variant) if named is None else f"{named.sample} haplotype {named.name} against {named.against}"


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

    def __len__(self) -> int:
        return len(self._found)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            how: dict[str, Any] = {"with_alleles": self.with_alleles, "extras": self.extras, "facts": self.facts}
            how["tidy"] = self._tidy
            return ScoreResult(self._found[key], self.tracks, self.specs, self.notes, **how)
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
        if layout not in LAYOUTS:
            raise InputError(f"layout {layout!r} is unknown; allowed: {', '.join(LAYOUTS)}")
        if layout == "alphagenome" and HAPLOTYPE_FACTS[0] in self.facts:
            raise InputError("layout 'alphagenome' has columns for variants alone; choose long or wide for haplotypes")
        rows, kept = self._rows, self._kept
        tables = list(tables_of(kept, rows, layout))
        if tables:
            return pa.concat_tables(tables)
        from .tables.rows import empty_table

        return empty_table(rows, layout)

    def to_anndata(self) -> Any:
        """Return an ``anndata.AnnData``: rows of the wide table by tracks, a layer for every score.

        Raises
        ------
        BackendError
            If anndata is not installed (extra ``anndata``).
        """
        from .tables.annotated import to_anndata

        return to_anndata(
            self._kept, self._rows, {"scores": [spec.name for spec in self.specs], "notes": list(self.notes)}
        )

    @property
    def _rows(self) -> Rows:
        return Rows(self.tracks, self.specs, self.with_alleles, self.extras, self.facts, self._tidy)

    @property
    def _kept(self) -> pa.Table:
        how: dict[str, Any] = {"with_alleles": self.with_alleles, "extras": self.extras}
        return score_table(self._found, self.specs, len(self.tracks), **how)

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
        from .report.figures import plot_bars

        name = self.specs[0].name if score is None else score
        bars = []
        for number in range(len(self)):
            item = self[number]
            own = [found for key, found in item.scores.items() if name in (key, key.split("|")[0])]
            best = [(*found.top(1)[0], found.name) for found in own if np.isfinite(found.array).any()]
            if best:
                track, value, called = max(best, key=lambda one: abs(one[1]))
                gene = f" {called.split('|')[1]}" if "|" in called else ""
                bars.append((f"{_what(item)}{gene}, {track}", value))
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
        for item in self[:_HTML_ROWS]:
            largest = [(name, *pair) for name, values in item.scores.items() for pair in values.top(1)]
            first = (_what(item), item.status)
            rows += [(*first, *largest[0])] if largest else [(*first, item.detail, "", "")]
            rows += [("", "", *other) for other in largest[1:_SHOWN]]
        header = ("variant", "status", "score", "strongest track", "value")
        more = max(0, len(self) - _HTML_ROWS)
        return html_table(f"{type(self).__name__}: {self._summary()}", header, rows, len(rows) + more)

    def __repr__(self) -> str:
        lines = [f"<ScoreResult: {self._summary()}>"]
        lines += [f"  {_line(self[number])}" for number in range(min(len(self), _SHOWN))]
        return "\n".join(lines + (["  ..."] if len(self) > _SHOWN else []))

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
        from .report.regions import plot_region

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
        rows = [(self.tracks.labels[track], float(means[track]), float(peaks[track])) for track in order[:_HTML_ROWS]]
        return html_table(repr(self)[1:-1], ("track", "mean", "largest"), rows, len(self.tracks))

    def __repr__(self) -> str:
        shown = ", ".join(f"{item.chrom}:{item.start + 1}-{item.end}" for item in self.windows[:_SHOWN])
        size = f"{self.values.shape[2]} bins of {self.bin_size_bp} bp"
        return f"<CoverageResult: {shown}, {len(self.tracks)} tracks, {size} a window>"


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
        how: dict[str, Any] = {"with_alleles": found.with_alleles, "extras": found.extras, "facts": found.facts}
        how["tidy"] = found._tidy
        super().__init__(found._found, found.tracks, found.specs, found.notes, **how)
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
        from .report.attribution import plot_attributions

        name = self.specs[0].name if score is None else score
        values = self.matrix(name).astype(np.float64)
        if track is None:
            sizes = np.nan_to_num(np.abs(values), nan=0.0).max(axis=(0, 1))
            shown = [int(number) for number in np.argsort(-sizes, kind="stable")[: max(top, 1)]]
        else:
            shown = [self.tracks.position(track)]
        panels = [
            {
                "name": self.tracks.labels[number],
                "chrom": self.interval.chrom,
                "start": self.interval.start,
                "letters": self.sequence,
                "scores": -np.nan_to_num(values[:, :, number]).mean(axis=1),
                "effects": values[:, :, number].T,
                "target": name,
                "convention": "mean4",
            }
            for number in shown
        ]
        plot_attributions(path, panels, title=f"{name} of every substitution")

    def __repr__(self) -> str:
        where = f"{self.interval.chrom}:{self.interval.start + 1}-{self.interval.end}"
        return f"<IsmResult: {where}, mode exact>\n{super().__repr__()}"
