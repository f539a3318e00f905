"""``borzoi-rt promoter train``. What it asks for, and what the files give; training itself is :mod:`.train`."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np
import torch

from borzoi_rt.errors import BackendError, InputError

from ..cli_config import config_option, other_keys, resolved
from ..cli_run import RUN, run_options, stops_told
from ..models.promoter import MotifNetwork, build, set_kernels
from ..models.promoter_config import PromoterConfig
from ..training.penalties import PENALTIES
from ..training.processes import is_first_process
from .data import SMOOTHING_BP, TOP, PromoterData, load_data, read_tss_table
from .objectives import PUBLISHED, TUNING, Objective
from .options import OPTIONS, SCHEDULES, TUNE_FREEZE, TrainOptions, tuning_options
from .runs import tuned
from .store import read_consensus

_FILE = click.Path(path_type=Path)
_COUNT = click.IntRange(min=1)
_FORMS = click.Choice(tuple(PENALTIES))
_FRESH = ("kernels", "other_kernels", "motifs", "others")
_SIZES = tuple(item.name for item in fields(PromoterConfig))
_T = TypeVar("_T", TrainOptions, Objective)


def _published(text: str, name: str) -> str:
    """Return a help text with the published values of the three stages."""
    one, two, three = (getattr(PUBLISHED[stage], name) for stage in (1, 2, 3))
    shown = [value if isinstance(value, str) else f"{value:g}" for value in (one, two, three)]
    return f"{text}  [default: {shown[0]}, stage 2: {shown[1]}, stage 3: {shown[2]}]."


@click.command()
@config_option(_SIZES, about=", and of network sizes where they are not the published ones")
@run_options
@click.option(
    "--stage",
    type=click.IntRange(1, 3),
    help="What to train: 1 finds motifs, 2 finds short kernels beside them, 3 is the predictor. Needed without --from.",
)
@click.option("--fasta", required=True, type=_FILE, help="Genome: FASTA, plain or bgzip, with its index beside it.")
@click.option("--plus", required=True, type=_FILE, help="bigWig of counts of 5' ends on the + strand.")
@click.option("--minus", required=True, type=_FILE, help="bigWig of counts of 5' ends on the - strand.")
@click.option("--tss", required=True, type=_FILE, help="TSSs: BED, or a table of CAGEfightR (1-based thick.start).")
@click.option("--valid", required=True, help="Chromosomes to validate on, separated by commas.")
@click.option(
    "--test",
    default="",
    help="Chromosomes to leave out of training and validation, separated by commas  [default: none].",
)
@click.option("--out", required=True, type=_FILE, help="Directory of the run to make, or with --resume to go on with.")
@click.option("--kernels", type=_FILE, help="Directory of consensus motifs, which stages 2 and 3 need.")
@click.option("--other-kernels", type=_FILE, help="Directory of consensus short kernels, which stage 3 needs.")
@click.option("--motifs", type=_COUNT, help="Number of motif kernels in stage 1  [default: 40].")
@click.option("--others", type=_COUNT, help="Number of short kernels in stage 2  [default: 40].")
@click.option("--from", "origin", type=_FILE, help="Instead of --stage: tune this run of stage 3 to --tissue.")
@click.option("--freeze", type=click.Choice(TUNE_FREEZE), help="What keeps its weights in tuning  [default: kernels].")
@click.option("--new-head", is_flag=True, help="Tune with a new head  [default: the head of the run].")
@click.option(
    "--top",
    type=_COUNT,
    default=TOP,
    show_default=True,
    help="Number of TSSs of a CAGEfightR table to take, those of highest score.",
)
@click.option(
    "--max-steps",
    "--steps",
    "steps",
    type=_COUNT,
    help="Updates after which training ends  [default: by stage; tuning: 10 epochs].",
)
@click.option(
    "--batch-size",
    "--batch",
    "batch",
    type=click.IntRange(min=2),
    help="Windows in a batch of each device  [default: 16, stage 3: 64, tuning: 32].",
)
@click.option(
    "--learning-rate",
    "--rate",
    "rate",
    type=float,
    help="Learning rate of AdamW  [default: 2e-3, stage 3 and tuning: 1e-4].",
)
@click.option(
    "--schedule",
    type=click.Choice(SCHEDULES),
    help="Course of the learning rate: constant, cosine or cycle  [default: by stage].",
)
@click.option(
    "--valid-every",
    "--validate-every",
    "validate_every",
    type=_COUNT,
    help="Updates between two validations  [default: by stage, or all of them if fewer].",
)
@click.option(
    "--save-every", type=_COUNT, help="Updates between checkpoints (last.ckpt)  [default: as between validations]."
)
@click.option("--seed", type=click.IntRange(min=0), help="Random seed, which fixes the whole run  [default: 0].")
@click.option(
    "--tissue",
    help="Tissue of the data, by which the consensus groups runs; in tuning, of a CAGEfightR table those promoters "
    "whose column TISSUE.1 (TPM) is above 1  [default: all].",
)
@click.option(
    "--smooth-deconv",
    type=float,
    help=_published("Weight of the penalty on roughness of the second convolution", "smooth_deconv"),
)
@click.option(
    "--l1-deconv", type=float, help=_published("Weight of the L1 penalty on the second convolution", "l1_deconv")
)
@click.option(
    "--l1-motif", type=float, help=_published("Weight of the L1 penalty on the first convolution", "l1_motif")
)
@click.option(
    "--poisson-kl", type=float, help=_published("Weight of the Poisson loss beside that of the profile", "poisson_kl")
)
@click.option("--adamw-wd", type=float, help=_published("Weight decay of AdamW", "adamw_wd"))
@click.option("--smooth-form", type=_FORMS, help=_published("Formula of the penalty --smooth-deconv", "smooth_form"))
@click.option(
    "--l1-form", type=_FORMS, help=_published("Formula of the penalties --l1-deconv and --l1-motif", "l1_form")
)
def train(origin: Path | None, out: Path, resume: bool, **choices: Any) -> None:
    """Train one network of a stage, or tune one to a tissue, and write a run.

    OUT gets last.ckpt, best.ckpt, train.csv, valid.csv, TensorBoard files, run.json and run.yaml; `borzoi-rt promoter
    train --config OUT/run.yaml --out OTHER` repeats the run. Ctrl-C ends the update in progress, keeps it, and stops.
    """
    try:
        from ..training.session import RunOptions
        from .train import train as train_network
    except ModuleNotFoundError as error:
        raise BackendError(
            f"`promoter train` needs {(error.name or '').split('.')[0]}; pip install 'borzoi-rt[train]'"
        ) from error
    with stops_told(out):
        torch.manual_seed(choices["seed"] or 0)
        model, about = _fresh(choices) if origin is None else _tuned(origin, choices)
        training, validation, skipped = _data(model.config, choices, tissue=about["tissue"])
        stage = model.config.stage
        defaults = OPTIONS[stage] if origin is None else tuning_options(len(training), about["tissue"])
        options = _options(defaults, choices)
        objective = _changed(PUBLISHED[stage] if origin is None else TUNING, choices)
        record = resolved(**{**asdict(objective), **asdict(options), "tissue": choices["tissue"]})
        best = train_network(
            model,
            training,
            validation,
            out,
            options=options,
            objective=objective,
            origin=about,
            run=RunOptions(progress=True, record=record, **{name: choices[name] for name in RUN}),
            resume=resume,
        )
    if not is_first_process():
        return
    click.echo(
        f"{out}: {len(training)} sites trained on, {skipped} skipped; validation loss {best['loss']:.5f}, mean Pearson "
        f"{best['pearson']:.4f} at step {best['step']:.0f}",
        err=True,
    )


def _fresh(choices: dict[str, Any]) -> tuple[MotifNetwork, dict[str, Any]]:
    """Return the network of a stage, with the kernels of earlier stages."""
    stage, kernels, other_kernels = (choices[name] for name in ("stage", "kernels", "other_kernels"))
    if stage is None:
        raise click.UsageError("--stage is missing; give 1, 2 or 3, or --from RUN and --tissue NAME")
    if choices["freeze"] or choices["new_head"]:
        raise click.UsageError("--freeze and --new-head are of tuning; give --from RUN and --tissue NAME")
    model = build(_config(stage, choices))
    if kernels is not None:
        found, _ = read_consensus(kernels)
        weights = {"motif": torch.from_numpy(found.kernel)}
        if stage == 2:
            weights["effect"] = torch.from_numpy(np.ascontiguousarray(found.effect))
        if other_kernels is not None:
            weights["other"] = torch.from_numpy(_short(other_kernels))
        set_kernels(model, **weights)
    return model, {"run": None, "tissue": None}


def _tuned(origin: Path, choices: dict[str, Any]) -> tuple[MotifNetwork, dict[str, Any]]:
    """Return the network of a run, to be tuned."""
    given = {**other_keys(), **{name: choices[name] for name in _FRESH}}
    extra = next((name for name, value in given.items() if value is not None), None)
    if extra is not None:
        raise click.UsageError(f"--{extra.replace('_', '-')} is what {origin} has already; leave it out with --from")
    if choices["tissue"] is None:
        raise click.UsageError("--from tunes to one tissue; give --tissue NAME")
    if choices["stage"] not in (None, 3):
        raise click.UsageError(f"--stage {choices['stage']} with --from; only stage 3 is tuned, leave --stage out")
    freeze = choices["freeze"] or TUNE_FREEZE[0]
    model = tuned(origin, freeze=freeze, new_head=choices["new_head"])
    about = {"run": origin.name, "freeze": freeze, "new_head": choices["new_head"], "tissue": choices["tissue"]}
    return model, about


def _data(
    config: PromoterConfig, choices: dict[str, Any], *, tissue: str | None
) -> tuple[PromoterData, PromoterData, int]:
    """Return training and validation data, and the number of sites left out."""
    sites = read_tss_table(choices["tss"], top=choices["top"], tissue=tissue)
    files = {name: choices[name] for name in ("fasta", "plus", "minus")}
    data = load_data(config, sites, **files, smoothing_bp=SMOOTHING_BP if config.stage == 3 else 1)
    skipped = data.skipped
    if choices["test"]:
        data, _ = data.split(choices["test"].split(","))
    return *data.split(choices["valid"].split(",")), skipped


def _options(defaults: TrainOptions, choices: dict[str, Any]) -> TrainOptions:
    steps = choices["steps"] or defaults.steps
    every = choices["validate_every"] or min(defaults.validate_every, steps)
    return _changed(defaults, {**choices, "validate_every": every, "save_every": choices["save_every"] or every})


def _changed(defaults: _T, choices: dict[str, Any]) -> _T:
    """Return defaults with the options that were given."""
    known = {item.name for item in fields(defaults)}
    given = {name: value for name, value in choices.items() if name in known and value is not None}
    return type(defaults)(**{**asdict(defaults), **given})


def _config(stage: int, choices: dict[str, Any]) -> PromoterConfig:
    kernels, other_kernels = choices["kernels"], choices["other_kernels"]
    sizes = other_keys()
    if stage == 1:
        names = tuple(f"kernel{number}" for number in range(choices["motifs"] or 40))
        return PromoterConfig.from_dict({"motif_names": names, **sizes, "stage": 1})
    if kernels is None:
        raise InputError(f"stage {stage} needs the motifs of stage 1; give --kernels, made by `promoter consensus`")
    found, names = read_consensus(kernels)
    sizes = {"scored": found.initiator.count(False), **sizes}
    sizes = {"motif_width": found.kernel.shape[-1], "effect_width": found.forward.shape[-1], **sizes}
    if stage == 3:
        if other_kernels is None:
            raise InputError("stage 3 needs the short kernels of stage 2; give --other-kernels")
        short = _short(other_kernels)
        sizes = {"others": len(short), "other_width": short.shape[-1], **sizes}
    others = choices["others"] or 40
    return PromoterConfig.from_dict({"motif_names": names, "others": others, **sizes, "stage": stage})


def _short(folder: Path) -> np.ndarray:
    return read_consensus(folder)[0].kernel
