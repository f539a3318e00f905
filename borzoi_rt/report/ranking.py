"""The alleles of a score table by their strongest scores, and the scores of a few of them track by track."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import InputError
from ..tables.reading import NEEDED, ScoreTable

Key = tuple[int, int, str]  # record, number of the ALT allele, what a haplotype is called
_BESIDE = ("quantile", "phred", "vs_null_max", "score_sd", "sign_agreement")
_WHOSE = ("sample", "haplotype", "against")
_OPTIONAL = ("gene_name", *_WHOSE, *_BESIDE)


def haplotype_name(facts: Mapping[str, Any]) -> str:
    """Return what a haplotype is called: sample, number, and what it is compared with; empty for an allele."""
    sample, number, against = ("" if facts.get(name) is None else str(facts[name]) for name in _WHOSE)
    return f"{sample} {number} against {against}" if sample and against else f"{sample} {number}".strip()


@dataclass(frozen=True, slots=True)
class Effect:
    """One score of an allele.

    Attributes
    ----------
    score : float
    track_index : int
        Index of the track in the model's table.
    track, label : str
        Identifier of the track, and what it measures.
    gene : str
        Name of the gene; empty where the score is of none.
    beside : dict of str to float
        What calibration or an ensemble say of it: columns of the table by name.
    """

    score: float
    track_index: int
    track: str
    label: str
    gene: str
    beside: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Allele:
    """An allele of the table, with the strongest of each of its scores.

    ``best`` names scores as ``STAT`` or ``STAT@REGION``.
    """

    key: Key
    chrom: str
    pos: int
    id: str
    ref: str
    alt: str
    status: str
    detail: str
    best: dict[str, Effect] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The allele as text, with the haplotype where it is one."""
        text = f"{self.chrom}:{self.pos}:{self.ref}:{self.alt}"
        return f"{text} {self.key[2]}" if self.key[2] else text

    def size(self, score: str) -> float:
        """Return the size of the strongest score; -1 where there is none."""
        found = self.best.get(score)
        return abs(found.score) if found is not None else -1.0


@dataclass(frozen=True)
class Ranking:
    """What a table says of its alleles.

    Attributes
    ----------
    alleles : list of Allele
        In the order of the table.
    scores : tuple of str
        Names of the scores, in the order in which they come.
    beside : tuple of str
        What stands beside every score.
    """

    alleles: list[Allele]
    scores: tuple[str, ...]
    beside: tuple[str, ...]

    @property
    def counts(self) -> Counter[str]:
        """Alleles by status."""
        return Counter(item.status for item in self.alleles)

    def ranked(self, score: str) -> list[Allele]:
        """Return the alleles by the size of a score, the strongest first; those without it last.

        Raises
        ------
        InputError
            If there is no such score.
        """
        if score not in self.scores:
            raise InputError(f"no score {score!r} in the table; it has {', '.join(self.scores) or 'none'}")
        return sorted(self.alleles, key=lambda item: -item.size(score))


def read_ranking(table: ScoreTable) -> Ranking:
    """Read a table once, and keep the strongest of each score of every allele: over tracks and genes.

    Of equal ones the first in the table counts.
    """
    alleles: dict[Key, Allele] = {}
    scores: dict[str, None] = {}
    for piece in _pieces(table):
        for key, row in piece.firsts():
            if key not in alleles:
                alleles[key] = piece.allele(key, row)
            if piece.is_undefined(row):
                alleles[key].status = "undefined"
        scores.update(dict.fromkeys(piece.named))
        for key, name, row in piece.strongest():
            held = alleles[key].best
            if name not in held or abs(piece.score(row)) > abs(held[name].score):
                held[name] = piece.effect(row)
    beside = tuple(name for name in _BESIDE if name in table.columns)
    return Ranking(list(alleles.values()), tuple(scores), beside)


def read_effects(table: ScoreTable, keys: Collection[Key], score: str) -> dict[Key, list[Effect]]:
    """Read one score of some alleles in every track, the strongest first; of genes the strongest of each track."""
    found: dict[Key, dict[int, Effect]] = {key: {} for key in keys}
    wanted = set(keys)
    for piece in _pieces(table):
        for row in piece.rows_of(wanted, score):
            held, number = found[piece.key(row)], int(piece.columns["track_index"][row])
            if number not in held or abs(piece.score(row)) > abs(held[number].score):
                held[number] = piece.effect(row)
    return {key: sorted(held.values(), key=lambda item: -abs(item.score)) for key, held in found.items()}


