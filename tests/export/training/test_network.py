"""Heads, frozen parts and recomputed activations."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
import toys
from borzoi_export.models.config import BorzoiConfig
from borzoi_export.training.network import MultiHead
from torch import Tensor, nn


def two_heads(*, dropout: float = 0.0) -> MultiHead:
    params = toys.params(head_other={"name": "final", "units": 3, "activation": "softplus"})
    params["trunk"][2]["dropout"] = dropout
    torch.manual_seed(3)
    model = MultiHead([BorzoiConfig.from_params(params, head=name) for name in ("toy", "other")])
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith(("running_mean", "attention.out.weight")):
                tensor.normal_(0.0, 0.1)
    return model


@pytest.fixture
def x() -> Tensor:
    codes = torch.randint(0, 4, (2, 2048), generator=torch.Generator().manual_seed(1))
    return nn.functional.one_hot(codes, 4).transpose(1, 2)


def buffers(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items() if "norm" in name and tensor.ndim < 2}


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def as_on_several_gpus(model: MultiHead) -> None:
    """Replace the normalisation by that of several GPUs, as Lightning does; in one process it computes the same."""
    nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert not any(isinstance(module, nn.BatchNorm1d) for module in model.modules())


def test_a_head_that_is_not_used_has_no_gradient(x: Tensor) -> None:
    model = two_heads().train()
    assert model(x, 0).shape == (2, 6, 32)
    assert model(x, 1).shape == (2, 3, 32)
    model(x, 1).sum().backward()
    found = gradients(model)
    assert "others.0.weight" in found
    assert "network.head.weight" not in found


@pytest.mark.parametrize(("dropout", "several"), [(0.0, False), (0.3, False), (0.0, True)])
def test_recomputing_changes_nothing(x: Tensor, dropout: float, several: bool) -> None:
    """Gradients and running statistics are the same bits: the second pass must not count a batch twice."""
    outcomes = []
    for recompute in (False, True):
        model = two_heads(dropout=dropout).train()
        if recompute:
            model.recompute()
        if several:
            as_on_several_gpus(model)
        torch.manual_seed(8)
        loss = model(x).square().mean()
        loss.backward()
        outcomes.append((loss.detach(), gradients(model), buffers(model)))
    (loss_a, grads_a, stats_a), (loss_b, grads_b, stats_b) = outcomes
    assert torch.equal(loss_a, loss_b)
    for one, other in ((grads_a, grads_b), (stats_a, stats_b)):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert int(stats_a["network.tower.0.norm.num_batches_tracked"]) == 1


def count(sizes: list[int], tensor: Tensor) -> Tensor:
    sizes.append(tensor.numel())
    return tensor


def test_recomputing_keeps_less(x: Tensor) -> None:
    kept = []
    for recompute in (False, True):
        model = two_heads().train()
        if recompute:
            model.recompute()
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(partial(count, sizes), lambda tensor: tensor):
            model(x).sum()
        kept.append(sum(sizes))
    # What is left: the stem and the pooling, which no block holds, and the inputs of blocks.
    assert kept[1] < 0.6 * kept[0]


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("how", ["freeze", "freeze_statistics"])
def test_frozen_statistics_do_not_move(x: Tensor, how: str, several: bool) -> None:
    model = two_heads(dropout=0.5)
    before = buffers(model)
    getattr(model, how)()
    if several:
        as_on_several_gpus(model)
    model.train()
    model(x, 0).sum().backward()
    assert all(torch.equal(before[name], tensor) for name, tensor in buffers(model).items())
    learns = {name.split(".")[1] for name in gradients(model)}
    assert learns == ({"head"} if how == "freeze" else {"stem", "tower", "transformer", "unet", "head"})


def test_a_frozen_trunk_has_no_dropout_but_frozen_statistics_do(x: Tensor) -> None:
    for how, equal in (("freeze", True), ("freeze_statistics", False)):
        model = two_heads(dropout=0.5)
        getattr(model, how)()
        model.train()
        first, second = model(x), model(x)
        assert torch.equal(first, second) is equal


def test_training_mode_moves_statistics_as_keras_does(x: Tensor) -> None:
    """momentum 0.9 of Keras: 0.9 old + 0.1 batch; the variance of 2 x 1024 values, over n - 1 here and n there."""
    model = two_heads().train()
    norm = copy.deepcopy(model.network.tower[0].norm)
    stem = nn.functional.max_pool1d(model.network.stem(x.float()), 2)
    model(x)
    moved = model.network.tower[0].norm
    mean, variance = stem.mean(dim=(0, 2)), stem.var(dim=(0, 2), correction=0)
    torch.testing.assert_close(moved.running_mean, 0.9 * norm.running_mean + 0.1 * mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(moved.running_var, 0.9 * norm.running_var + 0.1 * variance, rtol=1e-3, atol=1e-6)
    assert moved.eps == 1e-3
