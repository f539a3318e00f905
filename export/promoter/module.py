"""The training step of a promoter network, on the project's training stack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..models.promoter import MotifNetwork
from ..training.steps import DivergedError, StepModule
from .inputs import STRANDS, inputs_of
from .objectives import Objective, data_terms, penalty_terms
from .options import TrainOptions


class PromoterModule(StepModule):
    """Losses, AdamW and validation of a network of any stage; its only head is named by the tissue.

    Parameters
    ----------
    model : MotifNetwork
        What does not require a gradient is not trained; a part of which nothing does stays in inference mode.
    options : TrainOptions
    objective : Objective
    meta : mapping
        JSON values that every checkpoint carries.
    """

    def __init__(
        self, model: MotifNetwork, options: TrainOptions, objective: Objective, *, meta: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(
            heads=(options.tissue,),
            seed=options.seed,
            accumulate=options.accumulate,
            loss_scaling=options.precision == "16",
            meta=meta,
        )
        self.model, self.options, self.objective = model, options, objective
        self.validation: dict[str, float] = {}  # the last one
        self._sums = torch.zeros(4)
        self.train()  # Lightning leaves the mode as it is, and what was read from a run is in inference mode

    def train(self, mode: bool = True) -> PromoterModule:
        """Set training mode on all but frozen parts: ``requires_grad`` alone would let their statistics move."""
        super().train(mode)
        for part in self.model.children():
            if not any(parameter.requires_grad for parameter in part.parameters()):
                part.eval()
        return self

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        """Return the loss; stop where it is not finite."""
        self.seed_step(batch["number"])
        p, t = self.model(inputs_of(batch["codes"])).float(), batch["target"]
        with torch.autocast(p.device.type, enabled=False):
            terms = penalty_terms(self.model.config.stage, self.model, self.objective)
            loss, penalty = self._loss(p, t), _sum(terms, p)
        if not torch.isfinite(loss + penalty):
            raise self._not_finite(p.detach(), t, terms, where="step")
        return {"loss": loss + penalty, "data_loss": loss.detach(), "penalty": penalty.detach()}

    def configure_optimizers(self) -> Any:
        """Return AdamW and the schedule, counted in updates."""
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=self.options.rate, weight_decay=self.objective.adamw_wd)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self.options.factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_validation_epoch_start(self) -> None:
        """Begin the sums: loss, windows, correlations, windows that have one."""
        self._sums = torch.zeros(4, dtype=torch.float64, device=self.device)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Add a batch to the sums."""
        p, t = self.model(inputs_of(batch["codes"])).float(), batch["target"]
        with torch.autocast(p.device.type, enabled=False):
            loss = self._loss(p, t)
        if not torch.isfinite(loss):
            raise self._not_finite(p, t, {}, where="validation after step")
        r = site_pearson(p, t)
        r = r[torch.isfinite(r)]
        self._sums += torch.stack([loss.double() * len(t), r.new_tensor(len(t)), r.sum(), r.new_tensor(len(r))])

    def on_validation_epoch_end(self) -> None:
        """Log the loss without regularisers, and the mean over sites of Pearson's r."""
        loss, sites, r, correlated = self.trainer.strategy.reduce(self._sums.clone(), reduce_op="sum").tolist()
        self.validation = {"loss": loss / sites, "pearson": r / correlated if correlated else 0.0}
        self.log_dict({f"valid_{name}/{self.heads[0]}": torch.tensor(v) for name, v in self.validation.items()})

    def facts(self) -> dict[str, Any]:
        """Return the last validation."""
        return {"validation": self.validation}

    def take_up(self, facts: Mapping[str, Any]) -> None:
        """Go on with that validation."""
        self.validation = dict(facts["validation"])

    def _loss(self, p: Tensor, t: Tensor) -> Tensor:
        return _sum(data_terms(self.model.config.stage, p, t, self.objective), p)

    def _not_finite(self, p: Tensor, t: Tensor, penalties: Mapping[str, Tensor], *, where: str) -> DivergedError:
        wrong = [name for name, term in penalties.items() if not torch.isfinite(term)]
        for row, strand in enumerate(STRANDS):
            one = slice(row, row + 1)
            terms = data_terms(self.model.config.stage, p[:, one], t[:, one], self.objective)
            wrong += [f"{name} of the {strand} strand" for name, term in terms.items() if not torch.isfinite(term)]
        cause = "training diverged" if torch.isfinite(t).all() else "the targets hold NaN or infinity"
        return self.diverged(f"{where} {self.global_step}", f"the loss is not finite ({', '.join(wrong)}): {cause}")


def site_pearson(p: Tensor, t: Tensor) -> Tensor:
    """Return Pearson's r of each site over both strands, float64 (sites,); NaN where either does not vary."""
    a, b = (values.flatten(1).double() for values in (p, t))
    a, b = a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True)
    return (a * b).sum(dim=1) / (a.norm(dim=1) * b.norm(dim=1))


def _sum(terms: Mapping[str, Tensor], like: Tensor) -> Tensor:
    return sum(terms.values(), like.new_zeros(()))
