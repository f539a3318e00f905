"""Gradient graphs: against autograd, finite differences and TensorFlow; by tiles, strands and stretches of bases."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import toys
from numpy.testing import assert_allclose, assert_array_equal

torch = pytest.importorskip("torch")

from borzoi_export.graphs import cook_toom, export_bundle  # noqa: E402
from borzoi_export.graphs.gradient_parity import GradientFigures, GradientGate, autograd, stretches_of  # noqa: E402
from borzoi_export.models.borzoi import Borzoi  # noqa: E402

from borzoi_rt.backends.gradient import open_gradient  # noqa: E402
from borzoi_rt.bundle.manifest import SquashSpec  # noqa: E402
from borzoi_rt.bundle.opening import Bundle, open_bundle  # noqa: E402
from borzoi_rt.engine.gradient import GradientSession  # noqa: E402
from borzoi_rt.errors import InputError, ParityError  # noqa: E402

SQUASH = SquashSpec(kind="new")
TRACKS = np.array([4, 0, 3])


def network(**sizes: object) -> Borzoi:
    torch.manual_seed(5)
    return toys.model(toys.config(**sizes))


def exported(model: Borzoi, out: Path, **options: object) -> Bundle:
    return export_bundle(model, toys.tracks(), out, squash=SQUASH, name="toy", gradient=True, **options)


def random_bases(length: int, seed: int = 1) -> np.ndarray:
    letters = np.random.default_rng(seed).integers(0, 4, length)
    return (letters == np.arange(4)[:, None]).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> Borzoi:
    """8,192 bp in 64 tokens: three tiles of 32, 32 with halo 3, so that every edge of a tile counts."""
    return network(sequence_length_bp=8192, crop_bins=72)


@pytest.fixture(scope="module")
def bundle(model: Borzoi, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return exported(model, tmp_path_factory.mktemp("gradient") / "bundle")


@pytest.fixture(scope="module")
def session(bundle: Bundle) -> Iterator[GradientSession]:
    opened = GradientSession(open_gradient(bundle))
    yield opened
    opened.close()


def twin(model: Borzoi) -> Borzoi:
    return copy.deepcopy(model).double().eval()


def cotangent(bins: int, seed: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(len(TRACKS), bins))


def plain_autograd(model: Borzoi, x: np.ndarray, tracks: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the gradient of the whole network at once in float64: no tiles, no checkpoints."""
    leaf = torch.from_numpy(x[None].astype(np.float64)).requires_grad_()
    exact = twin(model)
    coverage = torch.nn.functional.softplus(
        exact.head.weight[tracks] @ exact.embed(*exact.convolve(leaf)) + exact.head.bias[tracks][:, None]
    )
    (coverage * torch.from_numpy(weights)).sum().backward()
    return leaf.grad[0].numpy()


@pytest.mark.parametrize("mixed", [False, True])
def test_pullback_is_autograd(model, session, mixed):
    grid = session.geometry
    x = random_bases(grid.sequence_length_bp)
    if mixed:  # a point between two sequences, as integrated gradients visit
        x = (0.3 * x + 0.7 * random_bases(grid.sequence_length_bp, 9)).astype(np.float32)
    x[:, 3000:3300] = 0.0  # neighbours in a stretch of unknown bases are equal: the first of them counts
    x[:, 5000:5040] = np.eye(4)[:, [3]]
    weights = cotangent(grid.bins)
    want = plain_autograd(model, x, TRACKS, weights)
    got = session.pullback(x, TRACKS, weights, bins=(0, grid.bins), bases=(0, grid.sequence_length_bp))
    figures = GradientFigures.of(got, want)
    assert figures.error < 2e-5
    assert figures.far < 0.05  # a pool or two whose winner rounding decides on
    assert figures.loss < 1e-5


@pytest.mark.parametrize("form", ["cook-toom", "direct"])
@pytest.mark.parametrize("sizes", [{}, {"tower_width": 3}, {"tail_filters": 24}, {"upsample_conv": False}])
def test_every_form_of_a_network_passes_the_gate(tmp_path, form, sizes):
    made = exported(network(**sizes), tmp_path / "bundle", convolution=form)
    assert made.info.parity["gradient"]["error"] <= made.info.parity["gradient_allowed"]["error"] < 1e-3
    assert open_bundle(tmp_path / "bundle").info.parity["gradient"] == made.info.parity["gradient"]


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_rotary_positions_have_a_gradient_too(tmp_path, target):
    """As Flashzoi has them: four heads of which two share keys and values, half of each head turned."""
    rotary = {"heads": 4, "key_heads": 2, "key_size": 8, "rotary_size": 4, "position_features": 0, "widths_of": 0}
    made = exported(network(**rotary), tmp_path / "bundle", target=target)
    assert made.info.parity["gradient"]["error"] < 2e-5
    assert made.info.parity["gradient"]["loss"] < 1e-5


