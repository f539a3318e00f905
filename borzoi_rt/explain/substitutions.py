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
from ..plain import check_types
from ..types import ByteArray, DoubleArray
from .agreement import spearman
from .objective import (
    Attribution,
    Bases,
    Linearisable,
    Objective,
    check_bases,
    check_counts,
    one_value,
)

CONVENTIONS = ("mean4", "mean3")


@dataclass(frozen=True, slots=True, kw_only=True)
class SubstitutionOptions:
    """Options of ``ism``: over which bases the mean is taken that is left out, ``mean4`` or ``mean3``."""

    convention: str = "mean4"

    def __post_init__(self) -> None:
        check_types(self)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class HybridOptions:
    """Options of ``ism-hybrid``.

    Parameters
    ----------
    recheck : int
        Substitutions that are scored exactly: those whose approximate effect is largest in size.
    sample : int
        Others that are scored exactly too, drawn at random, by which the approximation is judged.
    convention : str
        As of ``ism``.
    seed : int
        Of the sample.
    """

    recheck: int = 200
    sample: int = 30
    convention: str = "mean4"
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        check_counts(self, "recheck", "sample")
        SubstitutionOptions(convention=self.convention)


def hybrid(objective: Linearisable, window: ByteArray, bases: Bases, options: HybridOptions) -> Attribution:
    """Return approximate effects of all substitutions, and exact ones of the strongest.

    ``effects`` holds exact effects where they are known and approximate ones elsewhere; ``effects_approximate`` and
    ``effects_exact`` (NaN where there is none) keep them apart. An approximate effect orders substitutions well and may
    misstate large ones: the rank correlation on the sample, and its largest error, are among the facts.
    """
    start, end = check_bases(bases, objective.length)
    value, mutant = one_value(objective, window), window.copy()
    effect = objective.linearised(window)
    pairs = [(base, column) for column in range(start, end) for base in range(4) if not window[base, column]]

    def mutated(pair: tuple[int, int]) -> ByteArray:
        mutant[:] = window
        mutant[:, pair[1]] = np.arange(4) == pair[0]
        return mutant

    approximate = np.array([effect(mutated(pair), pair[1], pair[1] + 1) for pair in pairs])
    order = np.argsort(-np.abs(approximate), kind="stable")
    drawn = np.random.default_rng(options.seed).permutation(len(pairs))[: options.sample]
    exact = np.full(len(pairs), np.nan)
    for number in dict.fromkeys([*order[: options.recheck].tolist(), *drawn.tolist()]):
        exact[number] = one_value(objective, mutated(pairs[number])) - value
    arrays = {
        name: _laid_out(values, pairs, (start, end))
        for name, values in (
            ("effects", np.where(np.isnan(exact), approximate, exact)),
            ("effects_approximate", approximate),
            ("effects_exact", exact),
        )
    }
    largest = float(np.abs(exact[drawn]).max(initial=0.0))
    facts = {
        "approximate": "tower exact, all behind it linear at the window",
        "convention": options.convention,
        "rescored": int(np.isfinite(exact).sum()),
        "rank_correlation_of_sample": spearman(approximate[drawn], exact[drawn]),
        "largest_error_of_sample": float(np.abs(approximate - exact)[drawn].max()) / largest if largest else None,
    }
    hypothetical = centred(arrays["effects"], window[:, start:end], options.convention)
    return Attribution(value, hypothetical, facts, arrays)


def _laid_out(values: DoubleArray, pairs: list[tuple[int, int]], bases: Bases) -> DoubleArray:
    """Return values of substitutions as (4, bases), 0 for the base which is there."""
    found = np.zeros((4, bases[1] - bases[0]))
    for (base, column), value in zip(pairs, values.tolist(), strict=True):
        found[base, column - bases[0]] = value
    return found


def centred(effects: DoubleArray, onehot: ByteArray, convention: str) -> DoubleArray:
    """Return effects (4, bases) without their mean by a convention; see the head of this module."""
    known = onehot.any(axis=0)
    count = 4.0 if convention == "mean4" else np.where(known, 3.0, 4.0)
    found: DoubleArray = effects - effects.sum(axis=0, keepdims=True) / count
    return found
