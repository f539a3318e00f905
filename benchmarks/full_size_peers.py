"""Steps of ``benchmarks.full_size`` that run other programs: borzoi-pytorch, its plain ONNX export, OpenVINO.

OpenVINO is held to float32: left to itself it rounds to bfloat16 on processors that have such products.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .full_size import random_window, timed

TILES = 5  # of which the fastest counts


def eager() -> dict[str, Any]:
    """Run borzoi-pytorch as it comes."""
    import torch

    start = time.perf_counter()
    model = _borzoi()
    load = time.perf_counter() - start
    x = torch.from_numpy(random_window()[None]).float()
    with torch.inference_mode():
        return {"load": load, **timed(lambda: model(x))}


def compiled() -> dict[str, Any]:
    """Run borzoi-pytorch by ``torch.compile``; the first pass, which compiles, counts as loading."""
    import torch

    start = time.perf_counter()
    model = _borzoi()
    fast = torch.compile(model)
    x = torch.from_numpy(random_window()[None]).float()
    with torch.inference_mode():
        try:
            fast(x)
        except Exception as error:  # whatever the compilers below it raise
            return _failed(error)
        return {"load": time.perf_counter() - start, **timed(lambda: fast(x))}


def export_plain(path: str) -> dict[str, Any]:
    """Write what ``torch.onnx.export`` makes of borzoi-pytorch."""
    import torch

    torch.manual_seed(1)
    names = {"input_names": ["sequence"], "output_names": ["coverage"]}
    with torch.no_grad(), contextlib.redirect_stdout(sys.stderr):
        torch.onnx.export(_borzoi(), (torch.zeros(1, 4, 524_288),), path, dynamo=True, external_data=True, **names)
    return {}


def plain(path: str) -> dict[str, Any]:
    """Run the plain export on onnxruntime."""
    import onnxruntime

    start = time.perf_counter()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    load = time.perf_counter() - start
    x = random_window()[None].astype(np.float32)
    return {"load": load, **timed(lambda: session.run(None, {"sequence": x}))}


def openvino_plain(path: str) -> dict[str, Any]:
    """Run the plain export on OpenVINO."""
    return _openvino(Path(path), {"sequence": random_window()[None].astype(np.float32)})


def openvino_predict(bundle: str) -> dict[str, Any]:
    """Run the whole pass of a bundle on OpenVINO, 89 tracks."""
    index = np.arange(7522, 7611)
    inputs = {"sequence": random_window()[None], "track_index": index, "n_fill": np.array(0.0, dtype=np.float32)}
    return _openvino(Path(bundle) / "predict.onnx", inputs)


def openvino_tile(bundle: str) -> dict[str, Any]:
    """Run one tile of a bundle on OpenVINO."""
    return _openvino(Path(bundle) / "trunk_tile.onnx", _tile(bundle), TILES)


def onnxruntime_tile(bundle: str) -> dict[str, Any]:
    """Run one tile of a bundle on onnxruntime."""
    import onnxruntime

    start = time.perf_counter()
    path = str(Path(bundle) / "trunk_tile.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    load, inputs = time.perf_counter() - start, _tile(bundle)
    return {"load": load, **_fastest(lambda: session.run(None, inputs), TILES)}


def _borzoi() -> Any:
    from borzoi_pytorch import Borzoi
    from borzoi_pytorch.config_borzoi import BorzoiConfig

    return Borzoi(BorzoiConfig(enable_mouse_head=False)).eval()


def _tile(bundle: str) -> dict[str, np.ndarray]:
    """Return the input of one tile of the window."""
    from borzoi_rt import open_bundle

    tiling = open_bundle(bundle).info.tiling
    assert tiling is not None
    length = tiling.token_bp * (tiling.own_tokens + 2 * tiling.halo_tokens)
    return {"sequence": random_window()[None, :, :length], "n_fill": np.array(0.0, dtype=np.float32)}


def _openvino(path: Path, inputs: dict[str, np.ndarray], repeats: int = 1) -> dict[str, Any]:
    try:
        import openvino
    except ModuleNotFoundError:
        return {"failed": "openvino is not installed beside the peer"}
    start = time.perf_counter()
    try:
        model = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        load = time.perf_counter() - start
        return {"load": load, **_fastest(lambda: model(inputs), repeats)}
    except Exception as error:  # of graphs it does not take, it says so by errors of its own
        return _failed(error)


def _fastest(call: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Return the run that took the fewest seconds, after one that does not count where there are several."""
    if repeats > 1:
        call()
    return min((timed(call) for _ in range(repeats)), key=lambda run: run["wall"])


def _failed(error: Exception) -> dict[str, Any]:
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return {"failed": lines[-1].strip()[:200]}


_STEPS: dict[str, Callable[..., dict[str, Any]]] = {
    step.__name__: step
    for step in (
        eager,
        compiled,
        export_plain,
        plain,
        openvino_plain,
        openvino_predict,
        openvino_tile,
        onnxruntime_tile,
    )
}

if __name__ == "__main__":
    print(json.dumps(_STEPS[sys.argv[1]](*sys.argv[2:])))
