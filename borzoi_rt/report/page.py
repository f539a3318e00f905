"""A report of a score table: one HTML file that needs nothing else."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..drafts import draft_of
from ..errors import InputError
from ..reading import read_json
from ..scoring.statistics import joining_of, meaning_of
from ..tables.assays import assay_of
from ..tables.reading import ScoreTable, open_scores
from .coverage import Curves, Picture, Pictures
from .pages import render_page
from .ranking import Allele, Effect, Key, Ranking, haplotype_name, read_effects, read_ranking

TOP = 10
LISTED = 2000  # alleles of the ranked table
_BARS = 24
_HISTOGRAM = 40


def write_report(
    out: str | os.PathLike[str],
    table: str | os.PathLike[str],
    *,
    top: int = TOP,
    rank_by: str | None = None,
    pictures: Pictures | None = None,
) -> Ranking:
    """Write the report of a long score table.

    Parameters
    ----------
    out : path
        HTML file to write.
    table : path
        ``.tsv``, ``.tsv.gz`` or ``.parquet`` of :func:`borzoi_rt.score_file`; what stands beside it, the description
        of the run and changes of motifs, is shown too.
    top : int
        How many of the strongest alleles are shown one by one.
    rank_by : str, optional
        The score that ranks, ``STAT`` or ``STAT@REGION``; the first of the run when None.
    pictures : Pictures, optional
        Predicts their coverage; without it none is shown.

    Returns
    -------
    Ranking
        What the table says.

    Raises
    ------
    InputError, FormatError
        If the table is none, has no such score, or is to be overwritten.
    """
    target = Path(out)
    held = open_scores(table)
    if target.exists() and target.samefile(held.path):
        raise InputError(f"{target}: is the table itself; choose another name for the report")
    ranking = read_ranking(held)
    by = rank_by or _first_score(held, ranking)
    ranked = ranking.ranked(by) if by else list(ranking.alleles)
    shown = [item for item in ranked if by and item.size(by) >= 0][:top]
    effects = {by: read_effects(held, [item.key for item in shown], by)} if shown else {by: {}}
    content = _content(held, ranking, ranked, by, shown, effects[by], pictures)
    bare = shown and pictures is not None and not pictures.has_genes
    notes = ["No genes are drawn: no annotation was given (--genes)."] if bare else []
    with draft_of(target) as draft:
        draft.write_text(_page(held, ranking, by, len(shown), content, notes), encoding="utf-8")
    return ranking


def _first_score(table: ScoreTable, ranking: Ranking) -> str:
    """Return the score that the run names first; the first in the table where the run is not described."""
    options = table.metadata.get("options")
    named = options.get("stats", ()) if isinstance(options, Mapping) else ()
    return next((name for name in (*named, *ranking.scores) if name in ranking.scores), "")


def _content(
    table: ScoreTable,
    ranking: Ranking,
    ranked: Sequence[Allele],
    by: str,
    shown: Sequence[Allele],
    effects: Mapping[Key, Sequence[Effect]],
    pictures: Pictures | None,
) -> dict[str, Any]:
    """Return what the page's script draws, as JSON values."""
    texts = _Texts()
    listed, keys = ranked[:LISTED], [item.key for item in shown]
    motifs = _motifs(table.path)
    return {
        "scores": list(ranking.scores),
        "by": ranking.scores.index(by) if by else 0,
        "meanings": _meanings(table, ranking),
        "joinings": _joinings(table, ranking),
        "beside": list(ranking.beside),
        "total": len(ranking.alleles),
        "alleles": [_row(item, ranking, texts, keys) for item in listed],
        "histograms": [_histogram(ranking, name) for name in ranking.scores],
        "details": [
            _detail(item, effects.get(item.key, ()), motifs.get(item.key), pictures, ranking.beside) for item in shown
        ],
        "texts": texts.all,
    }


def _meanings(table: ScoreTable, ranking: Ranking) -> list[str]:
    """Return what each score is; nothing where the run does not say of which family its statistics are."""
    options = table.metadata.get("options")
    family = str(options.get("family", "")) if isinstance(options, Mapping) else ""
    return [meaning_of(name, family) for name in ranking.scores]


def _joinings(table: ScoreTable, ranking: Ranking) -> list[str]:
    """Return what each score of a pair of strands is; nothing where strands were kept apart, or it is not known."""
    options = table.metadata.get("options")
    if not isinstance(options, Mapping) or not options.get("merge_strands", True):
        return ["" for _ in ranking.scores]
    order = options.get("strand_order")
    return [joining_of(name, str(options.get("family", "")), order) for name in ranking.scores]


