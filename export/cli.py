"""``borzoi-rt export``, loaded by name from the runtime's command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from borzoi_rt.bundle.manifest import N_POLICIES, PRECISIONS, TARGETS, SquashSpec
from borzoi_rt.bundle.opening import Bundle, open_bundle
from borzoi_rt.squash import KINDS

from .convert import convert_calico, convert_checkpoint, convert_torch
from .graphs.adding import add_activations, add_gradient
from .graphs.finish import table
from .graphs.form import CONVOLUTIONS
from .randomise import PARTS, randomise_bundle

_FILE = click.Path(path_type=Path)


_targets = click.option(
    "--targets",
    required=True,
    type=_FILE,
    help="Track table of Calico (TSV), a row for each output of the head: index, identifier, clip, clip_soft, scale, "
    "sum_stat, strand_pair, description.",
)
_squash = click.option(
    "--squash",
    required=True,
    type=click.Choice(KINDS),
    help="How the training targets were squashed: old for the published Borzoi weights, new for models trained with "
    "today's baskerville, bp_old and bp_new as in borzoi-pytorch, none for plain coverage. It is never guessed.",
)
_unscale = click.option(
    "--unscale/--no-unscale",
    default=False,
    show_default=True,
    help="Let scores of this bundle divide by the scale of the track, which gives reads.",
)
_unclip = click.option(
    "--unclip/--no-unclip",
    default=True,
    show_default=True,
    help="Let scores of this bundle undo the soft clip of high coverage.",
)
_n_policy = click.option(
    "--n-policy",
    type=click.Choice(tuple(N_POLICIES)),
    default="zero",
    show_default=True,
    help="Code of unknown bases (N) in training: zero, or uniform (0.25 for each base).",
)
_name = click.option("--name", help="Name of the model in the bundle  [default: that of the weight file].")
_out = click.option("--out", required=True, type=_FILE, help="Bundle: the directory to make.")
_convolution = click.option(
    "--convolution",
    type=click.Choice(CONVOLUTIONS),
    help="How the convolutions of the tower are computed: cook-toom with fewer products, direct as they are written  "
    "[default: cook-toom, and direct where that fails the parity check; with --target gpu neither].",
)
_precision = click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="fp32",
    show_default=True,
    help="Number format of all but the head; fp16 is for GPUs.",
)
_target = click.option(
    "--target",
    type=click.Choice(TARGETS),
    default="cpu",
    show_default=True,
    help="What the graphs are written for: cpu with little memory, gpu with few large operators. Both run on both, "
    "more slowly on the other.",
)
_gradient = click.option(
    "--gradient",
    is_flag=True,
    help="Write the gradient graphs too, which `explain` needs for saliency and its kin; fp32 only  [default: none].",
)
_activations = click.option(
    "--activations",
    is_flag=True,
    help="Write the graphs of what lies inside the network too, which `activations`, `attention` and `cam` need; fp32 "
    "only  [default: none].",
)
_overwrite = click.option("--overwrite", is_flag=True, help="Replace a bundle that is there  [default: an error].")


def common_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that every export has."""
    return _but_squash(_squash(command))


def _but_squash(command: Callable[..., None]) -> Callable[..., None]:
    return export_options(_name(_n_policy(_targets(command))))


