"""Bundles with weights in random order, for the check that an explanation follows what the network learned.

Parameter randomisation (Adebayo et al., NeurIPS 2018): parts of the network lose what they learned, from the top down,
and an attribution that hardly changes then says little of the network. Here every weight tensor keeps its values and
loses their order, so that activations stay in their range; factor and term of a normalisation move together.
"""

from __future__ import annotations

import copy
import os

import torch
from torch import Tensor, nn

from borzoi_rt.backends.activations import has_activations
from borzoi_rt.backends.gradient import has_gradient
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.errors import InputError

from .graphs import export_bundle
from .models.borzoi import Borzoi
from .weights.bundle import read_network

# From the top down, and which modules each part has.
PARTS = {
    "head": ("head",),
    "decoder": ("unet", "tail"),
    "transformer": ("transformer",),
    "tower": ("tower", "stem"),
}
_NORMS = (nn.BatchNorm1d, nn.LayerNorm)


def parts_down_to(part: str) -> tuple[str, ...]:
    """Return the parts from the head down to one of them.

    Raises
    ------
    InputError
        If there is no such part.
    """
    if part not in PARTS:
        raise InputError(f"part {part!r} is unknown; allowed, from the top down: {', '.join(PARTS)}")
    names = list(PARTS)
    return tuple(names[: names.index(part) + 1])


def randomised(model: Borzoi, part: str, *, seed: int = 0) -> Borzoi:
    """Return a copy of a network whose weights are in random order from the head down to ``part``.

    Parameters
    ----------
    model : Borzoi
        Not changed.
    part : str
        A key of :data:`PARTS`. What lies deeper stays as it is.
    seed : int
        Of the order. A part has the same order, however deep the randomisation goes.
    """
    twin = copy.deepcopy(model)
    for number, name in enumerate(parts_down_to(part)):
        generator = torch.Generator().manual_seed(1000 * seed + number)
        for attribute in PARTS[name]:
            owner = getattr(twin, attribute)
            for module in owner.modules() if owner is not None else ():
                _shuffle(module, generator)
    return twin


def _shuffle(module: nn.Module, generator: torch.Generator) -> None:
    """Put the weights that a module itself holds into random order."""
    if isinstance(module, _NORMS):
        held: list[Tensor | None] = [module.weight, module.bias]
        if isinstance(module, nn.BatchNorm1d):
            held += [module.running_mean, module.running_var]
        order = torch.randperm(len(module.weight), generator=generator)
        for tensor in held:
            if tensor is not None:
                _set(tensor, tensor[order])
        return
    for parameter in module.parameters(recurse=False):
        order = torch.randperm(parameter.numel(), generator=generator)
        _set(parameter, parameter.flatten()[order].view_as(parameter))


def _set(held: Tensor, values: Tensor) -> None:
    held.data.copy_(values.detach().clone())


def randomise_bundle(
    bundle: Bundle, out: str | os.PathLike[str], *, part: str, seed: int = 0, overwrite: bool = False
) -> Bundle:
    """Write a bundle whose weights are in random order from the head down to a part, with the graphs of the original.

    Parameters
    ----------
    bundle : Bundle
        Of the Borzoi family, in fp32.
    out : path
        Bundle to make.
    part, seed
        See :func:`randomised`.
    overwrite : bool
        Replace an existing bundle.
    """
    info = bundle.info
    model = randomised(read_network(bundle), part, seed=seed)
    return export_bundle(
        model,
        bundle.tracks,
        out,
        squash=info.squash,
        name=f"{info.name}, random down to {part}",
        n_policy=info.n_policy,
        provenance={"source": bundle.sha256, "randomised": list(parts_down_to(part)), "seed": seed},
        overwrite=overwrite,
        target=info.target,
        gradient=has_gradient(bundle),
        activations=has_activations(bundle),
    )
