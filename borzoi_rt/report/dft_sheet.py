"""The report of a table of ``borzoi-rt dft score``."""

from __future__ import annotations

import heapq
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FormatError
from ..promoter.profiles import EffectProfiles
from ..tables.dft import NUMBERS, StoredWindow
from ..types import DoubleArray
from .plain_tables import described, head_of, numbers_of, read_rows
from .promoter import site_title
from .sheet import LISTED, Column, Sheet, bars, curves, histogram, one_series, write_sheet

SITES = 4  # whose curves are shown: those with the largest effects
MOTIFS = 6  # curves of a figure
NEEDED = ("site", "chrom", "pos0", "strand", "variant", "allele", "net", "track", "motif", "score", "status")
_WHEN_SEVERAL = ("id", "variant", "allele", "net", "track", "status")  # columns shown where their values differ
_SHOWN = (
    *("site", "chrom", "pos0", "strand"),
    *("motif", "score", "score_sd", "delta_sum", "log2fc", "abundance", "positional", "tss_shift_bp"),
    *("above_noise", "dominant", "delta_score", "dominant_ref", "dominant_alt", *_WHEN_SEVERAL),
)  # fmt: skip
_HEADS = {"pos0": "pos (1-based)"}  # as in titles; the table itself counts from 0
_YES = ("true", "1")  # tables of the first release say 1
_CHOICES = ("motif", "allele", "net", "track", "status", "dominant")


