"""Surrogates of functions whose form is known: what each can recover, what it cannot, and what chance does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import toy_objectives
from numpy.testing import assert_allclose, assert_array_equal
from oracles import surrogates as oracle

from borzoi_rt.errors import InputError
from borzoi_rt.surrogates.features import Features, kept_of, substitutions_of
from borzoi_rt.surrogates.fidelity import Fitted, fit
from borzoi_rt.surrogates.library import Library, LibraryOptions, make_library
from borzoi_rt.surrogates.models import KINDS, FitOptions, fit_tree, listed

pytest.importorskip("sklearn", reason="scikit-learn is of the extra surrogate, which is too large for the extra test")

RNG = np.random.default_rng(5)
LENGTH, BASES = 40, (10, 26)
WINDOW = np.eye(4, dtype=np.uint8)[RNG.integers(0, 4, LENGTH)].T.copy()
U, V = RNG.normal(size=(2, 4, LENGTH))


def library_of(objective: toy_objectives.ToyObjective, bases: tuple[int, int] = BASES, **more: float) -> Library:
    options = {"mutants": 400, "rate": 0.2, "held": 0.25, **more}
    return make_library(objective, WINDOW, bases, LibraryOptions(**options))


def fitted(name: str, library: Library, **more: float | None) -> Fitted:
    make = {"substitutions": substitutions_of, "kept": kept_of}[KINDS[name].of_bases]
    return fit(name, make(library, 101), library, FitOptions(**more))


@pytest.fixture(scope="module")
def linear() -> Library:
    return library_of(toy_objectives.linear(U))


@pytest.fixture(scope="module")
def product() -> Library:
    # On 6 bases all 135 products of two substitutions of different bases are within reach.
    return library_of(toy_objectives.product(U, V), (10, 16), mutants=1000, rate=0.5)


def test_an_additive_model_recovers_a_linear_function(linear: Library) -> None:
    found = fitted("additive", linear, penalty=0.0)
    assert found.held.r2 == pytest.approx(1.0, abs=1e-12)
    assert found.held.spearman == pytest.approx(1.0)
    assert found.better_than_chance
    terms = found.model.to_json()["terms"]
    assert len(terms) == 3 * 16
    for name, effect in terms.items():
        position, ref, alt = int(name[:-3]) - 101 + BASES[0], "ACGT".index(name[-3]), "ACGT".index(name[-1])
        assert effect == pytest.approx(U[alt, position] - U[ref, position], abs=1e-9)
    assert found.model.to_json()["intercept"] == pytest.approx(linear.value)


def test_a_product_needs_pairs(product: Library) -> None:
    additive, pairwise = (fitted(name, product, penalty=0.0) for name in ("additive", "pairwise"))
    assert additive.held.r2 < 0.9
    assert pairwise.held.r2 == pytest.approx(1.0, abs=1e-10)
    # score = (a + u.s)(b + v.s) of substitutions s: the term of two of them is u1 v2 + u2 v1.
    terms = pairwise.model.to_json()["terms"]
    assert len(terms) == 18 + 135
    pair = next(name for name in terms if " * " in name)
    one, two = (
        [w[alt, int(name[:-3]) - 91] - w[ref, int(name[:-3]) - 91] for w in (U, V)]
        for name in pair.split(" * ")
        for ref, alt in [("ACGT".index(name[-3]), "ACGT".index(name[-1]))]
    )
    assert terms[pair] == pytest.approx(one[0] * two[1] + two[0] * one[1], abs=1e-8)


@pytest.mark.parametrize("name", ["additive", "pairwise"])
def test_linear_surrogates_are_least_squares(product: Library, name: str) -> None:
    found, rows = fitted(name, product, penalty=0.0), ~product.held
    expected = oracle.predicted(
        product.reference, product.codes[rows], product.scores[rows], product.codes, pairs=name == "pairwise"
    )
    assert_allclose(found.predicted, expected, atol=1e-7)
    assert found.held.r2 == pytest.approx(oracle.r2(expected[product.held], product.scores[product.held]), abs=1e-9)


def test_the_penalty_is_chosen_where_there_are_few_mutants(linear: Library) -> None:
    noisy = replace(linear, scores=linear.scores + np.random.default_rng(0).normal(size=400) * 3.0)
    assert fitted("additive", noisy).held.r2 > fitted("additive", noisy, penalty=0.0).held.r2
    assert fitted("additive", noisy).model.to_json()["penalty"] > 0.1
    assert fitted("additive", linear).held.r2 > 0.999999  # and small where there is nothing to shrink


def test_agreement_is_as_it_is_defined(product: Library) -> None:
    found = fitted("tree", product)
    mine, theirs = found.predicted[product.held], product.scores[product.held]
    assert found.held.r2 == pytest.approx(oracle.r2(mine, theirs))
    assert found.held.spearman == pytest.approx(oracle.spearman(mine, theirs))  # leaves give many equal predictions


def grammar(codes: np.ndarray) -> np.ndarray:
    """3 where the first four bases are as they were and the next four are too; 1 where only the first are; else 0."""
    first, second = ((codes == REFERENCE[: codes.shape[1]])[:, part].all(axis=1) for part in (HEAD, TAIL))
    return np.where(first & second, 3.0, np.where(first, 1.0, 0.0))


REFERENCE = WINDOW[:, BASES[0] : BASES[1]].argmax(axis=0).astype(np.uint8)
HEAD, TAIL = slice(2, 4), slice(8, 10)


@pytest.fixture(scope="module")
def planted() -> Library:
    library = library_of(toy_objectives.linear(U), mutants=600)
    return replace(library, scores=grammar(library.codes), value=3.0)


@pytest.mark.parametrize("name", ["tree", "rules"])
def test_a_planted_rule_is_found(planted: Library, name: str) -> None:
    found = fitted(name, planted)
    assert found.held.r2 == pytest.approx(1.0)
    assert_array_equal(found.predicted, planted.scores)
    named = {f"{101 + position}{'ACGT'[REFERENCE[position]]}" for part in (HEAD, TAIL) for position in range(16)[part]}
    conditions = {f"{name[:-1]} is {name[-1]}" for name in named}
    rules = found.model.to_json()["leaves" if name == "tree" else "rules"]
    assert conditions in [set(rule["if"]) for rule in rules if rule["score"] == 3.0]
    assert sum(rule["mutants"] for rule in rules) == (~planted.held).sum()
    assert {word for rule in rules for word in rule["if"]} <= conditions | {
        c.replace("is", "is not") for c in conditions
    }


def test_rules_are_read_from_the_top(planted: Library) -> None:
    lines = fitted("rules", planted).model.text()
    assert lines[0] == "Read from the top; the first that holds gives the score:"
    assert lines[1].startswith("If base ")
    assert all(line.startswith("Otherwise, if base ") for line in lines[2:-1])
    assert lines[-1].startswith("Otherwise the score is ")
    rules = fitted("rules", planted).model.rules
    for line, rule in zip(lines[1:], rules, strict=True):
        assert line.endswith(f"the score is {rule.mean:.4g} (mean of {rule.count} mutants, standard deviation 0).")


def test_counts_are_told_in_sentences() -> None:
    values = np.repeat([[0.0], [1.0], [2.0], [3.0]], 20, axis=0)
    features, rows = Features("motifs", ("gc+",), values), np.ones(80, dtype=bool)
    scores = np.select([values[:, 0] >= 2, values[:, 0] >= 1], [5.0, 1.0])
    assert fit_tree(features, rows, scores, FitOptions()).text() == [
        "Exactly one of these holds for a mutant:",
        "If there is no gc+, the score is 0 (mean of 20 mutants, standard deviation 0).",
        "If there is fewer than 2 gc+ and gc+, the score is 1 (mean of 20 mutants, standard deviation 0).",
        "If there is 2 or more gc+, the score is 5 (mean of 40 mutants, standard deviation 0).",
    ]


@pytest.mark.parametrize("name", KINDS)
def test_shuffled_labels_fail(planted: Library, name: str) -> None:
    """The control: with scores shuffled among the fitted mutants, nothing that is held out is explained."""
    found = fitted(name, planted, penalty=1.0)
    assert found.better_than_chance
    assert len(found.controls) == 5
    assert max(control.r2 for control in found.controls) < 0.1 < found.held.r2
    rng = np.random.default_rng(9)
    lost = fitted(name, replace(planted, scores=rng.permutation(planted.scores)), penalty=1.0)
    assert lost.held.r2 < 0.1
    assert lost.seen.r2 > lost.held.r2  # what is fitted looks better, which is why it is not what is told


def test_what_is_no_better_than_chance_says_so(planted: Library) -> None:
    rng = np.random.default_rng(2)
    noise = fitted("additive", replace(planted, scores=rng.normal(size=600)), penalty=0.0)
    assert not noise.better_than_chance
    assert noise.verdict().endswith("NO BETTER THAN CHANCE, do not read it")
    assert noise.to_json()["better_than_chance"] is False


def test_a_tree_says_what_scikit_learn_says(planted: Library) -> None:
    from sklearn.tree import DecisionTreeRegressor

    features, rows = kept_of(planted, 101), ~planted.held
    noisy = planted.scores + np.random.default_rng(0).normal(size=600)
    found = fit_tree(features, rows, noisy[rows], FitOptions(depth=5, leaf=7))
    theirs = DecisionTreeRegressor(max_depth=5, min_samples_leaf=7, random_state=0).fit(
        features.values[rows], noisy[rows]
    )
    assert_allclose(found.predict(features.values), theirs.predict(features.values), rtol=1e-12)
    assert len(found.leaves) == theirs.get_n_leaves()


def test_counts_are_told_as_counts() -> None:
    values = np.repeat([[0.0], [1.0], [2.0], [3.0]], 20, axis=0)
    features, rows = Features("motifs", ("gc+",), values), np.ones(80, dtype=bool)
    scores = np.select([values[:, 0] >= 2, values[:, 0] >= 1], [5.0, 1.0])
    said = fit_tree(features, rows, scores, FitOptions()).to_json()["leaves"]
    assert [(rule["if"], rule["score"]) for rule in said] == [
        (["no gc+"], 0.0),
        (["gc+ < 2", "gc+"], 1.0),
        (["gc+ >= 2"], 5.0),
    ]


def test_nothing_to_learn_is_refused(planted: Library) -> None:
    with pytest.raises(InputError, match="the target is 2 for all held-out mutants"):
        fitted("tree", replace(planted, scores=np.full(600, 2.0)))
    with pytest.raises(InputError, match="surrogate 'forest' is unknown; allowed: additive"):
        fit("forest", kept_of(planted, 1), planted, FitOptions())
    with pytest.raises(InputError, match=r"penalty is -1\.0"):
        FitOptions(penalty=-1.0)
    with pytest.raises(InputError, match="depth is 0"):
        FitOptions(depth=0)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (["no tata+", "inr+"], "no tata+, but inr+"),
        (["inr+", "no tata+"], "inr+, but no tata+"),
        (["no tata+", "no inr+"], "no tata+ and no inr+"),
        (["no inr+", "no tata+", "gc+", "gc-"], "no inr+ and no tata+, but gc+ and gc-"),
        (["gc+"], "gc+"),
        ([], ""),
    ],
)
def test_what_is_not_there_reads_one_way(parts: list[str], said: str) -> None:
    assert listed(parts) == said
