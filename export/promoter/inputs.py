"""DNA as the promoter networks read it, and the order of their outputs."""

from __future__ import annotations

import torch
from torch import Tensor

from borzoi_rt.dataset.window import UNKNOWN

STRANDS = ("sense", "antisense")
N_FILL = 0.25  # an unknown base is a quarter of each


def inputs_of(codes: Tensor) -> Tensor:
    """Return one-hot DNA (batch, 4, length) as the network reads it: float32, unknown bases a quarter of each."""
    bases = torch.arange(4, dtype=codes.dtype, device=codes.device)[:, None]
    return (codes[:, None] == bases).float() + N_FILL * (codes[:, None] == UNKNOWN).float()
