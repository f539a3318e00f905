"""DeepLIFT: every rule against what can be written down, the network against its coverage, and tangermeme."""

from __future__ import annotations

import copy
import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import toys
import worlds
from command_line import Cli, check_error
from numpy.testing import assert_allclose, assert_array_equal

torch = pytest.importorskip("torch")

from borzoi_export.deeplift import rules  # noqa: E402
from borzoi_export.deeplift.network import PairedNetwork  # noqa: E402
from borzoi_export.graphs.exact import coverage_of  # noqa: E402
from borzoi_export.models.borzoi import Borzoi  # noqa: E402

from borzoi_rt.demo.run import embedded_bundle  # noqa: E402
from borzoi_rt.errors import InputError  # noqa: E402
from borzoi_rt.explain.attr_file import read_attributions  # noqa: E402
from borzoi_rt.explain.explainer import ExplainOptions  # noqa: E402
from borzoi_rt.explain.methods import find_method, read_options  # noqa: E402
from borzoi_rt.explain.shuffles import shuffled  # noqa: E402
from borzoi_rt.genome.fasta import write_fasta  # noqa: E402
from borzoi_rt.model import open_model  # noqa: E402
from borzoi_rt.sequence import encode  # noqa: E402

TRACKS = np.array([4, 0, 3])
ROTARY = {"heads": 4, "key_heads": 2, "key_size": 8, "rotary_size": 4, "position_features": 0, "widths_of": 0}
Rule = Callable[[rules.Pair], rules.Pair]


def multipliers(rule: Rule, x: torch.Tensor, r: torch.Tensor, weights: torch.Tensor) -> tuple[np.ndarray, float]:
    """Multipliers of ``sum weights y`` by x, and by how much that sum differs."""
    leaf = x.clone().requires_grad_()
    y, reference = rule((leaf, r))
    (y * weights).sum().backward()
    assert leaf.grad is not None
    return leaf.grad.numpy(), float(((y - reference) * weights).sum().detach())


def tensors(*shape: int, seed: int = 0, kind: torch.dtype = torch.float64) -> list[torch.Tensor]:
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.normal(size=shape) * 2.0).to(kind) for _ in range(3)]


def layer_norm(kind: torch.dtype = torch.float64) -> Rule:
    torch.manual_seed(0)
    layer = torch.nn.LayerNorm(8, eps=1e-3).to(kind).requires_grad_(False)
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    return lambda pair: rules.layer_norm(layer, pair)


