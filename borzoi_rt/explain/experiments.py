"""Experiments with motifs: put in, shuffled away, moved apart; the target before and after, never a distance.

Names and rules are those of tangermeme: a motif replaces as many bases, by default in the middle (``(length - width) //
2``); of several motifs, ``spacing`` counts the bases between the end of one and the start of the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..errors import InputError
from ..sequence import encode
from ..types import ByteArray, DoubleArray
from .objective import Bases, Objective, check_bases
from .shuffles import BIN_BP, shuffled


class PerturbationResult(NamedTuple):
    """The target before and after.

    Attributes
    ----------
    before : float64 ndarray of shape (windows,)
    after : float64 ndarray of shape (windows,) or (windows, n)
        One value for each shuffle or spacing, where there are several.
    """

    before: DoubleArray
    after: DoubleArray


def marginalize(
    objective: Objective, backgrounds: ByteArray, motif: str, *, start: int | None = None
) -> PerturbationResult:
    """Return the target of backgrounds without and with a motif.

    Parameters
    ----------
    objective : Objective
        What is asked.
    backgrounds : uint8 ndarray of shape (windows, 4, length)
        One-hot DNA.
    motif : str
        Bases.
    start : int, optional
        First base of the motif; None takes the middle.
    """
    return space(objective, backgrounds, [motif], np.zeros((1, 0), dtype=np.int64), start=start, squeeze=True)


def space(
    objective: Objective,
    backgrounds: ByteArray,
    motifs: Sequence[str],
    spacing: np.ndarray,
    *,
    start: int | None = None,
    squeeze: bool = False,
) -> PerturbationResult:
    """Return the target of backgrounds without and with motifs at several distances.

    Parameters
    ----------
    objective, backgrounds, start
        As of :func:`marginalize`; ``start`` is that of the first motif.
    motifs : sequence of str
        Bases of each.
    spacing : int64 ndarray of shape (spacings, motifs - 1)
        Bases between neighbours.
    squeeze : bool
        Of one spacing, leave its axis out.
    """
    inserted = [encode(motif) for motif in motifs]
    gaps = np.asarray(spacing, dtype=np.int64)
    if not inserted or gaps.ndim != 2 or gaps.shape[1] != len(inserted) - 1 or gaps.min(initial=0) < 0:
        raise InputError(f"spacing has shape {gaps.shape}; (spacings, {len(inserted) - 1}) of 0 or more is needed")
    length = objective.length
    after = np.empty((len(backgrounds), len(gaps)))
    for row, background in enumerate(backgrounds):
        for column, gap in enumerate(gaps):
            first = (length - inserted[0].shape[1]) // 2 if start is None else start
            window = background.copy()
            for motif, behind in zip(inserted, [*gap.tolist(), 0], strict=True):
                end = first + motif.shape[1]
                if not 0 <= first < end <= length:
                    raise InputError(f"a motif at {first}:{end} does not lie in the window of {length} bases")
                window[:, first:end] = motif
                first = end + behind
            after[row, column] = objective.values(window[None])[0]
    return PerturbationResult(objective.values(backgrounds), after[:, 0] if squeeze else after)


def ablate(
    objective: Objective, windows: ByteArray, bases: Bases, *, samples: int = 20, seed: int = 0
) -> PerturbationResult:
    """Return the target of windows as they are and with some bases shuffled.

    Parameters
    ----------
    objective : Objective
        What is asked.
    windows : uint8 ndarray of shape (windows, 4, length)
        One-hot DNA.
    bases : (int, int)
        First and last + 1 of the bases; their dinucleotides are kept.
    samples : int
        Shuffles of each window.
    seed : int
        Shuffle k of every window follows ``(seed, k)``.
    """
    start, end = check_bases(bases, objective.length)
    if samples < 1:
        raise InputError(f"samples is {samples!r}; a whole number of 1 or more is needed")
    after = np.empty((len(windows), samples))
    for row, window in enumerate(windows):
        for sample in range(samples):
            rng = np.random.default_rng([seed, sample])
            after[row, sample] = objective.values(shuffled(window, start, end, rng, bin_bp=BIN_BP)[None])[0]
    return PerturbationResult(objective.values(windows), after)
