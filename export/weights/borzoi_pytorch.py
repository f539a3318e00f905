"""State dicts of johahi/borzoi-pytorch (Borzoi, Borzoi Prime, Flashzoi), from safetensors or ``.bin``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from borzoi_rt.errors import FormatError

from ..models.borzoi import Borzoi
from ..models.config import BorzoiConfig
from . import check_finite
from .state_dicts import plain_names, unwrapped

# The published models: 4,096 tokens of 128 bp; widths of the relative positions belong to these.
_TOKENS, _TOKEN_BP = 4096, 128
# What no tensor says of rotary attention: how many channels of a head are turned, how many heads the published have.
_ROTARY_SIZE, _ROTARY_HEADS, _ROTARY_CHANNELS = 128, 8, 1536
_RELATIVE, _ROTARY = "to_rel_k.weight", "mha.Wqkv.weight"  # tensors that only one of the attentions has
_HEADS = {"human": "human_head", "mouse": "mouse_head", "0": "human_head", "1": "mouse_head"}


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read tensors from ``.safetensors``, or from ``.bin``/``.pt`` with ``weights_only`` so that nothing is executed.

    A checkpoint that holds one state dict beside other values gives that one.

    Raises
    ------
    FormatError
        If the file is damaged, or holds no state dict or several.
    """
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise FormatError(f"{path}: no such weight file") from None
    except Exception as error:  # on damaged bytes torch raises whatever its parsers raise
        raise FormatError(f"{path}: cannot be read as a state dict of tensors ({_reason(error)})") from error
    return unwrapped(state, str(path))


def _reason(error: Exception) -> str:
    """Say in a line why torch refuses a file; its own first line tells people to run what is in it."""
    strange = re.search(r"GLOBAL (\S+) was not an allowed global", str(error))
    if strange:
        return f"it holds {strange[1][:100]}, and objects are not loaded; save the tensors alone"
    return next(iter(str(error).splitlines()), type(error).__name__)[:160]


def convert_state_dict(
    state: Mapping[str, Tensor], config_json: Mapping[str, Any] | None, *, head: int | str, source: str
) -> tuple[BorzoiConfig, dict[str, Tensor]]:
    """Return config and state dict of our network from those of borzoi-pytorch.

    Parameters
    ----------
    state : mapping of str to Tensor
        Keys as in borzoi-pytorch 0.4.4 and 0.5.1, with or without the prefixes of :func:`.state_dicts.plain_names`.
    config_json : mapping, optional
        Its config.json; without it the published window and output grid are taken, and for Flashzoi the published 8
        heads, which no tensor shows: weights of another width than the published are refused then.
    head : int or str
        ``human``/0 or ``mouse``/1.

    Raises
    ------
    FormatError
        Naming keys that are missing, unknown, of another shape or not finite.
    """
    state = plain_names(state, source)
    values = config_json or {}
    rotary = _is_rotary(state, values, source)
    left = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    head_key = _HEADS.get(str(head).removeprefix("head_"))
    if head_key is None or f"{head_key}.weight" not in left:
        held = [name for name in ("human", "mouse") if f"{name}_head.weight" in left]
        raise FormatError(
            f"{source}: no head {head!r}; the checkpoint has {', '.join(held) or 'neither human nor mouse'}"
        )
    prime = "unet2.1.conv_layer.weight" in left
    names = _key_map(max(_count(left, "transformer."), 1), prime=prime, rotary=rotary, head=head_key)
    missing = [theirs for theirs in names.values() if theirs not in left]
    if missing:
        raise FormatError(f"{source}: {len(missing)} tensors are missing, first {missing[0]!r}")
    others = {f"{key}.{part}" for key in _HEADS.values() for part in ("weight", "bias")}
    unknown = sorted(set(left) - set(names.values()) - others)
    if unknown:
        raise FormatError(f"{source}: {len(unknown)} tensors do not belong to the network, first {unknown[0]!r}")
    converted = {}
    for ours, theirs in names.items():
        tensor = left[theirs]
        if not tensor.is_floating_point():
            raise FormatError(f"{source}: tensor {theirs!r} is {tensor.dtype}; floating point is needed")
        tensor = tensor.detach().float()
        check_finite(tensor.numpy(), f"{source}: tensor {theirs!r}")
        converted[ours] = tensor.squeeze(-1) if ours == "head.weight" else tensor
    try:
        config = _config(converted, values, head="head_" + head_key.removesuffix("_head"), prime=prime)
    except (FormatError, IndexError) as error:
        raise FormatError(f"{source}: no network has these shapes ({error})") from error
    _check_shapes(converted, config, names, source)
    return config, converted


def _check_shapes(state: Mapping[str, Tensor], config: BorzoiConfig, names: Mapping[str, str], source: str) -> None:
    with torch.device("meta"):
        wanted = Borzoi(config).state_dict()
    for ours, theirs in names.items():
        if state[ours].shape != wanted[ours].shape:
            raise FormatError(
                f"{source}: tensor {theirs!r} has shape {tuple(state[ours].shape)}; next to the others "
                f"{tuple(wanted[ours].shape)} is needed"
            )


def _is_rotary(state: Mapping[str, Tensor], values: Mapping[str, Any], source: str) -> bool:
    """Tell Flashzoi from the others, by the tensors of its attention."""
    rotary, relative = (any(key.endswith(f".fn.1.{name}") for key in state) for name in (_ROTARY, _RELATIVE))
    if rotary and relative:
        raise FormatError(f"{source}: holds blocks of Borzoi ({_RELATIVE}) and of Flashzoi ({_ROTARY})")
    flashed = values.get("flashed")
    if isinstance(flashed, bool) and flashed != rotary and (rotary or relative):
        kind = "Flashzoi" if rotary else "Borzoi"
        raise FormatError(f"{source}: config.json says flashed {flashed!r}, but these are weights of {kind}")
    return rotary