RULES = {
    "gelu": lambda: rules.gelu,
    "softplus": lambda: rules.softplus,
    "relu": lambda: rules.relu,
    "softmax": lambda: rules.softmax,
    "layer norm": layer_norm,
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("scale", [1.0, 1e-5, 30.0])
def test_multipliers_add_up_to_the_difference(name, scale):
    """However near the reference is, and however far; at no distance they are the derivatives."""
    rule = RULES[name]()
    x, change, weights = tensors(3, 8)
    r = x - scale * change
    found, difference = multipliers(rule, x, r, weights)
    assert_allclose((found * (x - r).numpy()).sum(), difference, rtol=1e-9, atol=1e-13)
    leaf = x.clone().requires_grad_()
    (rule((leaf, x))[0] * weights).sum().backward()  # a reference that is the sequence
    plain = {
        "gelu": lambda v: torch.nn.functional.gelu(v, approximate="tanh"),
        "softplus": torch.nn.functional.softplus,
        "relu": torch.relu,
        "softmax": lambda v: torch.softmax(v, dim=-1),
        "layer norm": lambda v: rule((v, x))[0],
    }[name]
    if name == "layer norm":
        eps = 1e-6
        moved = x.clone()
        moved[0, 3] += eps
        slope = float(((plain(moved) - plain(x)) * weights).sum()) / eps
        assert_allclose(float(leaf.grad[0, 3]), slope, rtol=1e-4)
        return
    other = x.clone().requires_grad_()
    (plain(other) * weights).sum().backward()
    assert_allclose(leaf.grad.numpy(), other.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_close_points_in_float32_lose_no_digits():
    """The quotient of two rounded differences would: 1e-6 of a change of 1e-5 is one digit of a float32."""
    x, change, weights = tensors(4, 8, kind=torch.float32)
    for name in ("gelu", "softplus", "softmax"):
        rule = RULES[name]()
        single, _ = multipliers(rule, x, x - 1e-5 * change, weights)
        double, _ = multipliers(rule, x.double(), x.double() - 1e-5 * change.double(), weights.double())
        assert_allclose(single, double, rtol=2e-5, atol=2e-6)
    big = torch.tensor([[500.0, -500.0, 0.0]])
    found, difference = multipliers(rules.softmax, big, -big, torch.ones(1, 3) * torch.tensor([1.0, 2.0, 3.0]))
    assert np.isfinite(found).all()
    assert_allclose((found * 2.0 * big.numpy()).sum(), difference, rtol=1e-5)


def test_of_a_linear_layer_the_multipliers_are_its_weights():
    x, r, weights = tensors(6, 5)
    matrix = tensors(4, 6, seed=1)[0]
    found, _ = multipliers(lambda pair: rules.linear(lambda part: matrix @ part + 7.0, pair), x, r, weights[:4])
    assert_allclose(found, (matrix.T @ weights[:4]).numpy(), rtol=1e-12)


def test_of_a_product_each_factor_gets_the_other_at_the_middle():
    a, a_r, g = (part[:, :4] for part in tensors(4, 6))
    b, b_r, _ = (part[:4] for part in tensors(6, 4, seed=1))
    one, other = a.clone().requires_grad_(), b.clone().requires_grad_()
    y, reference = rules.product((one, a_r), (other, b_r))
    (y * g).sum().backward()
    assert_allclose(one.grad, g @ (0.5 * (b + b_r)).T, rtol=1e-12)
    assert_allclose(other.grad, (0.5 * (a + a_r)).T @ g, rtol=1e-12)
    total = (one.grad * (a - a_r)).sum() + (other.grad * (b - b_r)).sum()
    assert_allclose(float(total), float(((y - reference) * g).sum().detach()), rtol=1e-10)


def test_of_a_maximum_the_gain_goes_to_the_winner_and_the_loss_to_the_one_before():
    pairs = torch.tensor(
        [
            [[3.0, 1.0], [1.0, 2.0]],  # another wins and is larger: it has gained 1 of its 2
            [[1.0, 0.0], [0.5, 2.0]],  # another wins and is smaller: the old one lost 1 of its 2
            [[2.0, 0.0], [1.0, 0.0]],  # the same wins
            [[1.0, 1.0], [1.0, 1.0]],  # nothing changes: the first counts
            [[1.0, 4.0], [1.0, 3.0]],
        ],
        dtype=torch.float64,
    )
    x, r = pairs[:, 0].reshape(1, -1), pairs[:, 1].reshape(1, -1)
    found, difference = multipliers(rules.pool, x, r, torch.ones(1, 5, dtype=torch.float64))
    assert_allclose(found.reshape(-1, 2), [[0.5, 0.0], [0.0, 0.5], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert_allclose((found * (x - r).numpy()).sum(), difference, rtol=1e-12)
    x, r, weights = tensors(3, 40)
    found, difference = multipliers(rules.pool, x, r, weights[:, :20])
    assert_allclose((found * (x - r).numpy()).sum(), difference, rtol=1e-10)
    assert (np.abs(found) <= weights[:, :20].abs().repeat_interleave(2, dim=-1).numpy() + 1e-12).all()


def network(**sizes: object) -> Borzoi:
    torch.manual_seed(5)
    return toys.model(toys.config(**sizes)).double()


def windows(length: int, bases: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    window = encode(worlds.random_dna(length - 7, 3) + "NNNNNNN")
    return window, shuffled(window, *bases, np.random.default_rng(0))


@pytest.mark.parametrize(
    "sizes", [{}, {"tail_filters": 24}, {"upsample_conv": False}, ROTARY], ids=["plain", "tail", "no dense", "rotary"]
)
def test_a_network_is_complete(sizes):
    """In float64 nothing is lost: sum m (x - r) is the difference of any weighing of the coverage."""
    model = network(**sizes)
    paired, grid, bases = PairedNetwork(copy.deepcopy(model)), model.config.geometry, (300, 1700)
    x, r = (one.astype(np.float32) for one in windows(grid.sequence_length_bp, bases))
    bins = (3, grid.bins - 2)
    cotangent = np.random.default_rng(1).normal(size=(len(TRACKS), bins[1] - bins[0]))
    found = paired.multipliers(x, r, TRACKS, cotangent, bins=bins, bases=bases)
    coverage = [coverage_of(model, one[None], TRACKS, 0.0)[0] for one in (x, r)]
    difference = (cotangent * (coverage[0] - coverage[1])[:, slice(*bins)]).sum()
    assert abs(difference) > 1e-3
    assert_allclose((found * (x - r)[:, slice(*bases)]).sum(), difference, rtol=1e-9)
    assert_allclose(paired.coverage(x, TRACKS, bins), coverage[0][:, slice(*bins)], rtol=2e-5)


def test_the_multipliers_of_a_sequence_by_itself_are_its_gradient():
    from borzoi_export.graphs.gradient_parity import autograd

    model = network(sequence_length_bp=16384)  # 128 tokens: two tiles of the tower
    grid = model.config.geometry
    x = encode(worlds.random_dna(grid.sequence_length_bp, 3)).astype(np.float32)
    cotangent = np.random.default_rng(1).normal(size=(len(TRACKS), grid.bins))
    want = autograd(copy.deepcopy(model), x[None], TRACKS, cotangent)
    bases = (0, grid.sequence_length_bp)
    found = PairedNetwork(model).multipliers(x, x, TRACKS, cotangent, bins=(0, grid.bins), bases=bases)
    assert_allclose(found, want, atol=1e-9 * np.abs(want).max())
    some = PairedNetwork(model).multipliers(x, x, TRACKS, cotangent, bins=(0, grid.bins), bases=(8000, 8300))
    assert_array_equal(some, found[:, 8000:8300])


def test_the_trained_network_is_complete_in_float32(shared):
    """16,384 bp around a peak of its coverage: 1,024 are shuffled, what that changes is followed back."""
    from borzoi_export.models.config import BorzoiConfig, read_params
    from borzoi_export.weights.keras_h5 import read_keras_h5

    source = shared / "data" / "tiny_model"
    config = BorzoiConfig.from_params(read_params(source / "params.json"))
    model = Borzoi(dataclasses.replace(config, sequence_length_bp=16384, crop_bins=128)).eval()
    model.load_state_dict(read_keras_h5(source / "model.h5", config))
    with np.load(shared / "data" / "golden" / "fwd.npz") as held:
        peak = config.geometry.crop_bp + 32 * (int(held["p"][0, 300:-300, 0].argmax()) + 300)
        window = np.ascontiguousarray(held["x"][0, peak - 8192 : peak + 8192].T)
    bases, bins, tracks = (8192 - 512, 8192 + 512), (128 - 16, 128 + 16), np.array([0, 1])
    reference, paired = shuffled(window, *bases, np.random.default_rng(0)), PairedNetwork(model)
    coverage = [paired.coverage(one.astype(np.float32), tracks, bins) for one in (window, reference)]
    difference = float(np.subtract(*coverage, dtype=np.float64).sum())
    found = paired.multipliers(
        window.astype(np.float32),
        reference.astype(np.float32),
        tracks,
        np.ones(coverage[0].shape),
        bins=bins,
        bases=bases,
    )
    inside = (window.astype(np.float64) - reference)[:, slice(*bases)]
    assert abs(difference) > 0.1
    assert_allclose((found * inside).sum(), difference, rtol=1e-4)


class _Secants:
    """An objective whose multipliers can be written down: sum w x, or its square."""

    def __init__(self, weights: np.ndarray, square: bool, miss: float = 0.0) -> None:
        self.length, self.weights, self.square, self.miss = weights.shape[1], weights, square, miss

    def values(self, sequences: np.ndarray) -> np.ndarray:
        sums = (self.weights * sequences).sum(axis=(1, 2))
        return sums**2 if self.square else sums

    def secant(self, window: np.ndarray, reference: np.ndarray, bases: tuple[int, int]) -> np.ndarray:
        both = float((self.weights * window).sum() + (self.weights * reference).sum())
        return ((both if self.square else 1.0) * (1.0 + self.miss) * self.weights)[:, slice(*bases)]


@pytest.mark.parametrize("square", [False, True])
def test_attributions_are_multipliers_times_differences(square):
    window = encode(worlds.random_dna(96, 4))
    weights, bases = np.random.default_rng(8).normal(size=(4, 96)), (16, 80)
    found = find_method("deeplift").run(
        _Secants(weights, square), window, bases, read_options("deeplift", {"references": 3})
    )
    want = np.zeros((4, 64))
    for number in range(3):  # the references of ig
        r = shuffled(window, *bases, np.random.default_rng([0, 0, number]))
        m = (weights * ((weights * window).sum() + (weights * r).sum() if square else 1.0))[:, slice(*bases)]
        want += (m - (m * r[:, slice(*bases)]).sum(axis=0)) / 3
    assert_allclose(found.hypothetical, want, rtol=1e-10, atol=1e-12)
    assert found.facts["delta_share"] < 1e-12
    assert found.arrays["se"].shape == (4, 64)


def test_what_does_not_add_up_is_refused_unless_it_is_accepted():
    window, weights = encode(worlds.random_dna(96, 4)), np.random.default_rng(8).normal(size=(4, 96))
    objective, run = _Secants(weights, square=False, miss=0.05), find_method("deeplift").run
    said = r"miss 0\.05 of the difference of the target in the mean of 20 references, allowed is 0\.01"
    with pytest.raises(InputError, match=said):
        run(objective, window, (16, 80), read_options("deeplift", {}))
    found = run(objective, window, (16, 80), read_options("deeplift", {"max_delta": 0.06}))
    assert_allclose(found.facts["delta_share"], 0.05, rtol=1e-9)
    for bad in (-0.1, float("nan"), True, "much"):
        with pytest.raises(InputError, match="max_delta is"):
            read_options("deeplift", {"max_delta": bad})


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("genome") / "genome.fa"
    text = worlds.random_dna(9000, seed=21)
    write_fasta(path, {"chr1": f"{text[:4450]}TATAAAAG{text[4458:4480]}TCAGTCTT{text[4488:]}"})
    return path


@pytest.mark.parametrize("rc", [False, True])
def test_the_demo_model_explained(genome, rc):
    """From Python: complete for a target with a logarithm, and near integrated gradients of the same references."""
    with open_model(embedded_bundle(), fasta=genome) as model:
        found, other = (
            model.explain(
                "log SUM@span:400",
                "chr1:4421-4520",
                tracks="CAGE",
                options=ExplainOptions(method=method, options={"references": 2}, rc=rc),
            )
            for method in ("deeplift", "ig")
        )
    assert found.facts["delta_share"] < 1e-4
    assert_allclose(found.value, other.value, rtol=1e-5)
    assert_allclose(found.facts["difference"], other.facts["difference"], rtol=1e-4)
    assert np.corrcoef(found.projected, other.projected)[0, 1] > 0.5
    assert_allclose(found.projected.sum(), found.facts["difference"], rtol=1e-3)


def test_from_the_command_line(cli: Cli, genome, tmp_path, monkeypatch):
    words = ["explain", "--method", "deeplift", "--region", "chr1:4421-4520", "--target", "logSED@span:400"]
    words += ["--bundle", str(embedded_bundle().path), "--fasta", str(genome), "--references", "2"]
    code, _, err = cli(*words, "--out", tmp_path / "attr.h5")
    assert code == 0, err
    found = read_attributions(tmp_path / "attr.h5")
    assert found.about["method"] == "deeplift"
    assert found.about["options"] == {"references": 2, "max_delta": 0.01, "bin_bp": 1024, "seed": 0}
    code, _, err = cli(*words, "--max-delta", "0", "--out", tmp_path / "refused.h5")
    assert code == 1  # no row is left
    assert "allowed is 0;" in err
    assert not (tmp_path / "refused.h5").exists()
    monkeypatch.setattr("borzoi_rt.backends.triton.Connection", None)  # no server is asked, and none waited for
    for device in ("tensorrt:0", "triton:grpc://127.0.0.1:9/none"):
        check_error(cli(*words, "--device", device, "--out", tmp_path / "none.h5"), "DeepLIFT runs by torch")
    words = [*words[:1], "compare", "--methods", "ism,deeplift", *words[3:]]
    check_error(cli(*words, "--device", device, "--out", tmp_path / "none"), "DeepLIFT runs by torch")


def test_without_torch_the_method_says_what_is_missing(genome, tmp_path):
    """And every other method still has its help: the torch world is looked up when it is needed."""
    program = (
        "import sys\nsys.modules['torch'] = None\nfrom borzoi_rt import open_model\n"
        "from borzoi_rt.demo.run import embedded_bundle\nfrom borzoi_rt.errors import BackendError\n"
        f"model = open_model(embedded_bundle(), fasta={str(genome)!r})\n"
        "model.explain('logSED@span:400', region='chr1:4421-4440', method='saliency')\n"
        "try:\n    model.explain('logSED@span:400', region='chr1:4421-4440', method='deeplift')\n"
        "except BackendError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "method deeplift needs torch" in done.stdout
    assert "borzoi-rt[explain]" in done.stdout


def hookable(model: Borzoi, tracks: np.ndarray, cotangent: np.ndarray, bilinear: type) -> torch.nn.Module:
    """The same network of modules that tangermeme can hook, with the weighed sum of its coverage as the one output."""

    class Attention(torch.nn.Module):
        def __init__(self, own: torch.nn.Module) -> None:
            super().__init__()
            self.own, self.logits, self.mix, self.shares = own, bilinear(), bilinear(), torch.nn.Softmax(dim=-1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            own = self.own
            query = own.split(own.query(x)) * own.key_size**-0.5
            logits = self.logits(query + own.content_bias, own.split(own.key(x)).transpose(-1, -2))
            shares = self.shares(logits + own.relative_logits(query + own.position_bias))
            return own.out(self.mix(shares, own.split(own.value(x))).transpose(1, 2).flatten(2))

    class Twin(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            blocks, self.own = len(model.tower), model
            self.gelus = torch.nn.ModuleList(torch.nn.GELU(approximate="tanh") for _ in range(blocks + 5))
            self.pools = torch.nn.ModuleList(torch.nn.MaxPool1d(2) for _ in range(blocks + 1))
            self.attention = torch.nn.ModuleList(Attention(block.attention) for block in model.transformer)
            self.relus = torch.nn.ModuleList(torch.nn.ReLU() for _ in model.transformer)
            self.softplus = torch.nn.Softplus()
            self.weights = torch.from_numpy(cotangent)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            own, gelu, skips = self.own, iter(self.gelus), []
            x = self.pools[0](own.stem(x))
            for block, pool in zip(own.tower, self.pools[1:], strict=True):
                x = block.conv(next(gelu)(block.norm(x)))
                skips.insert(0, x)
                x = pool(x)
            x = x.transpose(1, 2)
            for block, attention, relu in zip(own.transformer, self.attention, self.relus, strict=True):
                x = x + attention(block.norm_attention(x))
                x = x + block.dense_down(relu(block.dense_up(block.norm_dense(x))))
            x = x.transpose(1, 2)
            for block, skip in zip(own.unet, skips, strict=False):
                x = block.dense(next(gelu)(block.norm(x))).repeat_interleave(2, dim=-1)
                x = block.pointwise(block.depthwise(x + block.dense_skip(next(gelu)(block.norm_skip(skip)))))
            crop = own.config.crop_bins
            x = next(gelu)(x[..., crop : x.shape[-1] - crop])
            coverage = self.softplus(own.head.weight[tracks] @ x + own.head.bias[tracks][:, None])
            return (coverage * self.weights).sum(dim=(1, 2))[:, None]

    return Twin().eval()


def test_the_rules_are_those_of_tangermeme():
    """In float64, where a threshold that differs does not show; its pools, softmax, norms and products are hooked."""
    library = pytest.importorskip("tangermeme.deep_lift_shap", reason="tangermeme, of no extra, is not installed")
    model, bases = network(), (300, 1700)
    grid = model.config.geometry
    window = encode(worlds.random_dna(grid.sequence_length_bp, 3))  # of known bases: it takes no others
    x, r = (one.astype(np.float32) for one in (window, shuffled(window, *bases, np.random.default_rng(0))))
    cotangent = np.random.default_rng(1).normal(size=(len(TRACKS), grid.bins))
    found = PairedNetwork(copy.deepcopy(model)).multipliers(
        x, r, TRACKS, cotangent, bins=(0, grid.bins), bases=(0, grid.sequence_length_bp)
    )
    twin = hookable(model, TRACKS, cotangent, library.BilinearOp)
    inputs = torch.from_numpy(x[None]).double(), torch.from_numpy(r[None, None]).double()
    want = library.deep_lift_shap(twin, inputs[0], references=inputs[1], raw_outputs=True, device="cpu")
    assert_allclose(found, want[0, 0].numpy(), atol=1e-6 * np.abs(found).max())
