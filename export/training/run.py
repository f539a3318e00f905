"""A whole training run: check everything that can be checked, then train, so that any step can be taken up again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from borzoi_rt import __version__
from borzoi_rt.dataset import STATISTICS, TARGETS, Data, open_data
from borzoi_rt.errors import FormatError, InputError

from ..models.config import BorzoiConfig
from .adapters import FREEZE, LoraOptions, add_lora, initial_state, load_initial
from .attention import set_attention
from .batches import Batches
from .callbacks import LAST, BestCheckpoint, Patience
from .module import BorzoiModule
from .network import MultiHead
from .options import TrainOptions
from .regularisers import Penalty, calico_penalties
from .session import RunOptions, Schedule, begin_run, file_digest, fit, make_trainer, settle, world_of
from .sets import check_sets, configs_of, strand_pairs, track_names

_FIXED = ("model", "heads", "penalties", "adapter", "freeze", "init", "world")
# What may change when a run is taken up: how long it goes on, and how often it is saved.
_FREE = ("max_steps", "max_epochs", "min_epochs", "patience", "save_every")


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneOptions:
    """What training begins with, and which part learns.

    Parameters
    ----------
    init : str, optional
        Trained weights; see :func:`borzoi_export.training.adapters.initial_state`.
    init_params : mapping, optional
        The params.json of these weights, where the head differs.
    init_head : int or str, optional
        The head of theirs to take; see :func:`borzoi_export.training.adapters.initial_state`.
    keep_head : bool
        Begin with their head too; otherwise with a new one.
    freeze : str
        ``none``; ``statistics``: normalise by the stored statistics; ``trunk``: only the heads learn.
    lora : LoraOptions, optional
        Low-rank adapters; the trunk's own weights and statistics are frozen.
    """

    init: str | None = None
    init_params: Mapping[str, Any] | None = None
    init_head: int | str | None = None
    keep_head: bool = False
    freeze: str = "none"
    lora: LoraOptions | None = None

    def __post_init__(self) -> None:
        if self.freeze not in FREEZE:
            raise InputError(f"freeze {self.freeze!r} is unknown; allowed: {', '.join(FREEZE)}")
        if self.init is None and (self.freeze != "none" or self.lora or self.keep_head):
            raise InputError("a frozen trunk, adapters or a kept head need weights to begin with (init)")
        if self.lora and self.freeze == "trunk":
            raise InputError("adapters change the trunk; leave out either lora or freeze='trunk'")


def train(
    params: Mapping[str, Any],
    data: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    options: TrainOptions,
    heads: Sequence[str] = (),
    penalties: Sequence[Penalty] = (),
    tune: TuneOptions | None = None,
    run: RunOptions | None = None,
    resume: bool = False,
) -> Path:
    """Train a network, or go on training.

    Parameters
    ----------
    params : mapping
        Content of a params.json.
    data : sequence of path
        One directory per head.
    out : path
        Directory to make: ``last.ckpt``, ``best.ckpt``, ``train.csv``, ``valid.csv``, ``tensorboard/``, ``run.json``,
        and ``run.yaml`` of a command.
    options : TrainOptions
        See there.
    heads : sequence of str
        Heads of the params to train, one per data set; the first ones when empty.
    penalties : sequence of Penalty
        Beside those of the params.
    tune, run : optional
        Fine-tuning; devices.
    resume : bool
        Go on from ``last.ckpt``.

    Returns
    -------
    Path
        The last checkpoint.

    Raises
    ------
    FormatError, InputError
        If files, options and data do not fit together; nothing is written then.
    DivergedError
        If loss or gradient is not finite; ``last.ckpt`` stays as it was.
    """
    tune, run = tune or TuneOptions(), run or RunOptions()
    sets = [open_data(path) for path in data]
    configs = configs_of(params, heads, sets)
    check_sets(sets, configs, options)
    world, _ = world_of(run)
    folder = Path(out)
    meta = _meta(params, configs, sets, options, tune, run, world, penalties)
    settle(options.seed, run)
    model = _network(params, configs, options, tune)
    batches = _batches(sets, options, run)
    schedule, least = _schedule(batches, options, world)
    module = BorzoiModule(
        model,
        options,
        tracks=[track_names(item) for item in sets],
        heads=[config.head for config in configs],
        penalties=penalties,
        recipe=calico_penalties(params, model),
        total_steps=schedule.updates,
        meta=meta,
    )
    watchers = [Patience(options.patience, least_batches=least), BestCheckpoint(folder)]
    trainer = make_trainer(
        folder,
        schedule,
        run,
        watchers=watchers if schedule.valid_every else (),
        precision=options.precision,
        ema=options.ema,
        heads=len(configs),
        sync=_shares_statistics(params),
    )
    free = _FREE if options.schedule == "constant" else _FREE[2:]
    batches.start = begin_run(folder, meta, options, run, resume=resume, fixed=_FIXED, free=free)
    fit(trainer, module, batches, folder, resume=batches.start > 0)
    return folder / LAST


def _batches(sets: Sequence[Data], options: TrainOptions, run: RunOptions) -> Batches:
    world, _ = world_of(run)
    validation = [item.split("valid") if item.info.windows.get("valid") else None for item in sets]
    for item, split in zip(sets, validation, strict=True):
        if split is not None and len(split) < world:
            raise InputError(f"{item.path} has {len(split)} validation windows, fewer than the {world} processes")
    return Batches(
        [item.split("train") for item in sets],
        validation,
        [strand_pairs(item, options) for item in sets],
        batch_size=options.batch_size,
        epochs=options.max_epochs,
        seed=options.seed,
        augment_rc=options.augment_rc,
        augment_shift=options.augment_shift,
        workers=run.readers,
    )


def _schedule(batches: Batches, options: TrainOptions, world: int) -> tuple[Schedule, int]:
    """Return how the run is cut, and the batches before which it must not end for lack of progress."""
    loader = batches.loader(0, world)
    updates = len(loader) // options.accumulate
    interval = options.valid_every or max(loader.per_epoch // options.accumulate, 1)
    schedule = Schedule(
        updates=min(updates, options.max_steps) if options.max_steps else updates,
        accumulate=options.accumulate,
        valid_every=interval * options.accumulate if batches.validated else 0,
        save_every=options.save_every,
    )
    return schedule, options.min_epochs * loader.per_epoch


def _network(
    params: Mapping[str, Any], configs: Sequence[BorzoiConfig], options: TrainOptions, tune: TuneOptions
) -> MultiHead:
    model = MultiHead(configs)
    if tune.init is not None:
        state = initial_state(tune.init, tune.init_params or params, head=tune.init_head)
        load_initial(model.network, state, str(tune.init), keep_head=tune.keep_head)
    if tune.lora is not None:
        add_lora(model.network, tune.lora)
        model.freeze_statistics()
    elif tune.freeze == "trunk":
        model.freeze()
    elif tune.freeze == "statistics":
        model.freeze_statistics()
    set_attention(model.network, options.attention)
    if options.checkpoint_blocks:
        model.recompute()
    return model


def _meta(
    params: Mapping[str, Any],
    configs: Sequence[BorzoiConfig],
    sets: Sequence[Data],
    options: TrainOptions,
    tune: TuneOptions,
    run: RunOptions,
    world: int,
    penalties: Sequence[Penalty],
) -> dict[str, Any]:
    heads = []
    for config, data in zip(configs, sets, strict=True):
        recorded = data.info.squash
        if recorded and run.squash and recorded != run.squash:
            raise InputError(f"{data.path} was squashed by {recorded!r}, not {run.squash!r}")
        heads.append(
            {
                "name": config.head,
                "tracks": config.tracks,
                "squash": recorded or run.squash,
                "targets_sha256": file_digest(data.path / TARGETS),
                "statistics_sha256": file_digest(data.path / STATISTICS),
            }
        )
    return {
        "version": __version__,
        "model": json.loads(json.dumps(params.get("model", params))),
        "heads": heads,
        "options": options.to_dict(),
        "penalties": [f"{item.name}:{item.group}:{item.weight!r}" for item in penalties],
        "adapter": tune.lora.to_dict() if tune.lora else None,
        "freeze": tune.freeze,
        "init": tune.init and {"name": Path(tune.init).name, "sha256": file_digest(Path(tune.init))},
        "world": world,
    }


def _shares_statistics(params: Mapping[str, Any]) -> bool:
    """Tell whether normalisation is to share the statistics of a batch between devices."""
    model = params.get("model", params)
    return "batch-sync" in (model.get("norm_type"), *(block.get("norm_type") for block in model["trunk"]))


def validation_pearson(checkpoint: str | os.PathLike[str]) -> dict[str, float]:
    """Return the best validation Pearson of each head in a run, from the ``valid.csv`` beside a checkpoint."""
    path = Path(checkpoint).with_name("valid.csv")
    if not path.is_file():
        raise FormatError(f"{path}: missing")
    best: dict[str, float] = {}
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        _, head, _, pearson, _ = line.split(",")
        if pearson:
            best[head] = max(best.get(head, -1.0), float(pearson))
    return best
