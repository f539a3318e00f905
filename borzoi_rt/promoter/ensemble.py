"""Several nets, one answer: how the scores of replicates are combined."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..types import DoubleArray


def combine_replicates(scores: npt.ArrayLike) -> tuple[DoubleArray, DoubleArray]:
    """Combine the scores of several nets, each counting the same.

    Parameters
    ----------
    scores : array of shape (replicates, ..., motifs)

    Returns
    -------
    combined, deviation : float64 ndarray of shape (..., motifs)
        The mean over the nets, whose rows still sum to 1, and the standard deviation (0 for one net).

    Raises
    ------
    InputError
        If there are no nets.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim < 2 or not len(scores):
        raise InputError(f"scores have shape {scores.shape}; (replicates, ..., motifs) with at least one is needed")
    return scores.mean(axis=0), scores.std(axis=0)
