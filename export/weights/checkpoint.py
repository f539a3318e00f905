"""Our own training checkpoints, read without executing anything: tensors, plain values and one JSON text."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from borzoi_rt.errors import FormatError

from ..models.config import BorzoiConfig

META = "borzoi_rt"
_PREFIX = "model.network."


def read_checkpoint(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return what a checkpoint says about itself, and its tensors.

    Raises
    ------
    FormatError
        If the file is damaged, or is no checkpoint of ours.
    """
    path = Path(path)
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise FormatError(f"{path}: no such checkpoint") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise FormatError(f"{path}: cannot be read as a checkpoint ({reason})") from error
    if not isinstance(values, dict) or not isinstance(values.get(META), str) or "state_dict" not in values:
        raise FormatError(f"{path}: not a checkpoint of `borzoi-rt train` or `borzoi-rt promoter train`")
    try:
        return json.loads(values[META]), values["state_dict"]
    except ValueError as error:
        raise FormatError(f"{path}: its description is not JSON ({error})") from error


def network_state(
    meta: Mapping[str, Any], state: Mapping[str, Tensor], *, head: int | str = 0
) -> tuple[BorzoiConfig, dict[str, Tensor]]:
    """Return config and state dict of the network with one of its heads, adapters merged.

    Raises
    ------
    FormatError
        If there is no such head, or the network is no Borzoi.
    """
    if "model" not in meta:
        raise FormatError("a checkpoint of `borzoi-rt promoter train`; its run is read by `borzoi-rt promoter`")
    names = [entry["name"] for entry in meta["heads"]]
    number = _number(names, head)
    config = BorzoiConfig.from_params(meta["model"], head=names[number])
    own = {key.removeprefix(_PREFIX): tensor for key, tensor in state.items() if key.startswith(_PREFIX)}
    if meta.get("adapter"):
        own = merged(own, meta["adapter"]["alpha"] / meta["adapter"]["rank"])
    if number:
        own |= {f"head.{part}": state[f"model.others.{number - 1}.{part}"] for part in ("weight", "bias")}
    # The counter of batches plays no part where the momentum is fixed; other readers have none.
    return config, {key: tensor for key, tensor in own.items() if not key.endswith("num_batches_tracked")}


def _number(names: list[str], head: int | str) -> int:
    if str(head).isdigit() and int(head) < len(names):
        return int(head)
    for name in (str(head), f"head_{head}"):
        if name in names:
            return names.index(name)
    raise FormatError(f"head {head!r} is not in the checkpoint; it has {', '.join(names)}")


def merged(state: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
    """Return a state dict without low-rank adapters: a layer with one has the weight ``W + scale * B A``.

    Parameters
    ----------
    state : mapping of str to Tensor
        Keys as peft writes them: ``NAME.base_layer.weight``, ``NAME.lora_A.default.weight`` of shape
        (rank, inputs[, width]) and ``NAME.lora_B.default.weight`` of shape (outputs, rank[, 1]).
    scale : float
        ``alpha / rank`` of the adapters.
    """
    found = {}
    for key, tensor in state.items():
        if ".lora_" in key:
            continue
        name, is_base, part = key.partition(".base_layer.")
        if is_base and part == "weight":
            down, up = (state[f"{name}.lora_{letter}.default.weight"] for letter in "AB")
            change = up.flatten(1) @ down.flatten(1)  # of a convolution, B has width 1
            tensor = tensor + scale * change.reshape(tensor.shape)
        found[f"{name}.{part}" if is_base else key] = tensor
    return found
