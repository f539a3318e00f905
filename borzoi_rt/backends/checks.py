"""What every backend asks of its arguments."""

from __future__ import annotations

import numpy as np

from ..bundle import Bundle
from ..bundle.manifest import Geometry
from ..errors import InputError


def check_bins(bins: tuple[int, int] | None, geometry: Geometry) -> tuple[int, int]:
    """Return the bins to give, [start, end) of the output.

    Raises
    ------
    InputError
        If the range is empty or leaves the output.
    """
    if bins is None:
        return 0, geometry.bins
    start, end = bins
    if not 0 <= start < end <= geometry.bins:
        raise InputError(f"bins {start}:{end} do not lie in the output of {geometry.bins} bins")
    return int(start), int(end)


def check_run_input(
    sequence: np.ndarray, track_index: np.ndarray | None, geometry: Geometry, tracks_count: int
) -> np.ndarray:
    """Judge the arguments of :meth:`Session.run` and return the track index as contiguous int64.

    Raises
    ------
    InputError
        With what was given and what is needed.
    """
    needed = f"(batch, 4, {geometry.sequence_length_bp})"
    if not isinstance(sequence, np.ndarray) or sequence.dtype != np.uint8:
        found = getattr(sequence, "dtype", type(sequence).__name__)
        raise InputError(f"sequence is {found}; a uint8 array of shape {needed} is needed")
    if sequence.ndim != 3 or sequence.shape[0] < 1 or sequence.shape[1:] != (4, geometry.sequence_length_bp):
        raise InputError(f"sequence has shape {sequence.shape}; {needed} is needed")
    if track_index is None:
        return np.arange(tracks_count, dtype=np.int64)
    index = np.ascontiguousarray(track_index)
    if index.ndim != 1 or not np.issubdtype(index.dtype, np.integer):
        raise InputError(f"track_index has shape {index.shape} and dtype {index.dtype}; a vector of integers is needed")
    if index.size and (index.min() < 0 or index.max() >= tracks_count):
        raise InputError(
            f"track_index runs from {index.min()} to {index.max()}; the model has outputs 0 to {tracks_count - 1}"
        )
    return index.astype(np.int64, copy=False)


def check_fill(n_fill: float | np.ndarray) -> None:
    """Refuse a code of unknown bases that no model was trained with.

    Raises
    ------
    InputError
        If it does not lie between 0 and 1.
    """
    values = np.asarray(n_fill, dtype=np.float64)
    if not ((values >= 0.0) & (values <= 1.0)).all():
        raise InputError(f"n_fill is {values.ravel()[0]:g}; a number from 0 to 1 is needed")


def motif_channels(bundle: Bundle) -> int:
    """Return the channels of the motif mask that a promoter bundle takes; 0 for other families."""
    about = bundle.info.architecture
    return 2 * len(about["motif_names"]) if about.get("family") == "promoter" else 0


def check_motif_input(name: str, values: np.ndarray, *, batch: int, channels: int, length: int) -> np.ndarray:
    """Judge ``mask`` or ``fill`` of a promoter model and return it as contiguous float32.

    Raises
    ------
    InputError
        If the model has no motif channels, or the shape is another than (1 or batch, channels, 1 or length).
    """
    if not channels:
        raise InputError(f"the model takes no {name!r}; a bundle of the family 'promoter' is needed")
    shape = np.shape(values)
    if len(shape) != 3 or shape[0] not in (1, batch) or shape[1] != channels or shape[2] not in (1, length):
        raise InputError(f"{name} has shape {shape}; (1 or {batch}, {channels}, 1 or {length}) is needed")
    return np.ascontiguousarray(values, dtype=np.float32)
