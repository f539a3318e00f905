"""``borzoi-rt influence``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ..backends.device import Device
from ..bundle.opening import Bundle, open_bundle
from ..dataset import SPLITS, Data, open_data
from ..dataset.window import Window
from ..errors import InputError
from ..evaluation.run import check_data
from ..examples.influence import CONTROLS, METHODS, InfluenceOptions, LossQuery, Query, TargetQuery, influences
from ..examples.influence_table import write_influences
from ..examples.last_layer import LastLayer
from ..explain.target import TargetSpec
from ..genome.fasta import Fasta
from ..inside.tables import check_output
from ..scoring.ensemble import check_members
from . import _shared
from ._explaining import read_rows, read_spec, target_options

_FILE = click.Path(path_type=Path)
_DEFAULTS = InfluenceOptions()
OF_TARGETS = (
    *("fasta", "target", "against", "genes", "pas", "strand", "sites", "site", "site_pseudo"),
    *("squashed", "squash", "unclip", "unscale", "pseudo"),
)


class Numbers(click.ParamType):  # type: ignore[type-arg]
    """A comma list of numbers, like ``1e-4,1e-5``."""

    name = "numbers"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Return the numbers; click shows the error."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a comma list of numbers, like 1e-4,1e-5", param, ctx)


@click.command()
@click.option(
    "--data",
    required=True,
    type=_FILE,
    help="What the model was trained on: a data directory of `borzoi-rt data make` or of baskerville (TFRecord).",
)
@click.option(
    "--split", type=click.Choice(SPLITS), default="train", show_default=True, help="Windows whose influence is asked."
)
@click.option("--region", help="Ask for the target of this region, 1-based, like chr1:1,001-1,200  [default: none].")
@click.option("--gene", help="Gene of the target, id or name, of --genes; its window is predicted  [default: none].")
@click.option(
    "--window",
    metavar="SPLIT:NUMBER",
    help="Ask for the loss of this window of the data instead, counted from 0, like valid:3  [default: none].",
)
@target_options
@_shared.bundle_option
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    type=_FILE,
    help="Another checkpoint of the same training, as a bundle; tracin adds them up. May be given again  "
    "[default: none].",
)
@click.option(
    "--rates",
    type=Numbers(),
    help="Learning rates of --bundle and of each --checkpoint, of tracin, like 1e-4,1e-5  [default: 1 for each].",
)
@click.option("--fasta", type=_FILE, help="The genome of --region or --gene: FASTA with its index  [default: none].")
@click.option("--out", required=True, type=_FILE, help="Table to write, a row per training window (TSV).")
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default=_DEFAULTS.method,
    show_default=True,
    help="tracin: inner products of gradients; influence: with the inverse of the curvature, which leaving a window "
    "out of the training of the last layer asks for.",
)
@click.option(
    "--damping",
    type=float,
    help=f"Share of its mean diagonal that is added to the curvature, of influence  [default: {_DEFAULTS.damping:g}].",
)
@click.option(
    "--total-weight", type=float, default=0.2, show_default=True, help="Weight of the loss of sums, as in training."
)
@click.option(
    "--weight-range", type=float, default=1.0, show_default=True, help="Weight of middle over outer bins in the loss."
)
@click.option("--weight-exp", type=float, default=4.0, show_default=True, help="Exponent of the curve between them.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Number that controls follow.")
@_shared.n_code_option
@_shared.device_option
@_shared.threads_option
def influence(bundle: Path, data: Path, out: Path, **choices: Any) -> None:
    """Say which training windows made a model predict what it predicts, as far as its last layer tells.

    Ask for a target (--region, or --gene alone, with --fasta) or for the loss of a window (--window). Above 0, training
    on a window raises what was asked for; of a loss, below 0 helps. OUT has the strongest windows first.
    """
    sources = [data, bundle, *choices["checkpoints"], *(choices[name] for name in ("fasta", "genes", "pas"))]
    check_output(out, sources, (".tsv",))
    if choices["damping"] is not None and choices["method"] != "influence":
        raise InputError("--damping is of --method influence")
    options = InfluenceOptions(
        method=choices["method"],
        rates=choices["rates"] or (),
        damping=_DEFAULTS.damping if choices["damping"] is None else choices["damping"],
        **{name: choices[name] for name in ("total_weight", "weight_range", "weight_exp", "seed")},
    )
    models = [open_bundle(path) for path in (bundle, *choices["checkpoints"])]
    check_members(models)
    source = open_data(data)
    check_data(source, models[0].geometry, models[0].tracks)
    query, asked = _query(choices, source, models[0], options)
    device = Device.parse(choices["device"], threads=choices["threads"])
    split = choices["split"]
    with (
        _shared.last_words(f"interrupted: {out} was not written"),
        _shared.progress_bar("reading windows", source.info.windows.get(split, 0) * len(models)) as progress,
    ):
        found = influences(
            models,
            source,
            split,
            query,
            options=options,
            opened=lambda model: LastLayer(model, device, n_code=choices["n_code"]),
            progress=progress.done,
        )
    about = {
        "query": {**asked, "value": found.value},
        "models": [{"name": model.info.name, "sha256": model.sha256} for model in models],
        "data": str(data),
        "options": asdict(options),
        "controls": CONTROLS,
        "n_code": choices["n_code"] or models[0].info.n_policy,
        "layers": "last",
    }
    write_influences(out, source, split, found, about)
    few = int((found.chance <= 1.0 / (1 + CONTROLS)).sum())
    click.echo(
        f"{len(found.influence)} windows of {split}, {few} stronger than all {CONTROLS} controls -> {out}", err=True
    )


def _query(
    choices: dict[str, Any], data: Data, model: Bundle, options: InfluenceOptions
) -> tuple[Callable[[Bundle], Query], dict[str, Any]]:
    """Return what is asked for, and what to call it."""
    of_target = [name for name in ("region", "gene") if choices[name] is not None]
    if (choices["window"] is None) != bool(of_target):
        raise InputError("give --window, or --region (or --gene) with --fasta")
    if choices["window"] is not None:
        unused = _shared.typed(OF_TARGETS)
        if unused:
            raise InputError(f"{unused[0]} is of a target; the query is the loss of a window: leave it out")
        window, tracks = _window(choices["window"], data), model.tracks.select(choices["tracks"])
        asked = {"loss_of_window": choices["window"], "tracks": choices["tracks"]}
        return lambda other: LossQuery(window, tracks, options), asked
    if choices["fasta"] is None:
        raise InputError("the target of a region needs the genome: give --fasta")
    spec: TargetSpec = read_spec(choices)
    with Fasta(choices["fasta"]) as genome:
        (row,) = read_rows({**choices, "bed": None, "variant": None, "width": None}, spec, genome, model)
        onehot = row.window(genome, model.geometry)
    _shared.say_notes(spec.notes(model))
    where = {"chrom": row.bases.chrom, "start": row.bases.start, "end": row.bases.end}
    bases = {**where, "window_start": row.where.window_start}
    asked = {"bases": bases, "target": spec.bind(model, row.where).to_json()}
    return lambda other: TargetQuery(spec.bind(other, row.where), onehot), asked


def _window(text: str, data: Data) -> Window:
    """Return the window that SPLIT:NUMBER names."""
    split, colon, number = text.partition(":")
    if not (colon and number.isascii() and number.isdigit() and len(number) < 12):
        raise InputError(f"window {text!r} cannot be read; write it like valid:3")
    windows = data.split(split)
    if int(number) >= len(windows):
        raise InputError(f"window {text!r}: {data.path} has {len(windows)} windows of {split}, numbered from 0")
    return next(window for at, window in enumerate(windows.in_order()) if at == int(number))
