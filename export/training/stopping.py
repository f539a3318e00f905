"""Ctrl-C and SIGTERM: the update in progress ends, is saved, and only then the run stops.

A second signal stops at once. What was kept, and how to go on, is said by the error that ends the run.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

import click
import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from .processes import is_first_process

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopNow(Exception):  # noqa: N818  # passes through Lightning, which would end the process on a KeyboardInterrupt
    """Raised after a batch whose state is saved."""


class StopRequest(Callback):
    """Whether a signal has asked the run to stop; the processes of a run agree after each batch."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Listen; later than Lightning, whose own handler of SIGTERM would end the run without saving."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}

    def agreed(self, trainer: pl.Trainer) -> bool:
        """Return whether any process was asked; all processes must call this after the same batch."""
        asked = self.signal is not None
        if trainer.world_size > 1:
            asked = bool(trainer.strategy.reduce_boolean_decision(asked, all=False))
        return asked

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
        if is_first_process():
            click.echo("stopping after this update (once more: at once)", err=True)


def stop_now() -> None:
    """End the run from within a callback."""
    raise StopNow
