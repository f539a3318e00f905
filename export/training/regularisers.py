"""Penalties on weights, by name and layer group, and those that a Calico params.json asks for."""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from borzoi_rt.errors import InputError

from .penalties import PENALTIES
from .processes import is_first_process

log = logging.getLogger(__name__)

GROUPS = ("stem", "tower", "transformer", "unet", "tail", "head", "all")
_ATTENTION = (".query.", ".key.", ".value.", ".relative_key.", ".attention.out.")
_SEPARABLE = (".depthwise.", ".pointwise.")  # Keras ignores the regulariser that baskerville passes to these


@dataclass(frozen=True, slots=True)
class Penalty:
    """``weight`` times the sum of a named penalty over the weights of a group (biases and norms excepted)."""

    name: str
    group: str
    weight: float

    def __post_init__(self) -> None:
        if self.name not in PENALTIES:
            raise InputError(f"penalty {self.name!r} is unknown; allowed: {', '.join(PENALTIES)}")
        if not self.weight > 0:
            raise InputError(f"penalty {self.name}: weight {self.weight!r}; a positive number is needed")

    @classmethod
    def parse(cls, text: str) -> Penalty:
        """Read ``NAME:GROUP:WEIGHT``, as in ``l1_mean:stem:4e-5``; the group may be a pattern of parameter names."""
        parts = text.split(":")
        try:
            name, group, weight = parts[0], parts[1], float(parts[2])
        except (IndexError, ValueError):
            raise InputError(f"penalty {text!r}; NAME:GROUP:WEIGHT is needed, like l2_sum:head:2e-8") from None
        return cls(name, group, weight)


class Penalties:
    """The penalties of a network, bound to the weights that learn.

    Parameters
    ----------
    network : nn.Module
    asked : sequence of Penalty
        Those that a caller chose: one that would touch no trained weight is refused.
    recipe : sequence of Penalty
        Those of a params.json. They are the recipe of the whole network, so what is frozen is left out, and said once.

    Raises
    ------
    InputError
        If a penalty matches no weight, or a chosen one only frozen weights.
    """

    def __init__(self, network: nn.Module, asked: Sequence[Penalty], *, recipe: Sequence[Penalty] = ()) -> None:
        self._terms: list[tuple[float, str, Tensor]] = []
        weights, frozen = weights_of(network), 0
        for penalty in (*recipe, *asked):
            matched = [parameter for name, parameter in weights if _in_group(name, penalty.group)]
            trained = [parameter for parameter in matched if parameter.requires_grad]
            if not matched:
                raise InputError(
                    f"penalty group {penalty.group!r} has no trained weights: it matches none; groups: "
                    f"{', '.join(GROUPS)}, or a pattern of parameter names"
                )
            if not trained and penalty in asked:
                raise InputError(
                    f"penalty group {penalty.group!r} has no trained weights: all {len(matched)} are frozen; leave the "
                    "penalty out, or train them"
                )
            frozen += len(matched) - len(trained)
            self._terms += [(penalty.weight, penalty.name, parameter) for parameter in trained]
        if frozen and is_first_process():
            log.warning("%d penalties on frozen weights left out; %d on trained ones kept", frozen, len(self._terms))

    def __bool__(self) -> bool:
        return bool(self._terms)

    def __call__(self) -> Tensor:
        """Return the sum of all penalties, a scalar."""
        return torch.stack([factor * PENALTIES[name](parameter) for factor, name, parameter in self._terms]).sum()


def weights_of(network: nn.Module) -> list[tuple[str, Tensor]]:
    """Return kernels and matrices by name: not biases, norms, or the two biases of attention."""
    return [
        (name.removeprefix("network."), parameter)
        for name, parameter in network.named_parameters()
        if name.endswith(".weight") and parameter.ndim >= 2
    ]


def calico_penalties(params: Mapping[str, Any], network: nn.Module) -> list[Penalty]:
    """Return what ``l2_scale``, ``l1_scale`` and ``mha_l2_scale`` of a params.json mean.

    Convolutions, dense layers of the U-net and heads take the global scale, or their block's; dense layers of the
    transformer that of its block; attention its ``mha_l2_scale``. Separable convolutions have none, because Keras drops
    the argument; low-rank adapters have none, because the params know no such weights.
    """
    model = params.get("model", params)
    found = []
    for kind, key in (("l2_sum", "l2_scale"), ("l1_sum", "l1_scale")):
        for name, _ in weights_of(network):
            scale = 0.0 if ".lora_" in name else _scale(model, name, key)
            if scale:
                found.append(Penalty(kind, name, float(scale)))
    return found


def _scale(model: Mapping[str, Any], name: str, key: str) -> float:
    blocks = {block["name"]: block for block in model.get("trunk", ())}
    block = {"stem": "conv_dna", "tower": "res_tower", "transformer": "transformer_tower", "unet": "unet_conv",
             "tail": "conv_nac"}.get(name.split(".")[0])  # fmt: skip
    if any(part in name for part in _SEPARABLE):
        return 0.0
    if any(part in name for part in _ATTENTION):
        return float(blocks.get(block or "", {}).get(f"mha_{key}") or 0.0)
    return float(blocks.get(block or "", {}).get(key, model.get(key)) or 0.0)


def _in_group(name: str, group: str) -> bool:
    head = name.startswith(("head.", "others."))
    if group == "all" or name == group:
        return True
    if group in GROUPS:
        return head if group == "head" else name.split(".")[0] == group
    return fnmatch.fnmatchcase(name, group)
