"""A concept bottleneck, post hoc: from embeddings to named concepts, and from these alone to a target, both linear.

    c' = A e + a            (a ridge regression for each concept)
    S' = b . c' + b_0       (least squares, with a penalty that only keeps it defined)

``independent`` fits b to the concepts c themselves, ``sequential`` to c' as they are read from embeddings. What is read
may tell more of S than the concept does, by leaning on whatever goes with it in the embedding; of ``independent`` that
leak is closed, of ``sequential`` it is not.

(Koh et al., ICML 2020; post hoc as Yuksekgonul et al., ICLR 2023, without their residual.) Both are fitted on some rows
and judged on the others. What the bottleneck loses is told against a ridge regression from the embeddings themselves to
S, and against the network, whose own number S is. As a concept k is set from c'_k to c'_k + d by hand, S' changes by
b_k d: the intervention.

Chance: concepts whose labels were shuffled among the rows that are fitted cannot be read from embeddings; and what a
bottleneck of such concepts still says of S is what so many directions of the embedding say by being directions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from ..surrogates.fidelity import Agreement
from ..surrogates.models import sklearn_part
from ..types import BoolArray, DoubleArray

SHUFFLES = 5
TRAININGS = ("independent", "sequential")
_ALPHAS = tuple(10.0**power for power in range(-8, 6))


@dataclass(frozen=True, eq=False)
class Affine:
    """``values @ weights.T + constants``: (rows, inputs) to (rows, outputs)."""

    weights: DoubleArray
    constants: DoubleArray

    def __call__(self, values: DoubleArray) -> DoubleArray:
        """Return float64 (rows, outputs)."""
        found: DoubleArray = values @ self.weights.T + self.constants
        return found


@dataclass(frozen=True, eq=False)
class Bottleneck:
    """Embeddings to concepts to a number.

    Attributes
    ----------
    concepts : Affine
        From embeddings to concepts.
    target : Affine
        From concepts to the target: ``target.weights[0]`` are the coefficients b, in the target's unit for each unit
        of a concept.
    """

    concepts: Affine
    target: Affine

    def predict(self, embeddings: DoubleArray) -> DoubleArray:
        """Return the target, float64 (rows,)."""
        return self.of_concepts(self.concepts(embeddings))

    def of_concepts(self, values: DoubleArray) -> DoubleArray:
        """Return the target, float64 (rows,), of concepts (rows, concepts), read or set by hand."""
        return self.target(values)[:, 0]

    def intervened(self, embeddings: DoubleArray, concept: int, change: float) -> DoubleArray:
        """Return by how much the target changes, (rows,), where a concept is set that much higher by hand."""
        read = self.concepts(embeddings)
        changed = read.copy()
        changed[:, concept] += change
        return self.of_concepts(changed) - self.of_concepts(read)


def fit_bottleneck(
    embeddings: DoubleArray, concepts: DoubleArray, target: DoubleArray, training: str = TRAININGS[0]
) -> Bottleneck:
    """Fit both parts.

    Parameters
    ----------
    embeddings : float64 ndarray of shape (rows, units)
    concepts : float64 ndarray of shape (rows, concepts)
        Counts, or 0 and 1.
    target : float64 ndarray of shape (rows,)
    training : str
        One of :data:`TRAININGS`.

    Raises
    ------
    InputError
        If training is unknown.
    """
    if training not in TRAININGS:
        raise InputError(f"training {training!r} is unknown; allowed: {', '.join(TRAININGS)}")
    read = ridge(embeddings, concepts)
    shown = concepts if training == "independent" else read(embeddings)
    return Bottleneck(read, ridge(shown, target[:, None], penalties=(1e-9,)))


def ridge(values: DoubleArray, wanted: DoubleArray, penalties: tuple[float, ...] = _ALPHAS) -> Affine:
    """Return a ridge regression of every column, units brought to deviation 1, its penalty chosen by leave-one-out."""
    mean, deviation = values.mean(axis=0), values.std(axis=0)
    varies = deviation > 1e-9 * np.abs(values).max(initial=0.0)
    scale = np.where(varies, deviation, 1.0)
    scaled = np.where(varies, (values - mean) / scale, 0.0)
    weights, constants = [], []
    for column in wanted.T:
        model = sklearn_part("linear_model").RidgeCV(alphas=list(penalties)).fit(scaled, column)
        weight = model.coef_ / scale
        weights.append(weight)
        constants.append(float(model.intercept_) - float(weight @ mean))
    return Affine(np.array(weights), np.array(constants))


@dataclass(frozen=True, eq=False)
class Judged:
    """A bottleneck and what rows that it has not seen say of it.

    Attributes
    ----------
    model : Bottleneck
    names : tuple of str
        Of the concepts.
    concept_r2, chance_r2 : float64 ndarray of shape (concepts,), (shuffles, concepts)
        How well each is read, and by labels that were shuffled.
    bottleneck, embedding : Agreement
        With the target, of the bottleneck and of a ridge regression from the embeddings.
    random_concepts, random_target : tuple of Agreement
        Of bottlenecks of shuffled concepts, and of shuffled targets.
    """

    model: Bottleneck
    names: tuple[str, ...]
    concept_r2: DoubleArray
    chance_r2: DoubleArray
    bottleneck: Agreement
    embedding: Agreement
    random_concepts: tuple[Agreement, ...]
    random_target: tuple[Agreement, ...]
    interventions: DoubleArray

    @property
    def believable(self) -> bool:
        """Whether it says more of the target than any bottleneck of chance."""
        chance = [one.r2 for one in (*self.random_concepts, *self.random_target)]
        return self.bottleneck.r2 > max(0.0, *chance)

    def to_json(self) -> dict[str, Any]:
        """Return all as JSON values."""
        return {
            "bottleneck": self.bottleneck.to_json(),
            "embedding": self.embedding.to_json(),
            "lost_to_embedding_r2": self.embedding.r2 - self.bottleneck.r2,
            "lost_to_network_r2": 1.0 - self.bottleneck.r2,
            "shuffled_concepts": [one.to_json() for one in self.random_concepts],
            "shuffled_target": [one.to_json() for one in self.random_target],
            "better_than_chance": self.believable,
            "constant": float(self.model.target.constants[0]),
            "concepts": [
                {
                    "concept": name,
                    "coefficient": float(self.model.target.weights[0, number]),
                    "intervention": float(self.interventions[number]),
                    "r2": float(self.concept_r2[number]),
                    "chance_r2": float(self.chance_r2[:, number].max()),
                    "read": bool(self.concept_r2[number] > max(0.0, float(self.chance_r2[:, number].max()))),
                }
                for number, name in enumerate(self.names)
            ],
        }


def judge(
    embeddings: DoubleArray,
    concepts: DoubleArray,
    target: DoubleArray,
    held: BoolArray,
    names: tuple[str, ...],
    *,
    training: str = TRAININGS[0],
    seed: int = 0,
) -> Judged:
    """Fit a bottleneck on the rows that are not held out, and judge it on those that are.

    Parameters
    ----------
    embeddings, concepts, target
        As of :func:`fit_bottleneck`.
    held : bool ndarray of shape (rows,)
        Rows that nothing is fitted to.
    names : tuple of str
        Of the concepts.
    training : str
        As of :func:`fit_bottleneck`.
    seed : int
        Of shuffled labels.

    Raises
    ------
    InputError
        If a value is not finite, or a concept or the target is the same for all rows of a part.
    """
    seen = ~held
    if held.sum() < 5 or seen.sum() < 10:
        raise InputError(f"{int(seen.sum())} rows to fit and {int(held.sum())} held out; 10 and 5 or more are needed")
    if not all(np.isfinite(values).all() for values in (embeddings, concepts, target)):
        raise InputError("an embedding, concept or target is not finite; leave such rows out")
    for part, what in ((seen, "fitted"), (held, "held-out")):
        for name, column in (("the target", target), *zip(names, concepts.T, strict=True)):
            if np.ptp(column[part]) == 0.0:
                raise InputError(f"{name} is {column[part][0]:g} for all {what} rows: take other rows")
    model = fit_bottleneck(embeddings[seen], concepts[seen], target[seen], training)
    chance_r2, random_concepts, random_target = [], [], []
    for number in range(SHUFFLES):
        rng = np.random.default_rng([seed, number])
        mixed = fit_bottleneck(embeddings[seen], rng.permutation(concepts[seen]), target[seen], training)
        chance_r2.append(_columns_r2(mixed.concepts(embeddings[held]), concepts[held]))
        random_concepts.append(Agreement.of(mixed.predict(embeddings[held]), target[held]))
        mixed = fit_bottleneck(embeddings[seen], concepts[seen], rng.permutation(target[seen]), training)
        random_target.append(Agreement.of(mixed.predict(embeddings[held]), target[held]))
    direct = ridge(embeddings[seen], target[seen][:, None])
    return Judged(
        model,
        names,
        _columns_r2(model.concepts(embeddings[held]), concepts[held]),
        np.stack(chance_r2),
        Agreement.of(model.predict(embeddings[held]), target[held]),
        Agreement.of(direct(embeddings[held])[:, 0], target[held]),
        tuple(random_concepts),
        tuple(random_target),
        np.array([model.intervened(embeddings[held], number, 1.0).mean() for number in range(len(names))]),
    )


def _columns_r2(predicted: DoubleArray, truth: DoubleArray) -> DoubleArray:
    return np.array([Agreement.of(one, other).r2 for one, other in zip(predicted.T, truth.T, strict=True)])
