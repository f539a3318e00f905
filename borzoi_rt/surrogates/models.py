"""The surrogates by name; the only door to scikit-learn.

``additive``
    score = c + sum over features of b f: of substitutions, an effect for each, as if none knew of another.
``pairwise``
    The same with the products of every two of the ``pair_features`` features that matter most in the additive model.
``tree``
    A regression tree, as scikit-learn grows it.
``rules``
    An ordered list: the first rule that holds gives the score. Rule after rule, a small tree is grown on the mutants
    that no rule holds for yet, and the leaf that stands out most becomes the next rule.

Linear models are ridge regressions, whose penalty is chosen by leave-one-out among the fitted mutants.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ..errors import InputError, missing_package
from ..explain.objective import check_counts
from ..plain import check_types
from ..types import BoolArray, DoubleArray, IndexArray
from .features import Features

PENALTIES = tuple(10.0**power for power in range(-8, 4))
_LEAST_GAIN = 0.005  # of the variance of the scores, that a rule must explain


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions:
    """How surrogates are fitted.

    Parameters
    ----------
    penalty : float, optional
        Of the sum of squares of the coefficients of linear models, 0 for none; None chooses one of
        :data:`PENALTIES` by leave-one-out.
    pair_features : int
        Features whose products ``pairwise`` takes.
    depth : int
        Questions from the root of a tree to a leaf, at most; conditions of a rule, too.
    leaf : int
        Mutants of a leaf or rule, at least.
    rules : int
        Rules of a list, at most.
    seed : int
        Of the order in which trees try features, which decides between equals, and of shuffled labels.

    Raises
    ------
    InputError
        If a value is not allowed.
    """

    penalty: float | None = None
    pair_features: int = 30
    depth: int = 4
    leaf: int = 10
    rules: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        check_counts(self, "pair_features", "depth", "leaf", "rules")
        if self.penalty is not None and not (math.isfinite(self.penalty) and self.penalty >= 0.0):
            raise InputError(f"penalty is {self.penalty!r}; 0 or more is needed")


class Surrogate(Protocol):
    """A fitted model."""

    def predict(self, values: DoubleArray) -> DoubleArray:
        """Return scores, float64 (mutants,), of features (mutants, features)."""

    def to_json(self) -> dict[str, Any]:
        """Return what the model is, as JSON values."""

    def text(self) -> list[str]:
        """Return lines for people."""


@dataclass(frozen=True, eq=False)
class Linear:
    """``intercept + terms @ coefficients``; a term is a feature, or the product of two.

    Attributes
    ----------
    names : tuple of str
        Of the terms; products as ``A * B``.
    first, second : int64 ndarray of shape (terms,)
        Features of each term; ``second`` is -1 where the term is one feature.
    """

    names: tuple[str, ...]
    first: IndexArray
    second: IndexArray
    intercept: float
    coefficients: DoubleArray
    penalty: float

    def predict(self, values: DoubleArray) -> DoubleArray:
        """See :meth:`Surrogate.predict`."""
        found: DoubleArray = _terms(values, self.first, self.second) @ self.coefficients + self.intercept
        return found

    def to_json(self) -> dict[str, Any]:
        """See :meth:`Surrogate.to_json`."""
        terms = dict(zip(self.names, self.coefficients.tolist(), strict=True))
        return {"intercept": self.intercept, "penalty": self.penalty, "terms": terms}

    def text(self) -> list[str]:
        """Return the 20 terms that are largest in size."""
        order = np.argsort(-np.abs(self.coefficients), kind="stable")[:20]
        lines = [f"{self.coefficients[term]:+.4g} for each {self.names[term]}" for term in order]
        rest = len(self.names) - len(order)
        more = [f"and {rest} smaller terms, see surrogates.json"] if rest else []
        return [f"The score is {self.intercept:.4g}, and", *lines, *more]


def _terms(values: DoubleArray, first: IndexArray, second: IndexArray) -> DoubleArray:
    found = values[:, first].copy()
    products = second >= 0
    found[:, products] *= values[:, second[products]]
    return found


def fit_additive(features: Features, rows: BoolArray, scores: DoubleArray, options: FitOptions) -> Linear:
    """Fit the additive model to some mutants; ``scores`` are theirs."""
    count = len(features.names)
    return _linear(features.values[rows], features.names, np.arange(count), np.full(count, -1), scores, options)


def fit_pairwise(features: Features, rows: BoolArray, scores: DoubleArray, options: FitOptions) -> Linear:
    """Fit the additive model with products of two features, chosen by their weight in the additive model alone."""
    values = features.values[rows]
    single = fit_additive(features, rows, scores, options)
    weight = np.abs(single.coefficients) * values.std(axis=0)
    chosen = np.sort(np.argsort(-weight, kind="stable")[: options.pair_features])
    one, two = (chosen[index] for index in np.triu_indices(len(chosen), 1))
    # Of two substitutions of one base, and of what never meets, the product is always the same.
    varies = np.array([np.ptp(values[:, a] * values[:, b]) > 0 for a, b in zip(one, two, strict=True)], dtype=bool)
    one, two = one[varies], two[varies]
    names = (*features.names, *(f"{features.names[a]} * {features.names[b]}" for a, b in zip(one, two, strict=True)))
    first = np.concatenate([np.arange(len(features.names)), one])
    second = np.concatenate([np.full(len(features.names), -1), two])
    return _linear(values, names, first, second, scores, options)


def _linear(
    values: DoubleArray,
    names: Sequence[str],
    first: IndexArray,
    second: IndexArray,
    scores: DoubleArray,
    options: FitOptions,
) -> Linear:
    linear = sklearn_part("linear_model")
    terms = _terms(values, first, second)
    if options.penalty is None:
        model = linear.RidgeCV(alphas=PENALTIES)
    else:
        model = linear.Ridge(alpha=options.penalty) if options.penalty else linear.LinearRegression()
    model.fit(terms, scores)
    penalty = model.alpha_ if options.penalty is None else options.penalty
    return Linear(tuple(names), first, second, float(model.intercept_), np.asarray(model.coef_), float(penalty))


@dataclass(frozen=True)
class Rule:
    """Conditions that all must hold, and what the score then is.

    Attributes
    ----------
    conditions : tuple of (int, bool, float)
        Feature, whether it is above the threshold, and the threshold.
    mean, deviation : float
        Of the scores of the fitted mutants that the rule is for.
    count : int
        How many these are.
    """

    conditions: tuple[tuple[int, bool, float], ...]
    mean: float
    deviation: float
    count: int

    def holds(self, values: DoubleArray) -> BoolArray:
        """Return for which mutants all conditions hold."""
        found = np.ones(len(values), dtype=bool)
        for feature, above, threshold in self.conditions:
            found &= (values[:, feature] > threshold) == above
        return found


@dataclass(frozen=True, eq=False)
class Tree:
    """A regression tree: rules of which exactly one holds."""

    kind: str
    names: tuple[str, ...]
    leaves: tuple[Rule, ...]

    def predict(self, values: DoubleArray) -> DoubleArray:
        """See :meth:`Surrogate.predict`."""
        found = np.zeros(len(values))
        for leaf in self.leaves:
            found[leaf.holds(values)] = leaf.mean
        return found

    def to_json(self) -> dict[str, Any]:
        """See :meth:`Surrogate.to_json`."""
        return {"leaves": [_rule_json(leaf, self.kind, self.names) for leaf in self.leaves]}

    def text(self) -> list[str]:
        """See :meth:`Surrogate.text`."""
        lines = [_sentence("If", leaf, self.kind, self.names) for leaf in self.leaves]
        return ["Exactly one of these holds for a mutant:", *lines]


@dataclass(frozen=True, eq=False)
class RuleList:
    """Rules in order, the last of which always holds."""

    kind: str
    names: tuple[str, ...]
    rules: tuple[Rule, ...]

    def predict(self, values: DoubleArray) -> DoubleArray:
        """See :meth:`Surrogate.predict`."""
        found, open_rows = np.zeros(len(values)), np.ones(len(values), dtype=bool)
        for rule in self.rules:
            held = rule.holds(values) & open_rows
            found[held], open_rows[held] = rule.mean, False
        return found

    def to_json(self) -> dict[str, Any]:
        """See :meth:`Surrogate.to_json`."""
        return {"rules": [_rule_json(rule, self.kind, self.names) for rule in self.rules]}

    def text(self) -> list[str]:
        """See :meth:`Surrogate.text`."""
        words = ["If", *["Otherwise, if"] * (len(self.rules) - 1)]
        lines = [_sentence(begin, rule, self.kind, self.names) for begin, rule in zip(words, self.rules, strict=True)]
        return ["Read from the top; the first that holds gives the score:", *lines]


def _rule_json(rule: Rule, kind: str, names: Sequence[str]) -> dict[str, Any]:
    return {
        "if": [_condition(*part, kind, names) for part in rule.conditions],
        "score": rule.mean,
        "deviation": rule.deviation,
        "mutants": rule.count,
    }


def _sentence(begin: str, rule: Rule, kind: str, names: Sequence[str]) -> str:
    """Say a rule: ``If there is inr+, but no tata+, the score is 2.3 (mean of 47 mutants, standard deviation 0.6).``"""
    words = listed([_in_words(*part, kind, names) for part in rule.conditions])
    words = f"there is {words}" if words and kind == "motifs" else words
    head = f"{begin} {words}, the" if words else "Otherwise the" if begin.startswith("Otherwise") else "Always the"
    noun = "1 mutant" if rule.count == 1 else f"{rule.count} mutants"
    return f"{head} score is {rule.mean:.4g} (mean of {noun}, standard deviation {rule.deviation:.2g})."


def listed(parts: Sequence[str]) -> str:
    """Join conditions, by a ``but`` where what is not there meets what is: "no a and b" reads two ways."""
    text = ""
    for before, part in zip(("", *parts), parts, strict=False):
        turned = before.startswith("no ") != part.startswith("no ")
        text += part if not before else f", but {part}" if turned else f" and {part}"
    return text


def _in_words(feature: int, above: bool, threshold: float, kind: str, names: Sequence[str]) -> str:
    """Say a condition as a part of a sentence; :func:`_condition` has the same for programs."""
    name, least = names[feature], math.floor(threshold) + 1
    if kind == "kept":
        return f"base {int(name[:-1]):,} is {'still' if above else 'no longer'} {name[-1]}"
    if kind == "substitutions":
        return f"{name} is {'made' if above else 'not made'}"
    if least == 1:
        return name if above else f"no {name}"
    return f"{least} or more {name}" if above else f"fewer than {least} {name}"


def _condition(feature: int, above: bool, threshold: float, kind: str, names: Sequence[str]) -> str:
    """Say a condition: features are whole numbers, which a threshold lies between."""
    name, least = names[feature], math.floor(threshold) + 1
    if kind == "kept":
        return f"{name[:-1]} is {'' if above else 'not '}{name[-1]}"
    if kind == "substitutions":
        return name if above else f"no {name}"
    if above:
        return f"{name} >= {least}" if least > 1 else name
    return f"{name} < {least}" if least > 1 else f"no {name}"


def fit_tree(features: Features, rows: BoolArray, scores: DoubleArray, options: FitOptions) -> Tree:
    """Grow a tree on some mutants; ``scores`` are theirs."""
    model = _grown(features.values[rows], scores, options)
    return Tree(features.kind, features.names, _leaves(model, features.values[rows], scores))


def fit_rules(features: Features, rows: BoolArray, scores: DoubleArray, options: FitOptions) -> RuleList:
    """Make a list of rules for some mutants; ``scores`` are theirs."""
    values, total = features.values[rows], float(((scores - scores.mean()) ** 2).sum())
    rules: list[Rule] = []
    while len(rules) < options.rules and len(scores) >= 2 * options.leaf:
        found = _leaves(_grown(values, scores, options), values, scores)
        gains = [_gain(rule, scores) for rule in found]
        best = int(np.argmax(gains))
        if not gains[best] > _LEAST_GAIN * total:
            break
        rest = ~found[best].holds(values)
        rules.append(found[best])
        values, scores = values[rest], scores[rest]
    rules.append(Rule((), float(scores.mean()), float(scores.std()), len(scores)))
    return RuleList(features.kind, features.names, tuple(rules))


def _gain(rule: Rule, scores: DoubleArray) -> float:
    """Return by how much the sum of squares falls where a rule's mutants have a mean of their own."""
    rest = len(scores) - rule.count
    return rule.count * len(scores) / rest * (rule.mean - float(scores.mean())) ** 2 if rest else 0.0


