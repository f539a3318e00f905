"""What happens around the steps of a run: logs, checkpoints, early stopping."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, Checkpoint

from .steps import StepModule
from .stopping import StopRequest, stop_now

LAST = "last.ckpt"
STEP_COLUMNS = ("step", "batch", "epoch", "head", "loss", "penalty", "grad_norm", "learning_rate")


class StepLog(Callback):
    """Append every batch to ``train.csv`` and every validation to ``valid.csv``.

    On resumption rows that the checkpoint has not seen are dropped: they will be written again.
    """

    def __init__(self, folder: Path) -> None:
        self._train, self._valid = folder / "train.csv", folder / "valid.csv"
        self._rate = float("nan")

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Begin the files, or cut them where the checkpoint was made."""
        assert isinstance(module, StepModule)
        if trainer.is_global_zero:
            _begin(self._train, STEP_COLUMNS, trainer.global_step)
            _begin(self._valid, ("step", "head", *module.figures), trainer.global_step + 1)

    def on_before_optimizer_step(self, trainer: pl.Trainer, module: pl.LightningModule, optimizer: Any) -> None:
        """Remember the rate of this update; the scheduler moves on before the batch ends."""
        self._rate = optimizer.param_groups[0]["lr"]

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write one row: the mean over processes."""
        assert isinstance(module, StepModule)
        loss = trainer.strategy.reduce(outputs["data_loss"].clone(), reduce_op="mean")
        updated = (batch["number"] + 1) % module.accumulate == 0
        module.log("loss", loss, prog_bar=True)
        if trainer.is_global_zero:
            row = (
                trainer.global_step - (1 if updated else 0),
                batch["number"],
                batch["epoch"],
                module.heads[batch["head"]],
                _text(float(loss)),
                _text(float(outputs["penalty"])),
                _text(module.grad_norm) if updated else "",
                _text(self._rate) if updated else "",
            )
            _append(self._train, row)

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Write one row per head."""
        assert isinstance(module, StepModule)
        if trainer.is_global_zero:
            for head, figures in valid_figures(trainer.callback_metrics, module).items():
                _append(self._valid, (trainer.global_step, head, *map(_text, figures.values())))


class Patience(Callback):
    """Stop when no head's validation Pearson rose for more than ``patience`` validations in a row."""

    def __init__(self, patience: int, *, least_batches: int) -> None:
        self._patience, self._least = patience, least_batches
        self._best: dict[str, float] = {}
        self._waited: dict[str, int] = {}

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Compare with the best so far."""
        assert isinstance(module, StepModule)
        for head, figures in valid_figures(trainer.callback_metrics, module).items():
            if figures["pearson"] > self._best.get(head, -math.inf):
                self._best[head], self._waited[head] = figures["pearson"], 0
            else:
                self._waited[head] = self._waited.get(head, 0) + 1
        tired = bool(self._waited) and min(self._waited.values()) > self._patience
        if tired and trainer.fit_loop.total_batch_idx + 1 >= self._least:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        return {"best": dict(self._best), "waited": dict(self._waited)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was."""
        self._best, self._waited = dict(state_dict["best"]), dict(state_dict["waited"])


class BestCheckpoint(Checkpoint):
    """Keep the best validation of each head: ``best.ckpt``, or ``best-HEAD.ckpt`` where there are several.

    Such a checkpoint says in ``best_of`` which head it is the best of, whatever its file is called.

    The best has the highest Pearson correlation, or the lowest loss where ``figure`` is ``loss``.
    """

    def __init__(self, folder: Path, *, figure: str = "pearson") -> None:
        self._folder, self._figure, self._sign = folder, figure, -1.0 if figure == "loss" else 1.0
        self._best: dict[str, float] = {}

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Write a checkpoint where a head is better than before."""
        assert isinstance(module, StepModule)
        for head, figures in valid_figures(trainer.callback_metrics, module).items():
            merit = self._sign * figures[self._figure]
            if merit > self._best.get(head, -math.inf):
                self._best[head] = merit
                name = "best.ckpt" if len(module.heads) == 1 else f"best-{head}.ckpt"
                module.best_of = head
                trainer.save_checkpoint(self._folder / name)
                module.best_of = None

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        return {"best": dict(self._best)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was."""
        self._best = dict(state_dict["best"])


class LastCheckpoint(Checkpoint):
    """Write ``last.ckpt`` every so many updates, after validations and the last batch; must be the last callback.

    Where a stop was asked for, it is written after the update in progress, and the run ends there.
    """

    def __init__(
        self, folder: Path, *, every: int, valid_batches: int, total_batches: int, request: StopRequest
    ) -> None:
        self.kept: int | None = None  # updates in last.ckpt
        self._path, self._every = folder / LAST, every
        self._valid_batches, self._total_batches, self._request = valid_batches, total_batches, request

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save, but not in the middle of an accumulation, nor just before a validation: a run that is taken up there
        would leave the validation out."""
        assert isinstance(module, StepModule)
        done = batch["number"] + 1
        updated = done % module.accumulate == 0
        stop = self._request.agreed(trainer) and updated
        due = updated and done // module.accumulate % self._every == 0
        if (due or stop or done == self._total_batches) and not (
            self._valid_batches and done % self._valid_batches == 0
        ):
            self._save(trainer)
            if stop and done < self._total_batches:
                stop_now()

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Save with the outcome of the validation."""
        self._save(trainer)
        if self._request.agreed(trainer):
            stop_now()

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Remember what the run that is taken up has kept."""
        self.kept = int(checkpoint["global_step"])

    def _save(self, trainer: pl.Trainer) -> None:
        trainer.save_checkpoint(self._path)
        self.kept = trainer.global_step


def valid_figures(metrics: Mapping[str, Any], module: StepModule) -> dict[str, dict[str, float]]:
    """Return the figures of each head that was validated."""
    return {
        head: {name: float(metrics[f"valid_{name}/{head}"]) for name in module.figures}
        for head in module.heads
        if f"valid_loss/{head}" in metrics
    }


def _begin(path: Path, columns: Sequence[str], steps: int) -> None:
    """Keep the rows whose step is below ``steps``; begin the file where there is none."""
    rows: list[list[str]] = []
    if steps and path.is_file():
        with path.open(newline="", encoding="utf-8") as handle:
            # A line without its end was being written when the run was stopped.
            rows = [row for row in list(csv.reader(handle))[1:] if len(row) == len(columns) and int(row[0]) < steps]
    draft = path.with_name(f".{path.name}.partial")  # a kill in the midst must not cost the rows
    with draft.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle, lineterminator="\n").writerows([columns, *rows])
    draft.replace(path)


def _append(path: Path, row: Sequence[Any]) -> None:
    with path.open("a", newline="", encoding="utf-8") as handle:
        csv.writer(handle, lineterminator="\n").writerow(row)


def _text(value: float) -> str:
    return f"{value:.9g}" if math.isfinite(value) else ""
