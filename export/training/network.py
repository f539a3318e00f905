"""One trunk with a head for each data set, and what training does to it: frozen parts, recomputed activations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..models.borzoi import Borzoi
from ..models.config import BorzoiConfig

NORMS = (nn.BatchNorm1d, nn.SyncBatchNorm)


class MultiHead(nn.Module):
    """A :class:`Borzoi` and the heads of further data sets.

    Parameters
    ----------
    configs : sequence of BorzoiConfig
        One per head; equal but for the head.
    """

    def __init__(self, configs: Sequence[BorzoiConfig]) -> None:
        super().__init__()
        self.configs = tuple(configs)
        self.network = Borzoi(configs[0])
        width = self.network.head.in_features
        self.others = nn.ModuleList(new_head(width, config.tracks) for config in configs[1:])
        self.frozen: tuple[nn.Module, ...] = ()
        self.still = False

    def head(self, number: int) -> nn.Linear:
        """Return a head."""
        head = self.others[number - 1] if number else self.network.head
        assert isinstance(head, nn.Linear)
        return head

    def forward(self, x: Tensor, head: int = 0) -> Tensor:
        """Return squashed coverage (batch, tracks of the head, bins) of one-hot DNA (batch, 4, length)."""
        tokens, skips = self.network.trunk(x)
        return self.network.outputs(self.network.embed(tokens, skips), self.head(head))

    def freeze(self) -> None:
        """Fix everything but the heads: no gradients, no dropout, and normalisation by the stored statistics."""
        self.frozen = tuple(module for name, module in self.network.named_children() if name != "head")
        for module in self.frozen:
            module.requires_grad_(False)
        self.train(self.training)

    def freeze_statistics(self) -> None:
        """Normalise by the stored statistics, and leave them as they are; weights may still learn."""
        self.still = True
        self.train(self.training)

    def train(self, mode: bool = True) -> MultiHead:
        """Set training mode on all but the frozen parts: ``requires_grad`` alone would let their statistics move."""
        super().train(mode)
        # Looked up each time: layers that share statistics between devices replace the first ones.
        norms = (module for module in self.modules() if self.still and isinstance(module, NORMS))
        for module in (*self.frozen, *norms):
            module.eval()
        return self

    def recompute(self) -> None:
        """Keep only the inputs of blocks for the backward pass, and compute the rest again there."""
        for block in (*self.network.tower, *self.network.transformer, *self.network.unet):
            block.forward = partial(_recomputed, block, block.forward)


def new_head(width: int, tracks: int) -> nn.Linear:
    """Return a head with new weights: LeCun normal, cut at two deviations, biases 0."""
    head = nn.Linear(width, tracks)
    deviation = math.sqrt(1.0 / width) / 0.87962566  # what a normal cut at two deviations has left
    nn.init.trunc_normal_(head.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
    nn.init.zeros_(head.bias)
    return head


def _recomputed(block: nn.Module, forward: Any, *inputs: Tensor) -> Tensor:
    if not torch.is_grad_enabled():
        return forward(*inputs)
    contexts = partial(_contexts, block)
    return checkpoint(forward, *inputs, use_reentrant=False, context_fn=contexts)


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _still_statistics(block)


@contextmanager
def _still_statistics(block: nn.Module) -> Iterator[None]:
    """Leave running statistics alone: the second pass over a batch must not count it twice."""
    norms = [module for module in block.modules() if isinstance(module, NORMS)]
    before = [(norm.momentum, _copy(norm.num_batches_tracked)) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum = momentum
            if norm.num_batches_tracked is not None and count is not None:
                norm.num_batches_tracked.copy_(count)


def _copy(count: Tensor | None) -> Tensor | None:
    return None if count is None else count.clone()
