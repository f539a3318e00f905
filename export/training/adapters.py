"""Fine-tuning: weights to begin with, and low-rank adapters (LoRA, by peft) that are merged before export.

Adapters with a nonlinearity of their own (Houlsby's bottlenecks) cannot be merged: the exported graph would be another
network. peft has none, and LoRA reaches the same with what a bundle can hold.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from borzoi_rt.errors import BackendError, FormatError, InputError

from ..models.borzoi import Borzoi
from ..models.config import BorzoiConfig
from ..weights.borzoi_pytorch import convert_state_dict, read_config_json, read_state_dict
from ..weights.checkpoint import network_state, read_checkpoint
from ..weights.hub import locate
from ..weights.keras_h5 import read_keras_h5

FREEZE = ("none", "statistics", "trunk")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraOptions:
    """Low-rank adapters.

    Parameters
    ----------
    rank : int
        Rank of the change of each weight.
    alpha : float
        The change is scaled by ``alpha / rank``.
    targets : tuple of str
        Last names of the layers that get one.
    """

    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ("query", "value")

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise InputError(f"LoRA rank is {self.rank!r}; 1 or more is needed")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"kind": "lora", **asdict(self), "targets": list(self.targets)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LoraOptions:
        """Read :meth:`to_dict`."""
        return cls(rank=values["rank"], alpha=values["alpha"], targets=tuple(values["targets"]))


def add_lora(network: Borzoi, options: LoraOptions) -> None:
    """Give layers of the trunk low-rank adapters; of the network only these and the head learn."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise BackendError("LoRA needs peft; pip install 'borzoi-rt[train]'") from error
    layers = {name.rsplit(".", 1)[-1] for name, _ in network.named_modules() if "." in name}
    unknown = sorted(set(options.targets) - layers)
    if unknown:
        known = ", ".join(sorted(name for name in layers if not name.isdigit()))
        raise InputError(f"no layer is called {unknown[0]!r}; layers: {known}")
    grouped = {name.rsplit(".", 1)[-1] for name, module in network.named_modules() if getattr(module, "groups", 1) > 1}
    if grouped & set(options.targets):
        raise InputError(f"{', '.join(sorted(grouped))}: an adapter beside it could not be merged; leave it out")
    config = LoraConfig(
        r=options.rank, lora_alpha=options.alpha, target_modules=list(options.targets), lora_dropout=0.0, bias="none"
    )
    try:
        inject_adapter_in_model(config, network)
    except ValueError as error:
        raise InputError(
            f"an adapter of rank {options.rank} cannot stand beside {', '.join(options.targets)}: "
            f"{' '.join(str(error).split())[:160]}"
        ) from error
    network.head.requires_grad_(True)


def initial_state(
    weights: str | os.PathLike[str],
    params: Mapping[str, Any],
    *,
    head: int | str | None = None,
) -> dict[str, Tensor]:
    """Read a trained network to begin with: Calico's ``.h5``, our ``.ckpt``, or one of borzoi-pytorch.

    Parameters
    ----------
    weights : path or str
        A file; of borzoi-pytorch also a folder or a repository.
    params : mapping
        The params.json it was trained with; used for ``.h5``.
    head : int or str, optional
        The head to take. When None: of a ``.ckpt`` the one it is the best of, else the first; else the first (human).
    """
    path = Path(weights)
    if path.suffix in (".h5", ".keras"):
        return read_keras_h5(path, BorzoiConfig.from_params(params, head=0 if head is None else head))
    if path.suffix == ".ckpt":
        meta, state = read_checkpoint(path)
        try:
            return network_state(meta, state, head=head)[1]
        except (FormatError, InputError) as error:
            raise type(error)(f"{path}: {error}") from error
    file, beside = locate(weights)
    values = read_config_json(beside) if beside is not None else None
    theirs = "human" if head in (None, 0, "0") else head
    config, state = convert_state_dict(read_state_dict(file), values, head=theirs, source=str(file))
    if config.rotary_size:
        raise FormatError(
            f"{file}: weights of Flashzoi, whose positions are rotary; params describe relative positions only, so "
            "that training cannot begin with these; export them, or begin with weights of Borzoi"
        )
    return state


def load_initial(network: Borzoi, state: Mapping[str, Tensor], source: str, *, keep_head: bool) -> None:
    """Put weights into a network; the head only where it is to be kept.

    Raises
    ------
    FormatError
        Naming the first tensor that does not fit.
    """
    wanted = {
        key: tensor
        for key, tensor in network.state_dict().items()
        if not key.endswith("num_batches_tracked") and (keep_head or not key.startswith("head."))
    }
    for key, tensor in wanted.items():
        found = state.get(key)
        if found is None or found.shape != tensor.shape:
            shape = "nothing" if found is None else tuple(found.shape)
            raise FormatError(f"{source}: {key} is {shape}, the params give {tuple(tensor.shape)}")
    network.load_state_dict({key: state[key] for key in wanted}, strict=False)
