"""Nearest neighbours in the space of embeddings; the only door to faiss.

``cosine``: 1 - the cosine of two embeddings, 0 to 2. ``l2``: Euclidean distance. ``flat`` compares a query with every
row, in NumPy, and is exact. ``hnsw`` is a graph of neighbours made by faiss, for many rows: not exact, and its recall,
the share of true neighbours that it finds, is measured against ``flat`` on some of the queries. Threads that build it
together do not always build the same graph.

Rows that share bases with the query are left out, as is the query itself: they are near because they are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError, missing_package
from ..explain.objective import check_counts
from ..inside.embed import Embeddings
from ..plain import check_types
from ..types import BoolArray, DoubleArray, FloatArray, IndexArray

METRICS = ("cosine", "l2")
INDEXES = ("flat", "hnsw")
_QUERIES_AT_ONCE = 256
_LINKS, _EFFORT = 32, 200  # of hnsw: links of a row; rows looked at while it is built


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourOptions:
    """How neighbours are found.

    Parameters
    ----------
    count : int
        Neighbours of each query.
    metric : str
        One of :data:`METRICS`.
    index : str
        One of :data:`INDEXES`.
    overlapping : bool
        Keep rows that share bases with the query; the query itself is left out nevertheless, where it is searched
        among its own rows.
    recall_queries : int
        Queries on which the recall of ``hnsw`` is measured, drawn at random.
    seed : int
        Of this draw.

    Raises
    ------
    InputError
        If a value is not allowed.
    """

    count: int = 10
    metric: str = "cosine"
    index: str = "flat"
    overlapping: bool = False
    recall_queries: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        check_counts(self, "count", "recall_queries")
        for name, allowed in (("metric", METRICS), ("index", INDEXES)):
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} {getattr(self, name)!r} is unknown; allowed: {', '.join(allowed)}")


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Neighbours of every query, the nearest first.

    Attributes
    ----------
    queries : int64 ndarray of shape (queries,)
        Rows of the queries that have an embedding.
    rows : int64 ndarray of shape (queries, count)
        Rows of the neighbours, -1 where there are no more.
    distance : float64 ndarray of shape (queries, count)
        NaN there.
    recall : float
        1 of ``flat``; of ``hnsw`` as measured.
    """

    queries: IndexArray
    rows: IndexArray
    distance: DoubleArray
    recall: float


def find_neighbours(
    queries: Embeddings, among: Embeddings | None = None, options: NeighbourOptions | None = None
) -> Neighbours:
    """Find the neighbours of some embeddings among others, or among themselves.

    Parameters
    ----------
    queries : Embeddings
        What neighbours are looked for of.
    among : Embeddings, optional
        What they are looked for in; the queries themselves when None.
    options : NeighbourOptions, optional

    Raises
    ------
    InputError
        If the two are of other models or layers, or nothing has an embedding.
    BackendError
        If ``hnsw`` is asked for and faiss is missing.
    """
    options = options or NeighbourOptions()
    held = queries if among is None else among
    _check_alike(queries, held)
    asked, rows = (np.flatnonzero(part.known) for part in (queries, held))
    for part, what in ((asked, "queries"), (rows, "rows to search")):
        if not len(part):
            raise InputError(f"none of the {what} has an embedding; their statuses say why")
    space = _Space(queries, held, asked, rows, options, same=among is None)
    if options.index == "flat":
        return _arranged(asked, list(space.exact(np.arange(len(asked)))), options.count, 1.0)
    found = list(space.by_graph())
    drawn = np.random.default_rng(options.seed).permutation(len(asked))[: options.recall_queries]
    true = [set(rows.tolist()) for rows, _ in space.exact(drawn)]
    met = sum(len(rows & set(found[number][0].tolist())) for rows, number in zip(true, drawn.tolist(), strict=True))
    wanted = sum(map(len, true))
    return _arranged(asked, found, options.count, met / wanted if wanted else 1.0)


def _check_alike(one: Embeddings, other: Embeddings) -> None:
    """Refuse embeddings that do not lie in one space."""
    if one.values.shape[1] != other.values.shape[1]:
        raise InputError(f"embeddings of {one.values.shape[1]} and {other.values.shape[1]} units; they must agree")
    for name in ("model", "n_code", "layer", "region"):
        if one.about.get(name) != other.about.get(name):
            raise InputError(
                f"embeddings of another {name} ({one.about.get(name)!r:.80} and {other.about.get(name)!r:.80}): "
                "distances between them mean nothing; embed both alike"
            )


Found = tuple[IndexArray, DoubleArray]


