"""Neighbours as a table: a row for each query and each neighbour of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from ..inside.embed import Embeddings
from ..inside.tables import Table
from .neighbours import NeighbourOptions, Neighbours, find_neighbours

KIND = "neighbours"
_SPAN = ("name", "chrom", "start", "end", "strand", "allele")
COLUMNS = (*(f"query_{name}" for name in _SPAN), "rank", "distance", *_SPAN)


def neighbour_table(
    queries: Embeddings, among: Embeddings | None = None, options: NeighbourOptions | None = None
) -> Table:
    """Return the neighbours of some embeddings with the columns :data:`COLUMNS`, the nearest of each query first.

    ``.about`` says how many queries have an embedding, how many rows were searched, and the recall.

    Parameters
    ----------
    queries, among, options
        As of :func:`borzoi_rt.examples.neighbours.find_neighbours`.
    """
    options, held = options or NeighbourOptions(), queries if among is None else among
    found = find_neighbours(queries, among, options)
    about = {
        "embeddings": queries.about,
        "queries": len(found.queries),
        "rows_searched": int(held.known.sum()),
        "options": asdict(options),
        "recall": found.recall,
        "exact": options.index == "flat",
    }
    rows = list(_rows(found, queries, held))
    return Table(KIND, about, {name: [row[at] for row in rows] for at, name in enumerate(COLUMNS)})


def _rows(found: Neighbours, queries: Embeddings, held: Embeddings) -> Iterator[Sequence[object]]:
    for query, rows, distances in zip(found.queries.tolist(), found.rows, found.distance, strict=True):
        asked = [_plain(queries.columns[name][query]) for name in _SPAN]
        for rank, (row, distance) in enumerate(zip(rows.tolist(), distances.tolist(), strict=True), start=1):
            if row >= 0:
                yield (*asked, rank, distance, *(_plain(held.columns[name][row]) for name in _SPAN))


def _plain(value: object) -> object:
    return value.decode() if isinstance(value, bytes) else value