def is_dft_table(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as a table of DFT scores does."""
    return set(NEEDED) <= set(head_of(Path(path)))


class SiteCurves:
    """Collect the curves of the strongest sites, and the mean curve of each motif, while a run hands windows over.

    Of an ensemble and of several tracks the first are kept.
    """

    def __init__(self) -> None:
        self._first: tuple[str, str] | None = None
        self._position_bp: DoubleArray = np.empty(0)
        self._largest: list[tuple[float, int, StoredWindow]] = []
        self._profiles: EffectProfiles | None = None
        self._sites = 0

    def add(self, window: StoredWindow, position_bp: DoubleArray) -> None:
        """Take a window and the positions of its bins in bp from the TSS."""
        self._first = self._first or (window.net, window.track)
        if (window.net, window.track) != self._first or window.variant or window.effect is None:
            return
        self._position_bp = position_bp
        self._profiles = self._profiles or EffectProfiles(position_bp)
        scored = slice(window.scored)
        self._profiles.add(window.net, window.track, window.motifs[scored], window.effect[scored])
        self._sites += 1
        size = float(np.nan_to_num(window.columns["raw"][: window.scored]).max(initial=0.0))
        heapq.heappush(self._largest, (size, -self._sites, window))
        if len(self._largest) > SITES:
            heapq.heappop(self._largest)

    def charts(self) -> Iterator[dict[str, Any]]:
        """Yield figures: mean curves with their bands, then the strongest sites."""
        if self._profiles is None:
            return
        axes = {"x": "position relative to the TSS, bp", "y": "KO - WT"}
        profiles = sorted(self._profiles, key=lambda one: -float(np.nansum(np.square(one.mean))))[:MOTIFS]
        several = any(one.sites > 1 for one in profiles)
        series = [
            one_series(one.motif, one.position_bp, one.mean, *((one.low, one.high) if several else ()))
            for one in profiles
        ]
        sites = f"{self._sites} site{'' if self._sites == 1 else 's'}"
        band = "; shaded: 95 % of the mean" if several else ""
        track = "" if self._first is None else f" of {self._first[1]}"
        text = f"What the removal of a motif does to the predicted signal{track}, by position, mean over {sites}{band}."
        yield curves("Mean effect of removal", text, series, **axes)
        for _, _, window in sorted(self._largest, key=lambda item: (-item[0], -item[1])):
            assert window.effect is not None
            order = np.argsort(-window.columns["raw"][: window.scored], kind="stable")[:MOTIFS]
            series = [one_series(window.motifs[at], self._position_bp, window.effect[at]) for at in order]
            text = f"KO - WT{track}: below 0 the motif raises the signal there."
            yield curves(f"Effect of removal at {site_title(window.site)}", text, series, **axes)


def write_dft_report(
    out: str | os.PathLike[str], table: str | os.PathLike[str], *, collected: SiteCurves | None = None
) -> int:
    """Write the report of a table of DFT scores.

    Parameters
    ----------
    out : path
        HTML file to write.
    table : path
        ``--out`` of ``borzoi-rt dft score``; the description of the run beside it is shown too.
    collected : SiteCurves, optional
        Curves of the run; without them none are shown.

    Returns
    -------
    int
        Rows of the table.

    Raises
    ------
    FormatError
        If it is no such table.
    """
    source = Path(table)
    if not is_dft_table(source):
        raise FormatError(f"{source}: is no table of DFT scores; `borzoi-rt dft score` writes them")
    known, found = described(source), _Read(source)
    total = found.rows
    ranked = found.changed if found.alt else found.strongest
    rows = [row for _, _, row in sorted(ranked, key=lambda item: (-item[0], -item[1]))]
    columns = [
        Column(name=_HEADS.get(name, name), shown=name in _SHOWN and _told(name, rows), choice=name in _CHOICES)
        for name in found.names
    ]
    charts = [*_totals(found), *(() if collected is None else collected.charts())]
    write_sheet(
        out,
        Sheet(
            title=f"DFT scores of motifs: {source.name}",
            table=source.name,
            unit="rows",
            columns=columns,
            rows=[[_cell(name, row[name]) for name in found.names] for row in rows],
            total=total,
            order="size of delta_score (ALT - REF)" if found.alt else "score",
            summary=_summary(known),
            counted="windows",
            counts=[(name, count, list(found.reasons[name])[:3]) for name, count in found.statuses.most_common()],
            charts=charts,
            notes=() if collected is not None else ("Curves are shown in the report that a run makes with its table.",),
            provenance=known,
        ),
    )
    return total


class _Read:
    """One pass over a table: strongest rows, statuses of windows, sums by motif."""

    def __init__(self, path: Path) -> None:
        self.names = head_of(path)
        self.rows, self.alt = 0, False
        self.strongest: list[tuple[float, int, dict[str, Any]]] = []
        self.changed: list[tuple[float, int, dict[str, Any]]] = []
        self.statuses: Counter[str] = Counter()
        self.reasons: dict[str, dict[str, None]] = defaultdict(dict)
        self.first: tuple[str, str] | None = None
        self.several = False
        self.scores: dict[str, list[float]] = defaultdict(list)
        self.dominant: Counter[str] = Counter()
        self._window: tuple[Any, ...] = ()
        numeric = [name for name in NUMBERS if name in self.names]
        for text in read_rows(path):
            row: dict[str, Any] = {**text, **numbers_of(path, text, numeric)}
            self._count(text)
            self.alt |= row["allele"] == "alt"
            _keep(self.strongest, _size(row["score"]), self.rows, row)
            _keep(self.changed, _size(row.get("delta_score")), self.rows, row)
            self._sum(row)
            self.rows += 1

    def _count(self, row: Mapping[str, str]) -> None:
        """Count a window where its first row is; equal windows in a row are told apart by their first motif."""
        where = tuple(row[name] for name in ("site", "chrom", "pos0", "strand", "variant", "allele"))
        part = tuple(row[name] for name in ("net", "track", "motif"))
        if self._window and self._window[0] == where and self._window[1] != part:
            return
        self._window = where, part
        self.statuses[row["status"]] += 1
        if row.get("status_detail"):
            self.reasons[row["status"]][row["status_detail"]] = None

    def _sum(self, row: Mapping[str, Any]) -> None:
        if row["status"] != "ok":
            return
        self.first = self.first or (row["net"], row["track"])
        if (row["net"], row["track"]) != self.first:
            self.several = True
        elif row["allele"] == "ref" and row["score"] is not None:
            self.scores[row["motif"]].append(row["score"])
            self.dominant[row["motif"]] += row.get("dominant") in _YES


def _keep(heap: list[tuple[float, int, dict[str, Any]]], size: float, number: int, row: dict[str, Any]) -> None:
    heapq.heappush(heap, (size, -number, row))
    if len(heap) > LISTED:
        heapq.heappop(heap)


def _size(value: float | None) -> float:
    return -1.0 if value is None or np.isnan(value) else abs(value)


def _cell(name: str, value: Any) -> Any:
    """Return what the page shows of a value of the table."""
    return int(value) + 1 if name == "pos0" and value not in (None, "") else value


def _told(name: str, rows: list[dict[str, Any]]) -> bool:
    """Whether a column says something: a value, or more than one of those that say which row it is."""
    values = {row[name] for row in rows}
    return len(values) > 1 if name in _WHEN_SEVERAL else bool(values - {None, ""})


def _totals(found: _Read) -> Iterator[dict[str, Any]]:
    if not found.scores:
        return
    of = f" {found.first[0]}, {found.first[1]}." if found.several and found.first else ""
    means = {name: float(np.mean(values)) for name, values in found.scores.items()}
    order = sorted(means, key=lambda name: -means[name])[:24]
    yield bars("Mean score by motif", f"Over the windows of the genome.{of}", {name: means[name] for name in order})
    counts = {name: float(found.dominant[name]) for name in sorted(means, key=lambda one: -found.dominant[one])[:24]}
    yield bars("Windows by dominant motif", f"The motif with the largest effect above noise.{of}", counts)
    values = [value for own in found.scores.values() for value in own]
    yield histogram("Scores", f"Of all motifs and windows of the genome.{of}", values, x="score")


def _summary(known: Mapping[str, Any]) -> list[tuple[str, str]]:
    window = known.get("window_bp")
    rows = [
        ("Models", ", ".join(known.get("models") or ())),
        ("Genome", known.get("fasta")),
        ("Tracks", ", ".join(map(str, known.get("track_labels") or known.get("tracks") or ()))),
        ("Strands", known.get("strands")),
        ("Motifs", len(known.get("scored_motifs") or ()) or ""),
        ("Removal", known.get("ablation")),
        ("Baseline", known.get("baseline")),
        ("Scale", known.get("scale")),
        (
            "Window",
            f"{window[0]:,} bp upstream, {window[1]:,} downstream" if window else "whole output" if known else "",
        ),
        ("Published definition", known.get("compat") if known.get("compat") != "off" else ""),
        ("borzoi-rt", known.get("borzoi_rt")),
    ]
    return [(name, str(value)) for name, value in rows if value]