class _Space:
    """Embeddings of queries and of rows to search, in the form of the metric."""

    def __init__(
        self,
        queries: Embeddings,
        held: Embeddings,
        asked: IndexArray,
        rows: IndexArray,
        options: NeighbourOptions,
        *,
        same: bool,
    ) -> None:
        self._asked, self._rows, self._options, self._same = asked, rows, options, same
        self._queries = _formed(queries.values[asked], options.metric)
        self._held = _formed(held.values[rows], options.metric)
        self._squares = np.einsum("ru,ru->r", self._held, self._held, dtype=np.float64)
        self._spans_asked, self._spans_held = (
            tuple(np.asarray(part.columns[name])[index] for name in ("chrom", "start", "end"))
            for part, index in ((queries, asked), (held, rows))
        )

    def _left_out(self, number: int, among: IndexArray) -> BoolArray:
        """Return which of some rows do not count for a query."""
        found: BoolArray = np.zeros(len(among), dtype=bool)
        if self._same:
            found |= self._rows[among] == self._asked[number]
        if not self._options.overlapping:
            chrom, start, end = (column[number] for column in self._spans_asked)
            chroms, starts, ends = (column[among] for column in self._spans_held)
            found |= (chroms == chrom) & (starts < end) & (ends > start)
        return found

    def _ranked(self, number: int, among: IndexArray) -> Found:
        """Return the nearest of some rows, distances in float64 and equal ones in the order of the rows."""
        kept = among[~self._left_out(number, among)]
        query = self._queries[number].astype(np.float64)
        distance = _distance(self._held[kept].astype(np.float64), query, self._options.metric)
        order = np.lexsort((kept, distance))[: self._options.count]
        return self._rows[kept[order]], distance[order]

    def exact(self, numbers: IndexArray) -> Iterator[Found]:
        """Yield the neighbours of some queries by comparing each with every row."""
        every = np.arange(len(self._held))
        near = min(4 * self._options.count + 16, len(every))
        for first in range(0, len(numbers), _QUERIES_AT_ONCE):
            part = numbers[first : first + _QUERIES_AT_ONCE]
            # Rough squares of distances first: exact ones of all rows would need a copy of the whole matrix.
            products = self._queries[part] @ self._held.T
            for number, product in zip(part.tolist(), products, strict=True):
                rough = self._squares - 2.0 * product
                rough[self._left_out(number, every)] = np.inf
                candidates = np.argpartition(rough, near - 1)[:near] if near < len(every) else every
                yield self._ranked(number, candidates)

    def by_graph(self) -> Iterator[Found]:
        """Yield the neighbours of every query as a graph of faiss finds them."""
        faiss, units = _faiss(), self._held.shape[1]
        index = faiss.IndexHNSWFlat(units, _LINKS)
        index.hnsw.efConstruction = _EFFORT
        index.add(self._held)
        for first in range(0, len(self._queries), _QUERIES_AT_ONCE):
            part = self._queries[first : first + _QUERIES_AT_ONCE]
            wide = min(4 * self._options.count + 16, len(self._held))
            waiting, found = list(range(len(part))), dict[int, Found]()
            while waiting:
                index.hnsw.efSearch = max(2 * wide, 64)
                _, rows = index.search(part[waiting], wide)
                short = []
                for number, candidates in zip(waiting, rows, strict=True):
                    found[number] = self._ranked(first + number, candidates[candidates >= 0])
                    if len(found[number][0]) < self._options.count and wide < len(self._held):
                        short.append(number)  # what was left out stood in the way
                waiting, wide = short, min(4 * wide, len(self._held))
            yield from (found[number] for number in range(len(part)))


def _formed(values: FloatArray, metric: str) -> FloatArray:
    """Return embeddings whose Euclidean distance orders as the metric does: of ``cosine``, of length 1."""
    if not np.isfinite(values).all():
        raise InputError("an embedding that is marked as ok holds NaN or infinite numbers")
    if metric == "l2":
        return np.ascontiguousarray(values, dtype=np.float32)
    size = np.linalg.norm(values.astype(np.float64), axis=1, keepdims=True)
    if not size.all():
        raise InputError("an embedding is 0 in all units, which has no direction; take the metric l2")
    return np.ascontiguousarray(values / size, dtype=np.float32)


def _distance(rows: DoubleArray, query: DoubleArray, metric: str) -> DoubleArray:
    squares = ((rows - query) ** 2).sum(axis=1)
    found: DoubleArray = np.sqrt(squares) if metric == "l2" else squares / 2.0  # |a - b|^2 = 2 - 2 cos of length 1
    return found


def _arranged(asked: IndexArray, found: list[Found], count: int, recall: float) -> Neighbours:
    rows = np.full((len(asked), count), -1, dtype=np.int64)
    distance = np.full((len(asked), count), np.nan)
    for number, (near, far) in enumerate(found):
        rows[number, : len(near)], distance[number, : len(near)] = near, far
    return Neighbours(asked, rows, distance, recall)


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise missing_package(error, "faiss", "neighbours", "the index hnsw") from error
    return faiss
