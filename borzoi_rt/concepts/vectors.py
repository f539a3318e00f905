"""Concept activation vectors: the direction in the units of a layer that tells a concept from what it is not.

===============  ================================================================================================
``logistic``     weights of a logistic regression with a penalty (Kim et al., ICML 2018)
``ridge``        weights of a ridge regression of the labels +1 and -1, the penalty chosen by leave-one-out
``difference``   mean with the concept less mean without it
===============  ================================================================================================

Units are brought to mean 0 and deviation 1 before a regression, and the weights back to the units of the layer:
``v = w / deviation``. All vectors have the length 1. A weight tells apart, and where units are correlated it may point
elsewhere than the concept moves the layer; ``difference`` is that movement.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..surrogates.models import sklearn_part
from ..types import DoubleArray

VECTORS = ("logistic", "ridge", "difference")


@dataclass(frozen=True, eq=False)
class ConceptVector:
    """A direction and where it divides: ``values @ direction > threshold`` says that the concept is there.

    Attributes
    ----------
    direction : float64 ndarray of shape (units,)
        Of length 1.
    threshold : float
    """

    direction: DoubleArray
    threshold: float

    def accuracy(self, present: DoubleArray, absent: DoubleArray) -> float:
        """Return the share that is told right, the mean of both labels; each (examples, units)."""
        hit = float((present @ self.direction > self.threshold).mean())
        return (hit + float((absent @ self.direction <= self.threshold).mean())) / 2.0


def fit_vector(present: DoubleArray, absent: DoubleArray, kind: str = "logistic") -> ConceptVector:
    """Return the vector of a concept.

    Parameters
    ----------
    present, absent : float64 ndarray of shape (examples, units)
        A layer with the concept, and without it.
    kind : str
        One of :data:`VECTORS`.

    Raises
    ------
    InputError
        If the kind is unknown, an example is not finite, or nothing tells the two apart.
    """
    if kind not in VECTORS:
        raise InputError(f"vector {kind!r} is unknown; allowed: {', '.join(VECTORS)}")
    both = np.concatenate([present, absent]).astype(np.float64)
    if not np.isfinite(both).all():
        raise InputError("activations of an example are not finite; a vector needs numbers")
    labels = np.concatenate([np.ones(len(present)), -np.ones(len(absent))])
    if kind == "difference":
        direction = present.mean(axis=0, dtype=np.float64) - absent.mean(axis=0, dtype=np.float64)
        offset = -float(direction @ both.mean(axis=0))
    else:
        mean, deviation = both.mean(axis=0), both.std(axis=0)
        varies = deviation > 1e-9 * np.abs(both).max(initial=0.0)
        scaled = np.where(varies, (both - mean) / np.where(varies, deviation, 1.0), 0.0)
        weights, constant = _regressed(scaled, labels, kind)
        direction = np.where(varies, weights / np.where(varies, deviation, 1.0), 0.0)
        offset = constant - float(direction @ mean)
    size = float(np.sqrt(direction @ direction))
    if not size > 0.0:
        raise InputError("no unit of the layer differs with the concept: it has no vector; take another layer")
    return ConceptVector(direction / size, -offset / size)


def _regressed(scaled: DoubleArray, labels: DoubleArray, kind: str) -> tuple[DoubleArray, float]:
    linear = sklearn_part("linear_model")
    if kind == "logistic":
        model = linear.LogisticRegression(C=1.0, max_iter=1000).fit(scaled, labels)
        return model.coef_[0], float(model.intercept_[0])
    model = linear.RidgeCV(alphas=[10.0**power for power in range(-3, 5)]).fit(scaled, labels)
    return model.coef_, float(model.intercept_)
