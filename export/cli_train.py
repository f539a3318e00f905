"""``borzoi-rt train``, loaded by name from the runtime's command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from borzoi_rt.squash import KINDS

from .cli_config import config_option, resolved
from .cli_run import RUN, run_options, stops_told, taken
from .models.config import read_params
from .training.adapters import FREEZE, LoraOptions
from .training.options import ATTENTION, SCHEDULES, TrainOptions
from .training.processes import is_first_process
from .training.regularisers import Penalty
from .training.run import TuneOptions, validation_pearson
from .training.run import train as run_training
from .training.session import RunOptions

_PATH = click.Path(path_type=Path)
_COUNT, _ANY_COUNT = click.IntRange(min=1), click.IntRange(min=0)
_TUNE = ("init", "init_head", "keep_head", "freeze")


@click.command()
@config_option()
@run_options
@click.option(
    "--params",
    required=True,
    type=_PATH,
    help="params.json of Calico: `model` is the network, `train` how it is trained.",
)
@click.option(
    "--data",
    required=True,
    multiple=True,
    type=_PATH,
    help="Data directory, as `borzoi-rt data make` or baskerville makes it; one for each head.",
)
@click.option("--out", required=True, type=_PATH, help="Directory of the run to make, or with --resume to go on with.")
@click.option(
    "--head",
    "heads",
    multiple=True,
    help="Number or name of a head to train, one for each --data  [default: the first heads].",
)
@click.option(
    "--max-steps", type=_ANY_COUNT, help="Updates after which training ends; 0 leaves it to the epochs  [default: 0]."
)
@click.option(
    "--max-epochs",
    type=_COUNT,
    help="Passes over the data after which training ends  [default: the params' train_epochs_max].",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Random seed, which fixes the whole run."
)
@click.option("--batch-size", type=_COUNT, help="Windows in a batch of each device  [default: the params' batch_size].")
@click.option(
    "--checkpoint-blocks",
    is_flag=True,
    default=None,
    help="Compute activations again in the backward pass: less memory, more time  [default: keep them].",
)
@click.option(
    "--attention",
    type=click.Choice(ATTENTION),
    help="Form of attention. plain: whole matrices; sdpa: PyTorch's fused function; chunks: 512 queries at a time, "
    "computed again in the backward pass, least memory. All give the same values to rounding  [default: plain].",
)
@click.option(
    "--learning-rate",
    type=float,
    help="Largest learning rate, after the warm-up  [default: the params' learning_rate].",
)
@click.option(
    "--warmup-steps",
    type=click.IntRange(min=0),
    help="Updates over which the learning rate rises from 0  [default: the params' warmup_steps].",
)
@click.option(
    "--schedule",
    type=click.Choice(SCHEDULES),
    help="Learning rate after the warm-up: constant, or a cosine down to 0  [default: constant].",
)
@click.option(
    "--rc/--no-rc",
    "augment_rc",
    default=None,
    help="Give every other batch, by a coin, as its reverse complement  [default: as the params say].",
)
@click.option(
    "--valid-every", type=_ANY_COUNT, help="Updates between validations; 0 for one after each epoch  [default: 0]."
)
@click.option("--save-every", type=_COUNT, help="Updates between checkpoints (last.ckpt)  [default: 1000].")
@click.option(
    "--patience",
    type=click.IntRange(min=0),
    help="Validations without a higher Pearson r after which training ends  [default: the params' patience].",
)
@click.option(
    "--penalty",
    "penalties",
    multiple=True,
    help="Penalty on weights to add to the loss, NAME:GROUP:WEIGHT, like l1_mean:stem:4e-5; may be given several "
    "times; docs/training.md lists names and groups  [default: none].",
)
@click.option(
    "--squash",
    type=click.Choice(KINDS),
    help="How the targets were squashed, where the data do not say it  [default: as the data say].",
)
@click.option(
    "--init",
    help="Weights to begin with: .h5, .keras, .ckpt, .safetensors, .bin, or a Hugging Face repository, owner/name  "
    "[default: random].",
)
@click.option("--init-params", type=_PATH, help="params.json of the weights of --init  [default: that of --params].")
@click.option(
    "--init-head", help="Head of the weights of --init  [default: the one that a .ckpt is the best of, else the first]."
)
@click.option("--keep-head", is_flag=True, help="Begin with the head of --init too  [default: a new head].")
@click.option(
    "--freeze",
    type=click.Choice(FREEZE),
    default="none",
    show_default=True,
    help="What of the network does not learn: statistics of normalisation, or all but the head (trunk).",
)
@click.option(
    "--lora-rank",
    type=_COUNT,
    help="Train low-rank adapters (LoRA) of this rank beside the frozen trunk  [default: none].",
)
@click.option(
    "--lora-targets", default="query,value", show_default=True, help="Layers that get an adapter, separated by commas."
)
def train(
    params: Path, data: tuple[Path, ...], out: Path, heads: tuple[str, ...], resume: bool, **choices: Any
) -> None:
    """Train a Borzoi-family network on one data set per head, or fine-tune one.

    OUT gets last.ckpt, best.ckpt, train.csv, valid.csv, TensorBoard files, run.json and run.yaml; `borzoi-rt export
    checkpoint` makes a bundle of a checkpoint, `borzoi-rt train --config OUT/run.yaml --out OTHER` repeats the run.
    Ctrl-C ends the update in progress, keeps it, and stops.
    """
    values = read_params(params)
    penalties = [Penalty.parse(text) for text in choices.pop("penalties")]
    run = taken(choices, (*RUN, "squash"))
    tune = _tune(choices)
    options = TrainOptions.from_params(values, **choices)
    with stops_told(out):
        last = run_training(
            values,
            data,
            out,
            options=options,
            heads=heads,
            penalties=penalties,
            tune=tune,
            run=RunOptions(progress=True, record=resolved(**options.to_dict()), **run),
            resume=resume,
        )
    if not is_first_process():
        return
    best = validation_pearson(last)
    figures = ", ".join(f"{head} {value:.4f}" for head, value in best.items())
    click.echo(f"trained -> {last}; best validation Pearson: {figures or 'not validated'}", err=True)


def _tune(choices: dict[str, Any]) -> TuneOptions:
    rank, targets = choices.pop("lora_rank"), choices.pop("lora_targets")
    lora = None
    if rank is not None:
        lora = LoraOptions(rank=rank, alpha=2.0 * rank, targets=tuple(name.strip() for name in targets.split(",")))
    init_params = choices.pop("init_params")
    return TuneOptions(
        lora=lora,
        init_params=read_params(init_params) if init_params is not None else None,
        **{name: choices.pop(name) for name in _TUNE},
    )
