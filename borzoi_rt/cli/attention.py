"""``borzoi-rt attention``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..bundle.opening import open_bundle
from ..errors import InputError
from ..explain.rows import Row
from ..explain.run import FIGURES
from ..genome.fasta import Fasta
from ..genome.gene_index import open_genes
from ..genome.intervals import read_bed
from ..inside.attention_run import HOW, QUERIES, AttentionOptions, attend_rows
from ..inside.tables import check_output
from ..scoring.gene_scores import contigs_of
from . import _explaining, _inside, _shared
from ._talk import say

_FILE = click.Path(path_type=Path)
_MOST_GENES = 60


@click.command()
@click.option(
    "--how",
    type=click.Choice(HOW),
    default="rows",
    show_default=True,
    help="rows: shares of each layer and head; rollout: their product through all layers; relevance: that product, "
    "weighted by the slopes of a target.",
)
@click.option(
    "--from",
    "queries",
    metavar="TOKENS",
    help=f"Tokens that attend: {QUERIES}  [default: variant of --variant, tss of --gene, else bases; of relevance "
    "target].",
)
@click.option("--layers", type=_shared.IntegerList(), help="Layers to show, like 1,8, of rows  [default: all].")
@_explaining.what_options
@_inside.check_options
@_shared.bundle_option
@_shared.fasta_option
@click.option("--out", required=True, type=_FILE, help="Table to write: .h5, .npz, .parquet or .tsv.")
@click.option("--profiles", type=_FILE, help="Another table, of shares by distance  [default: none].")
@click.option("--plot", type=_FILE, help="Figure to write, of the first row: .png, .svg or .pdf  [default: none].")
@_shared.n_code_option
@_shared.device_option
@_shared.threads_option
def attention(bundle: Path, fasta: Path, out: Path, **choices: Any) -> None:
    """Show where tokens of the transformer attend to, for a TSS, a variant or a region. This is not attribution.

    Give --region, --bed, --gene or --variant. Tokens are 128 bp at the published size; the table has a row for each
    token of the window and a column for each layer and head, the mean over the tokens that ask. A target (--target,
    --tracks) is needed for relevance and for --check alone. The bundle needs to be exported with --activations.
    """
    _inside.check_seed(choices)
    chosen = {name: choices[name] for name in ("how", "queries", "layers", "seed")}
    options = AttentionOptions(check=choices["check"] or 0, **chosen)
    sources = [fasta, bundle, *(choices[name] for name in ("bed", "genes", "pas", "truth"))]
    outputs = [path for path in (out, choices["profiles"], choices["plot"]) if path is not None]
    for path in outputs:
        check_output(path, sources, FIGURES) if path is choices["plot"] else check_output(path, sources)
    if len({path.resolve() for path in outputs}) < len(outputs):
        raise InputError("two outputs have one name; give each its own")
    needed = options.how == "relevance" or options.queries == "target" or options.check
    unused = _shared.typed((*_explaining.OF_TARGET, "strand"))
    if not needed and unused:
        raise InputError(
            f"{unused[0]} is of a target, which {options.how} has none of; leave it out, or ask for --check"
        )
    spec, model = _explaining.read_spec(choices), open_bundle(bundle)
    with _inside.looking(model, fasta, out, choices, "reading") as (genome, activations, progress):
        rows = _explaining.read_rows(choices, spec, genome, model, keep=False)
        progress.total(len(rows))
        facts = attend_rows(
            rows,
            out,
            activations=activations,
            fasta=genome,
            options=options,
            spec=spec if needed else None,
            plot=choices["plot"],
            truth=() if choices["truth"] is None else read_bed(choices["truth"]),
            profiles=choices["profiles"],
            genes=_genes(choices["genes"], genome, rows[0], model.geometry.sequence_length_bp),
            progress=progress.done,
        )
    _inside.say_checks(facts)
    say("note: attention is not attribution: it says how tokens are mixed, not what drives a prediction")
    asked = sum(len(told["query_tokens"]) for told in facts)
    click.echo(f"{len(facts)} window{'' if len(facts) == 1 else 's'}, {asked} tokens ask -> {out}", err=True)


def _genes(path: Path | None, genome: Fasta, row: Row, length_bp: int) -> list[tuple[str, str, list[tuple[int, int]]]]:
    """Return the genes in a window, for the figure."""
    if path is None:
        return []
    genes, start = open_genes(path), row.where.window_start
    codes = contigs_of(genes, genome).get(row.bases.chrom, [])
    numbers = [int(number) for code in codes for number in genes.overlapping(code, start, start + length_bp)]
    held = [genes[number] for number in numbers[:_MOST_GENES]]
    return [(gene.name, gene.strand, [(int(low), int(high)) for low, high in gene.exons.tolist()]) for gene in held]
