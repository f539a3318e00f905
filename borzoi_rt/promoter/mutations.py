"""A motif inserted into a promoter at each of some positions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..errors import InputError
from ..sequence import encode

INSERTION_REACH_BP = 200

Predict = Callable[[np.ndarray], np.ndarray]


def insertion_scan(
    predict: Predict,
    onehot: np.ndarray,
    motif: str,
    positions: Sequence[int],
    *,
    tss_bp: int,
    center: int,
    reach_bins: int = INSERTION_REACH_BP,
    batch_size: int = 16,
) -> np.ndarray:
    """Insert a motif before each of some bases and return the change of the signal around the TSS.

    The effect is ``sum(mutant) / sum(WT) - 1`` over the bins within ``reach_bins`` of the TSS. The window keeps its
    length and the TSS its position: what is pushed out leaves at the end on the motif's side of the TSS.

    Parameters
    ----------
    predict : callable
        One-hot windows uint8 (batch, 4, length) to one track, (batch, bins).
    onehot : uint8 ndarray of shape (4, length)
    motif : str
        Letters to insert.
    positions : sequence of int
        0-based bases of the window.
    tss_bp, center : int
        Base of the window and bin of the track that are the TSS.

    Returns
    -------
    float64 ndarray of shape (positions,)
    """
    word, length = encode(motif), onehot.shape[1]
    width = word.shape[1]
    if not width:
        raise InputError("the motif to insert is empty")
    outside = [position for position in positions if not (width <= position <= length - width)]
    if outside:
        raise InputError(
            f"position {outside[0]} is nearer than {width} bases to an end of the window of {length} bases"
        )
    mutants = np.empty((len(positions), *onehot.shape), dtype=np.uint8)
    for row, position in zip(mutants, positions, strict=True):
        if position <= tss_bp:  # upstream: the far upstream end gives way
            row[:] = np.concatenate([onehot[:, width:position], word, onehot[:, position:]], axis=1)
        else:
            row[:] = np.concatenate([onehot[:, :position], word, onehot[:, position : length - width]], axis=1)
    base = _near(predict(onehot[None]), center, reach_bins)[0]
    parts = [predict(mutants[start : start + batch_size]) for start in range(0, len(mutants), batch_size)]
    return _near(np.concatenate(parts), center, reach_bins) / base - 1.0 if parts else np.empty(0)


def _near(tracks: np.ndarray, center: int, reach: int) -> np.ndarray:
    low, high = max(center - reach, 0), min(center + reach, tracks.shape[-1])
    total: np.ndarray = tracks[:, low:high].sum(axis=-1, dtype=np.float64)
    if not (total[0] > 0 and np.isfinite(total).all()):
        raise InputError(f"the track has no signal in bins [{low}, {high}); a relative effect is not defined")
    return total
