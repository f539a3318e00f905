"""Train a promoter network of any stage; a run is a directory that can be taken up again.

It holds ``last.ckpt``, ``best.ckpt``, ``train.csv`` with a row per step, ``valid.csv`` with one per validation,
``tensorboard/`` and ``run.json``. As published: AdamW, reverse complements of half of the batches. Unlike the published
code, every epoch takes the windows in an order of its own, validation runs in inference mode, and its data are never
those of the final test.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from borzoi_rt import __version__
from borzoi_rt.errors import InputError

from ..models.promoter import MotifNetwork
from ..models.promoter_config import FAMILY
from ..training.batches import Batches
from ..training.callbacks import BestCheckpoint
from ..training.session import RunOptions, Schedule, begin_run, fit, make_trainer, settle, world_of
from ..weights.checkpoint import read_checkpoint
from .data import PromoterData
from .module import PromoterModule
from .objectives import PUBLISHED, Objective
from .options import TrainOptions

_SWAPPED = np.array([1, 0])  # sense and antisense, of a reverse complement
# What a run that is taken up must have begun with, beside its options.
_FIXED = ("family", "config", "objective", "training", "validated", "initial", "origin", "trained", "world")


def train(
    model: MotifNetwork,
    training: PromoterData,
    validation: PromoterData,
    out: str | os.PathLike[str],
    *,
    options: TrainOptions,
    objective: Objective | None = None,
    origin: Mapping[str, Any] | None = None,
    run: RunOptions | None = None,
    resume: bool = False,
) -> dict[str, float]:
    """Train a network, or go on training.

    Parameters
    ----------
    model : MotifNetwork
        With the weights to begin with. Trained in place.
    training, validation : PromoterData
    out : path
        Directory to make.
    options : TrainOptions
    objective : Objective, optional
        The published one of the stage when None.
    origin : mapping, optional
        JSON values: where the first weights come from.
    run : RunOptions, optional
        Device and threads.
    resume : bool
        Go on from ``last.ckpt``.

    Returns
    -------
    dict
        ``loss`` and ``pearson`` (mean over sites, both strands) of the best validation, and its ``step``. The best has
        the lowest loss in stages 1 and 2, the highest correlation in stage 3, as published.

    Raises
    ------
    InputError
        If ``out`` is not empty and ``resume`` is false, or a run that began with something else.
    DivergedError
        If loss or gradient is not finite: the message names step and terms, ``last.ckpt`` stays as it was.
    """
    run, stage = run or RunOptions(), model.config.stage
    objective = objective or PUBLISHED[stage]
    folder = Path(out)
    settle(options.seed, run)
    meta = {
        "version": __version__,
        "family": FAMILY,
        "config": model.config.to_dict(),
        "options": asdict(options),
        "objective": asdict(objective),
        "training": training.about(),
        "validated": validation.about(),
        "trained_chroms": sorted({site.chrom for site in training.sites}),
        "initial": _state_digest(model),
        "origin": origin,
        "trained": sorted(name for name, parameter in model.named_parameters() if parameter.requires_grad),
        "world": world_of(run)[0],
    }
    module = PromoterModule(model, options, objective, meta=meta)
    batches = _batches(training, validation, options, world_of(run)[0])
    best = BestCheckpoint(folder, figure="pearson" if stage == 3 else "loss")
    schedule = Schedule(
        updates=options.steps,
        accumulate=options.accumulate,
        valid_every=options.validate_every * options.accumulate,
        save_every=options.save_every,
    )
    trainer = make_trainer(folder, schedule, run, watchers=[best], precision=options.precision, ema=options.ema)
    # The rate of a cosine depends on the number of steps; that of the others does not.
    free = ("save_every", *(() if options.schedule == "cosine" else ("steps",)))
    batches.start = begin_run(folder, meta, options, run, resume=resume, fixed=_FIXED, free=free)
    fit(trainer, module, batches, folder, resume=batches.start > 0)
    about, _ = read_checkpoint(folder / "best.ckpt")
    return {**about["validation"], "step": about["step"]}


def _batches(training: PromoterData, validation: PromoterData, options: TrainOptions, world: int) -> Batches:
    per_epoch = len(training) // (options.batch * world)
    if not per_epoch:
        raise InputError(
            f"{len(training)} training sites, fewer than the {options.batch} of one batch of each of {world} "
            "devices; take a smaller batch, or more sites"
        )
    if len(validation) < world:
        raise InputError(f"{len(validation)} validation sites, fewer than the {world} processes")
    epochs = -(-options.steps * options.accumulate // per_epoch)
    return Batches([training], [validation], [_SWAPPED], batch_size=options.batch, epochs=epochs, seed=options.seed)


def _state_digest(model: torch.nn.Module) -> str:
    """Return a hash of all weights and statistics."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).data)
    return digest.hexdigest()
