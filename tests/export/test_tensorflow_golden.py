"""Numbers that are not ours, on any clone: a small random Borzoi run by TensorFlow's Keras layers in float64.

``tests/data/make_tensorflow_golden.py`` made them; the archive says with which versions.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
from numpy.testing import assert_allclose
from oracles import borzoi as oracle

from borzoi_rt.backends.opening import open_session
from borzoi_rt.bundle.manifest import SquashSpec
from borzoi_rt.engine.sessions import open_engine

torch = pytest.importorskip("torch", reason="the extra `export` is not installed")

from borzoi_export.graphs import export_bundle  # noqa: E402
from borzoi_export.graphs.exact import exact_coverage  # noqa: E402
from borzoi_export.models.borzoi import Borzoi  # noqa: E402
from borzoi_export.models.config import BorzoiConfig  # noqa: E402

# All sums are float64 on both sides, but TensorFlow's kernels hold the epsilon of a normalisation as float32, which is
# 5e-8 off.
RTOL = 1e-7
PATH = Path(__file__).parents[1] / "data" / "tensorflow_golden.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    assert PATH.stat().st_size < 300_000
    with np.load(PATH, allow_pickle=False) as archive:
        found = {name: archive[name] for name in archive.files}
    assert str(found["version"]).startswith("tensorflow 2.")
    assert found["coverage"].dtype == np.float64
    assert found["coverage"].std() > 0.3  # neither constant nor in the tail of softplus
    return found


@pytest.fixture(scope="module")
def model(golden: dict[str, np.ndarray]) -> Borzoi:
    network = Borzoi(BorzoiConfig.from_params(json.loads(str(golden["params"]))))
    prefix = "weights/"
    state = {key.removeprefix(prefix): torch.from_numpy(golden[key]) for key in golden if key.startswith(prefix)}
    missing, unexpected = network.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    return network.eval()


@pytest.fixture(scope="module")
def windows(golden: dict[str, np.ndarray]) -> np.ndarray:
    return (golden["letters"][:, None, :] == np.arange(4)[:, None]).astype(np.uint8)


def test_the_torch_network_gives_tensorflows_numbers(
    golden: dict[str, np.ndarray], model: Borzoi, windows: np.ndarray
) -> None:
    with torch.inference_mode():
        single = model(torch.from_numpy(windows)).numpy()
    double = exact_coverage(model.double(), windows, np.arange(toys.TRACKS), 0.0)
    model.float()
    assert_allclose(double, golden["coverage"], rtol=RTOL)
    assert_allclose(single, golden["coverage"], rtol=2e-5, atol=2e-6)  # float32, a dozen layers


def test_our_oracle_gives_them_too(golden: dict[str, np.ndarray], model: Borzoi, windows: np.ndarray) -> None:
    weights = {key.removeprefix("weights/"): values.astype("f8") for key, values in golden.items() if "/" in key}
    sizes: dict[str, Any] = {name: getattr(model.config, name) for name in ("heads", "widths_of", "depth", "unets")}
    for window, want in zip(windows.astype(np.float64), golden["coverage"], strict=True):
        embedding = oracle.embedding(weights, window, **sizes, crop=model.config.crop_bins)
        found = oracle.softplus(weights["head.weight"] @ embedding + weights["head.bias"][:, None])
        assert_allclose(found, want, rtol=RTOL)


@pytest.mark.parametrize("convolution", ["cook-toom", "direct"])
def test_the_exported_graphs_give_them(
    golden: dict[str, np.ndarray], model: Borzoi, windows: np.ndarray, tmp_path: Path, convolution: str
) -> None:
    bundle = export_bundle(
        model, toys.tracks(), tmp_path / "b", squash=SquashSpec(kind="new"), name="tf", convolution=convolution
    )
    for session in (open_session(bundle), open_engine(bundle)):
        found = session.run(windows)
        session.close()
        assert_allclose(found, golden["coverage"], rtol=2e-5, atol=2e-6)
        error = np.sqrt(np.mean((found - golden["coverage"]) ** 2))
        assert error < 2e-7 * golden["coverage"].max()  # three roundings of float32