def _key_map(depth: int, *, prime: bool, rotary: bool, head: str) -> dict[str, str]:
    """Map our names to borzoi-pytorch's."""
    norm_parts, conv_parts = ("weight", "bias", "running_mean", "running_var"), ("weight", "bias")
    pairs: list[tuple[str, str, tuple[str, ...]]] = [
        ("stem", "conv_dna.conv_layer", conv_parts),
        ("head", head, conv_parts),
    ]
    tower = [f"res_tower.{2 * index}" for index in range(4 if prime else 5)]
    tower += ["unet1.1", "unet2.1"] if prime else ["unet1.1"]
    for index, theirs in enumerate(tower):
        pairs += [
            (f"tower.{index}.norm", f"{theirs}.norm", norm_parts),
            (f"tower.{index}.conv", f"{theirs}.conv_layer", conv_parts),
        ]
    for block in (f"transformer.{index}" for index in range(depth)):
        pairs += [
            (f"{block}.norm_attention", f"{block}.0.fn.0", conv_parts),
            (f"{block}.norm_dense", f"{block}.1.fn.0", conv_parts),
            (f"{block}.dense_up", f"{block}.1.fn.1", conv_parts),
            (f"{block}.dense_down", f"{block}.1.fn.4", conv_parts),
        ]
        if rotary:
            pairs += [
                (f"{block}.attention.{ours}", f"{block}.0.fn.1.mha.{theirs}", conv_parts)
                for ours, theirs in (("qkv", "Wqkv"), ("out", "out_proj"))
            ]
            continue
        pairs.append((f"{block}.attention.out", f"{block}.0.fn.1.to_out", conv_parts))
        for our, their in (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("relative_key", "to_rel_k")):
            pairs.append((f"{block}.attention.{our}", f"{block}.0.fn.1.{their}", ("weight",)))
    for index, number in enumerate(range(2, -1, -1) if prime else range(1, -1, -1)):
        ours = f"unet.{index}"
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
    for index in range(0 if rotary else depth):
        names[f"transformer.{index}.attention.content_bias"] = f"transformer.{index}.0.fn.1.rel_content_bias"
        names[f"transformer.{index}.attention.position_bias"] = f"transformer.{index}.0.fn.1.rel_pos_bias"
    return names


def _count(state: Mapping[str, Tensor], prefix: str) -> int:
    return len({key.split(".")[1] for key in state if key.startswith(prefix)})


def _config(state: Mapping[str, Tensor], values: Mapping[str, Any], *, head: str, prime: bool) -> BorzoiConfig:
    tower = sorted({int(key.split(".")[1]) for key in state if key.startswith("tower.")})
    widths = tuple(state[f"tower.{index}.conv.weight"].shape[0] for index in tower)
    unets = 3 if prime else 2
    grid = _TOKENS * 2**unets
    bins = values.get("bins_to_return") or (12288 if prime else 6144)
    if values.get("return_center_bins_only") is False:
        bins = grid - 32
    if not isinstance(bins, int) or not 0 < bins <= grid or (grid - bins) % 2:
        raise FormatError(f"config.json: bins_to_return is {bins!r}; an even number up to {grid} is needed")
    return BorzoiConfig(
        sequence_length_bp=_TOKENS * _TOKEN_BP,
        stem_filters=state["stem.weight"].shape[0],
        stem_width=state["stem.weight"].shape[2],
        tower_widths=widths,
        tower_width=state["tower.0.conv.weight"].shape[2],
        depth=_count(state, "transformer."),
        **_attention_sizes(state, values, widths[-1]),
        dense_expansion=state["transformer.0.dense_up.weight"].shape[0] / widths[-1],
        unets=unets,
        unet_width=state["unet.0.depthwise.weight"].shape[2],
        upsample_conv=True,
        crop_bins=(grid - bins) // 2,
        tail_filters=0 if prime else state["tail.conv.weight"].shape[0],
        tracks=state["head.weight"].shape[0],
        head=head,
    )


def _attention_sizes(state: Mapping[str, Tensor], values: Mapping[str, Any], channels: int) -> dict[str, int]:
    """Return the fields of the config that differ between the two attentions."""
    name = "transformer.0.attention"
    if f"{name}.qkv.weight" not in state:
        bias = state[f"{name}.content_bias"]
        features = state[f"{name}.relative_key.weight"].shape[1]
        return {"heads": bias.shape[1], "key_size": bias.shape[3], "position_features": features, "widths_of": _TOKENS}
    heads = values.get("heads", _ROTARY_HEADS if channels == _ROTARY_CHANNELS else None)
    if heads is None:
        raise FormatError(
            f"no tensor shows the number of heads that share {channels} channels; a config.json with heads is needed"
        )
    if isinstance(heads, bool) or not isinstance(heads, int) or heads < 1 or channels % heads:
        raise FormatError(f"config.json: heads is {heads!r}; a number that divides {channels} channels is needed")
    size = channels // heads
    rows = state[f"{name}.qkv.weight"].shape[0]
    key_heads = (rows // size - heads) // 2
    if key_heads < 1 or rows != (heads + 2 * key_heads) * size:
        raise FormatError(f"{rows} rows of queries, keys and values do not make {heads} heads of {size} channels")
    return {
        "heads": heads,
        "key_size": size,
        "position_features": 0,
        "widths_of": 0,
        "rotary_size": _ROTARY_SIZE,
        "key_heads": key_heads,
    }


def read_config_json(path: Path) -> dict[str, Any]:
    """Read a config.json."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(values, dict):
        raise FormatError(f"{path}: holds {type(values).__name__}; an object is needed")
    return values
