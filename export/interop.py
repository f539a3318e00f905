"""A target as a torch module: methods of captum and tangermeme run on what onnxruntime computes.

``TargetModule(objective)(X)`` is the target of each sequence of X, (sequences, 4, length), as (sequences, 1); its
gradient is that of the exported gradient graphs. What needs hooks into a network of torch, as their DeepLIFT, does not
run on it: ``borzoi-rt explain --method deeplift`` does that.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from borzoi_rt.errors import InputError
from borzoi_rt.explain.objective import Bases, Differentiable, Objective, check_bases
from borzoi_rt.types import ByteArray


class TargetModule(nn.Module):
    """A target of one window as a module; in inference mode for good, it has no parameters.

    Parameters
    ----------
    objective : Objective
        As :meth:`borzoi_rt.explain.explainer.Explainer.objective` gives it; a gradient needs one with a ``slope``, as
        that of the method saliency.
    window : uint8 ndarray of shape (4, length), optional
        With ``bases``: what stands around the sequences, which are then of these bases alone.
    bases : (int, int), optional
        First and last + 1 of them, columns of the window.

    Raises
    ------
    InputError
        If one of ``window`` and ``bases`` is missing, or the bases do not lie in the window.
    """

    def __init__(self, objective: Objective, window: ByteArray | None = None, bases: Bases | None = None) -> None:
        super().__init__()
        if (window is None) != (bases is None):
            raise InputError("window and bases belong together; give both or neither")
        self.objective, self.window = objective, window
        self.bases = (0, objective.length) if bases is None else check_bases(bases, objective.length)
        self.eval()  # a wrapper that is left in training mode would be put back into it

    def forward(self, sequences: Tensor) -> Tensor:
        """Return the target of sequences (sequences, 4, bases), or mixtures of such, as (sequences, 1)."""
        width = self.bases[1] - self.bases[0]
        if sequences.ndim != 3 or tuple(sequences.shape[1:]) != (4, width):
            raise InputError(f"sequences have shape {tuple(sequences.shape)}; (sequences, 4, {width}) is needed")
        return cast("Tensor", _Target.apply(sequences, self))

    def values_of(self, sequences: Tensor, *, slopes: bool) -> tuple[Tensor, Tensor | None]:
        """Return the targets (sequences,), and their derivatives (sequences, 4, bases) where asked."""
        found = np.empty(len(sequences))
        gradients = np.empty(tuple(sequences.shape)) if slopes else None
        for number, sequence in enumerate(sequences.detach().cpu().numpy().astype(np.float64)):
            whole = sequence if self.window is None else self.window.astype(np.float64)
            whole[:, self.bases[0] : self.bases[1]] = sequence
            onehot = bool(np.isin(whole, (0.0, 1.0)).all() and (whole.sum(axis=0) <= 1.0).all())
            if onehot and gradients is None:
                found[number] = self.objective.values(whole.astype(np.uint8)[None])[0]
                continue
            if not hasattr(self.objective, "slope"):
                raise InputError(
                    "mixtures of sequences and gradients need an objective with a slope; see method saliency"
                )
            value, gradient = cast("Differentiable", self.objective).slope(whole, self.bases)
            found[number] = value
            if gradients is not None:
                gradients[number] = gradient
        where = {"dtype": sequences.dtype if sequences.is_floating_point() else torch.float64}
        made = torch.as_tensor(found, **where, device=sequences.device)
        return made, None if gradients is None else torch.as_tensor(gradients, **where, device=sequences.device)


class _Target(torch.autograd.Function):
    """The target of sequences; the way back is a product with the slopes of the way forth."""

    @staticmethod
    def forward(ctx: Any, sequences: Tensor, module: TargetModule) -> Tensor:
        values, slopes = module.values_of(sequences, slopes=bool(ctx.needs_input_grad[0]))
        if slopes is not None:
            ctx.save_for_backward(sequences, slopes)
        return values[:, None]

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, None]:
        sequences, slopes = ctx.saved_tensors
        return cotangents[0][:, :, None] * _Slopes.apply(sequences, slopes), None


class _Slopes(torch.autograd.Function):
    """Slopes as a function of sequences, whose derivative nobody knows; as constants they would have one of 0."""

    @staticmethod
    def forward(_ctx: Any, _sequences: Tensor, slopes: Tensor) -> Tensor:
        return slopes

    @staticmethod
    def backward(_ctx: Any, *_cotangents: Tensor) -> tuple[None, None]:
        raise InputError("a target has first derivatives alone: there is no graph of second ones")
