"""A library of mutants of a region, each with its score: what surrogates are fitted to.

Every known base of the region is exchanged with the same probability, ``rate``, for one of the three others, all alike.
No mutant comes twice and none is the reference, so that what is held out was never seen. Which mutants are held out is
drawn too. All of it follows one seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..explain.objective import Bases, Objective, check_bases, check_counts, one_value
from ..explain.rows import codes_of
from ..plain import check_types
from ..sequence import edited
from ..types import BoolArray, ByteArray, DoubleArray

_TRIES = 50  # draws a mutant, after which the region is found too short


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryOptions:
    """How mutants are drawn.

    Parameters
    ----------
    mutants : int
        How many.
    rate : float
        Chance of each base to be exchanged, above 0 and at most 0.75, where nothing of the reference is left.
    held : float
        Share of mutants that no model is fitted to, by which it is judged.
    seed : int
        Of every draw.

    Raises
    ------
    InputError
        If a value is not allowed.
    """

    mutants: int = 1000
    rate: float = 0.05
    held: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        check_counts(self, "mutants")
        for name, top in (("rate", 0.75), ("held", 0.9)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value <= top:
                raise InputError(f"{name} is {value!r}; a number above 0, at most {top}, is needed")
        if min(self.held_out, self.mutants - self.held_out) < 10:
            raise InputError(
                f"mutants is {self.mutants} and held {self.held}: {self.held_out} are held out and "
                f"{self.mutants - self.held_out} fitted to; 10 of each are needed at least"
            )

    @property
    def held_out(self) -> int:
        """Mutants that are held out."""
        return round(self.mutants * self.held)


@dataclass(frozen=True, eq=False)
class Library:
    """Mutants of a region and their scores.

    Attributes
    ----------
    reference : uint8 ndarray of shape (bases,)
        Letters of the region, 0 to 3 for A, C, G, T and 4 for an unknown base.
    codes : uint8 ndarray of shape (mutants, bases)
        Letters of every mutant.
    held : bool ndarray of shape (mutants,)
        Which are held out.
    value : float
        The target of the reference.
    scores : float64 ndarray of shape (mutants,)
        The target of every mutant.
    """

    reference: ByteArray
    codes: ByteArray
    held: BoolArray
    value: float
    scores: DoubleArray


def draw_mutants(reference: ByteArray, options: LibraryOptions) -> tuple[ByteArray, BoolArray]:
    """Draw mutants of a region, and which of them are held out.

    Parameters
    ----------
    reference : uint8 ndarray of shape (bases,)
        Letters as numbers; an unknown base, 4, stays.
    options : LibraryOptions
        How many, and how.

    Returns
    -------
    uint8 ndarray of shape (mutants, bases) and bool ndarray of shape (mutants,)

    Raises
    ------
    InputError
        If the region has too few different mutants at this rate.
    """
    rng = np.random.default_rng(options.seed)
    seen: set[bytes] = {reference.tobytes()}
    kept: list[ByteArray] = []
    for _ in range(_TRIES):
        exchanged = (rng.random((options.mutants, len(reference))) < options.rate) & (reference < 4)
        others = (reference + rng.integers(1, 4, exchanged.shape, dtype=np.uint8)) % 4
        for mutant in np.where(exchanged, others, reference).astype(np.uint8):
            if mutant.tobytes() not in seen and len(kept) < options.mutants:
                seen.add(mutant.tobytes())
                kept.append(mutant)
        if len(kept) == options.mutants:
            held = np.zeros(options.mutants, dtype=bool)
            held[rng.permutation(options.mutants)[: options.held_out]] = True
            return np.array(kept), held
    raise InputError(
        f"{len(reference)} bases at rate {options.rate} gave {len(kept)} different mutants, not {options.mutants}; "
        "take fewer mutants, a higher rate or a longer region"
    )


def make_library(
    objective: Objective,
    window: ByteArray,
    bases: Bases,
    options: LibraryOptions,
    *,
    progress: Callable[[int], None] | None = None,
) -> Library:
    """Draw mutants of some bases of a window and score them.

    Parameters
    ----------
    objective : Objective
        The target as a function of windows.
    window : uint8 ndarray of shape (4, length)
        One-hot DNA.
    bases : (int, int)
        First and last + 1 of the bases to mutate.
    options : LibraryOptions
        How many, and how.
    progress : callable, optional
        Called with the number of mutants done.
    """
    start, end = check_bases(bases, objective.length)
    reference = codes_of(window[:, start:end])
    codes, held = draw_mutants(reference, options)
    value, scores = one_value(objective, window), np.empty(len(codes))
    for number, mutant in enumerate(edited(window, codes, start=start)):
        scores[number] = one_value(objective, mutant)
        if progress is not None:
            progress(number + 1)
    return Library(reference, codes, held, value, scores)
