"""``borzoi-rt export``, loaded by name from the runtime's command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from borzoi_rt.bundle.manifest import N_POLICIES, PRECISIONS, SquashSpec
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.squash import KINDS

from .convert import convert_calico, convert_checkpoint, convert_torch
from .graphs.finish import table
from .graphs.tower import CONVOLUTIONS

_FILE = click.Path(path_type=Path)


_targets = click.option("--targets", required=True, type=_FILE, help="Track table, one row per output of the head.")
_squash = click.option(
    "--squash",
    required=True,
    type=click.Choice(KINDS),
    help="How the training targets were squashed. Published Borzoi weights: old. Never guessed.",
)
_unscale = click.option(
    "--unscale/--no-unscale", default=False, show_default=True, help="Default of the inverse: in reads."
)
_unclip = click.option(
    "--unclip/--no-unclip", default=True, show_default=True, help="Default of the inverse: soft clip undone."
)
_n_policy = click.option(
    "--n-policy",
    type=click.Choice(tuple(N_POLICIES)),
    default="zero",
    show_default=True,
    help="Code of unknown bases in training.",
)
_name = click.option("--name", help="Name of the model  [default: of the weight file].")
_out = click.option("--out", required=True, type=_FILE, help="Bundle directory to make.")
_convolution = click.option(
    "--convolution",
    type=click.Choice(CONVOLUTIONS),
    help="Form of the tower  [default: the fastest that passes].",
)
_precision = click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="fp32",
    show_default=True,
    help="Of all but the head; fp16 is for GPUs.",
)
_overwrite = click.option("--overwrite", is_flag=True, help="Replace an existing bundle.")


def common_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that every export has."""
    return _but_squash(_squash(command))


def _but_squash(command: Callable[..., None]) -> Callable[..., None]:
    for option in (_overwrite, _precision, _convolution, _out, _name, _n_policy, _unclip, _unscale, _targets):
        command = option(command)
    return command


@click.group()
def export() -> None:
    """Convert trained weights into an ONNX bundle."""


@export.command()
@click.option("--weights", required=True, type=_FILE, help="Keras .h5 of one head.")
@click.option("--params", required=True, type=_FILE, help="params.json of the model.")
@click.option("--head", default="0", show_default=True, help="Number or name of the head the file holds.")
@click.option("--crop", type=click.IntRange(min=0), help="Bins to drop on each side  [default: the params'].")
@common_options
def calico(weights: Path, params: Path, targets: Path, out: Path, **options: Any) -> None:
    """Convert weights of calico/baskerville."""
    _report(convert_calico(weights, params, targets, out, **_with_squash(options)))


@export.command(name="torch")
@click.option(
    "--weights", required=True, help="State dict (.safetensors, .bin), its directory, or owner/name on the hub."
)
@click.option("--config", type=_FILE, help="config.json  [default: beside the weights].")
@click.option("--head", default="human", show_default=True, help="human or mouse.")
@click.option("--revision", help="Revision of the repository.")
@common_options
def torch_command(weights: str, targets: Path, out: Path, **options: Any) -> None:
    """Convert weights of borzoi-pytorch."""
    _report(convert_torch(weights, targets, out, **_with_squash(options)))


@export.command()
@click.option("--checkpoint", required=True, type=_FILE, help="last.ckpt or best.ckpt of `borzoi-rt train`.")
@click.option("--head", help="Number or name of the head  [default: the one it is the best of, else the first].")
@click.option("--crop", type=click.IntRange(min=0), help="Bins to drop on each side  [default: the params'].")
@click.option("--squash", type=click.Choice(KINDS), help="How the targets were squashed  [default: what the data say].")
@_but_squash
def checkpoint(checkpoint: Path, targets: Path, out: Path, **options: Any) -> None:
    """Convert a checkpoint of borzoi-rt train."""
    bundle = convert_checkpoint(checkpoint, targets, out, **options)
    _report(bundle)
    facts = bundle.info.provenance
    average = f", weights averaged by {facts['ema']:g} (EMA)" if facts["ema"] else ""
    click.echo(f"{checkpoint.name}: step {facts['step']}, {bundle.info.head}{average}", err=True)


def _with_squash(options: dict[str, Any]) -> dict[str, Any]:
    spec = SquashSpec(kind=options.pop("squash"), unscale=options.pop("unscale"), unclip=options.pop("unclip"))
    return {**options, "squash": spec}


def _report(bundle: Bundle) -> None:
    parity = bundle.info.parity
    for line in table(parity["checks"]):
        click.echo(line)
    if parity["magnifies_rounding"]:
        noise = parity["noise"]
        click.echo(
            f"this network magnifies rounding: PyTorch itself differs from float64 by {noise['peak']:.2e} in logits of "
            f"up to {noise['largest']:.3g}"
        )
    click.echo(
        f"{bundle.path}: {len(bundle.tracks)} tracks; {parity['convolution']} convolutions, {bundle.info.precision}"
    )
