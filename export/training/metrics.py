"""Sums for streaming correlations, on the model's device; :mod:`borzoi_rt.evaluation.metrics` makes figures of them."""

from __future__ import annotations

import torch
from torch import Tensor

from borzoi_rt.evaluation.metrics import SUMS


def zero_sums(tracks: int, device: torch.device) -> Tensor:
    """Return sums of nothing, float64 (6, tracks) in the order of ``SUMS``."""
    return torch.zeros(len(SUMS), tracks, dtype=torch.float64, device=device)


def track_sums(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the sums of a batch (batch, tracks, bins), float64 (6, tracks)."""
    p, y = prediction.double(), target.double()
    count = torch.full_like(y[0, :, 0], y.shape[0] * y.shape[2])
    return torch.stack([count, *(part.sum(dim=(0, 2)) for part in (y, p, y * y, p * p, y * p))])
