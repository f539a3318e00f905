"""``borzoi-rt neighbours``."""

from __future__ import annotations

from pathlib import Path

import click

from ..examples.neighbour_table import COLUMNS, neighbour_table
from ..examples.neighbours import INDEXES, METRICS, NeighbourOptions
from ..examples.tables import write_table
from ..inside.embed import read_embeddings
from ..inside.tables import check_output

_FILE = click.Path(path_type=Path)
_DEFAULTS = NeighbourOptions()


@click.command()
@click.argument("embeddings", type=_FILE)
@click.option(
    "--among",
    type=_FILE,
    help="Embeddings to search, an .h5 file of the same model and layer  [default: EMBEDDINGS itself].",
)
@click.option("--out", required=True, type=_FILE, help="Table to write, a row per query and neighbour (TSV).")
@click.option(
    "--count", type=click.IntRange(min=1), default=_DEFAULTS.count, show_default=True, help="Neighbours of each row."
)
@click.option(
    "--metric",
    type=click.Choice(METRICS),
    default=_DEFAULTS.metric,
    show_default=True,
    help="Distance: 1 - cosine, or Euclidean.",
)
@click.option(
    "--index",
    type=click.Choice(INDEXES),
    default=_DEFAULTS.index,
    show_default=True,
    help="flat compares with every row; hnsw is quicker among many, and not exact (extra: neighbours).",
)
@click.option(
    "--overlapping",
    is_flag=True,
    help="Keep rows that share bases with the query, as its other allele  [default: leave them out].",
)
@click.option(
    "--recall-queries",
    type=click.IntRange(min=1),
    help=f"Queries on which the recall of hnsw is measured  [default: {_DEFAULTS.recall_queries}].",
)
@click.option("--seed", type=click.IntRange(min=0), help="Number that their draw follows  [default: 0].")
def neighbours(
    embeddings: Path,
    among: Path | None,
    out: Path,
    recall_queries: int | None,
    seed: int | None,
    **choices: int | str | bool,
) -> None:
    """Find the regions or alleles whose embeddings are nearest.

    EMBEDDINGS is an .h5 file of `borzoi-rt embed`. Rows without an embedding are left out, as are, of every query, it
    itself and rows that share bases with it. OUT.meta.json says how much of the true neighbours an index found.
    """
    if choices["index"] == "flat" and (recall_queries, seed) != (None, None):
        raise click.UsageError("--recall-queries and --seed are of --index hnsw; flat is exact")
    more = {name: value for name, value in (("recall_queries", recall_queries), ("seed", seed)) if value is not None}
    options = NeighbourOptions(**choices, **more)  # type: ignore[arg-type]
    check_output(out, [embeddings, among], (".tsv",))
    queries = read_embeddings(embeddings)
    held = None if among is None else read_embeddings(among)
    found = neighbour_table(queries, held, options)
    about = {"format": "borzoi-rt-neighbours", "format_version": 1, **found.about}
    write_table(out, COLUMNS, zip(*(found.columns[name] for name in COLUMNS), strict=True), about)
    missing = len(queries.known) - about["queries"]
    note = f", {missing} row{'' if missing == 1 else 's'} without an embedding left out" if missing else ""
    click.echo(f"{about['queries']} queries, recall {about['recall']:.4f}{note} -> {out}", err=True)
