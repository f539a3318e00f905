"""Keras files: every tensor is found whatever the layers are called, and a file that does not fit says why."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import toys
from weight_files import Layers, keras_layers, write_keras

from borzoi_rt.errors import FormatError

torch = pytest.importorskip("torch", reason="the extra `export` is not installed")

from borzoi_export.models.config import BorzoiConfig, read_params  # noqa: E402
from borzoi_export.weights.keras_h5 import read_keras_h5  # noqa: E402

State = dict[str, np.ndarray]
# the toy has 7 convolutions, 10 batch and 4 layer normalisations, 2 attentions, 9 dense and 2 separable layers
KINDS = {
    "toy": {},
    "borzoi": {"tail_filters": 24},
    "prime": {"unets": 3, "crop_bins": 9},
    "mini": {"upsample_conv": False},
}


def network_state(**changes: Any) -> State:
    torch.manual_seed(7)
    state = toys.model(toys.config(**changes)).state_dict()
    return {name: tensor.numpy() for name, tensor in state.items() if not name.endswith("num_batches_tracked")}


@pytest.fixture(scope="module")
def state() -> State:
    return network_state()


@pytest.fixture
def layers(state: State) -> Layers:
    return keras_layers(state)


def check_equal(found: dict[str, Any], want: State) -> None:
    assert found.keys() == want.keys()
    for name, tensor in found.items():
        assert np.array_equal(tensor.numpy(), want[name]), name


def refused(path: Path, config: BorzoiConfig | None = None) -> str:
    with pytest.raises(FormatError) as caught:
        read_keras_h5(path, config or toys.config())
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("first", [0, 1, 9, 98])
def test_ordinals_count_and_names_do_not(tmp_path: Path, changes: dict[str, Any], first: int) -> None:
    """With ``first`` 9 the stem is conv1d_9 and the first of the tower conv1d_10, which sorts before it as text."""
    want = network_state(**changes)
    layers = dict(sorted(keras_layers(want, first=first).items()))
    check_equal(read_keras_h5(write_keras(tmp_path / "m.h5", layers), toys.config(**changes)), want)


@pytest.mark.parametrize("group", ["model_weights", ""])
@pytest.mark.parametrize("text", [str, bytes])
def test_spellings(tmp_path: Path, layers: Layers, state: State, group: str, text: type) -> None:
    check_equal(read_keras_h5(write_keras(tmp_path / "m.h5", layers, group=group, text=text), toys.config()), state)


def test_synchronised_batch_normalisation_is_the_same_class(tmp_path: Path, layers: Layers, state: State) -> None:
    renamed = {f"sync_{name}" if name.startswith("batch") else name: tensors for name, tensors in layers.items()}
    check_equal(read_keras_h5(write_keras(tmp_path / "m.h5", renamed), toys.config()), state)


def test_float64_and_float16_become_float32(tmp_path: Path, layers: Layers, state: State) -> None:
    for tensors in layers.values():
        tensors.update({name: values.astype(np.float64) for name, values in tensors.items()})
    check_equal(read_keras_h5(write_keras(tmp_path / "m.h5", layers), toys.config()), state)
    for tensors in layers.values():
        tensors.update({name: values.astype(np.float16) for name, values in tensors.items()})
    found = read_keras_h5(write_keras(tmp_path / "m.h5", layers), toys.config())
    check_equal(found, {name: values.astype(np.float16).astype(np.float32) for name, values in state.items()})


def test_trained_model_is_used_up(shared: Path) -> None:
    source = shared / "data" / "tiny_model"
    state = read_keras_h5(source / "model.h5", BorzoiConfig.from_params(read_params(source / "params.json")))
    assert sum(tensor.numel() for tensor in state.values()) == 642_994  # all of the file
    with h5py.File(source / "model.h5") as file:
        want = file["model_weights/multihead_attention_1/multihead_attention_1/r_r_bias:0"][()]
    assert np.array_equal(state["transformer.1.attention.position_bias"].numpy(), want)


def replace(layer: str, tensor: str, values: Any) -> Callable[[Layers], None]:
    return lambda layers: layers[layer].update({f"{layer}/{tensor}:0": values})


def remove(layer: str) -> Callable[[Layers], None]:
    return lambda layers: layers.__delitem__(layer)


NAN = np.full(16, np.nan, dtype=np.float32)
MISFITS: list[tuple[Callable[[Layers], Any], str]] = [
    (remove("conv1d_6"), "no conv1d layer left for tower.5.conv"),
    (remove("dense_8"), "no dense layer left for head"),
    (remove("batch_normalization"), "layer 'batch_normalization_3' (tower.2.norm) has shapes [(24,), "),
    (
        lambda layers: layers.update(dense_9=dict(layers["dense_8"])),
        "1 layers do not belong to the network, first 'dense_9'",
    ),
    (lambda layers: layers.update(gru={"gru/k:0": NAN}), "1 layers do not belong to the network, first 'gru'"),
    (
        lambda layers: layers["conv1d"].pop("conv1d/bias:0"),
        "layer 'conv1d' (stem) has shapes [(11, 4, 16)], the params give",
    ),
    (replace("dense_8", "bias", np.zeros(5, np.float32)), "layer 'dense_8' (head) has shapes [(32, 6), (5,)]"),
    (replace("conv1d", "bias", NAN), "tensor 1 of layer 'conv1d' (stem): 16 values are NaN or infinite"),
    (replace("conv1d", "bias", NAN + np.inf), "tensor 1 of layer 'conv1d' (stem): 16 values"),
    (
        replace("conv1d", "bias", np.zeros(16, np.int32)),
        "'/model_weights/conv1d/conv1d/bias:0' is not an array of float",
    ),
    (replace("conv1d", "bias", np.zeros(16, np.complex64)), "is not an array of floating-point numbers"),
    (replace("conv1d", "bias", np.array([b"a"] * 16)), "is not an array of floating-point numbers"),
    (
        replace("conv1d", "bias", np.array([(1.0,)] * 16, dtype=[("a", "f4")])),
        "is not an array of floating-point numbers",
    ),
]


@pytest.mark.parametrize(("change", "expected"), MISFITS, ids=[expected[:45] for _, expected in MISFITS])
def test_misfits(tmp_path: Path, layers: Layers, change: Callable[[Layers], Any], expected: str) -> None:
    change(layers)
    assert expected in refused(write_keras(tmp_path / "m.h5", layers))


@pytest.mark.parametrize(
    "changes",
    [
        {"tracks": 5},
        {"depth": 1},
        {"depth": 3},
        {"unets": 3},
        {"tail_filters": 8},
        {"upsample_conv": False},
        {"heads": 4},
    ],
)
def test_params_of_another_model(tmp_path: Path, layers: Layers, changes: dict[str, Any]) -> None:
    path = write_keras(tmp_path / "m.h5", layers)
    assert "do the weights belong to these params" in refused(path, dataclasses.replace(toys.config(), **changes))


@pytest.mark.parametrize("share", [0, 1, 8, 100, 2048, 30_000, -1])
def test_truncated(tmp_path: Path, layers: Layers, share: int) -> None:
    path = write_keras(tmp_path / "m.h5", layers)
    path.write_bytes(path.read_bytes()[:share])
    assert "copy it again" in refused(path)


def test_not_keras(tmp_path: Path) -> None:
    (tmp_path / "m.h5").write_text("<html>404</html>" * 400)
    assert "not a complete Keras HDF5 weight file" in refused(tmp_path / "m.h5")
    assert "no such weight file" in refused(tmp_path / "absent.h5")
    assert "not a complete Keras HDF5 weight file" in refused(tmp_path)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["weights/conv1d"] = np.zeros(3)
    message = refused(tmp_path / "other.h5")
    assert "layer_names" in message
    assert "it holds 'weights'" in message
    assert "model.save('model.h5')" in message
    assert "copy it again" not in message


# Members through which HDF5 reads another file, or another group of this one.
MEMBERS: dict[str, Callable[[h5py.Group, str, str], Any]] = {
    "external link": lambda group, name, other: group.__setitem__(name, h5py.ExternalLink(other, "secret")),
    "soft link": lambda group, name, other: group.__setitem__(name, h5py.SoftLink("/elsewhere")),
    "external storage": lambda group, name, other: group.create_dataset(name, (16,), "f4", external=[(other, 0, 64)]),
    "virtual data set": lambda group, name, other: group.create_virtual_dataset(name, virtual_layout(other)),
    "group": lambda group, name, other: group.create_group(name),
    "ragged rows": lambda group, name, other: group.create_dataset(name, (16,), h5py.vlen_dtype(np.float32)),
    "references": lambda group, name, other: group.create_dataset(name, (16,), h5py.ref_dtype),
}


def virtual_layout(other: str) -> h5py.VirtualLayout:
    layout = h5py.VirtualLayout((16,), "f4")
    layout[:] = h5py.VirtualSource(other, "secret", (16,))
    return layout


@pytest.mark.parametrize("member", MEMBERS.values(), ids=MEMBERS)
def test_values_lie_in_the_file_itself(tmp_path: Path, layers: Layers, member: Callable[..., Any]) -> None:
    path, other = write_keras(tmp_path / "m.h5", layers), tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["secret"] = np.ones(16, np.float32)
    with h5py.File(path, "r+") as file:
        file["elsewhere"] = np.ones(16, np.float32)
        del file["model_weights/conv1d/conv1d/bias:0"]
        member(file["model_weights/conv1d/conv1d"], "bias:0", str(other))
    message = refused(path)
    assert "bias:0" in message
    assert any(words in message for words in ("is a link", "another file", "is not an array of floating-point"))


@pytest.mark.parametrize("group", ["model_weights", "model_weights/conv1d", "model_weights/conv1d/conv1d"])
def test_groups_are_not_followed_into_another_file(tmp_path: Path, layers: Layers, group: str) -> None:
    other = write_keras(tmp_path / "other.h5", layers)
    path = write_keras(tmp_path / "m.h5", layers)
    with h5py.File(path, "r+") as file:
        del file[group]
        file[group] = h5py.ExternalLink(str(other), f"/{group}")
    assert "is a link; weights must lie in the file itself" in refused(path)


@pytest.mark.parametrize("names", [7, ["absent"], ["../conv1d"], ["conv1d/../../x"], [1.5], "conv1d\n_3"])
def test_malformed_attributes(tmp_path: Path, layers: Layers, names: Any) -> None:
    path = write_keras(tmp_path / "m.h5", layers)
    with h5py.File(path, "r+") as file:
        file["model_weights"].attrs["layer_names"] = names
    assert "not a complete Keras HDF5 weight file" in refused(path)
