"""What every run shares, whatever the network: directory, devices, Lightning's trainer, being taken up again."""

from __future__ import annotations

import json
import logging
import os
import signal
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.precision import MixedPrecision
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from borzoi_rt.errors import BackendError, InputError
from borzoi_rt.reading import sha256_of

from ..weights.checkpoint import read_checkpoint
from .average import Average
from .callbacks import LAST, LastCheckpoint, StepLog
from .checkpoints import WholeFiles
from .processes import StoppedError, is_first_process
from .progress import Progress
from .steps import StepModule
from .stopping import StopNow, StopRequest

RUN, RECORD = "run.json", "run.yaml"
_PRECISION = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Where and on what a run computes.

    Parameters
    ----------
    devices : int
        GPUs, or processes on the CPU.
    accelerator : str
        ``auto``, ``cpu`` or ``gpu``.
    threads : int, optional
        CPU threads of each process; torch's choice when None.
    workers : int, optional
        Threads of each process that read windows; their order and bytes are the same for any number. A share of the
        cores when None.
    deterministic : bool
        Only sums whose order is fixed, so that a run repeats bit by bit on the same device. Costs time on a GPU.
    tf32 : bool
        Let a GPU round the factors of float32 products to 10 bits.
    progress : bool
        Show steps, loss, validation and the time left on stderr.
    squash : str, optional
        Kind of targets that do not record it (TFRecords).
    record : mapping, optional
        Options of a command, written to ``run.yaml``.
    """

    devices: int = 1
    accelerator: str = "auto"
    threads: int | None = None
    workers: int | None = None
    deterministic: bool = True
    tf32: bool = False
    progress: bool = False
    squash: str | None = None
    record: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        for name in ("devices", "threads", "workers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value!r}; 1 or more is needed")

    @property
    def on_cpu(self) -> bool:
        """Whether the run computes on the CPU."""
        return self.accelerator == "cpu" or (self.accelerator == "auto" and not torch.cuda.is_available())

    @property
    def readers(self) -> int:
        """Threads of each process that read windows; where none are given 8 at most: its cores, a quarter of them on
        the CPU, where they also train."""
        if self.workers is not None:
            return self.workers
        share = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, min(8, share // world_of(self)[1] // (4 if self.on_cpu else 1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How a run is cut.

    ``updates`` in all, ``accumulate`` batches each; ``valid_every`` batches (0: never) a validation, ``save_every``
    updates a checkpoint.
    """

    updates: int
    accumulate: int = 1
    valid_every: int = 0
    save_every: int = 1000


def settle(seed: int, run: RunOptions) -> None:
    """Quiet Lightning, and fix threads and seed; before the network is made."""
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")
    if run.threads:
        torch.set_num_threads(run.threads)
    # Both are set: for convolutions torch would use TF32 unasked.
    torch.backends.cuda.matmul.allow_tf32 = run.tf32
    torch.backends.cudnn.allow_tf32 = run.tf32
    torch.manual_seed(seed)


def world_of(run: RunOptions) -> tuple[int, int]:
    """Return the number of processes, and of those on this machine; torchrun's count where it started us."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        world, local = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
        if run.devices not in (1, world):
            raise InputError(f"devices is {run.devices}, but torchrun started {world} processes")
        return world, local
    return run.devices, run.devices


def make_trainer(
    folder: Path,
    schedule: Schedule,
    run: RunOptions,
    *,
    watchers: Sequence[Any] = (),
    precision: str = "32",
    ema: float = 0.0,
    heads: int = 1,
    sync: bool = False,
) -> pl.Trainer:
    """Return Lightning's trainer of a run; ``watchers`` are called after validations, before the last checkpoint."""
    world, local = world_of(run)
    if sync and world > 1 and run.on_cpu:
        raise InputError("norm_type batch-sync shares statistics between GPUs only; take batch, or one process")
    total, interval = schedule.updates * schedule.accumulate, schedule.valid_every
    request = StopRequest()
    last = LastCheckpoint(
        folder, every=schedule.save_every, valid_batches=interval, total_batches=total, request=request
    )
    shown = [Progress(schedule.updates)] if run.progress else []
    # A head that a batch does not use has no gradient and must not be moved.
    # On the CPU Lightning would take bf16 instead of 16, unless told how to scale.
    plugins = [MixedPrecision("16-mixed", device="cpu")] if precision == "16" and run.on_cpu else []
    strategy: Any = DDPStrategy(find_unused_parameters=heads > 1) if world > 1 else "auto"
    try:
        return pl.Trainer(
            accelerator="cpu" if run.on_cpu else run.accelerator,
            devices=local,
            num_nodes=world // local,
            strategy=strategy,
            precision=None if plugins else _PRECISION[precision],
            # One pass of Lightning is the whole run: our batches count through all epochs.
            max_epochs=1,
            max_steps=schedule.updates,
            limit_train_batches=total,
            accumulate_grad_batches=schedule.accumulate,
            val_check_interval=interval or None,
            limit_val_batches=1.0 if interval else 0,
            check_val_every_n_epoch=None if interval else 1,
            num_sanity_val_steps=0,
            log_every_n_steps=10,
            logger=TensorBoardLogger(save_dir=folder, name="", version="tensorboard"),
            callbacks=[*([Average(ema)] if ema else []), request, StepLog(folder), *shown, *watchers, last],
            plugins=[WholeFiles(), *plugins],
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            sync_batchnorm=sync and world > 1,
            deterministic="warn" if run.deterministic else False,
        )
    except (MisconfigurationException, ImportError, ModuleNotFoundError) as error:
        raise BackendError(" ".join(str(error).split())) from error


