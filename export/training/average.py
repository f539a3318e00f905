"""A running average of the weights (EMA): steadier than the last update, and what is then validated and exported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from ..weights.checkpoint import AVERAGE
from .steps import StepModule


class Average(Callback):
    """Average what learns, and the statistics of normalisation, over the updates; must be the first callback.

    After update t (from 1) ``a = a + (1 - d) (w - a)`` with ``d = min(decay, (1 + t) / (10 + t))``, so that the weights
    of the beginning are soon forgotten. Validations, and so the choice of the best checkpoint, see the average;
    training goes on with the weights themselves. A checkpoint holds both.

    Parameters
    ----------
    decay : float
        Share of the average that an update keeps, in (0, 1).
    """

    def __init__(self, decay: float) -> None:
        self._decay = decay
        self._mean: dict[str, Tensor] = {}
        self._aside: dict[str, Tensor] = {}

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Begin with the weights as they are, unless a checkpoint was read."""
        if not self._mean:
            self._mean = {name: tensor.detach().clone() for name, tensor in _averaged(module).items()}
        self._mean = {name: tensor.to(module.device) for name, tensor in self._mean.items()}

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count an update in."""
        assert isinstance(module, StepModule)
        if (batch["number"] + 1) % module.accumulate == 0:
            share = 1.0 - decay_at(trainer.global_step, self._decay)
            for name, tensor in _averaged(module).items():
                self._mean[name].lerp_(tensor.detach(), share)

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Put the average into the network, the weights aside."""
        self._aside = {name: tensor.detach().clone() for name, tensor in _averaged(module).items()}
        _put(module, self._mean)

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Put the weights back, before any checkpoint is written."""
        _put(module, self._aside)
        self._aside = {}

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the average."""
        checkpoint[AVERAGE] = dict(self._mean)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Go on with it."""
        self._mean = dict(checkpoint[AVERAGE])


def decay_at(update: int, decay: float) -> float:
    """Return the share that an update, counted from 1, keeps of the average."""
    return min(decay, (1 + update) / (10 + update))


def _averaged(module: pl.LightningModule) -> dict[str, Tensor]:
    """Return what learns and the statistics that a state dict holds, by name."""
    kept = module.state_dict(keep_vars=True)
    return {
        name: tensor
        for name, tensor in kept.items()
        if tensor.is_floating_point() and (tensor.requires_grad or not isinstance(tensor, torch.nn.Parameter))
    }


def _put(module: pl.LightningModule, values: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, tensor in _averaged(module).items():
            tensor.copy_(values[name])
