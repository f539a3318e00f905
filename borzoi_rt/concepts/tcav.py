"""Testing with concept activation vectors: in which direction does a concept move a target?

With v the vector of a concept in a layer and g_i = sum over positions of d S / d A[p] of input i,

    TCAV score = share of inputs i with <g_i, v> > 0                                  (Kim et al., ICML 2018)

Examples of a concept are divided into *repeats* that share none; each has a vector, and so a score, of its own. Chance
has the same repeats of examples in which nothing was put in: one shuffle told from another. Scores of the concept are
compared with those of chance by Welch's two-sided t-test, and p is multiplied by the number of concepts (Bonferroni).
A vector that does not tell the concept apart means nothing, whatever its score: its accuracy, on the examples of all
other repeats, is compared with that of chance in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from ..types import DoubleArray
from .chance import LEVEL, bonferroni, two_sided
from .vectors import fit_vector

LEAST_REPEATS, LEAST_EXAMPLES = 5, 2


@dataclass(frozen=True, eq=False)
class Pooled:
    """A layer of the examples of one concept, pooled over the positions where it was put in.

    Attributes
    ----------
    present, absent, other : float64 ndarray of shape (repeats, examples, units)
        With the concept, without it, and without it in another shuffle.
    """

    present: DoubleArray
    absent: DoubleArray
    other: DoubleArray

    def __post_init__(self) -> None:
        shape = self.present.shape
        if shape != self.absent.shape or shape != self.other.shape or len(shape) != 3:
            raise InputError(f"examples have shapes {shape}, {self.absent.shape} and {self.other.shape}; one is needed")
        if shape[0] < LEAST_REPEATS or shape[1] < LEAST_EXAMPLES:
            raise InputError(
                f"{shape[0]} repeats of {shape[1]} examples; "
                f"{LEAST_REPEATS} or more of {LEAST_EXAMPLES} or more are needed"
            )


@dataclass(frozen=True, eq=False)
class Repeats:
    """What the vectors of all repeats say.

    Attributes
    ----------
    scores, accuracies : float64 ndarray of shape (repeats,)
        TCAV scores, and the share of examples of other repeats that is told right.
    vectors : float64 ndarray of shape (repeats, units)
    mean_slope : float
        Mean over inputs and repeats of <g, v>, in the unit of the target for each unit of length of the layer.
    """

    scores: DoubleArray
    accuracies: DoubleArray
    vectors: DoubleArray
    mean_slope: float


@dataclass(frozen=True, eq=False)
class Tcav:
    """One concept: its repeats, those of chance, and the tests.

    Attributes
    ----------
    found, chance : Repeats
    p_value, p_bonferroni : float
        Of the scores, two-sided.
    p_accuracy : float
        Of the accuracies, two-sided.
    """

    found: Repeats
    chance: Repeats
    p_value: float
    p_bonferroni: float
    p_accuracy: float

    @property
    def told_apart(self) -> bool:
        """Whether vectors tell the concept from its absence better than chance does."""
        return self.p_accuracy <= LEVEL and float(self.found.accuracies.mean() - self.chance.accuracies.mean()) > 0.0

    @property
    def significant(self) -> bool:
        """Whether the concept is told apart and its score is not that of chance."""
        return self.told_apart and self.p_bonferroni <= LEVEL

    @property
    def says(self) -> str:
        """``raises``, ``lowers`` or ``nothing``."""
        if not self.significant:
            return "nothing"
        return "raises" if self.found.scores.mean() > self.chance.scores.mean() else "lowers"

    def to_json(self) -> dict[str, Any]:
        """Return numbers of the table and the scores of every repeat."""
        return {
            "score": float(self.found.scores.mean()),
            "score_sd": float(self.found.scores.std(ddof=1)),
            "random_mean": float(self.chance.scores.mean()),
            "random_sd": float(self.chance.scores.std(ddof=1)),
            "p_value": self.p_value,
            "p_bonferroni": self.p_bonferroni,
            "accuracy": float(self.found.accuracies.mean()),
            "random_accuracy": float(self.chance.accuracies.mean()),
            "p_accuracy": self.p_accuracy,
            "mean_slope": self.found.mean_slope,
            "says": self.says,
        }


def tcav(examples: Pooled, slopes: DoubleArray, *, kind: str = "logistic", tests: int = 1) -> Tcav:
    """Test one concept.

    Parameters
    ----------
    examples : Pooled
        A layer with and without the concept.
    slopes : float64 ndarray of shape (inputs, units)
        Derivative of the target of each input by the layer, summed over positions.
    kind : str
        See :mod:`borzoi_rt.concepts.vectors`.
    tests : int
        Concepts that are tested together.

    Raises
    ------
    InputError
        If slopes are of other units, or those of an input are all 0: nothing is in any direction.
    """
    if slopes.ndim != 2 or slopes.shape[1] != examples.present.shape[2] or not len(slopes):
        raise InputError(f"slopes have shape {slopes.shape}; (inputs, {examples.present.shape[2]}) is needed")
    flat = np.flatnonzero(~slopes.any(axis=1))
    if len(flat):
        raise InputError(
            f"input {flat[0]}: the target has no slope by this layer at the bases of the row; take bases that it is "
            "read from, or another target"
        )
    found = repeats_of(examples.present, examples.absent, slopes, kind)
    chance = repeats_of(examples.other, examples.absent, slopes, kind)
    p_value = two_sided(found.scores, chance.scores)
    return Tcav(found, chance, p_value, bonferroni(p_value, tests), two_sided(found.accuracies, chance.accuracies))


def repeats_of(present: DoubleArray, absent: DoubleArray, slopes: DoubleArray, kind: str) -> Repeats:
    """Return score, accuracy and vector of every repeat; arrays are (repeats, examples, units)."""
    vectors = [fit_vector(one, other, kind) for one, other in zip(present, absent, strict=True)]
    accuracies = []
    for number, vector in enumerate(vectors):
        rest = np.arange(len(present)) != number
        units = present.shape[2]
        accuracies.append(vector.accuracy(present[rest].reshape(-1, units), absent[rest].reshape(-1, units)))
    directions = np.stack([vector.direction for vector in vectors])
    along = slopes @ directions.T
    return Repeats((along > 0.0).mean(axis=0), np.array(accuracies), directions, float(along.mean()))
