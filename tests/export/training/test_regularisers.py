"""Penalties by name and group, and what the params of the published models ask for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import toys
from borzoi_export.models.config import BorzoiConfig
from borzoi_export.training.adapters import LoraOptions, add_lora
from borzoi_export.training.network import MultiHead
from borzoi_export.training.penalties import PENALTIES
from borzoi_export.training.regularisers import Penalties, Penalty, calico_penalties
from torch import Tensor

from borzoi_rt.errors import InputError


@pytest.fixture
def model() -> MultiHead:
    torch.manual_seed(2)
    return MultiHead([BorzoiConfig.from_params(toys.params())])


def kernels(model: MultiHead, *starts: str) -> list[Tensor]:
    found = []
    for name, tensor in model.network.named_parameters():
        if name.startswith(starts) and name.endswith("weight") and tensor.ndim > 1:
            found.append(tensor.detach().double())
    return found


@pytest.mark.parametrize("group", ["stem", "tower", "transformer", "unet", "head"])
def test_textbook_sums_of_a_group(model: MultiHead, group: str) -> None:
    chosen = kernels(model, group)
    for name, want in (
        ("l1_sum", sum(tensor.abs().sum() for tensor in chosen)),
        ("l2_sum", sum(tensor.square().sum() for tensor in chosen)),
        ("l1_mean", sum(tensor.abs().mean() for tensor in chosen)),
    ):
        got = Penalties(model, [Penalty(name, group, 0.25)])()
        assert float(got.detach()) == pytest.approx(0.25 * float(want), rel=1e-5)


def test_a_penalty_leaves_what_was_planted_and_of_shuffled_labels_nothing() -> None:
    """A sparse linear model: 4 of 40 weights are planted; the penalty of single weights keeps these alone."""
    generator = torch.Generator().manual_seed(5)
    x, planted = torch.randn(400, 40, generator=generator), torch.zeros(40)
    planted[[3, 11, 20, 33]] = torch.tensor([1.0, -1.0, 1.5, -0.8])
    y = x @ planted + 0.3 * torch.randn(400, generator=generator)

    def left(labels: Tensor, penalty: float) -> list[int]:
        weights = torch.zeros(40, requires_grad=True)
        steps = torch.optim.SGD([weights], lr=0.02)
        for _ in range(600):
            steps.zero_grad()
            ((x @ weights - labels).square().mean() + penalty * PENALTIES["l1_sum"](weights)).backward()
            steps.step()
        return torch.nonzero(weights.detach().abs() > 0.03).flatten().tolist()

    assert left(y, 0.8) == [3, 11, 20, 33]
    assert len(left(y, 1e-9)) > 4
    assert left(y[torch.randperm(400, generator=generator)], 0.8) == []


def test_smoothness_of_a_ramp(model: MultiHead) -> None:
    """Of a ramp of n steps, p = 2: 12 / (n^2 - 1); the stem's kernels have n = 11."""
    with torch.no_grad():
        model.network.stem.weight[:] = torch.arange(11.0)
    got = Penalties(model, [Penalty("smoothness_p2", "stem", 1.0)])()
    assert float(got.detach()) == pytest.approx(12 / 120, rel=1e-5)


def test_a_pattern_and_a_sum_of_penalties(model: MultiHead) -> None:
    parts = [Penalty("l2_sum", "tower.0.*", 2.0), Penalty("l1_sum", "head", 3.0)]
    want = 2 * kernels(model, "tower.0")[0].square().sum() + 3 * kernels(model, "head")[0].abs().sum()
    assert float(Penalties(model, parts)().detach()) == pytest.approx(float(want), rel=1e-5)


