"""What every training step does, whatever the network: dropout that can be repeated, a checked gradient, checkpoints
that say what they are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch

from borzoi_rt.errors import BorzoiError

from ..weights.checkpoint import META

_DROPOUT = 4  # purpose of random numbers, beside those of the loader
_MOST_SKIPPED = 40  # the scale is then 2^-24 of that at the start, 2^16


class DivergedError(BorzoiError, ArithmeticError):
    """The loss or its gradient is not finite."""


class StepModule(pl.LightningModule):
    """The part of a training module that the callbacks and checkpoints of a run rely on.

    A step takes a batch of :mod:`borzoi_export.training.loader` and returns ``loss``, ``data_loss`` and ``penalty``. A
    validation logs ``valid_FIGURE/HEAD`` for each of ``figures``.

    Parameters
    ----------
    heads : sequence of str
        Names for logs, in the order of ``batch["head"]``.
    seed : int
        Of dropout.
    accumulate : int
        Batches of one update.
    clip_norm : float
        Largest norm of the whole gradient; 0 for none.
    loss_scaling : bool
        Overflows of the gradient are expected, and such updates skipped.
    meta : mapping
        JSON values that every checkpoint carries.
    """

    figures: tuple[str, ...] = ("loss", "pearson")

    def __init__(
        self,
        *,
        heads: Sequence[str],
        seed: int,
        accumulate: int = 1,
        clip_norm: float = 0.0,
        loss_scaling: bool = False,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.heads, self.accumulate, self.meta = tuple(heads), accumulate, dict(meta or {})
        self.grad_norm = float("nan")
        self.best_of: str | None = None  # the head whose best validation is being saved
        self._skipped = 0  # updates in a row
        self._seed, self._clip_norm, self._loss_scaling = seed, clip_norm, loss_scaling

    def seed_step(self, number: int) -> None:
        """Let dropout follow from the batch and not from the past, so that a run can be taken up at any batch."""
        key = [self._seed, _DROPOUT, number, self.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]))

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the norm of the whole gradient, and stop where it is not finite: an update would spoil every weight."""
        limit = self._clip_norm or float("inf")
        norm = torch.nn.utils.clip_grad_norm_([p for p in self.parameters() if p.grad is not None], limit)
        self.grad_norm = float(norm)
        # With loss scaling an overflow is expected now and then: the scaler skips that update, and halves the scale.
        self._skipped = 0 if np.isfinite(self.grad_norm) else self._skipped + 1
        if self._skipped > (_MOST_SKIPPED if self._loss_scaling else 0):
            raise self.diverged(f"step {self.global_step}", "the gradient is not finite")

    def diverged(self, where: str, what: str) -> DivergedError:
        """Return the error of a run that cannot go on."""
        return DivergedError(
            f"{where}: {what}; the last good checkpoint is kept; lower the learning rate or look at the data"
        )

    def on_validation_start(self) -> None:
        """Let every process validate with the statistics of the first, which are those that a checkpoint holds."""
        if self.trainer.world_size > 1:
            for tensor in self.state_dict(keep_vars=True).values():
                if not isinstance(tensor, torch.nn.Parameter):
                    torch.distributed.broadcast(tensor, src=0)

    def facts(self) -> dict[str, Any]:
        """Return JSON values that change during the run and belong into its checkpoints."""
        return {}

    def take_up(self, facts: Mapping[str, Any]) -> None:
        """Go on where :meth:`facts` was."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what an export needs, as JSON text: a checkpoint holds tensors and plain values only."""
        batches = self.trainer.fit_loop.epoch_loop.total_batch_idx + 1
        facts = {"step": self.global_step, "batches": batches, "best_of": self.best_of, **self.facts()}
        checkpoint[META] = json.dumps({**self.meta, **facts})

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the figures; forget that a run of fewer steps ended here, or Lightning would not go on."""
        self.take_up(json.loads(checkpoint[META]))
        checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["is_last_batch"] = False
