"""The layouts of Keras 3 hold the same network as the legacy one; what cannot be read says what it is."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import toys
from weight_files import Layers, keras_layers

from borzoi_rt.errors import FormatError

torch = pytest.importorskip("torch", reason="the extra `export` is not installed")

from borzoi_export.weights.keras_h5 import read_keras_h5  # noqa: E402

NESTED = ("q_layer", "k_layer", "v_layer", "embedding_layer", "r_k_layer")


@pytest.fixture(scope="module")
def state() -> dict[str, np.ndarray]:
    torch.manual_seed(7)
    return {name: tensor.numpy() for name, tensor in toys.model(toys.config()).state_dict().items()}


def write(path: Path, layers: Layers, *, root: str = "layers", nested: str | None = "_", reverse: bool = False) -> Path:
    """Write layers as Keras 3 does; ``nested`` is what the attributes of inner layers begin with, None for flat."""
    with h5py.File(path, "w") as file:
        file.create_group("optimizer/vars")["0"] = np.array(7)
        file.create_group(f"{root}/dropout/seed_generator/vars")["0"] = np.zeros(2, np.uint32)
        for layer, tensors in sorted(layers.items(), reverse=reverse):
            group = file.create_group(f"{root}/{layer}")
            group.create_group("vars")
            for name, values in tensors.items():
                inner = name.split("/")[1]
                below = f"{nested}{inner}/vars" if nested is not None and inner in NESTED else "vars"
                target = group.require_group(below)
                target[str(len(target))] = values
    return path


def archive(path: Path, weights: Path | None) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", "{}")
        if weights is not None:
            file.write(weights, "model.weights.h5")
    return path


def check(path: Path, state: dict[str, np.ndarray]) -> None:
    found = read_keras_h5(path, toys.config())
    assert found.keys() == {name for name in state if not name.endswith("num_batches_tracked")}
    for name, tensor in found.items():
        assert np.array_equal(tensor.numpy(), state[name]), name


@pytest.mark.parametrize("root", ["layers", "_layer_checkpoint_dependencies"])
@pytest.mark.parametrize("nested", ["_", "", None])
@pytest.mark.parametrize("first", [0, 98])
def test_weights_h5(tmp_path: Path, state: dict[str, np.ndarray], root: str, nested: str | None, first: int) -> None:
    layers = keras_layers(state, first=first)
    check(write(tmp_path / "m.weights.h5", layers, root=root, nested=nested, reverse=bool(first)), state)


def test_archive(tmp_path: Path, state: dict[str, np.ndarray]) -> None:
    check(archive(tmp_path / "m.keras", write(tmp_path / "m.weights.h5", keras_layers(state))), state)


def move(file: h5py.File, old: str, new: str) -> None:
    file.move(old, new)


ATTENTION = "layers/multihead_attention"
MISFITS: dict[str, tuple[Callable[[h5py.File], Any], str]] = {
    "unknown inner layer": (
        lambda file: move(file, f"{ATTENTION}/_q_layer", f"{ATTENTION}/_dense"),
        "'multihead_attention' holds the layers dense, embedding_layer, k_layer",
    ),
    "inner layer without bias": (
        lambda file: file.__delitem__(f"{ATTENTION}/_embedding_layer/vars/1"),
        "embedding_layer of layer 'multihead_attention' has 1 tensors",
    ),
    "gap in the numbers": (
        lambda file: move(file, "layers/conv1d/vars/1", "layers/conv1d/vars/2"),
        "are 0, 2, not 0, 1",
    ),
    "no weights": (
        lambda file: (file.__delitem__("layers"), file.create_group("layers/dropout/vars")),
        "no layer below layers/ has weights",
    ),
    "other container": (lambda file: move(file, "layers", "model"), "it holds 'model', 'optimizer'"),
    "data set for a layer": (lambda file: file.__setitem__("layers/a", np.zeros(2)), "'/layers/a' is not a group"),
}


def refused(path: Path) -> str:
    with pytest.raises(FormatError) as caught:
        read_keras_h5(path, toys.config())
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize(("change", "expected"), MISFITS.values(), ids=MISFITS)
def test_other_layouts_say_what_to_do(
    tmp_path: Path, state: dict[str, np.ndarray], change: Callable[[h5py.File], Any], expected: str
) -> None:
    path = write(tmp_path / "m.weights.h5", keras_layers(state))
    with h5py.File(path, "r+") as file:
        change(file)
    message = refused(path)
    assert expected in message
    assert "model.save('model.h5')" in message
    assert "copy it again" not in message


def test_a_layer_of_another_network(tmp_path: Path, state: dict[str, np.ndarray]) -> None:
    layers = keras_layers(state)
    del layers["conv1d_6"]
    assert "no conv1d layer left for tower.5.conv" in refused(write(tmp_path / "m.weights.h5", layers))


def test_links_are_not_followed(tmp_path: Path, state: dict[str, np.ndarray]) -> None:
    other = write(tmp_path / "other.h5", keras_layers(state))
    path = write(tmp_path / "m.weights.h5", keras_layers(state))
    for name in ("layers/conv1d/vars/1", f"{ATTENTION}/_q_layer", "layers"):
        with h5py.File(path, "r+") as file:
            del file[name]
            file[name] = h5py.ExternalLink(str(other), f"/{name}")
        assert "is a link; weights must lie in the file itself" in refused(path)


def test_groups_that_hold_themselves(tmp_path: Path, state: dict[str, np.ndarray]) -> None:
    path = write(tmp_path / "m.weights.h5", keras_layers(state))
    with h5py.File(path, "r+") as file:
        file["layers/conv1d/again"] = file["layers/conv1d"]
    assert "not a complete Keras HDF5 weight file" in refused(path)


def test_archives_without_weights(tmp_path: Path, state: dict[str, np.ndarray]) -> None:
    assert "an archive without model.weights.h5 (it holds config.json)" in refused(archive(tmp_path / "m.keras", None))
    torch.save({"a": torch.zeros(2)}, tmp_path / "m.pt")
    assert "an archive without model.weights.h5" in refused(tmp_path / "m.pt")
    whole = archive(tmp_path / "whole.keras", write(tmp_path / "m.weights.h5", keras_layers(state)))
    whole.write_bytes(whole.read_bytes()[:-40])
    assert "copy it again" in refused(whole)


def test_saved_model(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").touch()
    assert "a TensorFlow SavedModel, not a weight file" in refused(tmp_path)