def _grown(values: DoubleArray, scores: DoubleArray, options: FitOptions) -> Any:
    tree = sklearn_part("tree").DecisionTreeRegressor(
        max_depth=options.depth, min_samples_leaf=options.leaf, random_state=options.seed % 2**32
    )
    return tree.fit(values, scores)


def _leaves(model: Any, values: DoubleArray, scores: DoubleArray) -> tuple[Rule, ...]:
    """Return the leaves of a tree as rules, from left to right, each feature bounded as narrowly as the path says."""
    tree, found = model.tree_, []
    ways: list[tuple[int, tuple[tuple[int, bool, float], ...]]] = [(0, ())]
    while ways:
        node, path = ways.pop()
        if tree.children_left[node] < 0:
            rule = Rule(_narrowed(path), 0.0, 0.0, 0)
            own = scores[rule.holds(values)]
            found.append(Rule(rule.conditions, float(own.mean()), float(own.std()), len(own)))
            continue
        feature, threshold = int(tree.feature[node]), float(tree.threshold[node])
        ways.append((int(tree.children_right[node]), (*path, (feature, True, threshold))))
        ways.append((int(tree.children_left[node]), (*path, (feature, False, threshold))))
    return tuple(found)


def _narrowed(path: Sequence[tuple[int, bool, float]]) -> tuple[tuple[int, bool, float], ...]:
    """Return the conditions of a path without those that another implies."""
    best: dict[tuple[int, bool], float] = {}
    for feature, above, threshold in path:
        held = best.get((feature, above), threshold)
        best[feature, above] = max(held, threshold) if above else min(held, threshold)
    return tuple((feature, above, threshold) for (feature, above), threshold in best.items())


Fit = Callable[[Features, BoolArray, DoubleArray, FitOptions], Surrogate]


@dataclass(frozen=True)
class Kind:
    """A surrogate by name: how it is fitted, and what it sees where bases are seen."""

    fit: Fit
    of_bases: str
    summary: str = field(default="")


KINDS: dict[str, Kind] = {
    "additive": Kind(fit_additive, "substitutions", "an effect for each feature"),
    "pairwise": Kind(fit_pairwise, "substitutions", "and one for each pair of the strongest"),
    "tree": Kind(fit_tree, "kept", "a regression tree"),
    "rules": Kind(fit_rules, "kept", "an ordered list of rules"),
}


def sklearn_part(part: str) -> Any:
    """Return a module of scikit-learn, ``linear_model`` or ``tree``.

    Raises
    ------
    BackendError
        If scikit-learn is not installed.
    """
    try:
        import sklearn.linear_model
        import sklearn.tree
    except ImportError as error:
        raise missing_package(error, "sklearn", "surrogate", "fitting simple models") from error
    return getattr(sklearn, part)
