"""The exported graph computes what the network computes, and is built the way it should be."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
from numpy.testing import assert_allclose
from toys import exact, run, windows

from borzoi_rt.bundle.manifest import SquashSpec
from borzoi_rt.bundle.opening import WEIGHTS, Bundle

torch = pytest.importorskip("torch", reason="the extra `export` is not installed")
onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")

from borzoi_export.graphs import attention, export_bundle  # noqa: E402
from borzoi_export.graphs.builder import WeightsFile  # noqa: E402
from borzoi_export.models.borzoi import Borzoi  # noqa: E402

VARIANTS: dict[str, dict[str, Any]] = {
    "toy": {},
    "borzoi": {"tail_filters": 24, "crop_bins": 15},
    "prime": {"unets": 3, "crop_bins": 41},
    "mini": {"upsample_conv": False, "crop_bins": 0, "heads": 4},
    "one bin pair": {"crop_bins": 31, "unet_width": 5},
    "wide decoder": {"unets": 1, "crop_bins": 1, "unet_width": 7},
}


def write(model: Borzoi, out: Path, **options: Any) -> Bundle:
    return export_bundle(model, toys.tracks(), out, squash=SquashSpec(kind="new"), name="toy", **options)


def toy(**changes: Any) -> Borzoi:
    torch.manual_seed(17)
    return toys.model(toys.config(**changes))


def check(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == np.float32
    assert_allclose(found, expected, rtol=3e-5, atol=3e-6)  # float32 through a dozen layers


@pytest.fixture(scope="module")
def model() -> Borzoi:
    return toy()


@pytest.fixture(scope="module")
def bundle(model: Borzoi, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write(model, tmp_path_factory.mktemp("graphs") / "toy")


# 16 tokens: chunks of one query, uneven ones with a last chunk of one, exactly all, more than all
@pytest.mark.parametrize("chunk", [1, 5, 7, 15, 16, 256])
@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_graph_equals_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], chunk: int
) -> None:
    monkeypatch.setattr(attention, "QUERY_CHUNK", chunk)
    model = toy(**changes)
    x = windows(2)
    check(run(write(model, tmp_path / "b"), x), exact(model, x))


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("n_fill", [0.0, 0.25])
def test_batches_and_unknown_bases(model: Borzoi, bundle: Bundle, batch: int, n_fill: float) -> None:
    x = windows(3)[:batch]
    found = run(bundle, x, n_fill=n_fill)
    assert found.shape == (batch, toys.TRACKS, 32)
    check(found, exact(model, x, n_fill))
    assert np.abs(found - exact(model, x, 0.25 - n_fill)).max() > 1e-3  # the other code is another input


@pytest.mark.parametrize("index", [[0, 1, 2, 3, 4, 5], [5, 0, 3], [2], [4, 4, 1, 4], []])
def test_tracks_are_chosen_by_position(bundle: Bundle, index: list[int]) -> None:
    x = windows(2)
    found = run(bundle, x, np.array(index, dtype=np.int64))
    assert found.shape == (2, len(index), 32)
    check(found, run(bundle, x)[:, index])


@pytest.mark.parametrize("crop", [1, 2, 3, 4, 5, 15, 16, 31])
def test_crop_is_a_slice(tmp_path: Path, crop: int) -> None:
    """What no output bin reads is left out of the graph; the bins that are left keep their values."""
    whole, x = toy(crop_bins=0), windows(1)
    cropped = toy(crop_bins=crop)
    check(run(write(cropped, tmp_path / "cropped"), x), run(write(whole, tmp_path / "whole"), x)[..., crop:-crop])


def load(bundle: Bundle) -> Any:
    return onnx.load(bundle.graph_path(), load_external_data=False)


def external(tensor: Any) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


def test_graph_is_valid_and_names_its_ends(bundle: Bundle) -> None:
    onnx.checker.check_model(str(bundle.graph_path()), full_check=True)
    graph = load(bundle)
    assert [(item.domain, item.version) for item in graph.opset_import] == [("", 20)]  # the first with tanh GELU
    info = bundle.info.graphs["predict"]
    assert tuple(item.name for item in graph.graph.input) == info.inputs == ("sequence", "track_index", "n_fill")
    assert tuple(item.name for item in graph.graph.output) == info.outputs == ("coverage",)
    kinds = Counter(node.op_type for node in graph.graph.node)
    # GELU: 6 tower blocks, 2 in each of 2 decoder blocks, one before the head; all in the tanh form
    assert kinds["Gelu"] == 6 + 2 * 2 + 1
    for node in graph.graph.node:
        attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
        if node.op_type == "Gelu":
            assert attributes["approximate"] == b"tanh"
        if node.op_type in ("BatchNormalization", "LayerNormalization"):
            assert attributes["epsilon"] == pytest.approx(1e-3)


def test_weights_lie_once_in_one_file(bundle: Bundle, model: Borzoi) -> None:
    tensors = load(bundle).graph.initializer
    assert len({tensor.name for tensor in tensors}) == len(tensors)
    inline = [tensor for tensor in tensors if not tensor.external_data]
    assert all(len(tensor.raw_data) < 1024 for tensor in inline)
    stretches = {}
    for tensor in tensors:
        if tensor.external_data:
            entry = external(tensor)
            assert entry["location"] == WEIGHTS
            assert int(entry["offset"]) % 4096 == 0
            stretches[int(entry["offset"])] = int(entry["length"])
    for (start, length), (following, _) in itertools.pairwise(sorted(stretches.items())):
        assert start + length <= following < start + length + 4096
    assert max(start + length for start, length in stretches.items()) == (bundle.path / WEIGHTS).stat().st_size
    # every tensor of 1 kB or more of the network is in it, the 0/1 matrix of positions besides
    large = [tensor for tensor in model.state_dict().values() if tensor.numel() * 4 >= 1024]
    assert sum(stretches.values()) >= sum(tensor.numel() * 4 for tensor in large)
    # kernels of width 5 are stored at 8 points, the stem's at 4 positions between zeros
    stored = {name: tensor.numel() * 4 for name, tensor in model.state_dict().items()}
    tower = sum(size for name, size in stored.items() if name.startswith("tower") and name.endswith("conv.weight"))
    stem = model.stem.weight.shape[0] * 16 * 4 * ((model.stem.weight.shape[2] + 2) // 4 + 1) * 4
    assert sum(stretches.values()) <= sum(stored.values()) + tower * 3 // 5 + stem + 4 * 31 * 9


def test_equal_tensors_are_stored_once(tmp_path: Path) -> None:
    weights = WeightsFile(tmp_path)
    values = np.arange(1000.0, dtype=np.float32)
    first, again, other = weights.add("a", values), weights.add("b", values.copy()), weights.add("c", values + 1)
    small = weights.add("d", values[:3])
    weights.close()
    assert external(first) == external(again)
    assert external(other)["offset"] == "4096"
    assert not small.external_data
    stored = np.fromfile(tmp_path / WEIGHTS, np.float32)
    assert np.array_equal(stored[:1000], values)
    assert np.array_equal(stored[1024:], values + 1)


def test_no_tensor_is_quadratic_in_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 600 tokens, in chunks of 256, no value has a row per query and a column per key or distance."""
    monkeypatch.setattr(attention, "QUERY_CHUNK", 256)
    model = toy(sequence_length_bp=600 * 128, crop_bins=720)
    bundle = write(model, tmp_path / "b")
    graph = onnx.shape_inference.infer_shapes(onnx.load(bundle.graph_path()), strict_mode=True, data_prop=True).graph
    shapes = {
        item.name: [dim.dim_value or 1 for dim in item.type.tensor_type.shape.dim]
        for item in [*graph.value_info, *graph.output]
    }
    assert {name for node in graph.node for name in node.output} == shapes.keys()
    assert not any({600, 1199} & set(shape[:-1]) and shape[-1] in (600, 1199) for shape in shapes.values())
    largest = max(math.prod(shape) for name, shape in shapes.items() if name.startswith("Softmax"))
    assert largest == 256 * 600  # queries of a chunk x keys, one head
    softmax = [shapes[node.output[0]] for node in graph.node if node.op_type == "Softmax"]
    assert [shape[2] for shape in softmax[:6]] == [256, 256, 88] * 2  # two heads; the first block has all queries
    # bins 720 to 1680 of 2400, with the reach of the convolution 719 to 1681; at 64 bp 359 to 841, with the reach
    # 358 to 842; tokens 179 to 421
    assert [shape[2] for shape in softmax[6:]] == [421 - 179] * 2
    x = windows(1, 600 * 128)
    check(run(bundle, x), exact(model, x))


def test_export_is_reproducible(tmp_path: Path, model: Borzoi, bundle: Bundle) -> None:
    again = write(model, tmp_path / "again")
    for name in ("predict.onnx", WEIGHTS, "tracks.tsv"):
        assert again.files[name] == bundle.files[name]
    assert np.array_equal(again.golden()["sequence"], bundle.golden()["sequence"])
