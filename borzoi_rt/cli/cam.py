"""``borzoi-rt cam``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..bundle.opening import open_bundle
from ..genome.intervals import read_bed
from ..inside.activations import EMBEDDING, TOKENS
from ..inside.map_run import MapOptions, check_outputs, map_rows
from ..inside.maps import MAPS
from . import _explaining, _inside, _shared

_FILE = click.Path(path_type=Path)


@click.command()
@click.option(
    "--method",
    type=click.Choice(MAPS),
    default="gradcam",
    show_default=True,
    help="cam: weights of the head times the embedding; gradcam: mean slopes times activations; gradcam++: slopes "
    "weighted by their square.",
)
@click.option(
    "--layer",
    help="Layer to map: tokens (behind the transformer), layer_N, or embedding (what the head reads; for cam the only "
    f"one)  [default: {TOKENS}, of cam {EMBEDDING}].",
)
@_explaining.what_options
@_inside.check_options
@_shared.bundle_option
@_shared.fasta_option
@click.option("--out", required=True, type=_FILE, help="Table to write: .h5, .npz, .parquet or .tsv.")
@click.option("--plot", type=_FILE, help="Figure to write, of the first rows: .png, .svg or .pdf  [default: none].")
@_shared.n_code_option
@_shared.device_option
@_shared.threads_option
def cam(bundle: Path, fasta: Path, out: Path, **choices: Any) -> None:
    """Map which tokens or bins of the window a predicted number comes from: CAM, Grad-CAM, Grad-CAM++.

    Give --region, --bed, --gene or --variant, which say where the window and the target are; the whole window is
    mapped. One score for each token of 128 bp, or bin of 32 bp, at the published size: no finer, and of tokens, which
    the transformer has mixed, for what was gathered there. The bundle needs to be exported with --activations.
    """
    _inside.check_seed(choices)
    layer_name = choices["layer"] or (EMBEDDING if choices["method"] == "cam" else TOKENS)
    options = MapOptions(method=choices["method"], layer=layer_name, check=choices["check"] or 0, seed=choices["seed"])
    check_outputs(out, choices["plot"], [fasta, bundle, *(choices[name] for name in ("bed", "genes", "pas", "truth"))])
    spec = _explaining.read_spec(choices)
    model = open_bundle(bundle)
    with _inside.looking(model, fasta, out, choices, "mapping") as (genome, activations, progress):
        rows = _explaining.read_rows(choices, spec, genome, model, keep=False)
        progress.total(len(rows))
        facts = map_rows(
            rows,
            out,
            activations=activations,
            fasta=genome,
            spec=spec,
            options=options,
            plot=choices["plot"],
            truth=() if choices["truth"] is None else read_bed(choices["truth"]),
            progress=progress.done,
        )
        layer = activations.layer(options.layer)
    _shared.say_notes(spec.notes(model))
    _inside.say_checks(facts)
    count = f"{len(facts)} window{'' if len(facts) == 1 else 's'}"
    click.echo(f"{count}: one score for each {layer.resolution_bp} bp of {layer.name} -> {out}", err=True)
