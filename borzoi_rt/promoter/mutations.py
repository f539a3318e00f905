"""Mutating a promoter: a motif inserted at every place, and every single base changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..errors import InputError
from ..sequence import encode, substitutions

INSERTION_REACH_BP = 200
SATURATION_REACH_BP = 500

Predict = Callable[[np.ndarray], np.ndarray]


def insertion_scan(
    predict: Predict,
    onehot: np.ndarray,
    motif: str,
    places: Sequence[int],
    *,
    tss_bp: int,
    center: int,
    reach_bins: int = INSERTION_REACH_BP,
    batch_size: int = 16,
) -> np.ndarray:
    """Insert a motif before each of some bases and return the change of the signal around the TSS.

    The effect is ``sum(mutant) / sum(WT) - 1`` over the bins within ``reach_bins`` of the TSS. The window keeps its
    length and the TSS its place: what is pushed out leaves at the end on the motif's side of the TSS.

    Parameters
    ----------
    predict : callable
        One-hot windows uint8 (batch, 4, length) to one track, (batch, bins).
    onehot : uint8 ndarray of shape (4, length)
    motif : str
        Letters to insert.
    places : sequence of int
        0-based bases of the window.
    tss_bp, center : int
        Place of the TSS in the window and its bin in the track.

    Returns
    -------
    float64 ndarray of shape (places,)
    """
    word, length = encode(motif), onehot.shape[1]
    width = word.shape[1]
    if not width:
        raise InputError("the motif to insert is empty")
    outside = [place for place in places if not (width <= place <= length - width)]
    if outside:
        raise InputError(f"place {outside[0]} is nearer than {width} bases to an end of the window of {length} bases")
    mutants = np.empty((len(places), *onehot.shape), dtype=np.uint8)
    for row, place in zip(mutants, places, strict=True):
        if place <= tss_bp:  # upstream: the far upstream end gives way
            row[:] = np.concatenate([onehot[:, width:place], word, onehot[:, place:]], axis=1)
        else:
            row[:] = np.concatenate([onehot[:, :place], word, onehot[:, place : length - width]], axis=1)
    base = _near(predict(onehot[None]), center, reach_bins)[0]
    parts = [predict(mutants[start : start + batch_size]) for start in range(0, len(mutants), batch_size)]
    return _near(np.concatenate(parts), center, reach_bins) / base - 1.0 if parts else np.empty(0)


def saturation(
    predict: Predict,
    onehot: np.ndarray,
    start: int,
    end: int,
    *,
    reach_bins: int = SATURATION_REACH_BP,
    center: int | None = None,
    batch_size: int = 16,
) -> np.ndarray:
    """Change every base of [start, end) to every other, and return the relative change of the signal.

    The effect is ``(sum(mutant) - sum(WT)) / sum(WT)`` over the bins within ``reach_bins`` of ``center`` (the highest
    bin of WT when None), cut at the ends of the track.

    Returns
    -------
    float64 ndarray of shape (4, end - start)
        0 at the base that is there.
    """
    wt = predict(onehot[None])
    center = int(wt[0].argmax()) if center is None else center
    base = _near(wt, center, reach_bins)[0]
    effect = np.zeros((4, end - start))
    for batch in substitutions(onehot, start, end, batch_size=batch_size):
        changed = _near(predict(batch.sequence), center, reach_bins)
        effect[batch.alt, batch.position - start] = (changed - base) / base
    return effect


def _near(tracks: np.ndarray, center: int, reach: int) -> np.ndarray:
    low, high = max(center - reach, 0), min(center + reach, tracks.shape[-1])
    total: np.ndarray = tracks[:, low:high].sum(axis=-1, dtype=np.float64)
    if not (total[0] > 0 and np.isfinite(total).all()):
        raise InputError(f"the track has no signal in bins [{low}, {high}); a relative effect is not defined")
    return total
