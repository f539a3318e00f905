"""Promoter networks: sizes of the published ones, what the mask does, which weights move, regularisers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from borzoi_export.models.promoter import build, set_kernels
from borzoi_export.models.promoter_config import PromoterConfig
from borzoi_export.models.puffin import Puffin, PuffinConfig, load_puffin
from borzoi_export.training.penalties import PENALTIES, l1_mean, l1_sum, l2_sum, smoothness_penalty
from numpy.testing import assert_allclose
from oracles import motifs as oracle
from promoter_toys import small_config, small_model

from borzoi_rt.errors import FormatError, InputError


def names(count: int) -> tuple[str, ...]:
    return tuple(f"m{number}" for number in range(count))


def test_stage_1_has_the_published_size():
    model = build(PromoterConfig(stage=1, motif_names=names(40)))
    # 40 * 4 * 51 + 40 + 2 * 80 * 601 + 2 + 4
    assert sum(p.numel() for p in model.parameters()) == 104_366


def test_stage_3_has_the_published_size():
    model = build(PromoterConfig(stage=3, motif_names=names(27), others=12, scored=18))
    sizes = {name: p.numel() for name, p in model.named_parameters()}
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    assert sum(sizes.values()) == 95_443_539
    assert frozen == 27 * 4 * 51 + 12 * 4 * 3
    assert sum(size for name, size in sizes.items() if name.startswith("unets.0")) == 47_712_546
    assert len(model.state_dict()) == 813


def window(model: torch.nn.Module, batch: int = 2) -> torch.Tensor:
    letters = torch.randint(0, 4, (batch, model.config.sequence_length_bp), generator=torch.Generator().manual_seed(3))
    return torch.nn.functional.one_hot(letters, 4).transpose(1, 2).float()


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_mask_is_removal_by_assignment(stage, monkeypatch):
    model = small_model(stage)
    x, motifs = window(model), model.config.motifs
    with torch.inference_mode():
        plain = model(x)
        assert plain.shape == (2, 2, model.config.geometry.bins)
        assert torch.equal(model(x, torch.ones(1, 2 * motifs, 1), torch.zeros(1, 2 * motifs, 1)), plain)
        mask = torch.ones(1, 2 * motifs, 1)
        mask[:, [1, 1 + motifs]] = 0
        by_mask = model(x, mask)
        whole = model.activations

        def assigned(x: torch.Tensor) -> torch.Tensor:
            a = whole(x)
            a[:, [1, 1 + motifs]] = 0.0
            return a

        monkeypatch.setattr(model, "activations", assigned)
        assert torch.equal(model(x), by_mask)
        assert (by_mask - plain).abs().max() > 1e-3


def test_a_motif_without_downstream_weight_has_no_effect():
    model = small_model(1)
    with torch.no_grad():
        model.effect.weight[:, [2, 2 + model.config.motifs]] = 0.0
    mask = torch.ones(1, 2 * model.config.motifs, 1)
    mask[:, [2, 2 + model.config.motifs]] = 0
    x = window(model)
    with torch.inference_mode():
        assert torch.equal(model(x), model(x, mask))


def test_activations_of_the_other_strand_are_those_of_the_reverse_complement():
    model = small_model(1)
    x, motifs = window(model), model.config.motifs
    with torch.inference_mode():
        here, there = model.activations(x), model.activations(x.flip(1, 2)).flip(2)
    assert torch.equal(here[:, :motifs], there[:, motifs:])
    assert torch.equal(here[:, motifs:], there[:, :motifs])


@pytest.mark.parametrize(
    ("stage", "frozen"), [(2, ["motif.weight", "effect.weight"]), (3, ["motif.weight", "other.weight"])]
)
def test_frozen_kernels_stay_and_their_biases_move(stage, frozen):
    model = small_model(stage).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.1)
    model(window(model)).square().mean().backward()
    optimizer.step()
    for name in frozen:
        assert torch.equal(model.state_dict()[name], before[name])
        assert not torch.equal(
            model.state_dict()[name.replace("weight", "bias")], before[name.replace("weight", "bias")]
        )


def test_published_kernels_are_taken_as_they_are(shared):
    folder = shared / "data" / "genoretriever"
    motif, other = (torch.from_numpy(np.load(folder / name)) for name in ("sorted_cl_motif.npy", "pi_w82_other.npy"))
    model = build(PromoterConfig(stage=3, motif_names=names(27), others=12, scored=18, channels=4))
    set_kernels(model, motif=motif, other=other)
    assert torch.equal(model.motif.weight, motif)
    assert torch.equal(model.other.weight, other)
    with pytest.raises(InputError, match=r"\(27, 4, 51\) is needed"):
        set_kernels(model, motif=motif[:5])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stage": 4}, "allowed: 1, 2, 3"),
        ({"motif_names": ("a", "a")}, "no two may be equal"),
        ({"scored": 9}, "scored is 9"),
        ({"motif_width": 10}, "odd width"),
        ({"tss_bp": 890}, "outside the output"),
        ({"stage": 3, "others": 2, "sequence_length_bp": 901}, "multiple of 15"),
        ({"stage": 2, "others": 0}, "short kernels"),
    ],
)
def test_configs_refuse_nonsense(change, words):
    with pytest.raises(FormatError, match=words):
        small_config(**{"stage": 1, **change})


def test_config_round_trips():
    config = small_config(3)
    assert PromoterConfig.from_dict(config.to_dict()) == config
    with pytest.raises(FormatError, match="unknown key 'depth'"):
        PromoterConfig.from_dict({**config.to_dict(), "depth": 3})


def test_puffin_reads_a_weight_file_of_its_shape(tmp_path):
    config = PuffinConfig(sequence_length_bp=900, tss_bp=450)
    model = Puffin(config)
    assert sum(p.numel() for p in model.parameters()) == 510_948
    torch.save(model.state_dict(), tmp_path / "own.pth")
    again = load_puffin(tmp_path / "own.pth", config)
    x = window(model, 1)
    with torch.inference_mode():
        assert torch.equal(again(x), model(x))
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(FormatError, match="not the tensors of Puffin"):
        load_puffin(tmp_path / "other.pth")


@pytest.mark.parametrize(
    ("n", "p", "want"),
    [
        (5, 4, 0.3834824944236852),
        (51, 4, 0.0034409869982724),
        (601, 4, 2.47627032633e-5),
        (5, 2, 0.5),
        (51, 2, 12 / 2600),
    ],
)
def test_roughness_of_a_ramp(n, p, want):
    # p = 4: 1 / sqrt((n^2 - 1)(3 n^2 - 7) / 240); p = 2: 12 / (n^2 - 1)
    ramp = torch.arange(n, dtype=torch.float64)
    for line in (ramp, -3.0 * ramp + 7.0):
        assert_allclose(smoothness_penalty(line, p=p, eps=0.0), want, rtol=1e-9)


@pytest.mark.parametrize("p", [2, 4, 6])
def test_roughness_of_the_alternating_and_the_constant_kernel(p):
    alternating = torch.tensor([1.0, -1.0] * 8, dtype=torch.float64)
    assert_allclose(smoothness_penalty(alternating, p=p, eps=0.0), 4.0)
    flat = torch.zeros(2, 5, dtype=torch.float64, requires_grad=True)
    value = smoothness_penalty(flat, p=p)
    value.backward()
    assert value == 0
    assert torch.equal(flat.grad, torch.zeros(2, 5, dtype=torch.float64))


def test_regularisers_on_the_published_kernels(shared):
    folder = shared / "data" / "genoretriever"
    motif, other = (
        torch.from_numpy(np.load(folder / name)).double() for name in ("sorted_cl_motif.npy", "pi_w82_other.npy")
    )
    found = {
        "motif p4": smoothness_penalty(motif),
        "motif p2": smoothness_penalty(motif, p=2),
        "motif l1": l1_mean(motif),
        "0-17 p4": smoothness_penalty(motif[:18]),
        "0-17 l1": l1_mean(motif[:18]),
        "0 p4": smoothness_penalty(motif[0]),
        "other p4": smoothness_penalty(other),
        "other p2": smoothness_penalty(other, p=2),
        "other l1": l1_mean(other),
    }
    want = [0.4380753229071712, 1.7883952894007515, 0.143411292309678, 0.45081070829942355, 0.16682022972782545]
    want += [0.3549665082085806, 2.5931276795400926, 3.1759196847379716, 0.19573482455598423]
    assert_allclose([float(value) for value in found.values()], want, rtol=1e-9)


def test_regularisers_by_name_are_the_formulas():
    w = torch.from_numpy(np.random.default_rng(4).normal(size=(3, 2, 9)))
    flat = w.numpy()
    want = {
        "smoothness_p4": oracle.smoothness(flat, 4, 1e-10),
        "smoothness_p2": oracle.smoothness(flat, 2, 1e-10),
        "l1_mean": np.abs(flat).mean(),
        "l1_sum": np.abs(flat).sum(),
        "l2_sum": (flat**2).sum(),
        "group_l2": sum(np.sqrt((curve**2).sum()) for kernel in flat for curve in kernel),
    }
    assert {name: pytest.approx(float(penalty(w)), rel=1e-12) for name, penalty in PENALTIES.items()} == want
    assert (l1_sum(w) / l1_mean(w)).item() == pytest.approx(54)
    assert l2_sum(torch.tensor([3.0, 4.0])) == 25


def test_groups_go_to_zero_together():
    """Of the group lasso with a step of least squares: w becomes (1 - t / |w|) w, or 0; the slope at 0 is none."""
    w = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    PENALTIES["group_l2"](w).backward()
    assert_allclose(w.grad.numpy(), [[0.6, 0.8], [0.6, 0.8], [0.0, 0.0]])
    target = w.detach().clone()
    for _ in range(4000):
        w.grad = None
        (0.5 * (w - target).square().sum() + PENALTIES["group_l2"](w)).backward()
        with torch.no_grad():
            w -= 0.01 * w.grad
    assert_allclose(w.detach().numpy(), [[2.4, 3.2], [0.0, 0.0], [0.0, 0.0]], atol=0.01)


@pytest.mark.parametrize("stage", [1, 2])
def test_a_prediction_is_the_sum_of_what_its_motifs_add(stage):
    """What the manual calls self-explaining: ln(exp(y) - 1) is a sum over motifs, exactly; stage 3 is not one."""
    from promoter_toys import small_model

    torch.manual_seed(0)
    model = small_model(stage).double().eval()
    count, length = model.config.motifs, model.config.sequence_length_bp
    x = torch.nn.functional.one_hot(torch.randint(0, 4, (1, length)), 4).transpose(1, 2).double()

    def before_softplus(*without):
        mask = torch.ones(1, 2 * count, 1, dtype=torch.float64)
        for motif in without:
            mask[:, [motif, motif + count]] = 0.0
        with torch.no_grad():
            return torch.log(torch.expm1(model(x, mask)))

    whole = before_softplus()
    parts = [whole - before_softplus(motif) for motif in range(count)]
    assert_allclose(sum(parts).numpy(), (whole - before_softplus(*range(count))).numpy(), atol=1e-10)
    assert max(float(part.abs().max()) for part in parts) > 1e-3
