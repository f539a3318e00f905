"""State dicts of johahi/borzoi-pytorch (Borzoi and Borzoi Prime), from safetensors or ``.bin``."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from borzoi_rt.errors import FormatError

from ..models.config import BorzoiConfig
from . import check_finite

# The published models: 4,096 tokens of 128 bp; widths of the relative positions belong to these.
_TOKENS, _TOKEN_BP = 4096, 128
_HEADS = {"human": "human_head", "mouse": "mouse_head", "0": "human_head", "1": "mouse_head"}


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read tensors from ``.safetensors``, or from ``.bin``/``.pt`` with ``weights_only`` so that nothing is executed.

    Raises
    ------
    FormatError
        If the file is damaged, or is a pickle of anything but tensors.
    """
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise FormatError(f"{path}: no such weight file") from None
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0][:160]
        raise FormatError(f"{path}: cannot be read as a state dict of tensors ({reason})") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise FormatError(f"{path}: holds other things than named tensors")
    return state


def convert_state_dict(
    state: Mapping[str, Tensor], config_json: Mapping[str, Any] | None, *, head: int | str, source: str
) -> tuple[BorzoiConfig, dict[str, Tensor]]:
    """Return config and state dict of our network from those of borzoi-pytorch.

    Parameters
    ----------
    state : mapping of str to Tensor
        Keys as in borzoi-pytorch 0.4.4 and 0.5.1.
    config_json : mapping, optional
        Its config.json; without it the published window and output grid are taken.
    head : int or str
        ``human``/0 or ``mouse``/1.

    Raises
    ------
    FormatError
        Naming keys that are missing, unknown, of another shape or not finite.
    """
    if any(".mha.Wqkv" in key for key in state):
        raise FormatError(f"{source}: a Flashzoi checkpoint; only Borzoi and Borzoi Prime can be converted")
    left = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    head_key = _HEADS.get(str(head).removeprefix("head_"))
    if head_key is None or f"{head_key}.weight" not in left:
        held = [name for name in ("human", "mouse") if f"{name}_head.weight" in left]
        raise FormatError(f"{source}: no head {head!r}; the checkpoint has {', '.join(held) or 'none'}")
    prime = "unet2.1.conv_layer.weight" in left
    names = _key_map(_count(left, "transformer."), prime=prime, head=head_key)
    missing = [theirs for theirs in names.values() if theirs not in left]
    if missing:
        raise FormatError(f"{source}: {len(missing)} tensors are missing, first {missing[0]!r}")
    others = {f"{key}.{part}" for key in _HEADS.values() for part in ("weight", "bias")}
    unknown = sorted(set(left) - set(names.values()) - others)
    if unknown:
        raise FormatError(f"{source}: {len(unknown)} tensors have no place in the network, first {unknown[0]!r}")
    converted = {}
    for ours, theirs in names.items():
        tensor = left[theirs].float()
        check_finite(tensor.numpy(), f"{source}: tensor {theirs!r}") if tensor.device.type == "cpu" else None
        linear = ours.endswith("weight") and (ours == "head.weight" or ".attention." in ours or ".dense_up" in ours)
        converted[ours] = tensor.squeeze(-1) if linear and tensor.ndim == 3 else tensor
    config = _config(converted, config_json or {}, head="head_" + head_key.removesuffix("_head"), prime=prime)
    return config, converted


