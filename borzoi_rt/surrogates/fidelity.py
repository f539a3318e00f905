"""How far a surrogate may be believed: how it does on mutants that it has not seen, and what chance does there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from ..explain.agreement import spearman
from ..types import DoubleArray
from .features import Features
from .library import Library
from .models import KINDS, FitOptions, Surrogate

SHUFFLES = 5


@dataclass(frozen=True)
class Agreement:
    """Of predicted and true scores: ``R2 = 1 - sum (y - p)^2 / sum (y - mean y)^2``, and Spearman's correlation.

    ``spearman`` is None where all predictions are equal.
    """

    r2: float
    spearman: float | None

    @classmethod
    def of(cls, predicted: DoubleArray, scores: DoubleArray) -> Agreement:
        """Compare predictions with scores that are not all the same."""
        squares = float(((scores - scores.mean()) ** 2).sum())
        r2 = 1.0 - float(((scores - predicted) ** 2).sum()) / squares
        return cls(r2, spearman(predicted, scores))

    def to_json(self) -> dict[str, float | None]:
        """Return both as JSON values."""
        return {"r2": self.r2, "spearman": self.spearman}


@dataclass(frozen=True, eq=False)
class Fitted:
    """A surrogate with its fidelity.

    Attributes
    ----------
    name : str
        A key of :data:`borzoi_rt.surrogates.models.KINDS`.
    features : Features
        What it sees.
    model : Surrogate
    predicted : float64 ndarray of shape (mutants,)
        Of every mutant.
    held, seen : Agreement
        On mutants that are held out, and on those it was fitted to.
    controls : tuple of Agreement
        On mutants that are held out, of the same fit to scores that were shuffled among the fitted mutants.
    """

    name: str
    features: Features
    model: Surrogate
    predicted: DoubleArray
    held: Agreement
    seen: Agreement
    controls: tuple[Agreement, ...]

    @property
    def better_than_chance(self) -> bool:
        """Whether it explains something of what is held out, and more than any fit to shuffled scores."""
        return self.held.r2 > max(0.0, *(control.r2 for control in self.controls))

    @property
    def title(self) -> str:
        """``rules of motifs``."""
        return f"{self.name} of {'kept bases' if self.features.kind == 'kept' else self.features.kind}"

    def verdict(self) -> str:
        """Return the fidelity in one line."""
        rank = "none" if self.held.spearman is None else f"{self.held.spearman:.3f}"
        chance = max(control.r2 for control in self.controls)
        text = (
            f"held-out R2 {self.held.r2:.3f}, Spearman {rank}; R2 of fitted {self.seen.r2:.3f}, of chance {chance:.3f}"
        )
        return text if self.better_than_chance else f"{text}: NO BETTER THAN CHANCE, do not read it"

    def to_json(self) -> dict[str, Any]:
        """Return model and fidelity as JSON values."""
        return {
            "surrogate": self.name,
            "features": self.features.kind,
            "features_without_variation": list(self.features.dropped),
            "held_out": self.held.to_json(),
            "fitted": self.seen.to_json(),
            "shuffled_labels": [control.to_json() for control in self.controls],
            "better_than_chance": self.better_than_chance,
            "model": self.model.to_json(),
        }


def fit(name: str, features: Features, library: Library, options: FitOptions) -> Fitted:
    """Fit a surrogate to the mutants that are not held out, and judge it by the others.

    Raises
    ------
    InputError
        If there is no such surrogate, or the target is the same for all held-out or all fitted mutants.
    """
    if name not in KINDS:
        raise InputError(f"surrogate {name!r} is unknown; allowed: {', '.join(KINDS)}")
    held, rows = library.held, ~library.held
    for part, what in ((held, "held-out"), (rows, "fitted")):
        if np.ptp(library.scores[part]) == 0.0:
            raise InputError(f"the target is {library.scores[part][0]:g} for all {what} mutants: nothing to learn")
    kind, scores = KINDS[name], library.scores[rows]
    model = kind.fit(features, rows, scores, options)
    predicted = model.predict(features.values)
    controls = []
    for number in range(SHUFFLES):
        rng = np.random.default_rng([options.seed, number])
        chance = kind.fit(features, rows, rng.permutation(scores), options)
        controls.append(Agreement.of(chance.predict(features.values[held]), library.scores[held]))
    return Fitted(
        name,
        features,
        model,
        predicted,
        Agreement.of(predicted[held], library.scores[held]),
        Agreement.of(predicted[rows], scores),
        tuple(controls),
    )