def test_biases_and_norms_have_none(model: MultiHead) -> None:
    Penalties(model, [Penalty("l2_sum", "all", 1.0)])().backward()
    for name, parameter in model.network.named_parameters():
        learns = parameter.ndim >= 2 and name.endswith("weight")
        assert (parameter.grad is not None) is learns, name
        if learns:
            torch.testing.assert_close(parameter.grad, 2 * parameter.detach())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("l2_sum:head", "NAME:GROUP:WEIGHT is needed"),
        ("l2_sum:head:much", "NAME:GROUP:WEIGHT is needed"),
        ("l3_sum:head:1", "penalty 'l3_sum' is unknown; allowed: .*l1_mean"),
        ("l2_sum:head:-1", "a positive number"),
        ("l2_sum:nothing:1", "group 'nothing' has no trained weights"),
    ],
)
def test_nonsense_is_refused(model: MultiHead, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Penalties(model, [Penalty.parse(text)])


def test_a_chosen_penalty_on_frozen_weights_is_refused(model: MultiHead) -> None:
    model.freeze()
    with pytest.raises(InputError, match=r"group 'stem' has no trained weights: all 1 are frozen"):
        Penalties(model, [Penalty("l2_sum", "stem", 1.0)])


def test_a_chosen_penalty_keeps_to_what_learns(model: MultiHead, caplog: pytest.LogCaptureFixture) -> None:
    model.freeze()
    got = Penalties(model, [Penalty("l2_sum", "all", 2.0)])()
    assert float(got.detach()) == pytest.approx(2 * float(kernels(model, "head")[0].square().sum()), rel=1e-5)
    assert "penalties on frozen weights left out; 1 on trained ones kept" in caplog.text


def test_the_recipe_of_frozen_weights_is_left_out_and_said_once(
    model: MultiHead, caplog: pytest.LogCaptureFixture
) -> None:
    params = toys.params(l2_scale=2e-8)
    whole = len(calico_penalties(params, model))
    model.freeze()
    penalties = Penalties(model, [], recipe=calico_penalties(params, model))
    assert float(penalties().detach()) == pytest.approx(
        2e-8 * float(kernels(model, "head")[0].square().sum()), rel=1e-5
    )
    said = [record.getMessage() for record in caplog.records]
    assert said == [f"{whole - 1} penalties on frozen weights left out; 1 on trained ones kept"]


def test_adapters_have_no_penalty_of_the_params(model: MultiHead) -> None:
    """The params' mha_l2_scale is of the attention's own weights, which are frozen beside adapters."""
    params = toys.params(l2_scale=2e-8)
    params["trunk"][2]["mha_l2_scale"] = 1e-8
    add_lora(model.network, LoraOptions(rank=2, alpha=4.0, targets=("query", "conv")))
    found = calico_penalties(params, model)
    assert any("base_layer" in penalty.group for penalty in found)
    assert not any("lora" in penalty.group for penalty in found)
    Penalties(model, [], recipe=found)().backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == {"network.head.weight"}


def test_scales_of_the_published_params(shared: Path) -> None:
    """2e-8 on convolutions, U-net dense layers and head, 1e-8 on the transformer; none on separable convolutions."""
    params = json.loads((shared / "data" / "tables" / "borzoi_params.json").read_text())
    with torch.device("meta"):
        model = MultiHead([BorzoiConfig.from_params(params)])
    found = {penalty.group: penalty.weight for penalty in calico_penalties(params, model)}
    assert {
        found[name] for name in ("stem.weight", "tower.5.conv.weight", "unet.0.dense.weight", "tail.conv.weight")
    } == {2e-8}
    assert found["head.weight"] == found["unet.1.dense_skip.weight"] == 2e-8
    inner = ("dense_up", "dense_down", "attention.query", "attention.out", "attention.relative_key")
    assert {found[f"transformer.7.{name}.weight"] for name in inner} == {1e-8}
    assert not any("depthwise" in name or "pointwise" in name or "bias" in name or "norm" in name for name in found)
    # 1 stem, 6 tower, 8 x 7 transformer, 2 x 2 U-net, 1 tail, 1 head
    assert len(found) == 1 + 6 + 8 * 7 + 4 + 1 + 1
