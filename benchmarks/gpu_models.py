"""The networks, bundles and windows of the GPU benchmark: the published shape, or a toy for a rehearsal."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from borzoi_rt.bundle.manifest import SquashSpec
from borzoi_rt.tracks import TrackTable

from ._common import random_network

if TYPE_CHECKING:
    from borzoi_export.models.borzoi import Borzoi

GTEX = range(7522, 7611)  # the 89 tracks of a gene-expression run
TOY_TRACKS = 8
_SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "tables"
_TOY: dict[str, Any] = {
    "seq_length": 32_768,
    "activation": "gelu",
    "norm_type": "batch",
    "bn_momentum": 0.9,
    "trunk": [
        {"name": "conv_dna", "filters": 16, "kernel_size": 15, "norm_type": None, "activation": "linear",
         "pool_size": 2},
        {"name": "res_tower", "filters_init": 16, "filters_end": 32, "divisible_by": 8, "kernel_size": 5,
         "num_convs": 1, "pool_size": 2, "repeat": 6},
        {"name": "transformer_tower", "key_size": 8, "heads": 2, "num_position_features": 8, "dropout": 0.0,
         "attention_dropout": 0.0, "repeat": 2},
        {"name": "unet_conv", "kernel_size": 3, "upsample_conv": True},
        {"name": "unet_conv", "kernel_size": 3, "upsample_conv": True},
        {"name": "Cropping1D", "cropping": 64},
    ],
    "head_toy": {"name": "final", "units": TOY_TRACKS, "activation": "softplus"},
}  # fmt: skip


def build(options: argparse.Namespace) -> Borzoi:
    """Return a network of the published shape, or the toy."""
    from borzoi_export.models.config import read_params

    return random_network(_TOY if options.toy else read_params(_tables(options) / "borzoi_params.json"))


def table(options: argparse.Namespace) -> TrackTable:
    """Return the tracks of the network."""
    if not options.toy:
        return TrackTable.read(_tables(options) / "targets_human.txt")
    ones = np.ones(TOY_TRACKS, dtype=np.float32)
    names = tuple(f"toy{number}" for number in range(TOY_TRACKS))
    return TrackTable(
        index=np.arange(TOY_TRACKS), identifier=names, description=names, sum_stat=("sum_sqrt",) * TOY_TRACKS,
        clip=768 * ones, clip_soft=384 * ones, scale=ones, strand_pair=np.arange(TOY_TRACKS),
    )  # fmt: skip


def write_bundle(options: argparse.Namespace, name: str, form: tuple[str, str], *, gradient: bool = False) -> float:
    """Write one bundle and return the seconds it took."""
    from borzoi_export.graphs.unproven import write_unproven

    start = time.perf_counter()
    out, (target, precision) = options.out / name, form
    if not out.exists():
        squash = SquashSpec(kind="old")
        choices = {"precision": precision, "target": target, "gradient": gradient}
        write_unproven(build(options), table(options), out, squash=squash, **choices)
    return time.perf_counter() - start


def sequence(options: argparse.Namespace) -> np.ndarray:
    """Return a random window, uint8 (4, length)."""
    letters = np.random.default_rng(0).integers(0, 4, _TOY["seq_length"] if options.toy else 524_288)
    return (letters == np.arange(4)[:, None]).astype(np.uint8)


def gtex(options: argparse.Namespace) -> list[int]:
    """Return the tracks that most steps take."""
    return list(range(TOY_TRACKS)) if options.toy else list(GTEX)


def milliseconds(call: Callable[[], Any], options: argparse.Namespace) -> float:
    """Return the median milliseconds of a call, the device waited for."""
    synchronize: Callable[[], None] = lambda: None  # noqa: E731
    if not options.toy and "torch" in sys.modules:
        synchronize = sys.modules["torch"].cuda.synchronize
    times = []
    for turn in range(3 if options.toy else 9):
        start = time.perf_counter()
        call()
        synchronize()
        if turn >= (1 if options.toy else 2):
            times.append(1e3 * (time.perf_counter() - start))
    return float(np.median(times))


def _tables(options: argparse.Namespace) -> Path:
    return options.tables or _SHARED
