"""Slopes by layers and class activation maps: closed forms, finite differences, and the laws they follow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import toys
import worlds
from numpy.testing import assert_allclose, assert_array_equal

torch = pytest.importorskip("torch")

from borzoi_rt.bundle.manifest import SquashSpec  # noqa: E402
from borzoi_rt.bundle.opening import Bundle  # noqa: E402
from borzoi_rt.errors import InputError  # noqa: E402
from borzoi_rt.explain.target import Target, TargetSpec  # noqa: E402
from borzoi_rt.explain.where import Where, anchored  # noqa: E402
from borzoi_rt.inside.activations import Activations  # noqa: E402
from borzoi_rt.inside.maps import gradcam_of, gradcam_plus_plus_of, map_window  # noqa: E402
from borzoi_rt.inside.slopes import slope_of_layer  # noqa: E402
from borzoi_rt.sequence import encode  # noqa: E402

LENGTH = 4096


@pytest.fixture(scope="module")
def inside(inside_bundle: Bundle) -> Iterator[Activations]:
    with Activations(inside_bundle) as opened:
        yield opened


@pytest.fixture(scope="module")
def window() -> np.ndarray:
    return encode(worlds.random_dna(LENGTH, seed=4))


def target(bundle: Bundle, text: str = "log SUM@center:640", **more: object) -> Target:
    where = Where(window_start=0, anchor=anchored("chr1", 1900, 2100))
    return TargetSpec.parse(text, **{"tracks": "cage,rna-", **more}).bind(bundle, where)


def moved(bundle: Bundle, window: np.ndarray, layer: str, step: np.ndarray, bound: Target) -> float:
    """Return the target where something is added to a layer, (units, positions), the network being float64."""
    torch.manual_seed(11)
    model, added = toys.model(toys.config(sequence_length_bp=LENGTH)).double(), torch.from_numpy(step)[None]
    with torch.no_grad():
        tokens, skips = model.trunk(torch.from_numpy(window[None]).double())
        x = tokens.transpose(1, 2) + (added.transpose(1, 2) if layer == "layer_0" else 0.0)
        for number, block in enumerate(model.transformer, start=1):
            x = block(x) + (added.transpose(1, 2) if layer == f"layer_{number}" else 0.0)
        embedding = model.decode(x.transpose(1, 2), skips) + (added if layer == "embedding" else 0.0)
        coverage = model.outputs(embedding)[0, bound.positions].numpy()
    return bound.value(coverage[:, slice(*bound.bins)])


@pytest.mark.parametrize("layer", ["layer_0", "layer_1", "layer_2", "embedding"])
def test_slopes_are_finite_differences(inside, inside_bundle, window, layer):
    """Through the squash and the logarithm; a step in the direction of the slopes themselves."""
    bound = target(inside_bundle, against="dnase")
    found = slope_of_layer(inside, window, bound, layer)
    assert found.slopes.shape == found.activations.shape == (found.layer.units, found.layer.positions)
    assert_array_equal(found.activations, inside.of(window, layer).values)
    direction = np.sign(found.slopes)
    sides = [moved(inside_bundle, window, layer, size * direction, bound) for size in (2e-3, -2e-3)]
    assert_allclose((sides[0] - sides[1]) / 4e-3, np.abs(found.slopes).sum(), rtol=0.02)
    vector = np.random.default_rng(1).normal(size=found.layer.units)
    assert_allclose(found.along(vector), (vector @ found.slopes).sum())
    assert_allclose(found.along(vector, slice(3, 5)), (vector @ found.slopes[:, 3:5]).sum())
    with pytest.raises(InputError, match="vector has shape"):
        found.along(vector[1:])


def test_slopes_reach_no_bin_that_the_target_leaves_out(inside, inside_bundle, window):
    bound = target(inside_bundle)
    found = slope_of_layer(inside, window, bound, "embedding").slopes
    assert (found[:, slice(*bound.bins)] != 0.0).any(axis=0).all()
    assert not found[:, : bound.bins[0]].any()
    assert not found[:, bound.bins[1] :].any()


def test_a_layer_without_slopes_is_refused(inside, inside_bundle, window, gradient_bundle):
    bound = target(inside_bundle)
    with pytest.raises(InputError, match="layer 'tower_2' has no slopes; allowed: embedding, tokens, layer_N"):
        slope_of_layer(inside, window, bound, "tower_2")
    with pytest.raises(InputError, match="layer 'layer_7' is unknown"):
        slope_of_layer(inside, window, bound, "layer_7")
    with Activations(gradient_bundle) as plain, pytest.raises(InputError, match="export the model again"):
        slope_of_layer(plain, window, target(gradient_bundle), "embedding")


def test_a_target_without_a_value_is_refused(inside, inside_bundle, window, monkeypatch):
    bound = target(inside_bundle)
    monkeypatch.setattr(Target, "cotangent", lambda self, squashed: (np.nan, np.zeros(squashed.shape)))
    with pytest.raises(InputError, match="no finite value"):
        slope_of_layer(inside, window, bound)


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, Bundle]:
    """A network whose head is linear to the last digit: with a bias of 40, softplus is the identity."""
    from borzoi_export.graphs import export_bundle

    torch.manual_seed(12)
    model, out = toys.model(), tmp_path_factory.mktemp("linear") / "bundle"
    with torch.no_grad():
        model.head.bias.fill_(40.0)
    squash = SquashSpec(kind="none")
    return model, export_bundle(model, toys.tracks(), out, squash=squash, name="linear", activations=True)


def test_of_a_pooled_linear_head_gradcam_is_cam(linear):
    model, bundle = linear
    window = encode(worlds.random_dna(2048, seed=5))
    where = Where(window_start=0, anchor=anchored("chr1", 1000, 1010))
    bound = TargetSpec.parse("SUM", tracks="cage,rna-", against="dnase", squashed=True).bind(bundle, where)
    with Activations(bundle) as inside:
        cam = map_window(inside, window, bound, method="cam", layer="embedding")
        grad = map_window(inside, window, bound, method="gradcam", layer="embedding")
        embedding = inside.of(window, "embedding").values.astype(np.float64)
        pooled = TargetSpec.parse("MEAN", tracks="cage,rna-", against="dnase", squashed=True).bind(bundle, where)
        mean = map_window(inside, window, pooled, method="gradcam", layer="embedding")
        value, bins = cam.value, bundle.geometry.bins
    weight = model.head.weight.detach().numpy().astype(np.float64)
    want = (weight[[0, 1, 2]].mean(axis=0) - weight[4]) @ embedding  # cage+, cage- and rna-, against dnase
    assert_allclose(cam.scores, want, rtol=1e-4, atol=1e-5 * np.abs(want).max())
    assert_allclose(grad.scores, cam.scores, rtol=1e-4, atol=1e-5 * np.abs(want).max())
    assert_allclose(mean.scores * bins, cam.scores, rtol=1e-4, atol=1e-5 * np.abs(want).max())
    assert_allclose(cam.scores.sum(), value, atol=1e-3)  # the two biases of 40 cancel
    assert (cam.layer.resolution_bp, len(cam.scores)) == (32, bins)


def test_formulas_by_hand():
    """Two units, three positions."""
    activations = np.array([[1.0, 2.0, 3.0], [0.0, 1.0, -1.0]])
    slopes = np.array([[3.0, 0.0, 0.0], [-1.0, -1.0, -1.0]])
    scores, _ = gradcam_of(activations, slopes)
    assert_allclose(scores, [1.0, 1.0, 4.0])  # 1 * [1, 2, 3] - 1 * [0, 1, -1]
    scores, facts = gradcam_plus_plus_of(activations, slopes)
    # Unit 0: w = 9 / (18 + 27 * 6) = 1/20, a = 3/20. Unit 1: w = 1 / (2 - 0) = 1/2 three times, a = -3/2.
    assert_allclose(scores, 0.15 * activations[0] - 1.5 * activations[1])
    assert facts == {"undefined_weights": 0.0}
    _, facts = gradcam_plus_plus_of(activations - 9.0, np.abs(slopes))
    assert facts == {"undefined_weights": 1.0}


@pytest.mark.parametrize("layer", ["tokens", "embedding", "layer_1"])
@pytest.mark.parametrize("method", ["gradcam", "gradcam++"])
def test_maps_are_their_formula_of_slopes(inside, inside_bundle, window, method, layer):
    bound = target(inside_bundle)
    found, slope = (
        map_window(inside, window, bound, method=method, layer=layer),
        slope_of_layer(inside, window, bound, layer),
    )
    a, g = slope.activations, slope.slopes
    if method == "gradcam":
        weights = g.mean(axis=1)
    else:
        below = 2 * g**2 + g**3 * a.sum(axis=1)[:, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            weights = np.where(below > 0, g**2 / below, 0.0)
        weights = (weights * g).sum(axis=1)
    assert_allclose(found.scores, (weights[:, None] * a).sum(axis=0), rtol=1e-9, atol=1e-12)
    assert found.value == slope.value


def test_tracks_that_are_exchanged_change_the_sign(inside, inside_bundle, window):
    one = map_window(inside, window, target(inside_bundle, "SUM", tracks="cage+", against="dnase"))
    other = map_window(inside, window, target(inside_bundle, "SUM", tracks="dnase", against="cage+"))
    assert_allclose(one.scores, -other.scores, rtol=1e-4, atol=1e-6 * np.abs(one.scores).max())


def test_maps_that_say_nothing_are_refused(inside, inside_bundle, window):
    bound = target(inside_bundle)
    with pytest.raises(InputError, match="method 'camera' is unknown; allowed: cam, gradcam, gradcam"):
        map_window(inside, window, bound, method="camera")
    with pytest.raises(InputError, match="cam is of embedding, which the head reads, not of tokens"):
        map_window(inside, window, bound, method="cam", layer="tokens")