class _Texts:
    """Texts that come often, by number."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self._number: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        if text not in self._number:
            self._number[text] = len(self.all)
            self.all.append(text)
        return self._number[text]


def _row(item: Allele, ranking: Ranking, texts: _Texts, shown: Sequence[Key]) -> list[Any]:
    best = []
    for name in ranking.scores:
        found = item.best.get(name)
        beside = [] if found is None else [_number(found.beside.get(column)) for column in ranking.beside]
        best.append(
            0
            if found is None
            else [_number(found.score), texts(found.track), texts(found.label), texts(found.gene), *beside]
        )
    facts = [texts(item.chrom), item.pos, item.id, item.ref, item.alt, texts(item.status), texts(item.detail)]
    detail = shown.index(item.key) if item.key in shown else -1
    return [*facts, texts(item.key[2]), detail, best]


def _detail(
    item: Allele,
    effects: Sequence[Effect],
    motifs: Sequence[Mapping[str, Any]] | None,
    pictures: Pictures | None,
    beside: Sequence[str],
) -> dict[str, Any]:
    picture = "" if pictures is None else pictures.of(item, effects)
    return {
        "name": item.name,
        "id": "" if item.id == "." else item.id,
        "chrom": item.chrom,
        "pos": item.pos,
        "ref_bp": len(item.ref),
        "tracks": len(effects),
        "bars": [
            [effect.track, effect.label, _number(effect.score), effect.gene]
            + [_number(effect.beside.get(name)) for name in beside]
            for effect in effects[:_BARS]
        ],
        "assays": _groups((_assay(effect), effect.score) for effect in effects),
        "tissues": _groups(
            (assay_of(effect.label).biosample, effect.score) for effect in effects if ":" in effect.label
        ),
        "motifs": list(motifs or ()),
        "explained": motifs is not None,
        **({"note": picture} if isinstance(picture, str) else {"picture": _drawn(picture)}),
    }


def _groups(effects: Iterable[tuple[str, float]]) -> list[list[Any]]:
    """Return groups of tracks: name, number of tracks, median and strongest effect; the strongest first."""
    held: dict[str, list[float]] = {}
    for name, score in effects:
        if name:
            held.setdefault(name, []).append(score)
    ordered = sorted(held.items(), key=lambda item: -max(map(abs, item[1])))
    return [
        [name, len(values), _number(float(np.median(values))), _number(max(values, key=abs))]
        for name, values in ordered[:_BARS]
    ]


def _assay(effect: Effect) -> str:
    """Return the assay that a track's label says, or else the first letters of its identifier."""
    found = assay_of(effect.label)
    letters = re.match(r"[A-Za-z-]+", effect.track)
    return found.title or (letters[0] if letters else found.output_type)


def _drawn(picture: Picture) -> dict[str, Any]:
    return {
        "tracks": list(picture.tracks),
        "bin": picture.bin_size_bp,
        "near": _curves(picture.near),
        "whole": _curves(picture.whole),
        "genes": [[name, strand, exons] for name, strand, exons in picture.genes],
        "more_genes": picture.more_genes,
    }


def _curves(curves: Curves) -> dict[str, Any]:
    ref, alt = ([[_number(float(value)) for value in row] for row in values] for values in (curves.ref, curves.alt))
    gap = {} if curves.gap is None else {"gap": list(curves.gap)}
    return {"start": curves.start, "step": curves.step_bp, "ref": ref, "alt": alt, **gap}


def _histogram(ranking: Ranking, score: str) -> dict[str, Any]:
    """Return the distribution of the strongest value of each allele: counts between edges, or the only value."""
    values = np.array([item.best[score].score for item in ranking.alleles if score in item.best])
    if not len(values):
        return {"counts": [], "edges": []}
    low, high = float(values.min()), float(values.max())
    if low == high:  # one allele, or several of one score: one bar would say nothing
        return {"counts": [], "edges": [], "only": _number(low)}
    counts, edges = np.histogram(values, bins=_HISTOGRAM, range=(low, high))
    return {"counts": counts.tolist(), "edges": [_number(float(edge)) for edge in edges]}


def _number(value: float | None) -> float | None:
    """Return a number with four digits; None for what is none."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.4g}")


def _motifs(table: Path) -> dict[Key, list[dict[str, Any]]]:
    """Return the changes of motifs that stand beside a table, by allele or haplotype."""
    beside = table.with_name(table.name + ".motifs.json")
    if not beside.is_file():
        return {}
    try:
        alleles = read_json(beside)["alleles"]
        return {
            (int(item["record"]), int(item["alt_index"]), haplotype_name(item)): list(item["motifs"])
            for item in alleles
        }
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{beside}: is not what a run that explains motifs writes; remove it") from None


def _page(
    table: ScoreTable, ranking: Ranking, by: str, shown: int, content: Mapping[str, Any], notes: Sequence[str]
) -> str:
    known = table.metadata
    return render_page(
        "report",
        content,
        title=f"Variant scores: {known.get('input') or table.path.name}",
        table=table.path.name,
        summary=_summary(known, ranking),
        counts=_reasons(ranking),
        total=len(ranking.alleles),
        listed=min(len(ranking.alleles), LISTED),
        by=by,
        shown=shown,
        notes=[*(str(note) for note in known.get("notes") or ()), *notes],
        provenance=_provenance(known),
    )


def _summary(known: Mapping[str, Any], ranking: Ranking) -> list[tuple[str, str]]:
    rows = [
        ("Model", known.get("model")),
        ("Genome", known.get("genome")),
        ("Genes", known.get("genes")),
        ("Input", known.get("input")),
        ("Scores", ", ".join(ranking.scores)),
        ("Device", known.get("device")),
        ("Precision", known.get("precision")),
        ("borzoi-rt", known.get("borzoi_rt")),
    ]
    return [(name, str(value)) for name, value in rows if value]


def _reasons(ranking: Ranking) -> list[tuple[str, int, list[str]]]:
    """Return every status, how many alleles have it, and some of the reasons that were given."""
    reasons: dict[str, dict[str, None]] = {}
    for item in ranking.alleles:
        if item.detail:
            reasons.setdefault(item.status, {})[item.detail] = None
    return [(name, count, list(reasons.get(name, ()))[:3]) for name, count in ranking.counts.most_common()]


def _provenance(known: Mapping[str, Any]) -> str:
    return json.dumps(known, indent=2, ensure_ascii=False) if known else ""
