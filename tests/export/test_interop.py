"""A target as a torch module: values and gradients are those of the objective, whatever asks for them."""

from __future__ import annotations

import numpy as np
import pytest
import toy_objectives as toys
import worlds
from numpy.testing import assert_allclose

torch = pytest.importorskip("torch")

from borzoi_export.interop import TargetModule  # noqa: E402

from borzoi_rt.bundle.opening import Bundle  # noqa: E402
from borzoi_rt.errors import InputError  # noqa: E402
from borzoi_rt.explain.explainer import Explainer, ExplainOptions  # noqa: E402
from borzoi_rt.explain.rows import region_rows  # noqa: E402
from borzoi_rt.explain.target import TargetSpec  # noqa: E402
from borzoi_rt.genome.fasta import Fasta  # noqa: E402
from borzoi_rt.genome.intervals import Interval  # noqa: E402
from borzoi_rt.sequence import encode  # noqa: E402

U, V = np.random.default_rng(3).normal(size=(2, 4, 60))
WINDOW = encode(worlds.random_dna(60, seed=1))


def test_a_product_and_its_derivative() -> None:
    module = TargetModule(toys.product(U, V))
    both = np.stack([WINDOW, WINDOW[:, ::-1]]).astype(np.float64)
    asked = torch.tensor(both, requires_grad=True)
    found = module(asked)
    assert found.shape == (2, 1)
    (3.0 * found[0, 0] + found[1, 0]).backward()
    for number, factor in enumerate((3.0, 1.0)):
        x = both[number]
        assert_allclose(found[number, 0].item(), (U * x).sum() * (V * x).sum(), rtol=1e-12)
        want = factor * (U * (V * x).sum() + V * (U * x).sum())
        assert_allclose(asked.grad[number].numpy(), want, rtol=1e-12)
    assert not module.training


def test_a_path_between_two_sequences_is_complete() -> None:
    """What captum's integrated gradients do: mixtures are sequences, too; of a product one point is exact."""
    module, other = TargetModule(toys.product(U, V), WINDOW, (10, 40)), encode(worlds.random_dna(30, seed=2))
    x, r = (torch.tensor(part.astype(np.float64)) for part in (WINDOW[:, 10:40], other))
    middle = (0.5 * (x + r)).requires_grad_()
    module(middle[None]).sum().backward()
    total = float(((x - r) * middle.grad).sum())
    assert_allclose(total, float(module(x[None]) - module(r[None])), rtol=1e-10)


def test_a_second_derivative_is_refused() -> None:
    """There is none: zeros would be a wrong answer. First ones, forward or with a graph, stay."""
    module, x = TargetModule(toys.product(U, V)), torch.tensor(WINDOW[None].astype(np.float64))

    def total(sequences: torch.Tensor) -> torch.Tensor:
        return module(sequences).sum()

    with pytest.raises(InputError, match="first derivatives alone"):
        torch.autograd.functional.hessian(total, x)
    asked = x.clone().requires_grad_()
    (slopes,) = torch.autograd.grad(total(asked), asked, create_graph=True)
    with pytest.raises(InputError, match="first derivatives alone"):
        slopes.square().sum().backward()
    v = torch.tensor(np.random.default_rng(5).normal(size=x.shape))
    assert_allclose(torch.autograd.functional.jvp(total, x, v)[1].item(), (slopes * v).sum().item(), rtol=1e-12)


def test_values_alone_are_those_of_sequences() -> None:
    class Plain:
        length = 60

        def values(self, sequences: np.ndarray) -> np.ndarray:
            assert sequences.dtype == np.uint8
            return sequences[:, 0].sum(axis=1).astype(np.float64)

    module = TargetModule(Plain())
    assert module(torch.tensor(WINDOW[None])).item() == WINDOW[0].sum()
    with pytest.raises(InputError, match="need an objective with a slope"):
        module(torch.tensor(WINDOW[None], dtype=torch.float32, requires_grad=True))
    with pytest.raises(InputError, match=r"\(sequences, 4, 60\) is needed"):
        module(torch.zeros(1, 4, 59))
    with pytest.raises(InputError, match="window and bases belong together"):
        TargetModule(Plain(), bases=(1, 2))


def test_the_gradient_of_a_bundle_is_its_saliency(gradient_bundle: Bundle, tmp_path) -> None:
    text = worlds.random_dna(9000, seed=21)
    spec, options = TargetSpec.parse("log SUM@span:400", tracks="cage"), ExplainOptions(method="saliency")
    with (
        Fasta(worlds.write_fasta(tmp_path / "g.fa", {"chr1": text})) as genome,
        Explainer(gradient_bundle, genome) as explainer,
    ):
        (row,) = region_rows([Interval("chr1", 4400, 4460)], genome, gradient_bundle.geometry)
        want = explainer.explain(row, spec, options)
        window = row.window(genome, gradient_bundle.geometry)
        module = TargetModule(explainer.objective(row, spec, options), window, row.columns)
        asked = torch.tensor(window[None, :, slice(*row.columns)], dtype=torch.float64, requires_grad=True)
        value = module(asked)
        value.sum().backward()
    assert value.item() == pytest.approx(want.value, rel=1e-12)
    gradient = asked.grad[0].numpy()
    assert_allclose(gradient - gradient.mean(axis=0), want.hypothetical, rtol=1e-9, atol=1e-15)


def test_methods_of_captum_run_on_it() -> None:
    attr = pytest.importorskip("captum.attr", reason="captum, of no extra, is not installed")
    module = TargetModule(toys.product(U, V), WINDOW, (10, 40))
    x = torch.tensor(WINDOW[None, :, 10:40].astype(np.float64))
    other = torch.tensor(encode(worlds.random_dna(30, seed=2))[None].astype(np.float64))
    difference = float(module(x) - module(other))
    found = attr.IntegratedGradients(module).attribute(x, baselines=other, n_steps=2, method="riemann_middle")
    assert_allclose(float(found.sum()), difference, rtol=1e-10)
    parts = (torch.arange(30) // 10).expand(1, 4, 30).contiguous()
    asked = {"baselines": other, "feature_mask": parts, "target": 0, "n_samples": 2}
    shapley = attr.ShapleyValueSampling(module).attribute(x, **asked)
    assert shapley.shape == x.shape  # one value for each region, at all of its elements
    assert_allclose(float(shapley[0, 0, ::10].sum()), difference, rtol=1e-6)  # captum adds these up in float32
    slopes = attr.Saliency(module).attribute(x, abs=False)[0].numpy()
    want = (U * (V * WINDOW).sum() + V * (U * WINDOW).sum())[:, 10:40]
    assert_allclose(slopes, want, rtol=1e-10)
