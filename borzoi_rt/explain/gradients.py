"""Methods that follow a target back to the bases.

g is the derivative of the target by the input window x, (4, bases); r is a reference, a shuffle of x.

====================  ==============================================================================================
saliency              a[b, p] = g[b, p] - mean over b of g[., p]
ixg                   the same; what it says of a position is that of the base which is there
ig                    gbar = mean over K midpoints of the straight line from r to x of g;
                      a[b, p] = gbar[b, p] - sum over c of gbar[c, p] r[c, p], mean over references
expected-gradients    ig with one random point of the line for each of many references
smoothgrad            saliency, mean over copies of x some of whose bases are drawn anew
====================  ==============================================================================================

The gradient at a one-hot sequence has a part that no exchange of bases can reach: the mean over the four bases, which
is taken away (Majdandzic et al., Genome Biology 2023). A reference differs from x in the bases that are explained and
nowhere else, so that their attributions add up to the difference of the target (*completeness*), but for the error of
the sum over K points, which is reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..plain import check_types
from ..types import ByteArray, DoubleArray
from .objective import (
    Attribution,
    Bases,
    Differentiable,
    Objective,
    check_bases,
    check_counts,
    completeness,
    one_value,
)
from .shuffles import BIN_BP, shuffled


@dataclass(frozen=True, slots=True, kw_only=True)
class NoOptions:
    """A method without a choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegratedOptions:
    """Options of ``ig``.

    Parameters
    ----------
    steps : int
        Points of the line from a reference to the sequence.
    references : int
        Shuffles to compare with.
    bin_bp : int
        Length of the stretches that are shuffled, see :func:`borzoi_rt.explain.shuffles.shuffled`.
    seed : int
        Of the shuffles.
    """

    steps: int = 32
    references: int = 5
    bin_bp: int = BIN_BP
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        check_counts(self, "steps", "references", "bin_bp")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedOptions:
    """Options of ``expected-gradients``: random points, each with a reference of its own, and their seed."""

    samples: int = 50
    bin_bp: int = BIN_BP
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        check_counts(self, "samples", "bin_bp")


@dataclass(frozen=True, slots=True, kw_only=True)
class SmoothOptions:
    """Options of ``smoothgrad``.

    Parameters
    ----------
    samples : int
        Copies of the window.
    kept : float
        Share of the bases that a copy has in common with the window, between 0.25, all drawn anew, and 1.
    seed : int
        Of what is drawn.
    """

    samples: int = 5
    kept: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        check_counts(self, "samples")
        if not 0.25 <= self.kept <= 1.0:
            raise InputError(f"kept is {self.kept!r}; a share between 0.25 and 1 is needed")


def corrected(gradient: DoubleArray) -> DoubleArray:
    """Return a gradient (4, bases) without its mean over the four bases."""
    found: DoubleArray = gradient - gradient.mean(axis=0, keepdims=True)
    return found


def saliency(objective: Differentiable, window: ByteArray, bases: Bases, options: NoOptions) -> Attribution:
    """Return the corrected gradient; see the head of this module."""
    value, gradient = objective.slope(window.astype(np.float64), check_bases(bases, objective.length))
    return Attribution(value, corrected(gradient))


def integrated_gradients(
    objective: Differentiable, window: ByteArray, bases: Bases, options: IntegratedOptions
) -> Attribution:
    """Return integrated gradients by the midpoint rule; see the head of this module."""
    start, end = check_bases(bases, objective.length)
    references = references_of(window, bases, options.references, options.bin_bp, options.seed)
    x, parts = window.astype(np.float64), []
    for reference in references:
        r = reference.astype(np.float64)
        total = np.zeros((4, end - start))
        for step in range(options.steps):
            total += objective.slope(r + (step + 0.5) / options.steps * (x - r), bases)[1]
        parts.append(against(total / options.steps, r[:, start:end]))
    return completed(objective, window, bases, references, parts)


def expected_gradients(
    objective: Differentiable, window: ByteArray, bases: Bases, options: ExpectedOptions
) -> Attribution:
    """Return expected gradients: one point for each reference, spread evenly over the line but for chance."""
    start, end = check_bases(bases, objective.length)
    references = references_of(window, bases, options.samples, options.bin_bp, options.seed)
    rng = np.random.default_rng([options.seed, 1])
    points = (rng.permutation(options.samples) + rng.random(options.samples)) / options.samples
    x, parts = window.astype(np.float64), []
    for reference, point in zip(references, points, strict=True):
        r = reference.astype(np.float64)
        gradient = objective.slope(r + point * (x - r), bases)[1]
        parts.append(against(gradient, r[:, start:end]))
    return completed(objective, window, bases, references, parts)


def smooth_gradients(objective: Differentiable, window: ByteArray, bases: Bases, options: SmoothOptions) -> Attribution:
    """Return the mean of the corrected gradients of copies of which some bases are drawn anew; see the module's head.

    What is drawn follows the composition of the window, also for a base that then stays the same: a share
    ``(kept - 0.25) / 0.75`` is left alone. Unknown bases stay unknown.
    """
    start, end = check_bases(bases, objective.length)
    rng = np.random.default_rng(options.seed)
    known = window.any(axis=0)
    composition = window.sum(axis=1) / max(int(known.sum()), 1)
    untouched, total = (options.kept - 0.25) / 0.75, np.zeros((4, end - start))
    for _ in range(options.samples):
        copy = window.copy()
        drawn = np.flatnonzero((rng.random(objective.length) >= untouched) & known)
        copy[:, drawn] = rng.choice(4, len(drawn), p=composition) == np.arange(4)[:, None] if len(drawn) else 0
        total += corrected(objective.slope(copy.astype(np.float64), bases)[1])
    return Attribution(one_value(objective, window), total / options.samples)


def references_of(window: ByteArray, bases: Bases, count: int, bin_bp: int, seed: int) -> list[ByteArray]:
    """Return references: the window with its bases [start, end) shuffled, each by a seed of its own."""
    return [
        shuffled(window, *bases, np.random.default_rng([seed, 0, number]), bin_bp=bin_bp) for number in range(count)
    ]


def against(gradient: DoubleArray, reference: DoubleArray) -> DoubleArray:
    """Return the hypothetical attribution of a mean gradient, whose projection is ``sum over b of (x - r) g``."""
    found: DoubleArray = gradient - (gradient * reference).sum(axis=0, keepdims=True)
    return found


def completed(
    objective: Objective,
    window: ByteArray,
    bases: Bases,
    references: Sequence[ByteArray],
    parts: Sequence[DoubleArray],
) -> Attribution:
    """Return the mean over references, and how far the attributions are from adding up to the difference."""
    inside = window[:, bases[0] : bases[1]]
    value = one_value(objective, window)
    compared = np.concatenate([objective.values(reference[None]) for reference in references])
    sums = np.array([(part * inside).sum() for part in parts])
    facts = completeness(value, compared, float(sums.mean()))
    deltas, differences = np.abs(sums - (value - compared)), np.abs(value - compared)
    facts["largest_delta_of_a_reference"] = float(deltas.max())
    small = facts["completeness_error"] is None
    facts["delta_share"] = None if small else float(deltas.mean() / differences.mean())
    deviation = np.std(parts, axis=0, ddof=1) if len(parts) > 1 else np.zeros_like(parts[0])
    arrays = {"se": (deviation / np.sqrt(len(parts))).astype(np.float32)}
    return Attribution(value, np.mean(parts, axis=0), facts, arrays)
