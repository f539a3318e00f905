"""Several nets, one answer: how the scores of replicates are combined."""

from __future__ import annotations

import numpy as np

from ..errors import InputError


def combine_replicates(
    scores: np.ndarray, *, weights: str = "uniform", correlation: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Combine the scores of several nets.

    Parameters
    ----------
    scores : ndarray of shape (replicates, ..., motifs)
    weights : str
        ``uniform``: the mean. ``cor``: weighted by correlation with measured data, clipped at 0, so that rows still sum
        to 1. ``compat_mean``: as published, where the weighted scores are averaged once more and rows sum to
        1 / replicates.
    correlation : ndarray of shape (replicates, ...), optional
        Pearson r of each net at each site; needed unless ``uniform``.

    Returns
    -------
    combined, deviation : float64 ndarray of shape (..., motifs)
        The combination, and the standard deviation over the nets (0 for one net).

    Raises
    ------
    InputError
        If a correlation is missing, or no net of a site has a positive one.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if weights not in ("uniform", "cor", "compat_mean"):
        raise InputError(f"weights {weights!r} is unknown; allowed: uniform, cor, compat_mean")
    if scores.ndim < 2 or not len(scores):
        raise InputError(f"scores have shape {scores.shape}; (replicates, ..., motifs) is needed")
    deviation = scores.std(axis=0)
    if weights == "uniform":
        return scores.mean(axis=0), deviation
    if correlation is None or np.shape(correlation) != scores.shape[:-1]:
        raise InputError(f"weights {weights!r} need a correlation of shape {scores.shape[:-1]}")
    share = np.asarray(correlation, dtype=np.float64)
    if weights == "cor":
        share = np.maximum(np.nan_to_num(share, nan=0.0), 0.0)
    total = share.sum(axis=0)
    if not (total > 0).all():
        raise InputError("at some site no net correlates with the data; drop these sites, or use weights 'uniform'")
    weighted = (share / total)[..., None] * scores
    return (weighted.sum(axis=0) if weights == "cor" else weighted.mean(axis=0)), deviation
