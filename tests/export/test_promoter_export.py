"""Bundles of promoter networks: tracks, removals, defaults, golden example."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from borzoi_export.models.puffin import Puffin, PuffinConfig
from borzoi_export.promoter.bundle import export_promoter
from numpy.testing import assert_allclose, assert_array_equal
from promoter_toys import MOTIFS, small_model

from borzoi_rt.backends.opening import open_session
from borzoi_rt.backends.parity import replay_golden
from borzoi_rt.bundle.opening import open_bundle
from borzoi_rt.errors import FormatError, InputError

# Rounding of float32 against float64: some forty layers and tracks of up to 4; the effects are of order 1.
ATOL = 2e-5


def network(stage: int | str) -> torch.nn.Module:
    if stage != "puffin":
        return small_model(stage)
    torch.manual_seed(5)
    return Puffin(PuffinConfig(sequence_length_bp=900, tss_bp=450)).eval()


@pytest.fixture(scope="module", params=[1, 2, 3, "puffin"])
def pair(request, tmp_path_factory):
    """A network and its session."""
    model = network(request.param)
    bundle = export_promoter(model, tmp_path_factory.mktemp("promoter") / "bundle", name="toy")
    session = open_session(bundle)
    yield model, bundle, session
    session.close()


def windows(batch: int, *, unknown: bool = False) -> np.ndarray:
    letters = np.random.default_rng(6).integers(0, 4, (batch, 900))
    if unknown:
        letters[:, 300:340] = 4
    return (letters[:, None, :] == np.arange(4)[None, :, None]).astype(np.uint8)


def reference(
    model: torch.nn.Module, x: np.ndarray, mask: np.ndarray, fill: np.ndarray, n_fill: float = 0.25
) -> np.ndarray:
    onehot = x.astype(np.float64)
    onehot += n_fill * (1 - onehot.sum(axis=1, keepdims=True))
    # Puffin's 601 bp kernels take seconds in float64; its three layers round little.
    kind = torch.float32 if isinstance(model, Puffin) else torch.float64
    exact = model.to(kind)
    try:
        with torch.inference_mode():
            return exact(*(torch.from_numpy(part).to(kind) for part in (onehot, mask, fill))).numpy()
    finally:
        model.float()


@pytest.mark.parametrize("n_fill", [0.0, 0.25])
def test_tracks_are_the_networks(pair, n_fill):
    model, bundle, session = pair
    x, channels = windows(2, unknown=True), 2 * model.config.motifs
    want = reference(model, x, np.ones((1, channels, 1)), np.zeros((1, channels, 1)), n_fill)
    assert_allclose(session.run(x, n_fill=n_fill), want, atol=ATOL)
    assert_allclose(session.run(x, np.array([1]), n_fill=n_fill), want[:, [1]], atol=ATOL)
    assert replay_golden(session, bundle).max_abs < ATOL


@pytest.mark.parametrize("shape", ["motif", "positions", "baseline"])
def test_effects_of_removal_are_the_networks(pair, shape):
    model, _, session = pair
    motifs, x = model.config.motifs, windows(3)
    mask = np.ones((3, 2 * motifs, 900 if shape == "positions" else 1), dtype=np.float32)
    fill = np.zeros((1, 2 * motifs, 1), dtype=np.float32)
    if shape == "positions":
        mask[:, :, 590:610] = 0
    else:
        mask[1, [1, 1 + motifs]] = 0
        mask[2, [0, motifs]] = 0
    if shape == "baseline":
        fill += 0.3
    got = session.run(x, mask=mask, fill=fill, n_fill=0.25).astype(np.float64) - session.run(x, n_fill=0.25)
    assert_array_equal(
        session.run(x, mask=mask, fill=fill, n_fill=0.25, bins=(10, 20)),
        session.run(x, mask=mask, fill=fill, n_fill=0.25)[..., 10:20],
    )
    plain = reference(model, x, np.ones_like(mask), np.zeros_like(fill))
    want = reference(model, x, mask, fill) - plain
    assert_allclose(got, want, atol=2 * ATOL)
    assert np.abs(want).max() > 0.05
    if shape == "motif":
        assert_array_equal(got[0], 0)  # ones remove nothing


def test_activations_are_the_networks(pair):
    model, _, session = pair
    x = windows(2)
    with torch.inference_mode():
        want = model.activations(torch.from_numpy(x).float()).numpy()
    assert_allclose(session.activations(x), want, atol=ATOL)


def test_manifest_says_what_a_reader_needs(pair):
    model, bundle, session = pair
    again = open_bundle(bundle.path).info
    assert again.architecture["family"] == "promoter"
    assert again.architecture["scale"] == "log1p"
    assert tuple(again.architecture["motif_names"]) == model.config.motif_names
    assert again.architecture["tss_bp"] == model.config.tss_bp
    assert again.graphs["predict"].inputs == ("sequence", "track_index", "n_fill", "mask", "fill")
    assert set(again.parity["checks"]) == {"tracks", "effects of removal"}
    assert session.motif_channels == 2 * model.config.motifs
    graph = onnx.load(bundle.graph_path(), load_external_data=False).graph
    defaults = {item.name for item in graph.initializer} & {item.name for item in graph.input}
    assert defaults == {"mask", "fill"}


def test_masks_that_do_not_fit_are_refused(pair):
    model, _, session = pair
    for shape in ((1, 3, 1), (2, 2 * model.config.motifs, 1), (1, 2 * model.config.motifs, 7), (4,)):
        with pytest.raises(InputError, match="mask has shape"):
            session.run(windows(1), mask=np.ones(shape, dtype=np.float32))


def test_other_models_have_no_motifs(toy_bundle):
    session = open_session(toy_bundle)
    x = np.zeros((1, 4, 2048), dtype=np.uint8)
    assert session.motif_channels == 0
    with pytest.raises(InputError, match="family 'promoter'"):
        session.run(x, mask=np.ones((1, 2, 1), dtype=np.float32))
    with pytest.raises(InputError, match="family 'promoter'"):
        session.activations(x)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    model = small_model(1)
    with torch.no_grad():
        model.motif.weight[0, 0, 0] = float("nan")
    with pytest.raises(FormatError, match=r"motif\.weight"):
        export_promoter(model, tmp_path / "b", name="toy")
    assert list(tmp_path.iterdir()) == []
    assert len(MOTIFS) == model.config.motifs
