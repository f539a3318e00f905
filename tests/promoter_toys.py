"""Small promoter networks with random weights whose motif removals are large enough to mean something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from borzoi_export.models.promoter import MotifNetwork
    from borzoi_export.models.promoter_config import PromoterConfig

MOTIFS = ("tata", "inr", "gc", "ebox")


def small_config(stage: int, **changes: Any) -> PromoterConfig:
    """Return a config of 900 bp, 600 bins, four motifs of which three are scored."""
    from borzoi_export.models.promoter_config import PromoterConfig

    values: dict[str, Any] = {
        "motif_names": MOTIFS,
        "scored": 3,
        "sequence_length_bp": 900,
        "crop_bp": 150,
        "tss_bp": 600,
        "motif_width": 9,
        "others": 3,
        "effect_width": 101,
        "channels": 8,
        "decoder_width": 5,
        "strides": (5, 3),
        "decoders": 1,
    }
    return PromoterConfig(stage=stage, **{**values, **changes})


def small_model(stage: int, **changes: Any) -> MotifNetwork:
    """Return a network with fixed random weights, and the normalisation statistics of random DNA."""
    import torch
    from borzoi_export.models.promoter import build

    torch.manual_seed(stage)
    model = build(small_config(stage, **changes))
    with torch.no_grad():
        model.motif.weight.mul_(3.0)
        # Normalisation by the network's own statistics, from the first layer on: activations stay of order 1. Gates
        # see pooled values that hardly differ between windows of random DNA: their statistics stay as they begin.
        letters = torch.randint(0, 4, (8, model.config.sequence_length_bp))
        onehot = torch.nn.functional.one_hot(letters, 4).transpose(1, 2).float()
        for name, module in model.named_modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.momentum = 0.0 if ".norm_" in f".{name}" and "gate" in name else 1.0
        model.train()(onehot)
    return model.eval()