def export_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add what every export may choose, whatever the weights are."""
    for option in (_overwrite, _activations, _gradient, _target, _precision, _convolution, _out, _unclip, _unscale):
        command = option(command)
    return command


@click.group()
def export() -> None:
    """Convert trained weights into an ONNX bundle, and check it against a float64 pass of the network."""


@export.command()
@click.option("--weights", required=True, type=_FILE, help="Keras weights of one head: .h5, .weights.h5 or .keras.")
@click.option("--params", required=True, type=_FILE, help="params.json that the model was trained with.")
@click.option("--head", default="0", show_default=True, help="Number or name of the head that the file holds.")
@click.option(
    "--crop",
    type=click.IntRange(min=0),
    help="Bins to leave out at each end of the output  [default: as the params say].",
)
@common_options
def calico(weights: Path, params: Path, targets: Path, out: Path, **options: Any) -> None:
    """Convert weights of calico/baskerville (Keras), as the published Borzoi models have them.

    Prints how far onnxruntime is from a float64 pass of the network in logits (root mean square and largest), and how
    far it may be; a bundle that is further away is not written.
    """
    report(convert_calico(weights, params, targets, out, **_with_squash(options)))


@export.command(name="torch")
@click.option(
    "--weights",
    required=True,
    help="Weights of borzoi-pytorch: .safetensors or .bin, their directory, or a Hugging Face repository, owner/name.",
)
@click.option("--config", type=_FILE, help="config.json of the weights  [default: the one beside them].")
@click.option("--head", default="human", show_default=True, help="Head to convert: human or mouse.")
@click.option("--revision", help="Branch, tag or commit of the Hugging Face repository  [default: its newest].")
@common_options
def torch_command(weights: str, targets: Path, out: Path, **options: Any) -> None:
    """Convert weights of borzoi-pytorch (Borzoi, Borzoi Prime, Flashzoi), of a file or of a Hugging Face repository.

    Prints how far onnxruntime is from a float64 pass of the network in logits (root mean square and largest), and how
    far it may be; a bundle that is further away is not written.
    """
    report(convert_torch(weights, targets, out, **_with_squash(options)))


@export.command()
@click.option(
    "--checkpoint",
    required=True,
    type=_FILE,
    help="Checkpoint of `borzoi-rt train`: last.ckpt, best.ckpt or best-HEAD.ckpt.",
)
@click.option(
    "--head",
    help="Number or name of the head to convert  [default: the one that it is the best of, else the first].",
)
@click.option(
    "--crop",
    type=click.IntRange(min=0),
    help="Bins to leave out at each end of the output  [default: as the params say].",
)
@click.option(
    "--squash",
    type=click.Choice(KINDS),
    help="How the training targets were squashed  [default: as the training data say].",
)
@_but_squash
def checkpoint(checkpoint: Path, targets: Path, out: Path, **options: Any) -> None:
    """Convert a checkpoint of `borzoi-rt train`.

    Prints how far onnxruntime is from a float64 pass of the network in logits (root mean square and largest), and how
    far it may be; a bundle that is further away is not written.
    """
    bundle = convert_checkpoint(checkpoint, targets, out, **options)
    report(bundle)
    facts = bundle.info.provenance
    average = f", weights averaged by {facts['ema']:g} (EMA)" if facts["ema"] else ""
    click.echo(f"{checkpoint.name}: step {facts['step']}, {bundle.info.head}{average}", err=True)


_bundle = click.option("--bundle", "source", required=True, type=_FILE, help="Bundle to begin with: a directory.")


@export.command()
@_bundle
@_out
@_overwrite
def gradient(source: Path, out: Path, overwrite: bool) -> None:
    """Add the gradient graphs to a bundle that was exported without --gradient; its weights are in it.

    The other graphs, weights and the example stay as they are, to the byte. Prints how far onnxruntime is from autograd
    in float64, and how far it may be; a bundle that is further away is not written.
    """
    bundle = add_gradient(open_bundle(source), out, overwrite=overwrite)
    told, allowed = (bundle.info.parity[name] for name in ("gradient", "gradient_allowed"))
    for name, text in (("error", "error of nine in ten"), ("far", "share far off"), ("loss", "1 - Pearson")):
        click.echo(f"{text:<20}  {told[name]:.2e}  allowed {allowed[name]:.2e}")
    click.echo(f"{bundle.path}: {len(bundle.info.graphs)} graphs")


@export.command()
@_bundle
@_out
@_overwrite
def activations(source: Path, out: Path, overwrite: bool) -> None:
    """Add the graphs of activations to a bundle that was exported without --activations; its weights are in it.

    The other graphs, weights and the example stay as they are, to the byte. The biases of stem and tower are not told
    apart in a bundle: units of these layers are less by theirs, a constant each. Prints how far onnxruntime is from the
    network in float64, and how far it may be, where that is nearest; a bundle that is further away is not written.
    """
    bundle = add_activations(open_bundle(source), out, overwrite=overwrite)
    told, allowed = (bundle.info.parity[name] for name in ("activations", "activations_allowed"))
    nearest = max(told, key=lambda name: float(told[name] / allowed[name]))
    click.echo(f"{nearest:<20}  {told[nearest]:.2e}  allowed {allowed[nearest]:.2e}")
    click.echo(f"{bundle.path}: {len(bundle.info.graphs)} graphs")


@export.command()
@_bundle
@click.option(
    "--down-to",
    "part",
    required=True,
    type=click.Choice(tuple(PARTS)),
    help="Deepest part of the network whose weights lose their order; all above it do, too.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Number that chance follows.")
@_out
@_overwrite
def randomise(source: Path, part: str, seed: int, out: Path, overwrite: bool) -> None:
    """Write a bundle with weights in random order, to see whether explanations follow what the network learned.

    Scores of such a bundle mean nothing. An explanation of it that is like that of the trained bundle says little of
    the network.
    """
    bundle = randomise_bundle(open_bundle(source), out, part=part, seed=seed, overwrite=overwrite)
    click.echo(f"{bundle.path}: weights in random order in {', '.join(bundle.info.provenance['randomised'])}")


def _with_squash(options: dict[str, Any]) -> dict[str, Any]:
    spec = SquashSpec(kind=options.pop("squash"), unscale=options.pop("unscale"), unclip=options.pop("unclip"))
    return {**options, "squash": spec}


def report(bundle: Bundle) -> None:
    """Print how near the bundle is to the float64 pass, and what it is."""
    parity = bundle.info.parity
    for line in table(parity["checks"]):
        click.echo(line)
    if parity["magnifies_rounding"]:
        noise = parity["noise"]
        click.echo(
            f"this network magnifies rounding: PyTorch itself differs from float64 by {noise['peak']:.2e} in logits of "
            f"up to {noise['largest']:.3g}"
        )
    form = f"{parity['convolution']} convolutions, {bundle.info.precision}"
    written_for = ", for GPUs" if bundle.info.target == "gpu" else ""
    click.echo(f"{bundle.path}: {len(bundle.tracks)} tracks; {form}{written_for}")
