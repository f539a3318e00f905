"""``borzoi-rt bottleneck``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..bundle.opening import open_bundle
from ..concepts.bottleneck import TRAININGS
from ..concepts.bottleneck_run import (
    BottleneckOptions,
    bottleneck_table,
    counted_files,
    counted_words,
    make_bottleneck,
)
from ..concepts.examples import check_names, named_file
from ..inside.tables import check_output, write_table
from . import _explaining, _inside, _shared

_FILE = click.Path(path_type=Path)
_DEFAULTS = BottleneckOptions()


@click.command()
@click.option("--bed", required=True, type=_FILE, help="Regions of a BED file: rows to fit and to judge by.")
@click.option(
    "--width", type=click.IntRange(min=1), help="Bases around the middle of each region  [default: the region itself]."
)
@click.option("--gene", help="Gene of the target, id or name, of --genes; its window is predicted  [default: none].")
@click.option(
    "--motif",
    multiple=True,
    help="Concept, counted on both strands: LETTERS or NAME=LETTERS, N for any base, or @FILE, a MEME or JASPAR file "
    "(extra: promoter). May be given again  [default: none].",
)
@click.option(
    "--concept",
    multiple=True,
    metavar="[NAME=]FILE",
    help="Concept: intervals of a BED file that share a base with the region, counted. May be given again  "
    "[default: none].",
)
@click.option(
    "--layer",
    default=_DEFAULTS.layer,
    show_default=True,
    help="What embeddings are the mean of: embedding (what the head reads), tokens or layer_N.",
)
@click.option(
    "--over",
    metavar="REGION",
    help="Bins to average instead of the bases of the region: center:BP, span:BP, window  [default: the bases].",
)
@click.option(
    "--held",
    type=float,
    default=_DEFAULTS.held,
    show_default=True,
    help="Share of regions that nothing is fitted to, drawn by chance; accuracies are theirs.",
)
@click.option("--held-chrom", multiple=True, help="Hold out this chrom instead; may be given again  [default: none].")
@click.option(
    "--training",
    type=click.Choice(TRAININGS),
    default=_DEFAULTS.training,
    show_default=True,
    help="What leads to the target is fitted to the concepts themselves (independent), or to what is read of them from "
    "embeddings (sequential), which may leak more than they say.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Number that chance follows.")
@_explaining.target_options
@_shared.bundle_option
@_shared.fasta_option
@click.option("--out", required=True, type=_FILE, help="Table to write: .h5, .npz, .parquet or .tsv.")
@_shared.n_code_option
@_shared.device_option
@_shared.threads_option
def bottleneck(bundle: Path, fasta: Path, out: Path, **choices: Any) -> None:
    """Say a predicted number by named concepts alone, read from embeddings: a concept bottleneck, post hoc.

    Linear models lead from embeddings of regions to concepts, as motif counts and annotations, and from these to the
    target. OUT has a row for each concept: how well it is read, and by how much the target changes as it is set 1
    higher by hand. What is lost against the embeddings and the network is told, and what shuffled labels reach.
    """
    chosen = {name: choices[name] for name in ("layer", "over", "held", "training", "seed")}
    options = BottleneckOptions(held_chroms=choices["held_chrom"], **chosen)
    sources = [choices[name] for name in ("bed", "genes", "pas")] + [named_file(one)[1] for one in choices["concept"]]
    check_output(out, [fasta, bundle, *sources])
    spec = _explaining.read_spec(choices)
    words = counted_words(choices["motif"])
    check_names([word.name for word in words] + [named_file(text)[0] for text in choices["concept"]])
    model = open_bundle(bundle)
    with _inside.looking(model, fasta, out, choices, "embedding") as (genome, activations, progress):
        rows = _explaining.read_rows({**choices, "region": None, "variant": None}, spec, genome, model, keep=False)
        concepts = [*words, *counted_files(choices["concept"], genome)]
        progress.total(len(rows))
        what: dict[str, Any] = {"activations": activations, "fasta": genome, "spec": spec, "options": options}
        found, counts = make_bottleneck(rows, concepts, progress=progress.done, **what)
        write_table(out, bottleneck_table(found, counts, concepts, rows, **what))
    _shared.say_notes(spec.notes(model))
    told = found.to_json()
    text = f"held-out R2 {found.bottleneck.r2:.3f} of concepts, {found.embedding.r2:.3f} of embeddings"
    chance = max(one.r2 for one in (*found.random_concepts, *found.random_target))
    verdict = "" if found.believable else ": NO BETTER THAN CHANCE, do not read it"
    click.echo(f"{text}, {chance:.3f} of shuffled labels{verdict}", err=True)
    unread = [one["concept"] for one in told["concepts"] if not one["read"]]
    if unread:
        click.echo(f"note: not read from embeddings better than by chance: {', '.join(unread)}", err=True)
    click.echo(f"{len(concepts)} concept{'' if len(concepts) == 1 else 's'}, {len(rows)} regions -> {out}", err=True)
