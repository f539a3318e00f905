"""Params and Keras weights through the package and through the runnable reference: the same numbers."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
from numpy.testing import assert_allclose
from weight_files import keras_layers, write_keras

torch = pytest.importorskip("torch", reason="the extra `export` is not installed")

from borzoi_export.models.borzoi import Borzoi  # noqa: E402
from borzoi_export.models.config import BorzoiConfig  # noqa: E402
from borzoi_export.weights.keras_h5 import read_keras_h5  # noqa: E402

UNET = {"name": "unet_conv", "kernel_size": 3, "upsample_conv": True}
TAILS: dict[str, list[dict[str, Any]]] = {
    "borzoi": [UNET, UNET, {"name": "Cropping1D", "cropping": 15}, {"name": "conv_nac", "filters": 24, "dropout": 0.1}],
    "prime": [UNET, UNET, UNET, {"name": "Cropping1D", "cropping": 9}],
    "mini": [{"name": "unet_conv", "kernel_size": 3}, {"name": "unet_conv", "kernel_size": 3}],
    "tiny": [UNET, UNET, {"name": "Cropping1D", "cropping": 16}],
    "width 1": [{"name": "unet_conv", "upsample_conv": True}, {"name": "unet_conv", "upsample_conv": True}],
}


@pytest.fixture(scope="module")
def reference(shared: Path) -> Any:
    spec = importlib.util.spec_from_file_location("reference", shared / "oracle" / "borzoi_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("attention", [{}, {"seqlen_train": 4096, "num_position_features": 32, "dense_expansion": 1.5}])
@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
def test_same_numbers(tmp_path: Path, reference: Any, tail: list[dict[str, Any]], attention: dict[str, Any]) -> None:
    params = toys.params()
    params["trunk"] = [*params["trunk"][:2], {**params["trunk"][2], **attention}, *tail]
    config = BorzoiConfig.from_params(params)
    torch.manual_seed(47)
    state = {name: tensor.numpy() for name, tensor in toys.model(config).state_dict().items()}
    path = write_keras(tmp_path / "m.h5", keras_layers(state, first=3))
    letters = np.random.default_rng(1).integers(0, 5, (2, 2048))  # 4: unknown
    x = torch.from_numpy((letters[..., None] == np.arange(4)).astype(np.float64))
    model = Borzoi(config).eval()
    model.load_state_dict(read_keras_h5(path, config))
    with torch.inference_mode():
        want = reference.load(str(path), params, dtype=torch.float64)(x)
        found = model.double()(x.transpose(1, 2)).transpose(1, 2)
    assert want.std() > 0.05
    assert_allclose(found, want, rtol=2e-6, atol=1e-7)  # ours has its head in float32
