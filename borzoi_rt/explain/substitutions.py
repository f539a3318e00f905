"""In-silico mutagenesis: what the target becomes where one base is exchanged.

``D[b, p] = S(x with base b at p) - S(x)`` is 0 for the base which is there, and is kept as ``effects``: every
convention follows from it. What is said of a base is D without a mean: over the four bases (``mean4``, as tangermeme
and the ISM scripts of calico/borzoi do, which equals corrected input times gradient of a linear target), or over the
three that are not there (``mean3``, as AlphaGenome does, 4/3 of it at the base which is there). At an unknown base all
four are put in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..types import ByteArray, DoubleArray
from .objective import Attribution, Bases, Objective, check_bases, one_value

CONVENTIONS = ("mean4", "mean3")


@dataclass(frozen=True, slots=True, kw_only=True)
class SubstitutionOptions:
    """Options of ``ism``: over which bases the mean is taken that is left out, ``mean4`` or ``mean3``."""

    convention: str = "mean4"

    def __post_init__(self) -> None:
        if self.convention not in CONVENTIONS:
            raise InputError(f"convention {self.convention!r} is unknown; allowed: {', '.join(CONVENTIONS)}")


def mutagenesis(objective: Objective, window: ByteArray, bases: Bases, options: SubstitutionOptions) -> Attribution:
    """Return the exact effect of every substitution; see the head of this module."""
    start, end = check_bases(bases, objective.length)
    value, mutant = one_value(objective, window), window.copy()
    effects = np.zeros((4, end - start))
    for column in range(start, end):
        for base in range(4):
            if window[base, column]:
                continue  # the base which is there: the same window, hence the same bits
            mutant[:, column] = 0
            mutant[base, column] = 1
            effects[base, column - start] = one_value(objective, mutant) - value
        mutant[:, column] = window[:, column]
    hypothetical = centred(effects, window[:, start:end], options.convention)
    return Attribution(value, hypothetical, {"convention": options.convention}, {"effects": effects})


def centred(effects: DoubleArray, onehot: ByteArray, convention: str) -> DoubleArray:
    """Return effects (4, bases) without their mean by a convention; see the head of this module."""
    known = onehot.any(axis=0)
    count = 4.0 if convention == "mean4" else np.where(known, 3.0, 4.0)
    found: DoubleArray = effects - effects.sum(axis=0, keepdims=True) / count
    return found