def _key_map(depth: int, *, prime: bool, head: str) -> dict[str, str]:
    """Map our names to borzoi-pytorch's."""
    norm_parts, conv_parts = ("weight", "bias", "running_mean", "running_var"), ("weight", "bias")
    pairs: list[tuple[str, str, tuple[str, ...]]] = [
        ("stem", "conv_dna.conv_layer", conv_parts),
        ("head", head, conv_parts),
    ]
    tower = [f"res_tower.{2 * place}" for place in range(4 if prime else 5)]
    tower += ["unet1.1", "unet2.1"] if prime else ["unet1.1"]
    for place, theirs in enumerate(tower):
        pairs += [
            (f"tower.{place}.norm", f"{theirs}.norm", norm_parts),
            (f"tower.{place}.conv", f"{theirs}.conv_layer", conv_parts),
        ]
    for place in range(depth):
        ours, theirs = f"transformer.{place}", f"transformer.{place}"
        pairs += [
            (f"{ours}.norm_attention", f"{theirs}.0.fn.0", conv_parts),
            (f"{ours}.norm_dense", f"{theirs}.1.fn.0", conv_parts),
            (f"{ours}.dense_up", f"{theirs}.1.fn.1", conv_parts),
            (f"{ours}.dense_down", f"{theirs}.1.fn.4", conv_parts),
            (f"{ours}.attention.out", f"{theirs}.0.fn.1.to_out", conv_parts),
        ]
        for our, their in (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("relative_key", "to_rel_k")):
            pairs.append((f"{ours}.attention.{our}", f"{theirs}.0.fn.1.{their}", ("weight",)))
    for place, number in enumerate(range(2, -1, -1) if prime else range(1, -1, -1)):
        ours = f"unet.{place}"
        pairs += [
            (f"{ours}.norm", f"upsampling_unet{number}.0.norm", norm_parts),
            (f"{ours}.dense", f"upsampling_unet{number}.0.conv_layer", conv_parts),
            (f"{ours}.norm_skip", f"horizontal_conv{number}.norm", norm_parts),
            (f"{ours}.dense_skip", f"horizontal_conv{number}.conv_layer", conv_parts),
            (f"{ours}.depthwise", f"separable{number}.conv_layer.0", ("weight",)),
            (f"{ours}.pointwise", f"separable{number}.conv_layer.1", conv_parts),
        ]
    if not prime:
        pairs += [
            ("tail.norm", "final_joined_convs.0.norm", norm_parts),
            ("tail.conv", "final_joined_convs.0.conv_layer", conv_parts),
        ]
    names = {f"{ours}.{part}": f"{theirs}.{part}" for ours, theirs, parts in pairs for part in parts}
    for place in range(depth):
        names[f"transformer.{place}.attention.content_bias"] = f"transformer.{place}.0.fn.1.rel_content_bias"
        names[f"transformer.{place}.attention.position_bias"] = f"transformer.{place}.0.fn.1.rel_pos_bias"
    return names


def _count(state: Mapping[str, Tensor], prefix: str) -> int:
    return len({key.split(".")[1] for key in state if key.startswith(prefix)})


def _config(state: Mapping[str, Tensor], values: Mapping[str, Any], *, head: str, prime: bool) -> BorzoiConfig:
    tower = sorted({int(key.split(".")[1]) for key in state if key.startswith("tower.")})
    widths = tuple(state[f"tower.{place}.conv.weight"].shape[0] for place in tower)
    bias = state["transformer.0.attention.content_bias"]
    unets = 3 if prime else 2
    grid = _TOKENS * 2**unets
    bins = int(values.get("bins_to_return") or (12288 if prime else 6144))
    if values.get("return_center_bins_only") is False:
        bins = grid - 32
    if (grid - bins) % 2 or bins > grid:
        raise FormatError(f"config.json: bins_to_return {bins} cannot be centred in {grid} bins")
    return BorzoiConfig(
        sequence_length_bp=_TOKENS * _TOKEN_BP,
        stem_filters=state["stem.weight"].shape[0],
        stem_width=state["stem.weight"].shape[2],
        tower_widths=widths,
        tower_width=state["tower.0.conv.weight"].shape[2],
        depth=_count(state, "transformer."),
        heads=bias.shape[1],
        key_size=bias.shape[3],
        position_features=state["transformer.0.attention.relative_key.weight"].shape[1],
        widths_of=_TOKENS,
        dense_expansion=state["transformer.0.dense_up.weight"].shape[0] / widths[-1],
        unets=unets,
        unet_width=state["unet.0.depthwise.weight"].shape[2],
        upsample_conv=True,
        crop_bins=(grid - bins) // 2,
        tail_filters=0 if prime else state["tail.conv.weight"].shape[0],
        tracks=state["head.weight"].shape[0],
        head=head,
    )


def read_config_json(path: Path) -> dict[str, Any]:
    """Read a config.json."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(values, dict):
        raise FormatError(f"{path}: holds {type(values).__name__}; an object is needed")
    return values
