"""``borzoi-rt filters``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..bundle.opening import open_bundle
from ..inside.filters import FilterOptions, check_local
from ..inside.unit_runs import filter_rows
from ..motifs.files import read_motifs
from ..runs.outputs import check_directory
from . import _inside, _shared, _units

_FILE = click.Path(path_type=Path)
_DEFAULT = FilterOptions()


@click.command()
@click.option("--layer", default="stem", show_default=True, help="Layer to show: stem, or tower_N.")
@_units.unit_options
@click.option(
    "--sites",
    type=click.IntRange(min=1),
    default=_DEFAULT.sites,
    show_default=True,
    help="Most active positions of each unit that are counted.",
)
@click.option(
    "--width",
    type=click.IntRange(min=1),
    help="Bases around the middle of each position  [default: 15 for stem, 31 for tower_N].",
)
@click.option("--motifs", type=_FILE, help="MEME or JASPAR file to take names from  [default: none].")
@_shared.bundle_option
@_shared.fasta_option
@click.option("--out", required=True, type=_FILE, help="Directory to make: table, matrices, logos.")
@_shared.n_code_option
@_shared.device_option
@_shared.threads_option
def filters(bundle: Path, fasta: Path, out: Path, **choices: Any) -> None:
    """Show what units of the first layers look for: the sequences at which each is most active, as a motif.

    OUT holds a row a unit (filters.tsv), the matrices (filters.meme) and logos of the most informative (filters.png).
    With --motifs each is compared with the motifs of a file, and so are random sites of the same regions: what chance
    names. The bundle needs to be exported with --activations.
    """
    _units.check_regions(choices)
    check_local(choices["layer"])
    options = FilterOptions(**{name: choices[name] for name in ("sites", "width", "seed")})
    motifs = () if choices["motifs"] is None else read_motifs(choices["motifs"])
    check_directory(out, [bundle])
    model = open_bundle(bundle)
    with _inside.looking(model, fasta, out, choices, "reading") as (genome, activations, progress):
        rows, about = _units.unit_rows(choices, genome, model)
        progress.total(len(rows))
        found, names = filter_rows(
            rows,
            out,
            activations=activations,
            fasta=genome,
            layer=choices["layer"],
            units=choices["units"],
            options=options,
            motifs=motifs,
            about=about,
            progress=progress.done,
        )
    _units.say_left_out(rows)
    still = sum(1 for item in found if not item.sites)
    if still:
        click.echo(f"note: {still} of {len(found)} units are the same everywhere and have no matrix", err=True)
    named = sum(1 for name in names if name is not None and name.known)
    told = f", {named} named" if names else ""
    click.echo(f"{len(found)} units of {choices['layer']}{told} -> {out}", err=True)
