"""Adam as Keras computes it, and the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch


class KerasAdam(torch.optim.Adam):
    """Adam in the form of Keras: ``lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps)``.

    PyTorch adds epsilon to ``sqrt(v) / sqrt(1 - b2^t)``. The two differ in the first updates only, and agree when
    PyTorch's epsilon is divided by ``sqrt(1 - b2^t)``, which is what this class does.
    """

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Make one update."""
        for group in self.param_groups:
            group["updates"] = group.get("updates", 0) + 1
            group.setdefault("keras_eps", group["eps"])
            group["eps"] = group["keras_eps"] / math.sqrt(1.0 - group["betas"][1] ** group["updates"])
        return super().step(closure)


def rate_factor(step: int, *, warmup_steps: int, schedule: str, total_steps: int) -> float:
    """Return the share of the learning rate at an update, counted from 0: linear from 0, then constant or a cosine."""
    if step < warmup_steps:
        return step / warmup_steps
    if schedule == "cosine":
        done = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
        return 0.5 + 0.5 * math.cos(math.pi * min(done, 1.0))
    return 1.0
