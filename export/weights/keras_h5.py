"""Calico's Keras weights: the layers of a file, in whichever layout, become the state dict of our network.

The role of a layer is its ordinal within its class: names carry a counter (``conv1d_7``) whose start depends on what
the saving process had built before, so only the natural order within a class counts.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from borzoi_rt.errors import FormatError

from ..models.config import BorzoiConfig
from . import check_finite
from .keras_layouts import read_layers

# Keras tensor -> PyTorch tensor.
_CONV = (2, 1, 0)


class _Layers:
    """Layers of a file by class, taken one after another; every shape is compared, nothing may be left over."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._left: dict[str, list[tuple[int, list[tuple[str, np.ndarray]]]]] = {}
        for layer, tensors in read_layers(path):
            kind, _, number = layer.rpartition("_")
            if not number.isdecimal():
                kind, number = layer, "0"
            # Older versions of Keras have a class of its own for batch normalisation over several devices.
            kind = kind.removeprefix("sync_")
            self._left.setdefault(kind, []).append((int(number), [(layer, tensor) for tensor in tensors]))
        for found in self._left.values():
            found.sort(key=lambda item: item[0])

    def take(self, kind: str, role: str, *shapes: tuple[int, ...]) -> list[Tensor]:
        """Return the tensors of the next layer of a class, whose shapes must be those given."""
        if not self._left.get(kind):
            raise FormatError(f"{self.path}: no {kind} layer left for {role}; do the weights belong to these params?")
        _, tensors = self._left[kind].pop(0)
        layer = tensors[0][0]
        found = [tuple(tensor.shape) for _, tensor in tensors]
        if found != list(shapes):
            raise FormatError(
                f"{self.path}: layer {layer!r} ({role}) has shapes {found}, the params give {list(shapes)}; "
                "do the weights belong to these params and this head?"
            )
        for number, (_, tensor) in enumerate(tensors):
            check_finite(tensor, f"{self.path}: tensor {number} of layer {layer!r} ({role})")
        return [torch.from_numpy(np.ascontiguousarray(tensor)) for _, tensor in tensors]

    def finish(self) -> None:
        """Refuse leftovers."""
        left = [tensors[0][0] for found in self._left.values() for _, tensors in found]
        if left:
            raise FormatError(
                f"{self.path}: {len(left)} layers do not belong to the network, first {left[0]!r}; "
                "do the weights belong to these params?"
            )


def read_keras_h5(path: str | os.PathLike[str], config: BorzoiConfig) -> dict[str, Tensor]:
    """Return the state dict of :class:`borzoi_export.models.borzoi.Borzoi` from a Keras file of one head.

    Raises
    ------
    FormatError
        If the file is not HDF5 or truncated, a layer is missing, left over or of another shape, or a weight is not
        finite; the message names file and layer.
    """
    layers = _Layers(Path(path))
    state: dict[str, Tensor] = {}

    def conv(role: str, inputs: int, outputs: int, width: int) -> None:
        kernel, bias = layers.take("conv1d", role, (width, inputs, outputs), (outputs,))
        state[f"{role}.weight"], state[f"{role}.bias"] = kernel.permute(_CONV).contiguous(), bias

    def norm(role: str, channels: int) -> None:
        tensors = layers.take("batch_normalization", role, *[(channels,)] * 4)
        for name, tensor in zip(("weight", "bias", "running_mean", "running_var"), tensors, strict=True):
            state[f"{role}.{name}"] = tensor

    def dense(role: str, inputs: int, outputs: int, *, conv1: bool = False) -> None:
        kernel, bias = layers.take("dense", role, (inputs, outputs), (outputs,))
        weight = kernel.T.contiguous()
        state[f"{role}.weight"], state[f"{role}.bias"] = weight[..., None] if conv1 else weight, bias

    conv("stem", 4, config.stem_filters, config.stem_width)
    channels = config.stem_filters
    for index, filters in enumerate(config.tower_widths):
        norm(f"tower.{index}.norm", channels)
        conv(f"tower.{index}.conv", channels, filters, config.tower_width)
        channels = filters
    for index in range(config.depth):
        _read_transformer(layers, state, config, f"transformer.{index}", channels)
        dense(f"transformer.{index}.dense_up", channels, int(config.dense_expansion * channels))
        dense(f"transformer.{index}.dense_down", int(config.dense_expansion * channels), channels)
    for index, skip in enumerate(reversed(config.tower_widths[-config.unets :])):
        role = f"unet.{index}"
        norm(f"{role}.norm", channels)
        norm(f"{role}.norm_skip", skip)
        if config.upsample_conv:
            dense(f"{role}.dense", channels, channels, conv1=True)
        dense(f"{role}.dense_skip", skip, channels, conv1=True)
        depthwise, pointwise, bias = layers.take(
            "separable_conv1d", role, (config.unet_width, channels, 1), (1, channels, channels), (channels,)
        )
        state[f"{role}.depthwise.weight"] = depthwise.permute(1, 2, 0).contiguous()
        state[f"{role}.pointwise.weight"] = pointwise[0].T.contiguous()[..., None]
        state[f"{role}.pointwise.bias"] = bias
    if config.tail_filters:
        norm("tail.norm", channels)
        conv("tail.conv", channels, config.tail_filters, 1)
    dense("head", config.tail_filters or channels, config.tracks)
    layers.finish()
    return state


def _read_transformer(
    layers: _Layers, state: dict[str, Tensor], config: BorzoiConfig, role: str, channels: int
) -> None:
    for name in ("norm_attention", "norm_dense"):
        gamma, beta = layers.take("layer_normalization", f"{role}.{name}", (channels,), (channels,))
        state[f"{role}.{name}.weight"], state[f"{role}.{name}.bias"] = gamma, beta
    inner = config.heads * config.key_size
    bias = (1, config.heads, 1, config.key_size)
    content, position, query, key, value, out, out_bias, relative = layers.take(
        "multihead_attention",
        f"{role}.attention",
        *(bias, bias, (channels, inner), (channels, inner), (channels, channels), (channels, channels), (channels,)),
        (config.position_features, inner),
    )
    attention = {
        "content_bias": content,
        "position_bias": position,
        "query.weight": query.T.contiguous(),
        "key.weight": key.T.contiguous(),
        "value.weight": value.T.contiguous(),
        "relative_key.weight": relative.T.contiguous(),
        "out.weight": out.T.contiguous(),
        "out.bias": out_bias,
    }
    state.update({f"{role}.attention.{name}": tensor for name, tensor in attention.items()})
