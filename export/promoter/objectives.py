"""What the three stages minimise: losses and regularisers as published, with the coefficients by name.

p is the prediction, t the target, both ln(1 + count), (batch, 2, bins); means are over all three axes. The published
code is inherited from a network for log10 targets and divides by ln 10 in the Poisson term of stage 2, where its
targets are natural logarithms: ``log10_prediction`` keeps that for comparison, and is off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from borzoi_rt.errors import InputError

from ..training.penalties import PENALTIES

EPS = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """Coefficients of a stage; the defaults are those of stage 1.

    Attributes
    ----------
    smooth_deconv, l1_deconv, l1_motif : float
        Roughness and size of the second convolution, size of the first.
    poisson_kl : float
        Weight of the Poisson term beside the profile term.
    adamw_wd : float
        Weight decay of AdamW, which touches everything that is trained.
    smooth_form, l1_form : str
        ``smoothness_p4``, ``smoothness_p2`` or the textbook ``l2_sum``; ``l1_mean`` or the textbook ``l1_sum``, or
        ``group_l2`` for whole curves. Other forms need other coefficients.
    log10_prediction : bool
        Divide the prediction by ln 10 in the Poisson term.
    """

    smooth_deconv: float = 2e-3
    l1_deconv: float = 5e-5
    l1_motif: float = 4e-5
    poisson_kl: float = 1e-3
    adamw_wd: float = 1e-2
    smooth_form: str = "smoothness_p4"
    l1_form: str = "l1_mean"
    log10_prediction: bool = False

    def __post_init__(self) -> None:
        for name in ("smooth_form", "l1_form"):
            if getattr(self, name) not in PENALTIES:
                raise InputError(f"{name} {getattr(self, name)!r} is unknown; allowed: {', '.join(PENALTIES)}")


PUBLISHED = {
    1: Objective(),
    2: Objective(
        smooth_deconv=5e-4, l1_deconv=4e-5, l1_motif=2e-5, poisson_kl=5e-4, smooth_form="smoothness_p2"
    ),
    3: Objective(smooth_deconv=0.0, l1_deconv=0.0, l1_motif=0.0, poisson_kl=0.0, adamw_wd=1e-3),
}  # fmt: skip

TUNING = Objective(smooth_deconv=0.0, l1_deconv=0.0, l1_motif=0.0, poisson_kl=0.0)  # stage 3 to one tissue

# The layers that the coefficients mean, by stage: second convolution, first convolution.
_LAYERS = {1: ("effect", "motif"), 2: ("effect_other", "other")}


def profile_kl(p: Tensor, t: Tensor) -> Tensor:
    """Mean of q * ln(q / r) for the profiles q of t and r of p: each plus 1e-10, divided by its sum over bins."""
    r = (p + EPS) / (p + EPS).sum(dim=-1, keepdim=True)
    q = (t + EPS) / (t + EPS).sum(dim=-1, keepdim=True)
    return (q * (torch.log(q + EPS) - torch.log(r + EPS))).mean()


def poisson_kl(p: Tensor, t: Tensor) -> Tensor:
    """Mean of t * ln(t / p) + p - t: 0 where both agree, and never negative."""
    return (t * torch.log((t + EPS) / (p + EPS)) + p - t).mean()


def absolute_kl(p: Tensor, t: Tensor) -> Tensor:
    """Mean of t * ln(t / p) + |p - t|: the loss of stage 3."""
    return (t * (torch.log(t + EPS) - torch.log(p + EPS)) + (p - t).abs()).mean()


def data_terms(stage: int, p: Tensor, t: Tensor, objective: Objective) -> dict[str, Tensor]:
    """Return the terms of the loss of a batch by name, weighted, without regularisers."""
    if stage == 3:
        return {"absolute_kl": absolute_kl(p, t)}
    scaled = p / math.log(10.0) if objective.log10_prediction else p
    return {"profile_kl": profile_kl(p, t), "poisson_kl": objective.poisson_kl * poisson_kl(scaled, t)}


def penalty_terms(stage: int, model: nn.Module, objective: Objective) -> dict[str, Tensor]:
    """Return the weighted regularisers of a network by name; none in stage 3."""
    if stage not in _LAYERS:
        return {}
    second, first = (getattr(model, name).weight for name in _LAYERS[stage])
    terms = (
        ("smooth_deconv", objective.smooth_form, second),
        ("l1_deconv", objective.l1_form, second),
        ("l1_motif", objective.l1_form, first),
    )
    weights = {name: getattr(objective, name) for name, _, _ in terms}
    return {name: weights[name] * PENALTIES[form](layer) for name, form, layer in terms if weights[name]}
