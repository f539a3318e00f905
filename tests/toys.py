"""A small network with random weights and a table of tracks to go with it."""

from __future__ import annotations

import copy
import dataclasses
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from borzoi_rt.backends.opening import open_session
from borzoi_rt.bundle.manifest import SquashSpec
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.tracks import TrackTable

if TYPE_CHECKING:
    from borzoi_export.models.borzoi import Borzoi
    from borzoi_export.models.config import BorzoiConfig

TRACKS = 6
PARAMS: dict[str, Any] = {
    "seq_length": 2048,
    "activation": "gelu",
    "norm_type": "batch",
    "bn_momentum": 0.9,
    "trunk": [
        {
            "name": "conv_dna",
            "filters": 16,
            "kernel_size": 11,
            "norm_type": None,
            "activation": "linear",
            "pool_size": 2,
        },
        {
            "name": "res_tower",
            "filters_init": 16,
            "filters_end": 32,
            "divisible_by": 8,
            "kernel_size": 5,
            "num_convs": 1,
            "pool_size": 2,
            "repeat": 6,
        },
        {
            "name": "transformer_tower",
            "key_size": 8,
            "heads": 2,
            "num_position_features": 8,
            "dropout": 0.0,
            "attention_dropout": 0.0,
            "repeat": 2,
        },
        {"name": "unet_conv", "kernel_size": 3, "upsample_conv": True},
        {"name": "unet_conv", "kernel_size": 3, "upsample_conv": True},
        {"name": "Cropping1D", "cropping": 16},
    ],
    "head_toy": {"name": "final", "units": TRACKS, "activation": "softplus"},
}


def params(**changes: Any) -> dict[str, Any]:
    """Return a fresh copy of ``PARAMS`` with some top-level keys replaced."""
    return {**copy.deepcopy(PARAMS), **changes}


def config(**changes: Any) -> BorzoiConfig:
    """Return the config of ``PARAMS`` with some sizes replaced."""
    from borzoi_export.models.config import BorzoiConfig

    return dataclasses.replace(BorzoiConfig.from_params(PARAMS), **changes)


def model(sizes: BorzoiConfig | None = None) -> Borzoi:
    """Return the network of ``PARAMS``, or of a config, with weights of torch's current random state.

    Normalisation statistics, biases and the output of attention, which training starts at trivial values, are random
    too: nothing of the network is without effect.
    """
    import torch
    from borzoi_export.models.borzoi import Borzoi

    network = Borzoi(sizes or config())
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif "norm" in name and name.endswith("weight"):
                tensor.uniform_(0.7, 1.3)
            elif tensor.is_floating_point() and not tensor.any():
                tensor.normal_(0.0, 0.1)
    return network.eval()


def bundle(
    out: Path,
    sizes: BorzoiConfig | None = None,
    *,
    seed: int = 11,
    name: str = "toy",
    unscale: bool = False,
    **how: Any,
) -> Bundle:
    """Export :func:`model` with the weights of a seed; ``how`` goes to ``export_bundle``."""
    import torch
    from borzoi_export.graphs import export_bundle

    torch.manual_seed(seed)
    return export_bundle(model(sizes), tracks(), out, squash=SquashSpec(kind="new", unscale=unscale), name=name, **how)


def tracks() -> TrackTable:
    """Return two stranded pairs (the second in crossed order) and two unstranded tracks, soft clip within reach."""
    return TrackTable(
        index=np.arange(TRACKS),
        identifier=("cage+", "cage-", "rna-", "rna+", "dnase", "chip"),
        description=tuple(f"toy {name}" for name in ("cage+", "cage-", "rna-", "rna+", "dnase", "chip")),
        sum_stat=("sum", "sum", "sum_sqrt", "sum_sqrt", "mean", "sum_exp75"),
        clip=np.full(TRACKS, 384, dtype=np.float32),
        clip_soft=np.full(TRACKS, 2, dtype=np.float32),
        scale=np.array([0.1, 0.1, 1.0, 1.0, 2.0, 0.5], dtype=np.float32),
        strand_pair=np.array([1, 0, 3, 2, 4, 5]),
    )


def windows(count: int = 2, length: int = 2048) -> np.ndarray:
    """Return random one-hot windows with unknown bases at both ends and inside, uint8 (count, 4, length)."""
    letters = np.random.default_rng(23).integers(0, 4, (count, length))
    letters[:, :40] = letters[:, 700:900] = letters[:, -1:] = 4
    return (letters[:, None, :] == np.arange(4)[:, None]).astype(np.uint8)


def exact(network: Borzoi, x: np.ndarray, n_fill: float = 0.0) -> np.ndarray:
    """Return what a network gives in float64 (its head in float32), unknown bases coded ``n_fill``."""
    import torch

    filled = x + n_fill * (1.0 - x.sum(axis=1, keepdims=True))
    with torch.inference_mode():
        result: np.ndarray = copy.deepcopy(network).double()(torch.from_numpy(filled)).numpy()
    return result


def run(held: Bundle, *arguments: Any, **options: Any) -> np.ndarray:
    """Return what one run of a bundle on a CPU gives."""
    with closing(open_session(held, "onnx:cpu", threads=1)) as session:
        return session.run(*arguments, **options)