class _Piece:
    """Some rows of the table."""

    def __init__(self, columns: dict[str, Any]) -> None:
        self.columns = columns
        record, alt = columns["record"], columns["alt_index"]
        parts = [record, alt, *(columns[name].codes for name in _WHOSE if name in columns)]
        _, self._first, self._allele = np.unique(np.stack(parts), axis=1, return_index=True, return_inverse=True)
        self._allele = self._allele.reshape(-1)
        status = columns["status"]
        undefined = np.array([text == "undefined" for text in status.texts], dtype=bool)
        self._undefined = np.zeros(len(self._first), dtype=bool)
        self._undefined[self._allele[undefined[status.codes] & (status.codes >= 0)]] = True
        stat, region = columns["stat"], columns["region"]
        pair = stat.codes * (len(region.texts) + 1) + region.codes + 1
        known, self._spec = np.unique(pair, return_inverse=True)
        self._names = [_named(stat, region, int(code), len(region.texts) + 1) for code in known]
        order = dict.fromkeys(self._spec.tolist()) if len(pair) else {}
        self.named = [self._names[code] for code in order if self._names[code]]

    def key(self, row: int) -> Key:
        columns = self.columns
        whose = haplotype_name({name: columns[name][row] for name in _WHOSE if name in columns})
        return int(columns["record"][row]), int(columns["alt_index"][row]), whose

    def firsts(self) -> Iterator[tuple[Key, int]]:
        for row in sorted(self._first.tolist()):
            yield self.key(row), row

    def is_undefined(self, row: int) -> bool:
        """Tell whether any score of the allele of a row is undefined, which is then what a run says of the allele."""
        return bool(self._undefined[self._allele[row]])

    def score(self, row: int) -> float:
        return float(self.columns["score"][row])

    def allele(self, key: Key, row: int) -> Allele:
        columns = self.columns
        texts = {name: columns[name][row] for name in ("chrom", "id", "ref", "alt", "status")}
        return Allele(key, pos=int(columns["pos"][row]), detail=columns["status_detail"][row], **texts)

    def effect(self, row: int) -> Effect:
        columns = self.columns
        gene = columns["gene_name"][row] if "gene_name" in columns else ""
        gene = gene or columns["gene"][row]
        beside = {name: float(columns[name][row]) for name in _BESIDE if name in columns}
        return Effect(
            self.score(row),
            int(columns["track_index"][row]),
            columns["track_id"][row],
            columns["track_label"][row],
            "" if gene == "." else gene,
            {name: value for name, value in beside.items() if np.isfinite(value)},
        )

    def strongest(self) -> Iterator[tuple[Key, str, int]]:
        """Yield, for each allele and score, the row with the largest size."""
        size = np.abs(self.columns["score"])
        rows = np.flatnonzero(np.isfinite(size))
        order = rows[np.lexsort((-size[rows], self._spec[rows], self._allele[rows]))]
        groups = np.stack([self._allele[order], self._spec[order]])
        new = np.ones(len(order), dtype=bool)
        new[1:] = (groups[:, 1:] != groups[:, :-1]).any(axis=0)
        for row in order[new].tolist():
            yield self.key(row), self._names[int(self._spec[row])], row

    def rows_of(self, keys: Collection[Key], score: str) -> list[int]:
        """Return the rows with a number for one score of some alleles."""
        if score not in self._names:
            return []
        mine = np.array([self.key(int(row)) in keys for row in self._first], dtype=bool)[self._allele]
        own = mine & (self._spec == self._names.index(score)) & np.isfinite(self.columns["score"])
        found: list[int] = np.flatnonzero(own).tolist()
        return found


def _named(stat: Any, region: Any, code: int, width: int) -> str:
    one, other = divmod(code, width)
    if one < 0:
        return ""
    where = region.texts[other - 1] if other else ""
    name: str = stat.texts[one]
    return name if where in ("", ".", "window") else f"{name}@{where}"


def _pieces(table: ScoreTable) -> Iterator[_Piece]:
    for columns in table.batches([*NEEDED, *(name for name in _OPTIONAL if name in table.columns)]):
        if len(columns["record"]):
            yield _Piece(columns)
