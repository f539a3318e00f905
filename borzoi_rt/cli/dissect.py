"""``borzoi-rt dissect``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..bundle.opening import open_bundle
from ..errors import InputError
from ..genome.intervals import read_bed
from ..inside.dissect import DissectOptions
from ..inside.unit_runs import dissect_rows
from ..motifs.files import read_motifs
from ..motifs.scan import PVALUE, MotifScanner, say_unreachable
from ..runs.outputs import check_directory
from . import _inside, _shared, _units
from ._talk import say

_FILE = click.Path(path_type=Path)
_DEFAULT = DissectOptions()


@click.command()
@click.option(
    "--layer",
    default="layer_0",
    show_default=True,
    help="Layer to dissect: stem, tower_N, layer_N (tokens), embedding.",
)
@_units.unit_options
@click.option(
    "--annotations", type=_FILE, help="BED file of concepts: regions of one name are one concept  [default: none]."
)
@click.option(
    "--motifs",
    type=_FILE,
    help="MEME or JASPAR file: the hits of each motif are a concept (extra: promoter)  [default: none].",
)
@click.option(
    "--motif-pvalue",
    type=float,
    help=f"Chance of a hit of a motif at one position of random DNA  [default: {PVALUE:g}].",
)
@click.option(
    "--quantile",
    type=float,
    default=_DEFAULT.quantile,
    show_default=True,
    help="Share of positions where a unit counts as active.",
)
@click.option(
    "--draws",
    type=click.IntRange(min=1),
    default=_DEFAULT.draws,
    show_default=True,
    help="Random rotations of the units, and random moves of the labels, to compare with.",
)
@_shared.bundle_option
@_shared.fasta_option
@click.option("--out", required=True, type=_FILE, help="Directory to make: tables and figure.")
@_shared.n_code_option
@_shared.device_option
@_shared.threads_option
def dissect(bundle: Path, fasta: Path, out: Path, **choices: Any) -> None:
    """Say which units of a layer follow annotations or motifs, and whether chance would (network dissection).

    The most active positions of each unit are compared with the positions of each concept: intersection over union, of
    the best unit, beside that of randomly rotated units and of moved labels. Give --annotations, --motifs or both. The
    bundle needs to be exported with --activations, but for layer_0 and embedding.
    """
    _units.check_regions(choices)
    options = DissectOptions(**{name: choices[name] for name in ("quantile", "draws", "seed")})
    if choices["annotations"] is None and choices["motifs"] is None:
        raise InputError("give --annotations, --motifs or both: without concepts there is nothing to compare with")
    if choices["motifs"] is None and choices["motif_pvalue"] is not None:
        raise click.UsageError("--motif-pvalue is of the motifs: give --motifs")
    intervals = [] if choices["annotations"] is None else read_bed(choices["annotations"])
    scanner = None
    if choices["motifs"] is not None:
        pvalue = PVALUE if choices["motif_pvalue"] is None else choices["motif_pvalue"]
        scanner = MotifScanner(read_motifs(choices["motifs"]), pvalue=pvalue)
        say_unreachable(scanner.motifs, pvalue)
    check_directory(out, [bundle])
    model = open_bundle(bundle)
    with _inside.looking(model, fasta, out, choices, "reading") as (genome, activations, progress):
        rows, about = _units.unit_rows(choices, genome, model)
        progress.total(len(rows))
        about |= {
            "annotations": None if choices["annotations"] is None else choices["annotations"].name,
            "motifs": None if scanner is None else [motif.label for motif in scanner.motifs],
            "motif_pvalue": None if scanner is None else pvalue,
        }
        _, found = dissect_rows(
            rows,
            out,
            activations=activations,
            fasta=genome,
            layer=choices["layer"],
            units=choices["units"],
            options=options,
            intervals=intervals,
            scanner=scanner,
            about=about,
            progress=progress.done,
        )
    _units.say_left_out(rows)
    if found.note is not None:
        say(f"note: {found.note}")
    click.echo(f"{choices['layer']}: {found.said} -> {out}", err=True)
