"""The torch network against a float64 program written from the description of the architecture, and its laws."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
from numpy.testing import assert_allclose
from oracles import borzoi as oracle

from borzoi_rt.backends.opening import open_session
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.errors import InputError

torch = pytest.importorskip("torch", reason="the extra `export` is not installed")

from borzoi_export.models.borzoi import Borzoi, position_features, position_table  # noqa: E402
from borzoi_export.models.config import BorzoiConfig, read_params  # noqa: E402
from borzoi_export.weights.keras_h5 import read_keras_h5  # noqa: E402

# The features in which published models differ: tail, third decoder block, dense layer before doubling, widths of
# positions, crop, hidden width of the feed-forward layer.
VARIANTS = {
    "toy": {},
    "borzoi": {"tail_filters": 24, "dense_expansion": 1.5},
    "prime": {"unets": 3, "crop_bins": 9},
    "mini": {"upsample_conv": False, "crop_bins": 0, "heads": 4},
    "other widths": {"widths_of": 512, "position_features": 32, "unet_width": 5, "depth": 3, "stem_width": 7},
}


def windows(length: int, count: int = 2) -> np.ndarray:
    """Random one-hot windows with a run of unknown bases, uint8 (count, 4, length)."""
    letters = np.random.default_rng(5).integers(0, 4, (count, length))
    letters[:, 100:130] = 4
    return (letters[:, None, :] == np.arange(4)[:, None]).astype(np.uint8)


def network(**changes: Any) -> Borzoi:
    torch.manual_seed(3)
    return toys.model(toys.config(**changes))


def oracle_sizes(config: BorzoiConfig) -> dict[str, int]:
    sizes = {name: getattr(config, name) for name in ("heads", "widths_of", "depth", "unets")}
    return {**sizes, "crop": config.crop_bins}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_forward_matches_oracle(changes: dict[str, Any]) -> None:
    model = network(**changes)
    weights = {name: tensor.double().numpy() for name, tensor in model.state_dict().items()}
    x, sizes = windows(2048), oracle_sizes(model.config)
    want = np.stack([oracle.embedding(weights, window, **sizes) for window in x.astype(np.float64)])
    assert want.std() > 0.1  # of order 1, and not constant
    with torch.inference_mode():
        single = model(torch.from_numpy(x)).numpy()
        model.double()
        double = model.embed(*model.trunk(torch.from_numpy(x))).numpy()
    assert_allclose(double, want, rtol=0, atol=1e-12)  # float64 sums of some hundred terms of order 1
    want = oracle.softplus(np.einsum("tc,bcn->btn", weights["head.weight"], want) + weights["head.bias"][:, None])
    assert single.dtype == np.float32
    assert single.shape == (2, toys.TRACKS, model.config.bins)
    assert_allclose(single, want, rtol=2e-5, atol=2e-6)  # float32, a dozen layers


@pytest.mark.parametrize("changes", [{}, {"position_features": 32, "widths_of": 4096, "sequence_length_bp": 16384}])
def test_rows_by_class_equal_the_plain_form(changes: dict[str, Any]) -> None:
    model = network(**changes).double()
    x = torch.from_numpy(windows(model.config.sequence_length_bp))
    with torch.inference_mode():
        by_class = model.embed(*model.trunk(x))
        for block in model.transformer:
            block.attention.plain_positions = True
        plain = model.embed(*model.trunk(x))
        for block in model.transformer:
            block.attention.position_bias.zero_()
        other = model.embed(*model.trunk(x))
    assert torch.equal(by_class, plain)  # the same products, only their order differs
    assert (other - plain).abs().max() > 1e-3  # relative positions do matter here


@pytest.mark.parametrize("crop", [1, 16, 31])
@pytest.mark.parametrize("tail", [0, 24])
def test_crop_is_a_slice(crop: int, tail: int) -> None:
    whole = network(crop_bins=0, tail_filters=tail)
    cropped = Borzoi(dataclasses.replace(whole.config, crop_bins=crop)).eval()
    cropped.load_state_dict(whole.state_dict())
    x = torch.from_numpy(windows(2048))
    with torch.inference_mode():
        # the same sums in another blocking
        assert_allclose(cropped(x), whole(x)[..., crop:-crop], rtol=1e-5, atol=1e-6)


def test_input_dtype_and_batch() -> None:
    model, x = network(), torch.from_numpy(windows(2048))
    with torch.inference_mode():
        both = model(x)
        assert torch.equal(both, model(x.float()))
        assert_allclose(model(x[1:]), both[1:], rtol=1e-5, atol=1e-6)  # blocking of sums depends on the batch


@pytest.mark.parametrize("shape", [(1, 4, 1920), (1, 4, 4096), (1, 2048, 4), (4, 2048), (1, 5, 2048)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"\(batch, 4, 2048\) is needed"):
        network()(torch.zeros(shape))


def test_normalisation_statistics_follow_the_batch_by_a_tenth() -> None:
    model, x = network().train(), torch.from_numpy(windows(2048)).float()
    norm = model.tower[0].norm
    before = norm.running_mean.clone()
    with torch.no_grad():
        batch = torch.nn.functional.max_pool1d(model.stem(x), 2).mean(dim=(0, 2))
        model(x)
    assert_allclose(norm.running_mean, 0.9 * before + 0.1 * batch, rtol=1e-5, atol=1e-6)  # Keras' momentum of 0.9


def test_head_is_float32_whatever_the_trunk_is() -> None:
    model = network()
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.fill_(145_244.0)  # of a track with scale 0.01; float16 ends at 65,504
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        out = model.outputs(torch.ones(1, 32, 4, dtype=torch.float16))
    assert out.dtype == torch.float32
    assert (out == 145_244.0).all()


class TestPositions:
    @pytest.mark.parametrize(
        ("tokens", "edges"),  # the table of largest distances per mask in the description of the published models
        [
            (1024, (0, 1, 2, 4, 7, 12, 19, 31, 48, 75, 116, 180, 278, 429, 663, 1023)),
            (3072, (0, 1, 3, 6, 11, 19, 32, 54, 90, 150, 248, 411, 680, 1125, 1859, 3071)),
            (4096, (0, 1, 3, 7, 12, 21, 37, 63, 106, 180, 303, 511, 860, 1447, 2435, 4095)),
        ],
    )
    def test_published_widths(self, tokens: int, edges: tuple[int, ...]) -> None:
        basis = position_features(tokens, 32, tokens)
        distance = np.arange(-(tokens - 1), tokens)
        for column, edge in enumerate(edges):
            inside = np.abs(distance) <= edge
            assert np.array_equal(basis[:, column], inside)
            assert np.array_equal(basis[:, 16 + column], inside * np.sign(distance))  # to the right of the query: +

    @pytest.mark.parametrize(("tokens", "widths_of"), [(16, 16), (64, 4096), (5, 3)])
    def test_basis_matches_oracle(self, tokens: int, widths_of: int) -> None:
        want = oracle.position_basis(tokens, 12, widths_of)
        assert np.array_equal(position_features(tokens, 12, widths_of), want)
        rows, classes = position_table(tokens, 12, widths_of)
        assert np.array_equal(rows[classes], want)

    @pytest.mark.parametrize(("tokens", "count"), [(128, 29), (256, 29), (1024, 31), (4096, 31), (8192, 31)])
    def test_few_rows_are_distinct(self, tokens: int, count: int) -> None:
        assert len(position_table(tokens, 32, tokens)[0]) == count


@pytest.mark.parametrize(
    ("name", "deviation"),
    [
        ("tower.3.conv.weight", 1 / math.sqrt(24 * 5)),  # LeCun: 1 / fan in
        ("head.weight", 1 / math.sqrt(32)),
        ("transformer.0.dense_up.weight", math.sqrt(2 / 32)),  # He: 2 / fan in
        ("transformer.0.attention.query.weight", math.sqrt(2 / 32)),
        ("transformer.0.attention.out.weight", 0.0),
        ("tower.0.conv.bias", 0.0),
    ],
)
def test_initial_weights(name: str, deviation: float) -> None:
    config = toys.config(tower_widths=(16, 16, 24, 24, 24, 32), tracks=64)
    draws = []
    for seed in range(8):
        torch.manual_seed(seed)
        draws.append(Borzoi(config).state_dict()[name].flatten())
    found = torch.cat(draws)
    assert abs(float(found.mean())) <= 0.03
    assert float(found.std()) == pytest.approx(deviation, rel=0.04)  # at least 4,096 draws: 1.1 % of one deviation


@pytest.fixture(scope="module")
def golden(shared: Path) -> tuple[np.ndarray, np.ndarray]:
    """Two real windows and the output of the reference program with the trained test model."""
    archive = np.load(shared / "data" / "golden" / "fwd.npz")
    return np.ascontiguousarray(archive["x"].transpose(0, 2, 1)), archive["p"].transpose(0, 2, 1)


def check_golden(found: np.ndarray, want: np.ndarray) -> None:
    difference = np.abs(found - want)
    assert difference.max() <= 2e-5  # the limits asked of every float32 engine
    assert (difference / (want + 1e-4)).max() <= 1e-4


def test_trained_model_in_torch(shared: Path, golden: tuple[np.ndarray, np.ndarray]) -> None:
    source = shared / "data" / "tiny_model"
    model = Borzoi(BorzoiConfig.from_params(read_params(source / "params.json"))).eval()
    model.load_state_dict(read_keras_h5(source / "model.h5", model.config))
    x = torch.from_numpy(golden[0])
    with torch.inference_mode():
        check_golden(model(x).numpy(), golden[1])
        trunk = model.embed(*model.trunk(x[:1]))[0]
    # mean, deviation and first values of the trunk, as listed with the stored output
    assert_allclose([trunk.mean(), trunk.std()], [0.98162, 1.09574], atol=1e-4)
    assert_allclose(trunk[:3, 0], [1.16095, 1.80602, 1.43244], atol=1e-4)


def test_trained_model_in_onnxruntime(tiny_bundle: Bundle, golden: tuple[np.ndarray, np.ndarray]) -> None:
    session = open_session(tiny_bundle, "onnx:cpu")
    try:
        check_golden(session.run(golden[0]), golden[1])
    finally:
        session.close()
