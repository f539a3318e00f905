"""Trained runs, read back: their networks, and the start of fine-tuning."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torch import nn

from borzoi_rt.errors import FormatError, InputError

from ..models.promoter import MotifNetwork, build
from ..models.promoter_config import FAMILY, PromoterConfig
from ..weights.checkpoint import read_checkpoint
from .options import TUNE_FREEZE

_PREFIX = "model."
_TUNED_STAGE = 3


def load_run(path: str | os.PathLike[str], weights: str = "best") -> tuple[MotifNetwork, dict[str, Any]]:
    """Return the network of a run in inference mode, and what its checkpoint says about itself.

    Parameters
    ----------
    path : path
        Directory made by training.
    weights : str
        ``best`` or ``last``.

    Raises
    ------
    FormatError
        If the directory is not a run, or its weights are not those of its config.
    """
    file = Path(path) / f"{weights}.ckpt"
    if not file.is_file():
        raise FormatError(f"{path}: not a promoter run ({file.name} is missing); make one with `promoter train`")
    about, state = read_checkpoint(file)
    if about.get("family") != FAMILY:
        raise FormatError(f"{file}: not a checkpoint of `borzoi-rt promoter train`")
    try:
        model = build(PromoterConfig.from_dict(about["config"]))
        model.load_state_dict({name.removeprefix(_PREFIX): tensor for name, tensor in state.items()}, strict=True)
    except (KeyError, RuntimeError) as error:
        raise FormatError(f"{file}: weights and config differ ({' '.join(str(error).split())[:200]})") from error
    return model.eval(), about


def tuned(run: str | os.PathLike[str], *, freeze: str = "kernels", new_head: bool = False) -> MotifNetwork:
    """Return the best predictor of a run, to be trained on one tissue.

    Parameters
    ----------
    run : path
        A run of stage 3, as a rule on all tissues.
    freeze : str
        ``kernels``: motifs and short kernels stay, their biases and all else learn, as in stage 3. ``nothing``: they
        learn too, as published, and are no longer the consensus motifs. ``body``: only the head learns.
    new_head : bool
        Begin with a head of random weights; otherwise with the run's, as published.

    Raises
    ------
    InputError
        If the run is of another stage.
    """
    if freeze not in TUNE_FREEZE:
        raise InputError(f"freeze {freeze!r} is unknown; allowed: {', '.join(TUNE_FREEZE)}")
    model, _ = load_run(run)
    if model.config.stage != _TUNED_STAGE:
        raise InputError(f"{run}: a run of stage {model.config.stage}; only stage {_TUNED_STAGE} is tuned to a tissue")
    if new_head:
        assert isinstance(model.head, nn.Conv1d)
        model.head.reset_parameters()
    model.requires_grad_(freeze != "body")
    if freeze == "kernels":
        # What the run has learned stays learned: its own frozen weights are those of the stage.
        for frozen in (model.motif, model.other):
            assert isinstance(frozen, nn.Conv1d)
            frozen.weight.requires_grad_(False)
    elif freeze == "body":
        model.head.requires_grad_(True)
    return model
