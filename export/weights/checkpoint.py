"""Our own training checkpoints, read without executing anything: tensors, plain values and one JSON text."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from borzoi_rt.errors import FormatError, InputError

from ..models.config import BorzoiConfig

META, AVERAGE = "borzoi_rt", "average"
_PREFIX = "model.network."


def read_checkpoint(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return what a checkpoint says about itself, and its tensors: averages where the run kept them (EMA).

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
    except Exception as error:  # of damaged files torch raises whatever its reader stumbles over
        reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise FormatError(f"{path}: cannot be read as a checkpoint ({reason})") from error
    if (
        not isinstance(values, dict)
        or not isinstance(values.get(META), str)
        or not isinstance(values.get("state_dict"), dict)
    ):
        raise FormatError(f"{path}: not a checkpoint of `borzoi-rt train` or `borzoi-rt promoter train`")
    try:
        meta = json.loads(values[META])
    except ValueError as error:
        raise FormatError(f"{path}: its description is not JSON ({error})") from error
    if not isinstance(meta, dict):
        raise FormatError(f"{path}: its description is {type(meta).__name__}; an object is needed")
    if "best_of" not in meta:  # an older checkpoint says it by its name alone
        heads = [entry["name"] for entry in meta.get("heads", ())]
        meta["best_of"] = next((name for name in heads if path.name == f"best-{name}.ckpt"), None)
    return meta, {**values["state_dict"], **values.get(AVERAGE, {})}


def network_state(
    meta: Mapping[str, Any], state: Mapping[str, Tensor], *, head: int | str | None = None
) -> tuple[BorzoiConfig, dict[str, Tensor]]:
    """Return config and state dict of the network with one of its heads, adapters merged.

    Parameters
    ----------
    meta, state : mapping
        What :func:`read_checkpoint` returned.
    head : int or str, optional
        Number or name. When None: the head that the checkpoint is the best of, else the first.

    Raises
    ------
    FormatError
        If there is no such head, or the network is no Borzoi.
    InputError
        If the checkpoint is the best of another head.
    """
    if "model" not in meta:
        raise FormatError("a checkpoint of `borzoi-rt promoter train`; its run is read by `borzoi-rt promoter`")
    names = [entry["name"] for entry in meta["heads"]]
    number = _head_number(names, head, meta.get("best_of"))
    config = BorzoiConfig.from_params(meta["model"], head=names[number])
    own = {key.removeprefix(_PREFIX): tensor for key, tensor in state.items() if key.startswith(_PREFIX)}
    if meta.get("adapter"):
        own = merged(own, meta["adapter"]["alpha"] / meta["adapter"]["rank"])
    if number:
        own |= {f"head.{part}": state[f"model.others.{number - 1}.{part}"] for part in ("weight", "bias")}
    # The counter of batches plays no part where the momentum is fixed; other readers have none.
    return config, {key: tensor for key, tensor in own.items() if not key.endswith("num_batches_tracked")}


def _head_number(names: list[str], head: int | str | None, best_of: str | None) -> int:
    if head is None:
        return names.index(best_of) if best_of in names else 0
    found = next((name for name in (str(head), f"head_{head}") if name in names), None)
    if found is None and str(head).isdigit() and int(head) < len(names):
        found = names[int(head)]
    if found is None:
        raise FormatError(f"head {head!r} is not in the checkpoint; it has {', '.join(names)}")
    if best_of and found != best_of:
        raise InputError(
            f"the checkpoint is the best of {best_of}, not of {found}; leave the head out, or take the best checkpoint "
            f"of {found}"
        )
    return names.index(found)


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
