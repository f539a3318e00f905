"""The split graphs of small networks: any tile, any body, the same coverage; a halo too small is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import toys

torch = pytest.importorskip("torch")

import onnx  # noqa: E402
from borzoi_export.graphs import cook_toom, split, tower  # noqa: E402
from borzoi_export.models.config import BorzoiConfig, read_params  # noqa: E402

from borzoi_rt.backends.opening import open_session  # noqa: E402
from borzoi_rt.bundle.opening import Bundle  # noqa: E402
from borzoi_rt.engine.sessions import open_engine  # noqa: E402
from borzoi_rt.errors import ParityError  # noqa: E402


def exported(folder: Path, **options: str) -> Bundle:
    return toys.bundle(folder / "b", **options)


def windows(count: int = 2) -> np.ndarray:
    letters = np.random.default_rng(4).integers(0, 5, (count, 2048))
    return (letters[:, None, :] == np.arange(4)[:, None]).astype(np.uint8)


@pytest.mark.parametrize(("table", "halo"), [("borzoi_params.json", 3), ("params_mini.json", 3)])
def test_halo_of_the_published_networks(shared: Path, table: str, halo: int) -> None:
    """Cost model 5.1: a cut spoils 3 tokens."""
    assert split.halo_tokens(BorzoiConfig.from_params(read_params(shared / "data" / "tables" / table))) == halo


def test_halo_of_the_test_model(shared: Path) -> None:
    """A stem of width 7 spoils 2 tokens."""
    params = read_params(shared / "data" / "tiny_model" / "params.json")
    assert split.halo_tokens(BorzoiConfig.from_params(params)) == 2


@pytest.mark.parametrize("chunk", [2, 6, 512])
@pytest.mark.parametrize("convolution", ["cook-toom", "direct"])
def test_forms_of_the_convolution_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, convolution: str, chunk: int
) -> None:
    monkeypatch.setattr(tower, "TOKEN_CHUNK", chunk)
    bundle = exported(tmp_path, convolution=convolution)  # the gate compares with PyTorch
    assert bundle.info.parity["convolution"] == convolution
    names = {tensor.name for tensor in onnx.load(bundle.graph_path(), load_external_data=False).graph.initializer}
    assert ("tile.inputs" in names) == (convolution == "cook-toom")


def test_direct_convolutions_stand_in_where_rounding_is_magnified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    right = cook_toom.kernels
    monkeypatch.setattr(cook_toom, "kernels", lambda weight: right(weight) * np.float32(1.001))
    bundle = exported(tmp_path)
    assert bundle.info.parity["convolution"] == "direct"
    assert "cook-toom convolutions" in caplog.text
    with pytest.raises(ParityError):
        exported(tmp_path / "other", convolution="cook-toom")


@pytest.mark.parametrize("own", [1, 3, 5, 8, 16])
def test_tiles_of_any_size_make_the_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: int) -> None:
    monkeypatch.setattr(split, "OWN_TOKENS", own)
    monkeypatch.setattr(split, "MOVING_BINS", (4, 8, 16))
    bundle = exported(tmp_path)
    split_graphs = {"trunk_tile", "body", "body_4", "body_8", "body_16", "head"}
    assert set(bundle.info.graphs) == {"predict", "statistics", *split_graphs}
    parts, whole = open_engine(bundle), open_session(bundle)
    x = windows()
    want = whole.run(x, n_fill=0.25)
    np.testing.assert_allclose(parts.run(x, n_fill=0.25), want, atol=2e-5, rtol=1e-4)
    for bins in ((0, 4), (1, 4), (13, 21), (28, 32), (5, 6), (0, 16), (3, 32)):
        got = parts.run(x, np.array([4, 0]), n_fill=0.25, bins=bins)
        np.testing.assert_allclose(got, want[:, [4, 0], bins[0] : bins[1]], atol=2e-5, rtol=1e-4)


def test_a_halo_too_small_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split, "OWN_TOKENS", 4)
    monkeypatch.setattr(split, "halo_tokens", lambda config: 0)
    with pytest.raises(ParityError, match="split graphs: onnxruntime and a float64 forward disagree"):
        exported(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_all_graphs_share_the_weights(toy_bundle: Bundle) -> None:
    weights = toy_bundle.files["weights.bin"].bytes
    parameters = 4 * sum(parameter.numel() for parameter in toys.model().parameters())
    # Beside the parameters: statistics of normalisation, position tables, and gaps to the next page.
    assert weights < 1.5 * parameters + 4096 * 120