def test_a_bundle_for_gpus_has_a_gradient_too(tmp_path):
    made = exported(network(), tmp_path / "bundle", target="gpu")
    assert made.info.target == "gpu"
    assert made.info.parity["gradient"]["error"] < 1e-4


def test_autograd_by_tiles_is_autograd_at_once(model):
    grid = model.config.geometry
    x, weights = random_bases(grid.sequence_length_bp), cotangent(grid.bins)
    want = plain_autograd(model, x, TRACKS, weights)
    assert_allclose(autograd(twin(model), x[None], TRACKS, weights), want, atol=1e-12 * np.abs(want).max())


def test_a_long_window_is_compared_in_stretches(model):
    """Of 40 stretches some are followed, first, last and that of the unknown bases, which here is one of seven."""
    import dataclasses

    long = dataclasses.replace(model.config, sequence_length_bp=40 * 64 * 128)
    starts = stretches_of(long)
    assert len(starts) == 7
    assert {0, 39 * 64, 40 * 64 // 3 // 64 * 64} <= set(starts)
    assert stretches_of(model.config) == [0]
    grid = model.config.geometry
    x, weights = random_bases(grid.sequence_length_bp), cotangent(grid.bins)
    part = autograd(twin(model), x[None], TRACKS, weights, [0])
    assert_array_equal(part, autograd(twin(model), x[None], TRACKS, weights))


def test_the_gate_refuses_a_gradient_of_another_network(model, bundle):
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.transformer[0].attention.position_bias.add_(0.3)
    with pytest.raises(ParityError, match="gradient graphs: onnxruntime gives"):
        GradientGate(other)(bundle)


def test_a_stretch_of_bases_is_cut_from_the_whole(session):
    grid = session.geometry
    x, weights = random_bases(grid.sequence_length_bp), cotangent(grid.bins)
    whole = session.pullback(x, TRACKS, weights, bins=(0, grid.bins), bases=(0, grid.sequence_length_bp))
    for low, high in ((0, 1), (4095, 4097), (4000, 4200), (8000, 8192)):
        part = session.pullback(x, TRACKS, weights, bins=(0, grid.bins), bases=(low, high))
        assert_array_equal(part, whole[:, low:high])


def test_bins_outside_a_cotangent_count_nothing(session):
    grid = session.geometry
    x, weights = random_bases(grid.sequence_length_bp), cotangent(grid.bins)
    weights[:, :20] = weights[:, 30:] = 0.0
    whole = session.pullback(x, TRACKS, weights, bins=(0, grid.bins), bases=(0, 8192))
    part = session.pullback(x, TRACKS, weights[:, 20:30].copy(), bins=(20, 30), bases=(0, 8192))
    assert_array_equal(part, whole)
    assert not session.pullback(x, TRACKS, 0.0 * weights, bins=(0, grid.bins), bases=(0, 8192)).any()


def test_the_size_of_a_cotangent_costs_no_digits(session):
    """float32 alone would lose 1e-42; the gradient is linear, so that powers of two change no digit."""
    grid = session.geometry
    x, weights = random_bases(grid.sequence_length_bp), cotangent(grid.bins)
    one = session.pullback(x, TRACKS, weights, bins=(0, grid.bins), bases=(100, 300))
    small = session.pullback(x, TRACKS, weights * 2.0**-140, bins=(0, grid.bins), bases=(100, 300))
    assert_array_equal(small, one * 2.0**-140)


def test_a_cotangent_that_is_not_finite_is_refused(session):
    weights = cotangent(session.geometry.bins)
    weights[0, 0] = np.nan
    with pytest.raises(InputError, match="not finite"):
        session.pullback(random_bases(8192), TRACKS, weights, bins=(0, session.geometry.bins), bases=(0, 10))


def test_coverage_is_that_of_whole_passes(bundle, session):
    from borzoi_rt.backends.opening import open_session

    x = random_bases(8192)
    whole = open_session(bundle)
    want = whole.run(x[None].astype(np.uint8), TRACKS)[0]
    whole.close()
    assert_allclose(session.coverage(x, TRACKS, (0, bundle.geometry.bins)), want, rtol=2e-5, atol=1e-6)
    assert_allclose(session.coverage(x, TRACKS, (10, 17)), want[:, 10:17], rtol=2e-5, atol=1e-6)


def test_gradient_graphs_share_the_weights(model, bundle, tmp_path):
    plain = export_bundle(model, toys.tracks(), tmp_path / "bundle", squash=SQUASH, name="toy")
    assert "gradient_body" not in plain.info.graphs
    # New are the taps of the tower, which the forward graphs hold as Cook-Toom products, and a table of distances.
    taps = sum(4 * block.conv.weight.numel() for block in model.tower)
    more = bundle.files["weights.bin"].bytes - plain.files["weights.bin"].bytes
    assert taps <= more < taps + 100_000
    with pytest.raises(InputError, match="has no gradient graphs; export the model again"):
        open_gradient(plain)


def test_half_precision_has_no_gradient(tmp_path):
    with pytest.raises(InputError, match="gradient graphs are for fp32, not fp16"):
        exported(network(), tmp_path / "bundle", precision="fp16")
    assert not (tmp_path / "bundle").exists()


def test_the_reversed_kernel_from_the_same_products():
    rng = np.random.default_rng(0)
    kernel, x = rng.normal(size=5), rng.normal(size=8)
    to_outputs, to_inputs = cook_toom.backward_matrices()
    values = cook_toom.matrices()[1] @ kernel
    got = to_outputs @ (values * (to_inputs @ x))
    assert_allclose(got, [kernel[::-1] @ x[start : start + 5] for start in range(4)], rtol=1e-12)


def test_gradient_of_the_trained_network_equals_tensorflow(shared, tmp_path):
    """calico/baskerville ``seqnn.py``: ln of the mean of tracks 0 and 1, bins 1000 and 1001, mean subtracted."""
    from borzoi_export.convert import convert_calico

    from borzoi_rt.explain.gradients import corrected
    from borzoi_rt.explain.target import Target, TargetSpec
    from borzoi_rt.squash import Squash

    source, golden = shared / "data" / "tiny_model", shared / "data" / "golden"
    made = convert_calico(
        source / "model.h5",
        source / "params.json",
        source / "targets.txt",
        tmp_path / "bundle",
        squash=SquashSpec(kind="old", unscale=True),
        gradient=True,
    )
    with np.load(golden / "fwd.npz") as held:
        window = next(value for value in held.values() if value.ndim == 3 and value.shape[-1] == 4)[0]
    with np.load(golden / "grad_row0.npz") as held:
        want = held["g"][0].T
    squash = Squash(
        kind="old", scale=[0.3] * 2, clip_soft=[384] * 2, clip=[768] * 2, sum_stat=("sum_sqrt",) * 2, unscale=True
    )
    positions, rows, columns = np.array([0, 1]), (np.array([0, 1]),), (np.array([1000, 1001]),)
    target = Target(TargetSpec.parse("log SUM"), positions, rows, columns, squash)
    session = GradientSession(open_gradient(made))
    x = np.ascontiguousarray(window.T, dtype=np.float32)
    _, weights = target.cotangent(session.coverage(x, positions, target.bins))
    got = corrected(session.pullback(x, positions, weights, bins=target.bins, bases=(0, x.shape[1])))
    session.close()
    assert np.corrcoef(got.ravel(), want.ravel())[0, 1] > 0.99999
    assert_allclose(np.abs(got).sum(), 388.12, rtol=1e-4)  # ../shared/spec/attribution.md, 4.3
    assert_allclose(np.abs(got).max(), 0.43120, rtol=1e-4)
    assert_allclose(got, want, atol=5e-5)


def test_the_map_changes_as_weights_are_randomised_from_the_head_down(model):
    """Sanity check of saliency maps: the rank correlation with the first map falls to nothing."""
    changed, fresh = copy.deepcopy(model), toys.model(model.config)
    weights = cotangent(model.config.bins)
    window = random_bases(model.config.sequence_length_bp)

    def ranks() -> np.ndarray:
        found = autograd(changed, window[None], TRACKS, weights)
        projected = ((found - found.mean(axis=0)) * window).sum(axis=0)
        return np.abs(projected[2400:5800]).argsort().argsort()

    first, found = ranks(), []
    for part in ("head", "unet", "transformer", "tower", "stem"):
        getattr(changed, part).load_state_dict(getattr(fresh, part).state_dict())
        found.append(float(np.corrcoef(first, ranks())[0, 1]))
    assert found[-1] < 0.2
    assert found[-1] < found[0] < 0.95
