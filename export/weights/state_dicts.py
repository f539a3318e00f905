"""State dicts as training programs leave them: inside a checkpoint, and under names that wrappers have prefixed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from borzoi_rt.errors import FormatError

# The first layer of every borzoi-pytorch network: what stands before its name is a prefix.
_FIRST = "conv_dna.conv_layer.weight"
# Steps that DataParallel, torch.compile, FSDP and activation checkpointing put into the names of what they wrap.
_WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
_COUNTERS = frozenset({"n_averaged"})  # torch.optim.swa_utils.AveragedModel keeps it beside the network
_DEPTH = 3  # how deep checkpoints nest; a pickle may hold itself


def unwrapped(content: Any, source: str) -> dict[str, Tensor]:
    """Return the one state dict that a file's content is or holds, without gradients.

    Raises
    ------
    FormatError
        If there is none, if several could be meant, or if it holds anything but plain tensors.
    """
    if not isinstance(content, Mapping):
        raise FormatError(f"{source}: holds {type(content).__name__}; tensors by name are needed")
    if isinstance(content.get("borzoi_rt"), str):
        raise FormatError(f"{source}: a checkpoint of `borzoi-rt train`; `borzoi-rt export checkpoint` converts it")
    found = _state_dicts(content, ())
    networks = {where: state for where, state in found.items() if any(key.endswith(_FIRST) for key in state)}
    found = networks or found
    if len(found) > 1:
        raise FormatError(
            f"{source}: holds {len(found)} state dicts ({', '.join(map(repr, found))}); "
            "save the one that is meant alone"
        )
    if not found:
        strange = next((key for key, value in content.items() if not isinstance(value, Tensor)), None)
        raise FormatError(
            f"{source}: no state dict: {strange!r} is not a plain tensor; tensors by name are needed, at the top "
            "or under a key such as 'state_dict'"
        )
    (state,) = found.values()
    for key, value in state.items():
        if value.layout is not torch.strided or value.is_quantized or value.is_meta:
            raise FormatError(f"{source}: {key!r} is not a plain tensor; a state dict holds nothing else")
    return {key: value.detach() for key, value in state.items()}


def _state_dicts(content: Mapping[Any, Any], where: tuple[str, ...]) -> dict[str, Mapping[str, Tensor]]:
    if content and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()):
        return {".".join(where): content}
    found: dict[str, Mapping[str, Tensor]] = {}
    if len(where) < _DEPTH:
        for key, value in content.items():
            if isinstance(key, str) and isinstance(value, Mapping):
                found |= _state_dicts(value, (*where, key))
    return found


def plain_names(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Return a state dict of borzoi-pytorch under the network's own names.

    Steps of wrappers (``module.``, ``_orig_mod.``) are left out wherever they stand, then whatever stands before the
    first layer (``model.``, ``net.model.``). Names without that prefix stay as they are.

    Raises
    ------
    FormatError
        If the first layer is missing or there are several, if two names become one, or if adapters are not merged.
    """
    adapter = next((key for key in state if ".lora_" in key), None)
    if adapter is not None:
        raise FormatError(f"{source}: {adapter!r} belongs to an adapter (LoRA); merge adapters into the weights first")
    named = {key: ".".join(step for step in key.split(".") if step not in _WRAPPERS) for key in state}
    prefixes = sorted({name.removesuffix(_FIRST) for name in named.values() if name.endswith(_FIRST)})
    prefixes = [prefix for prefix in prefixes if not prefix or prefix.endswith(".")]
    if not prefixes:
        first = next(iter(state), None)
        raise FormatError(
            f"{source}: not a network of borzoi-pytorch: none of its {len(state)} tensors is {_FIRST!r}, with or "
            f"without a prefix like 'model.' or 'module.'; the first is {first!r}"
        )
    if len(prefixes) > 1:
        raise FormatError(
            f"{source}: holds {len(prefixes)} networks, with the prefixes {', '.join(map(repr, prefixes))}; "
            "save the one that is meant alone"
        )
    plain: dict[str, Tensor] = {}
    for key, name in named.items():
        name = name.removeprefix(prefixes[0])
        if name in plain:
            raise FormatError(f"{source}: two tensors are {name!r} once prefixes are left out, one of them {key!r}")
        if key not in _COUNTERS:
            plain[name] = state[key]
    return plain
