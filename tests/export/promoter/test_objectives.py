"""Losses and coefficients of the three stages."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from borzoi_export.promoter.objectives import (
    PUBLISHED,
    Objective,
    absolute_kl,
    data_terms,
    penalty_terms,
    poisson_kl,
    profile_kl,
)
from numpy.testing import assert_allclose
from oracles import motifs as roughness
from oracles import promoter as oracle
from promoter_toys import small_model

from borzoi_rt.errors import InputError


def batch() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    p, t = random.random((3, 2, 40)) * 2, np.log1p(random.poisson(0.7, (3, 2, 40)))
    t[1, 0] = 0.0  # a strand without counts
    return p, t


def total(terms: dict[str, torch.Tensor]) -> float:
    return sum(term.item() for term in terms.values())


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(profile_kl, oracle.profile_kl), (poisson_kl, oracle.poisson_kl), (absolute_kl, oracle.absolute_kl)],
)
def test_losses_are_the_loops(ours, theirs):
    p, t = batch()
    got = ours(torch.from_numpy(p), torch.from_numpy(t)).item()
    assert_allclose(got, theirs(p, t), rtol=1e-10)
    assert got > 0
    assert_allclose(ours(torch.from_numpy(t), torch.from_numpy(t)).item(), 0, atol=1e-12)


def test_stages_weigh_their_terms_as_published():
    p, t = batch()
    x, y = torch.from_numpy(p), torch.from_numpy(t)
    kl, pkl = oracle.profile_kl(p, t), oracle.poisson_kl(p, t)
    assert_allclose(total(data_terms(1, x, y, PUBLISHED[1])), kl + 1e-3 * pkl, rtol=1e-10)
    assert_allclose(total(data_terms(2, x, y, PUBLISHED[2])), kl + 5e-4 * pkl, rtol=1e-10)
    old = Objective(poisson_kl=5e-4, log10_prediction=True)
    assert_allclose(total(data_terms(2, x, y, old)), kl + 5e-4 * oracle.poisson_kl(p / math.log(10), t), rtol=1e-10)
    assert_allclose(total(data_terms(3, x, y, PUBLISHED[3])), oracle.absolute_kl(p, t), rtol=1e-10)


def test_penalties_are_those_of_the_paper():
    model = small_model(1).double()
    deconv, motif = (layer.weight.detach().numpy() for layer in (model.effect, model.motif))
    want = 2e-3 * roughness.smoothness(deconv, 4, 1e-10) + 5e-5 * np.abs(deconv).mean() + 4e-5 * np.abs(motif).mean()
    assert_allclose(total(penalty_terms(1, model, PUBLISHED[1])), want, rtol=1e-10)
    second = small_model(2).double()
    deconv, motif = (layer.weight.detach().numpy() for layer in (second.effect_other, second.other))
    want = 5e-4 * roughness.smoothness(deconv, 2, 1e-10) + 4e-5 * np.abs(deconv).mean() + 2e-5 * np.abs(motif).mean()
    assert_allclose(total(penalty_terms(2, second, PUBLISHED[2])), want, rtol=1e-10)
    assert penalty_terms(3, small_model(3), PUBLISHED[3]) == {}


def test_textbook_forms_by_name():
    model = small_model(1).double()
    deconv, motif = (layer.weight.detach().numpy() for layer in (model.effect, model.motif))
    objective = Objective(smooth_deconv=1.0, l1_deconv=2.0, l1_motif=3.0, smooth_form="l2_sum", l1_form="l1_sum")
    want = (deconv**2).sum() + 2 * np.abs(deconv).sum() + 3 * np.abs(motif).sum()
    assert_allclose(total(penalty_terms(1, model, objective)), want, rtol=1e-12)
    with pytest.raises(InputError, match="l1_mean, l1_sum"):
        Objective(l1_form="l1")


@pytest.mark.parametrize("length", [150, 601])
def test_long_kernels_by_fourier_transform_are_the_convolution(length):
    model = small_model(1)
    a = torch.randn(2, 8, length, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    layer = model.effect.double()
    plain, fourier = layer.eval()(a), layer.train()(a)
    assert_allclose(fourier.detach(), plain.detach(), atol=1e-12)
    g = torch.randn(plain.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for first, second in zip(
        torch.autograd.grad(plain, (a, layer.weight, layer.bias), g),
        torch.autograd.grad(fourier, (a, layer.weight, layer.bias), g),
        strict=True,
    ):
        assert_allclose(second, first, atol=1e-11)
