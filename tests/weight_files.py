"""Write a network's weights as the two public formats, by the published tables of equivalents.

``state`` maps the names of our state dict to arrays; nothing of the package is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

State = Mapping[str, np.ndarray]
Layers = dict[str, dict[str, np.ndarray]]
STATISTICS = ("weight", "bias", "running_mean", "running_var")


def block_numbers(state: State, group: str) -> range:
    """Ordinals of the blocks of a group: tower, transformer, unet."""
    return range(len({name.split(".")[1] for name in state if name.startswith(f"{group}.")}))


def keras_layers(state: State, *, first: int = 0) -> Layers:
    """Return layer -> tensor name -> values, in the order in which Keras builds them.

    ``first`` is the counter of the first layer of each class: what it is depends on what the process had built before.
    """
    counts: dict[str, int] = {}
    layers: Layers = {"sequence": {}, "stochastic_shift": {}}

    def add(kind: str, **tensors: np.ndarray) -> None:
        number = counts[kind] = counts.get(kind, first - 1) + 1
        layer = f"{kind}_{number}" if number else kind
        layers[layer] = {f"{layer}/{name.replace('__', '/')}:0": values for name, values in tensors.items()}

    def conv(name: str) -> None:
        add("conv1d", kernel=state[f"{name}.weight"].transpose(2, 1, 0), bias=state[f"{name}.bias"])

    def dense(name: str) -> None:
        weight = state[f"{name}.weight"]
        add("dense", kernel=weight.reshape(weight.shape[:2]).T, bias=state[f"{name}.bias"])

    def norm(name: str) -> None:
        names = ("gamma", "beta", "moving_mean", "moving_variance")
        values = [state[f"{name}.{part}"] for part in STATISTICS]
        add("batch_normalization", **dict(zip(names, values, strict=True)))

    conv("stem")
    for i in block_numbers(state, "tower"):
        norm(f"tower.{i}.norm")
        conv(f"tower.{i}.conv")
    for i in block_numbers(state, "transformer"):
        block = f"transformer.{i}"
        add(
            "layer_normalization",
            gamma=state[f"{block}.norm_attention.weight"],
            beta=state[f"{block}.norm_attention.bias"],
        )
        add(
            "multihead_attention",
            r_w_bias=state[f"{block}.attention.content_bias"],
            r_r_bias=state[f"{block}.attention.position_bias"],
            q_layer__kernel=state[f"{block}.attention.query.weight"].T,
            k_layer__kernel=state[f"{block}.attention.key.weight"].T,
            v_layer__kernel=state[f"{block}.attention.value.weight"].T,
            embedding_layer__kernel=state[f"{block}.attention.out.weight"].T,
            embedding_layer__bias=state[f"{block}.attention.out.bias"],
            r_k_layer__kernel=state[f"{block}.attention.relative_key.weight"].T,
        )
        add("layer_normalization", gamma=state[f"{block}.norm_dense.weight"], beta=state[f"{block}.norm_dense.bias"])
        dense(f"{block}.dense_up")
        dense(f"{block}.dense_down")
    for i in block_numbers(state, "unet"):
        norm(f"unet.{i}.norm")
        norm(f"unet.{i}.norm_skip")
        if f"unet.{i}.dense.weight" in state:
            dense(f"unet.{i}.dense")
        dense(f"unet.{i}.dense_skip")
        add(
            "separable_conv1d",
            depthwise_kernel=state[f"unet.{i}.depthwise.weight"].transpose(2, 0, 1),
            pointwise_kernel=state[f"unet.{i}.pointwise.weight"][..., 0].T[None],
            bias=state[f"unet.{i}.pointwise.bias"],
        )
    if "tail.conv.weight" in state:
        norm("tail.norm")
        conv("tail.conv")
    dense("head")
    layers["switch_reverse"] = {}
    return layers


def write_keras(path: Path, layers: Layers, *, group: str = "model_weights", text: type = str) -> Path:
    """Write layers as Keras' legacy HDF5; attributes come as str or bytes, the weights in a group or at the root."""

    def names(values: list[str]) -> Any:
        return np.array(values, dtype="S") if text is bytes and values else values

    with h5py.File(path, "w") as file:
        root = file.create_group(group) if group else file
        root.attrs["layer_names"] = names(list(layers))
        for layer, tensors in layers.items():
            root.create_group(layer).attrs["weight_names"] = names(list(tensors))
            for name, values in tensors.items():
                root[layer][name] = values
    return path


def torch_state(state: State, *, mouse: int = 0, prime: bool = False) -> dict[str, np.ndarray]:
    """Return the state dict of borzoi-pytorch with our trunk and human head, and a random mouse head."""
    their: dict[str, np.ndarray] = {}
    tower = [f"res_tower.{2 * i}" for i in range(4 if prime else 5)] + (
        ["unet1.1", "unet2.1"] if prime else ["unet1.1"]
    )
    decoder = (2, 1, 0) if prime else (1, 0)

    def pairs() -> Iterator[tuple[str, str]]:
        yield "stem", "conv_dna.conv_layer"
        for i, name in enumerate(tower):
            yield from ((f"tower.{i}.norm", f"{name}.norm"), (f"tower.{i}.conv", f"{name}.conv_layer"))
        for i in block_numbers(state, "transformer"):
            our = name = f"transformer.{i}"
            yield from ((f"{our}.norm_attention", f"{name}.0.fn.0"), (f"{our}.norm_dense", f"{name}.1.fn.0"))
            yield from ((f"{our}.dense_up", f"{name}.1.fn.1"), (f"{our}.dense_down", f"{name}.1.fn.4"))
            for ours, theirs in (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("relative_key", "to_rel_k")):
                yield f"{our}.attention.{ours}", f"{name}.0.fn.1.{theirs}"
            yield f"{our}.attention.out", f"{name}.0.fn.1.to_out"
            their[f"{name}.0.fn.1.rel_content_bias"] = state[f"{our}.attention.content_bias"]
            their[f"{name}.0.fn.1.rel_pos_bias"] = state[f"{our}.attention.position_bias"]
        for i, number in enumerate(decoder):
            yield f"unet.{i}.norm", f"upsampling_unet{number}.0.norm"
            yield f"unet.{i}.dense", f"upsampling_unet{number}.0.conv_layer"
            yield f"unet.{i}.norm_skip", f"horizontal_conv{number}.norm"
            yield f"unet.{i}.dense_skip", f"horizontal_conv{number}.conv_layer"
            yield f"unet.{i}.depthwise", f"separable{number}.conv_layer.0"
            yield f"unet.{i}.pointwise", f"separable{number}.conv_layer.1"
        yield from (("tail.norm", "final_joined_convs.0.norm"), ("tail.conv", "final_joined_convs.0.conv_layer"))

    for ours, theirs in pairs():
        their.update({f"{theirs}.{part}": state[f"{ours}.{part}"] for part in STATISTICS if f"{ours}.{part}" in state})
        if f"{ours}.running_mean" in state:
            their[f"{theirs}.num_batches_tracked"] = np.array(1000)
    their["human_head.weight"], their["human_head.bias"] = state["head.weight"][..., None], state["head.bias"]
    if mouse:
        generator = np.random.default_rng(2)
        channels = state["head.weight"].shape[1]
        their["mouse_head.weight"] = generator.normal(size=(mouse, channels, 1)).astype(np.float32)
        their["mouse_head.bias"] = generator.normal(size=mouse).astype(np.float32)
    return their
