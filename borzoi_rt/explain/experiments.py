"""Experiments with motifs: put in, shuffled away, moved apart; the target before and after, never a distance.

Names and rules are those of tangermeme 1.6: a motif replaces as many bases, an N of it leaves the base that is there,
and motifs with the bases between them, ``extent`` bases together, begin at ``length // 2 - extent // 2``. Of several,
``spacing`` counts the bases between the end of one and the start of the next. With ``bases``, motifs lie in these and
around their middle, as if they were the whole window.
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
    objective: Objective, backgrounds: ByteArray, motif: str, *, start: int | None = None, bases: Bases | None = None
) -> PerturbationResult:
    """Return the target of backgrounds without and with a motif.

    Parameters
    ----------
    objective : Objective
        What is asked.
    backgrounds : uint8 ndarray of shape (windows, 4, length)
        One-hot DNA.
    motif : str
        Letters A, C, G, T, and N for any.
    start : int, optional
        First base of the motif; None takes the middle.
    bases : (int, int), optional
        Where the motif must lie, [start, end); the whole window when None.
    """
    found = space(objective, backgrounds, [motif], np.zeros((1, 0), dtype=np.int64), start=start, bases=bases)
    return PerturbationResult(found.before, found.after[:, 0])


def space(
    objective: Objective,
    backgrounds: ByteArray,
    motifs: Sequence[str],
    spacing: np.ndarray,
    *,
    start: int | None = None,
    bases: Bases | None = None,
) -> PerturbationResult:
    """Return the target of backgrounds without and with motifs at several distances.

    Parameters
    ----------
    objective, backgrounds, bases
        As of :func:`marginalize`.
    motifs : sequence of str
        Letters of each.
    spacing : int64 ndarray of shape (spacings, motifs - 1)
        Bases between neighbours.
    start : int, optional
        First base of the first motif; None takes the middle, for each spacing its own.

    Returns
    -------
    PerturbationResult
        ``after`` has the shape (windows, spacings).
    """
    inserted = [motif_letters(motif) for motif in motifs]
    gaps = np.asarray(spacing, dtype=np.int64)
    if not inserted or gaps.ndim != 2 or gaps.shape[1] != len(inserted) - 1 or gaps.min(initial=0) < 0:
        raise InputError(f"spacing has shape {gaps.shape}; (spacings, {len(inserted) - 1}) of 0 or more is needed")
    low, high = (0, objective.length) if bases is None else check_bases(bases, objective.length)
    after = np.empty((len(backgrounds), len(gaps)))
    for column, gap in enumerate(gaps.tolist()):
        extent = sum(gap) + sum(motif.shape[1] for motif in inserted)
        first = low + (high - low) // 2 - extent // 2 if start is None else start
        if start is None and extent > high - low:
            raise InputError(
                f"motifs and the bases between them are {extent} bases, and there is room for {high - low}; give more "
                "bases, or a smaller spacing"
            )
        if not low <= first < first + extent <= high:
            where = f"{high - low} bases {low}:{high}" if bases is not None else f"window of {objective.length} bases"
            raise InputError(f"motifs at {first}:{first + extent} do not lie in the {where}")
        for row, background in enumerate(backgrounds):
            after[row, column] = objective.values(_with(background, inserted, gap, first)[None])[0]
    return PerturbationResult(objective.values(backgrounds), after)


def motif_letters(motif: str) -> ByteArray:
    """Return a motif as one-hot DNA; N is a column of zeros."""
    if not motif or set(motif.upper()) - set("ACGTN"):
        raise InputError(f"motif {motif!r} is not made of the letters A, C, G, T and N; write these")
    return encode(motif)


def _with(background: ByteArray, motifs: Sequence[ByteArray], gaps: Sequence[int], first: int) -> ByteArray:
    """Return a background with motifs in it, from ``first`` on."""
    window = background.copy()
    for motif, behind in zip(motifs, [*gaps, 0], strict=True):
        end, known = first + motif.shape[1], motif.any(axis=0)
        window[:, first:end][:, known] = motif[:, known]
        first = end + behind
    return window


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
