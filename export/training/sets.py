"""Data sets and the heads that they train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from borzoi_rt.dataset import TARGETS, Data
from borzoi_rt.errors import InputError

from ..models.config import BorzoiConfig
from .options import TrainOptions


def configs_of(params: Mapping[str, Any], heads: Sequence[str], sets: Sequence[Data]) -> list[BorzoiConfig]:
    """Return the network of each data set, equal but for the head."""
    if not sets:
        raise InputError("no data; give at least one directory")
    if heads and len(heads) != len(sets):
        raise InputError(f"{len(heads)} heads for {len(sets)} data sets; one for each is needed")
    return [BorzoiConfig.from_params(params, head=head) for head in (heads or range(len(sets)))]


def check_sets(sets: Sequence[Data], configs: Sequence[BorzoiConfig], options: TrainOptions) -> None:
    """Raise InputError where a data set is not what its head is trained on."""
    for data, config in zip(sets, configs, strict=True):
        if data.info.tracks != config.tracks:
            raise InputError(f"{data.path} has {data.info.tracks} tracks, {config.head} {config.tracks} units")
        if data.info.geometry != config.geometry:
            found, needed = (
                f"{grid.sequence_length_bp} bp -> {grid.bins} x {grid.bin_size_bp} bp"
                for grid in (data.info.geometry, config.geometry)
            )
            raise InputError(f"{data.path} holds windows of {found}, the params give {needed}")
        if data.tracks is None and options.augment_rc:
            raise InputError(
                f"{data.path / TARGETS}: missing, so the strands of reverse complements are unknown; add the table, or "
                "do not augment by them (augment_rc)"
            )


def strand_pairs(data: Data, options: TrainOptions) -> np.ndarray:
    """Return the index of the opposite strand of each track; its own where batches are not turned."""
    if data.tracks is None or not options.augment_rc:
        return np.arange(data.info.tracks)
    return data.tracks.positions_of(data.tracks.strand_pair)


def track_names(data: Data) -> Sequence[str]:
    """Return the names of the tracks, or their numbers where there is no table."""
    return data.tracks.identifier if data.tracks is not None else [str(unit) for unit in range(data.info.tracks)]
