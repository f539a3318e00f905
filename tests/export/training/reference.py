"""The runnable reference of the network, for training: float64, batch statistics, parameters matched to ours."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def load_reference(shared: Path, params: dict[str, Any]) -> Any:
    """Return the reference network in float64, its normalisation changed to that of training: batch statistics."""
    path = shared / "oracle" / "borzoi_reference.py"
    spec = importlib.util.spec_from_file_location("borzoi_reference", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def batch_statistics(weights: list[Tensor], x: Tensor) -> Tensor:
        gamma, beta, *_ = weights
        mean, variance = x.mean(dim=(0, 1)), x.var(dim=(0, 1), correction=0)
        return (x - mean) / torch.sqrt(variance + 1e-3) * gamma + beta

    module._batch_norm = batch_statistics  # type: ignore[attr-defined]
    return module.load(shared / "data" / "tiny_model" / "model.h5", params, dtype=torch.float64, bucketed=True)


def leaves(step: Any) -> list[Tensor]:
    if isinstance(step, Tensor):
        return [step]
    return [tensor for part in step for tensor in leaves(part)] if isinstance(step, tuple | list) else []


def keras_order() -> list[str]:
    """Return the names of our parameters in the order of the reference's tensors; nothing for moving statistics."""

    def norm(name: str) -> list[str]:
        return [f"{name}.weight", f"{name}.bias", "", ""]

    names = ["stem.weight", "stem.bias"]
    for number in range(6):
        names += [*norm(f"tower.{number}.norm"), f"tower.{number}.conv.weight", f"tower.{number}.conv.bias"]
    for number in range(2):
        block = f"transformer.{number}"
        attention = [f"{block}.attention.{part}" for part in ("content_bias", "position_bias")]
        attention += [f"{block}.attention.{part}.weight" for part in ("query", "key", "value", "out")]
        names += [f"{block}.norm_attention.weight", f"{block}.norm_attention.bias", *attention]
        names += [f"{block}.attention.out.bias", f"{block}.attention.relative_key.weight"]
        for part in ("norm_dense", "dense_up", "dense_down"):
            names += [f"{block}.{part}.weight", f"{block}.{part}.bias"]
    for number in range(2):
        block = f"unet.{number}"
        names += [*norm(f"{block}.norm"), *norm(f"{block}.norm_skip")]
        names += [f"{block}.{part}" for part in ("dense.weight", "dense.bias", "dense_skip.weight", "dense_skip.bias")]
        names += [f"{block}.depthwise.weight", f"{block}.pointwise.weight", f"{block}.pointwise.bias"]
    return [*names, "head.weight", "head.bias"]


def ours_as_keras(name: str, tensor: Tensor, like: Tensor) -> Tensor:
    """Turn one of our tensors into Keras' axes."""
    if name.endswith("depthwise.weight"):
        return tensor.permute(2, 0, 1)
    if tensor.ndim == 3:
        turned = tensor.permute(2, 1, 0)
        return turned.reshape(like.shape) if turned.numel() == like.numel() else turned
    return tensor.T if tensor.ndim == 2 else tensor.reshape(like.shape)
