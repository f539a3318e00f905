"""What a run shows on stderr: a bar on a terminal, a line now and then where the output goes elsewhere."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import click
import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from .callbacks import valid_figures
from .steps import StepModule

EVERY_SECONDS = 30.0


class Progress(Callback):
    """Steps, loss, the last validation of each head, and the time left.

    Parameters
    ----------
    total : int
        Updates of the whole run. A run that ends early, for lack of progress, takes less time than is shown.
    """

    def __init__(self, total: int) -> None:
        self._total, self._begun, self._first, self._said = total, 0.0, 0, 0.0
        self._valid = ""
        self._bar: Bar | None = None
        self._task: Any = None

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Start the clock; on a terminal draw the bar."""
        self._begun, self._first = time.monotonic(), trainer.global_step
        console = Console(stderr=True)
        if trainer.is_global_zero and console.is_terminal:
            columns = (TextColumn("step"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self._bar = Bar(*columns, TextColumn("{task.fields[said]}"), console=console)
            self._task = self._bar.add_task("", total=self._total, completed=self._first, said="")
            self._bar.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show where the run is."""
        self._show(trainer, now=trainer.global_step == self._total)

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Show how the validation went."""
        assert isinstance(module, StepModule)
        heads = valid_figures(trainer.callback_metrics, module)
        self._valid = "".join(
            f", valid {head} loss {figures['loss']:.4f} Pearson {figures['pearson']:.4f}"
            for head, figures in heads.items()
        )
        self._show(trainer, now=True)

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        """Leave the terminal as it was."""
        self._stop()

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Leave the terminal as it was."""
        self._stop()

    def _show(self, trainer: pl.Trainer, *, now: bool) -> None:
        step, passed = trainer.global_step, time.monotonic() - self._begun
        loss = trainer.callback_metrics.get("loss")
        left = time_left(step - self._first, self._total - step, passed)
        said = f"{'' if loss is None else f'loss {float(loss):.4f}'}{self._valid}, {left} left"
        if self._bar is not None:
            self._bar.update(self._task, completed=step, said=said)
        elif trainer.is_global_zero and (now or time.monotonic() - self._said >= EVERY_SECONDS):
            self._said = time.monotonic()
            click.echo(f"step {step}/{self._total}, {said}", err=True)

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def time_left(done: int, left: int, seconds: float) -> str:
    """Return how long ``left`` more updates take if ``done`` took so many seconds, as h:mm:ss."""
    return str(timedelta(seconds=round(left * seconds / done))) if done else "?"
