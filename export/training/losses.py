"""The training loss on tensors; :mod:`borzoi_rt.evaluation.losses` holds the formula and its float64 form."""

from __future__ import annotations

import torch
from torch import Tensor

from borzoi_rt.evaluation.losses import EPSILON


def poisson_multinomial(
    prediction: Tensor, target: Tensor, *, total_weight: float = 0.2, weights: Tensor | None = None
) -> Tensor:
    """Return the loss of each window and track, (batch, tracks); inputs (batch, tracks, bins) are not modified.

    ``weights`` (bins,) are those of :func:`borzoi_rt.evaluation.losses.position_weights`; all 1 when None.
    """
    if weights is None:
        p, y, scale = prediction, target, float(target.shape[-1])
    else:
        p, y, scale = prediction * weights, target * weights, float(weights.sum())
    predicted, wanted = p.sum(-1), y.sum(-1)
    poisson = (predicted - wanted * torch.log(predicted + EPSILON)) / scale
    share = torch.log((p + EPSILON) / predicted[..., None])
    return -((y + EPSILON) * share).sum(-1) / scale + total_weight * poisson
