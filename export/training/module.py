"""The training step, on Lightning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from borzoi_rt.evaluation.losses import position_weights
from borzoi_rt.evaluation.metrics import pearson_of, r2_of

from .losses import poisson_multinomial
from .metrics import track_sums, zero_sums
from .network import MultiHead
from .optimiser import KerasAdam, rate_factor
from .options import TrainOptions
from .regularisers import Penalties, Penalty
from .steps import DivergedError, StepModule


class BorzoiModule(StepModule):
    """Loss, optimiser and validation of a network with one or more heads.

    Parameters
    ----------
    model : MultiHead
        The network.
    options : TrainOptions
        How it is trained.
    tracks : sequence of sequence of str
        Names of the tracks of each head, for messages.
    heads : sequence of str
        Names of the heads, for logs.
    penalties, recipe : sequence of Penalty
        Penalties on weights, chosen by the caller and of the params; see :class:`.regularisers.Penalties`.
    total_steps : int
        Updates of the whole run, for the schedule.
    meta : mapping
        JSON values that every checkpoint carries.
    """

    figures = ("loss", "pearson", "r2")

    def __init__(
        self,
        model: MultiHead,
        options: TrainOptions,
        *,
        tracks: Sequence[Sequence[str]],
        heads: Sequence[str],
        penalties: Sequence[Penalty] = (),
        recipe: Sequence[Penalty] = (),
        total_steps: int = 0,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            heads=heads,
            seed=options.seed,
            accumulate=options.accumulate,
            clip_norm=options.clip_norm,
            loss_scaling=options.precision == "16",
            meta=meta,
        )
        self.model = model
        self.options, self.tracks, self.total_steps = options, tracks, total_steps
        self.penalties = Penalties(model, penalties, recipe=recipe)
        bins = model.configs[0].bins
        weights = position_weights(bins, options.weight_range, options.weight_exp)
        self.register_buffer("weights", torch.from_numpy(weights.astype(np.float32)), persistent=False)
        self.weights: Tensor
        self.pearson: dict[str, float] = {}  # of the last validation
        self._sums: list[Tensor] = []
        self._losses: list[Tensor] = []

    def forward(self, codes: Tensor, head: int = 0) -> Tensor:
        """Return squashed coverage of base codes (batch, length)."""
        onehot = codes[:, None, :] == torch.arange(4, dtype=codes.dtype, device=codes.device)[:, None]
        return self.model(onehot, head)

    def losses(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss of each window and track, the prediction and the target."""
        target = batch["target"].float()
        prediction = self(batch["codes"], batch["head"])
        with torch.autocast(prediction.device.type, enabled=False):
            weight = self.options.total_weight
            loss = poisson_multinomial(prediction, target, total_weight=weight, weights=self.weights)
        return loss, prediction, target

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        """Return the loss; stop where it is not finite."""
        self.seed_step(batch["number"])
        losses, prediction, target = self.losses(batch)
        loss = losses.mean()
        if not torch.isfinite(loss):
            raise self._diverged(losses.detach(), prediction.detach(), target, batch["head"])
        penalty = self.penalties() if self.penalties else torch.zeros((), device=loss.device)
        return {"loss": loss + penalty, "data_loss": loss.detach(), "penalty": penalty.detach()}

    def configure_optimizers(self) -> Any:
        """Return Adam in Keras' form and the schedule, counted in updates."""
        options = self.options
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        betas = (options.adam_beta1, options.adam_beta2)
        optimizer = KerasAdam(trained, lr=options.learning_rate, betas=betas, eps=options.epsilon)
        factor = partial(
            rate_factor,
            warmup_steps=options.warmup_steps,
            schedule=options.schedule,
            total_steps=self.total_steps,
        )
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_validation_epoch_start(self) -> None:
        """Begin the sums."""
        self._sums = [zero_sums(config.tracks, self.device) for config in self.model.configs]
        self._losses = [torch.zeros(2, dtype=torch.float64, device=self.device) for _ in self.heads]

    def validation_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> None:
        """Add a batch to the sums."""
        losses, prediction, target = self.losses(batch)
        head = batch["head"]
        if not torch.isfinite(losses).all():
            raise self._diverged(losses, prediction, target, head, where="validation after step")
        self._sums[head] += track_sums(prediction, target)
        windows = losses.shape[0]
        self._losses[head] += torch.stack([losses.double().mean() * windows, losses.new_tensor(windows).double()])

    def on_validation_epoch_end(self) -> None:
        """Log loss, Pearson's r and R2 of each head: means over tracks whose target is not constant."""
        for head, name in enumerate(self.heads):
            sums, loss = (
                self.trainer.strategy.reduce(values[head].clone(), reduce_op="sum")
                for values in (self._sums, self._losses)
            )
            if not float(loss[1]):
                continue
            figures = {"loss": float(loss[0] / loss[1])}
            for key, values in (("pearson", pearson_of(sums.cpu().numpy())), ("r2", r2_of(sums.cpu().numpy()))):
                figures[key] = float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
            if np.isfinite(figures["pearson"]):
                self.pearson[name] = round(figures["pearson"], 6)
            self.log_dict(
                {f"valid_{key}/{name}": torch.tensor(value) for key, value in figures.items()}, add_dataloader_idx=False
            )

    def facts(self) -> dict[str, Any]:
        """Return the last validation."""
        return {"validation_pearson": self.pearson}

    def take_up(self, facts: Mapping[str, Any]) -> None:
        """Go on with that validation."""
        self.pearson = dict(facts["validation_pearson"])

    def _diverged(
        self, losses: Tensor, prediction: Tensor, target: Tensor, head: int, *, where: str = "step"
    ) -> DivergedError:
        wrong = ~torch.isfinite(losses).all(dim=0)
        names = [self.tracks[head][track] for track in torch.nonzero(wrong).flatten().tolist()]
        cause = "the targets hold NaN or infinity" if not torch.isfinite(target).all() else "training diverged"
        shown = ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")
        what = f"the loss of {len(names)} tracks of {self.heads[head]} is not finite ({shown}): {cause}"
        return self.diverged(f"{where} {self.global_step}", what)
