"""The two regularisers of the motif networks, and the textbook sums they are often taken for.

GenoRetriever's "L2" is no sum of squares but the mean squared step of a kernel against its spread, a scale-free
measure of roughness; its "L1" is a mean. Coefficients of one form make no sense for another: on the published shapes a
sum weighs 8,000 to 100,000 times more than a mean.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def smoothness_penalty(weight: Tensor, p: int = 4, eps: float = 1e-10) -> Tensor:
    """Return the mean over kernels of ``mean (w[k] - w[k+1])^2 / (m_p^(2/p) + eps)``.

    ``m_p = mean_k (w - mean_k w)^p`` and k is the last axis: p = 2 divides by the variance, p = 4 by the root of the
    fourth central moment. ``a * w + b`` has the same penalty as ``w``; a constant kernel has 0.
    """
    step = (weight[..., :-1] - weight[..., 1:]).square().mean(dim=-1)
    moment = (weight - weight.mean(dim=-1, keepdim=True)).pow(p).mean(dim=-1)
    # A root has no derivative at 0: a constant kernel must pass 0 back and not NaN.
    spread = torch.where(moment > 0, moment, 1.0).pow(2.0 / p)
    return (step / (torch.where(moment > 0, spread, 0.0) + eps)).mean()


def l1_mean(weight: Tensor) -> Tensor:
    """Mean of |w|: the published form."""
    return weight.abs().mean()


def l1_sum(weight: Tensor) -> Tensor:
    """Sum of |w|: the textbook form."""
    return weight.abs().sum()


def l2_sum(weight: Tensor) -> Tensor:
    """Sum of w^2: the textbook form."""
    return weight.square().sum()


def group_l2(weight: Tensor) -> Tensor:
    """Sum over groups of the root of the sum of squares of a group, which is what the last axis holds.

    That is an effect curve, or the row of a matrix: what counts little becomes small as a whole (the group lasso). The
    slope of a group that is 0 is 0.
    """
    norms: Tensor = torch.linalg.vector_norm(weight, dim=-1)
    return norms.sum()


PENALTIES: dict[str, Callable[[Tensor], Tensor]] = {
    "smoothness_p4": smoothness_penalty,
    "smoothness_p2": lambda weight: smoothness_penalty(weight, p=2),
    "l1_mean": l1_mean,
    "l1_sum": l1_sum,
    "l2_sum": l2_sum,
    "group_l2": group_l2,
}
