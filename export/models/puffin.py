"""Puffin's architecture, for people who have its weight file.

Puffin's code and weights are licensed for academic research only and are no part of this package: nothing here ships or
fetches them, and this network is written from the shapes of its parameters. ``load_puffin`` reads a file of the user's
own; the names of the layers are those of the file.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from borzoi_rt.bundle.manifest import Geometry
from borzoi_rt.errors import FormatError, InputError

from .promoter import both_strands
from .promoter_config import FAMILY, SCALE

MOTIFS = ("SP", "ETS", "CREB", "NFY", "YY1", "U1_snRNP", "Long_Inr", "NRF1", "ZNF143", "TATA")
ASSAYS = ("FANTOM_CAGE", "ENCODE_CAGE", "ENCODE_RAMPAGE", "GRO_CAP", "PRO_CAP")
CROP_BP = 325


@dataclass(frozen=True, slots=True, kw_only=True)
class PuffinConfig:
    """Window of a Puffin bundle; the network takes any length from 651 bp on."""

    sequence_length_bp: int = 4650
    tss_bp: int = 2325
    crop_bp: int = CROP_BP
    motif_names: tuple[str, ...] = MOTIFS
    scored: int = len(MOTIFS)

    def __post_init__(self) -> None:
        if not self.crop_bp <= self.tss_bp < self.sequence_length_bp - self.crop_bp:
            raise FormatError(f"tss_bp {self.tss_bp} lies outside the output of {self.sequence_length_bp} bp")

    @property
    def motifs(self) -> int:
        """Number of motif kernels."""
        return len(self.motif_names)

    @property
    def geometry(self) -> Geometry:
        """Window and single-base output grid."""
        length = self.sequence_length_bp
        return Geometry(sequence_length_bp=length, bin_size_bp=1, bins=length - 2 * self.crop_bp)

    def architecture(self) -> dict[str, Any]:
        """Return the ``architecture`` section of a bundle."""
        window = {"sequence_length_bp": self.sequence_length_bp, "crop_bp": self.crop_bp, "tss_bp": self.tss_bp}
        names = {"motif_names": list(self.motif_names), "scored": self.scored}
        return {"family": FAMILY, "scale": SCALE, "tracks": 2 * len(ASSAYS), "stage": "puffin", **window, **names}


class Puffin(nn.Module):
    """Motifs, initiators and trinucleotides on both strands, softplus, their effects summed, softplus."""

    def __init__(self, config: PuffinConfig | None = None) -> None:
        super().__init__()
        self.config = config or PuffinConfig()
        self.conv = nn.Conv1d(4, 10, 51, padding=25)
        self.conv_inr = nn.Conv1d(4, 10, 15, padding=7)
        self.conv_sim = nn.Conv1d(4, 32, 3, padding=1)
        self.deconv = nn.Conv1d(20, 10, 601, padding=300)
        self.deconv_inr = nn.ConvTranspose1d(20, 10, 15, padding=7)
        self.deconv_sim = nn.Conv1d(64, 10, 601, padding=300)
        self.scaler = nn.Parameter(torch.ones(1))
        self.scaler2 = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor, mask: Tensor | None = None, fill: Tensor | None = None) -> Tensor:
        length = self.config.sequence_length_bp
        if x.ndim != 3 or x.shape[1:] != (4, length):
            raise InputError(f"input has shape {tuple(x.shape)}; (batch, 4, {length}) is needed")
        x = x.to(self.conv.weight.dtype)
        a = self.activations(x)
        if mask is not None:
            a = a * mask
        if fill is not None:
            a = a + fill
        return self.effects(x, a)[..., CROP_BP : length - CROP_BP]

    def activations(self, x: Tensor) -> Tensor:
        """Return motif activations, (batch, 20, length)."""
        return functional.softplus(both_strands(self.conv, x))

    def effects(self, x: Tensor, a: Tensor) -> Tensor:
        """Return the uncropped output, (batch, 10, length)."""
        initiator = functional.softplus(both_strands(self.conv_inr, x))
        short = functional.softplus(both_strands(self.conv_sim, x))
        return functional.softplus(self.deconv(a) + self.deconv_inr(initiator) + self.deconv_sim(short))


def load_puffin(path: str | os.PathLike[str], config: PuffinConfig | None = None) -> Puffin:
    """Load a state dict (``puffin.pth``) of the user's own.

    Raises
    ------
    FormatError
        If the file is no plain state dict, or its tensors are not Puffin's.
    """
    path = Path(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise FormatError(f"{path}: cannot be read as a PyTorch state dict ({str(error)[:200]})") from error
    if not isinstance(state, Mapping):
        raise FormatError(f"{path}: holds {type(state).__name__}; a state dict is needed")
    model = Puffin(config)
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise FormatError(f"{path}: not the tensors of Puffin ({' '.join(str(error).split())[:300]})") from error
    return model.eval()