def fit(trainer: pl.Trainer, module: StepModule, data: pl.LightningDataModule, folder: Path, *, resume: bool) -> None:
    """Train, from the last checkpoint on if ``resume``.

    Raises
    ------
    StoppedError
        If Ctrl-C or SIGTERM ended the run.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        trainer.fit(module, datamodule=data, ckpt_path=str(folder / LAST) if resume else None, weights_only=True)
    except MisconfigurationException as error:
        raise BackendError(" ".join(str(error).split())) from error
    except StopNow:
        raise _stopped(trainer, folder) from None
    except SystemExit as error:  # what Lightning makes of a KeyboardInterrupt
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        raise _stopped(trainer, folder) from None
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def _stopped(trainer: pl.Trainer, folder: Path) -> StoppedError:
    request, last = (
        next(item for item in trainer.callbacks if isinstance(item, kind)) for kind in (StopRequest, LastCheckpoint)
    )
    return StoppedError(
        folder / LAST,
        step=trainer.global_step,
        total=int(trainer.max_steps),
        kept=last.kept,
        exit_code=128 + (request.signal or signal.SIGINT),
    )


def begin_run(
    folder: Path,
    meta: Mapping[str, Any],
    options: Any,
    run: RunOptions,
    *,
    resume: bool,
    fixed: Sequence[str],
    free: Sequence[str],
) -> int:
    """Make a run's directory, or compare it with this call; return the batches that are done.

    Parameters
    ----------
    folder : Path
    meta : mapping
        What the checkpoints of this call will say; ``options`` among it.
    options : dataclass
        These options.
    run : RunOptions
    resume : bool
    fixed, free : sequence of str
        Keys of ``meta`` that must be as they were, and options that need not.

    Raises
    ------
    InputError
        If the directory is another run's, or is one and ``resume`` is false.
    """
    done = 0
    if resume and (folder / LAST).is_file():
        before, _ = read_checkpoint(folder / LAST)
        _check_same({**before, "options": {**_defaults(options), **before["options"]}}, meta, folder, fixed, free)
        done = int(before["batches"])
    # Processes of one run begin at different times: what the first has made is no obstacle to the others.
    elif is_first_process() and _in_the_way(folder) and not (resume and (folder / RUN).is_file()):
        raise InputError(f"{folder}: exists and is not empty; pass resume to go on, or choose another name")
    folder.mkdir(parents=True, exist_ok=True)
    if is_first_process():
        (folder / RUN).write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")
        if run.record is not None:
            (folder / RECORD).write_text(as_yaml(run.record), encoding="utf-8")
    return done


def file_digest(path: Path) -> str | None:
    """Return the SHA-256 of a file; None where there is none."""
    return sha256_of(path) if path.is_file() else None


def as_yaml(values: Mapping[str, Any]) -> str:
    """Return a mapping of plain values as YAML, each value in the form that JSON shares with it."""
    return "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items())


def _defaults(options: Any) -> dict[str, Any]:
    """Return what an option was in a run that began before it existed."""
    return {item.name: item.default for item in fields(options)}


def _in_the_way(folder: Path) -> bool:
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))


def _check_same(
    before: Mapping[str, Any], now: Mapping[str, Any], folder: Path, fixed: Sequence[str], free: Sequence[str]
) -> None:
    for key in fixed:
        if before.get(key) != now[key]:
            raise InputError(
                f"{folder}: cannot be taken up, {key} is another than in {LAST}; give what the run began with, or "
                "choose another directory"
            )
    for key, value in now["options"].items():
        if key not in free and before["options"].get(key) != value:
            raise InputError(
                f"{folder}: cannot be taken up, {key} is {value!r} and was {before['options'].get(key)!r}; give what "
                "the run began with, or choose another directory"
            )
