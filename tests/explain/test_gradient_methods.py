"""Gradient methods against what can be written down: linear, product and maximum; axioms; chance."""

from __future__ import annotations

import numpy as np
import pytest
import toy_objectives
import worlds
from numpy.testing import assert_allclose, assert_array_equal

from borzoi_rt.errors import InputError
from borzoi_rt.explain.methods import find_method, read_options
from borzoi_rt.explain.shuffles import dinucleotide_shuffle, shuffled
from borzoi_rt.sequence import encode

LENGTH = 96
BASES = (16, 80)
INTEGRATED = ("ig", "expected-gradients")
GRADIENT = ("saliency", "ixg", "ig", "smoothgrad", "expected-gradients")


def explain(name: str, objective: object, window: np.ndarray, bases: tuple[int, int] = BASES, **options: object):
    return find_method(name).run(objective, window, bases, read_options(name, options))


@pytest.fixture(scope="module")
def window() -> np.ndarray:
    text = worlds.random_dna(LENGTH, 4)
    return encode(text[:30] + "NNN" + text[33:])


@pytest.fixture(scope="module")
def weights() -> np.ndarray:
    return np.random.default_rng(8).normal(size=(4, LENGTH))


def references(window: np.ndarray, count: int, seed: int = 0) -> list[np.ndarray]:
    return [shuffled(window, *BASES, np.random.default_rng([seed, 0, k])).astype(np.float64) for k in range(count)]


@pytest.mark.parametrize("name", ["saliency", "ixg", "smoothgrad"])
def test_of_a_linear_objective_the_corrected_gradient_is_its_weights(name, window, weights):
    found = explain(name, toy_objectives.linear(weights), window)
    inside = weights[:, slice(*BASES)]
    assert_allclose(found.hypothetical, inside - inside.mean(axis=0), rtol=1e-12, atol=1e-15)
    assert_allclose(found.value, (weights * window).sum())
    assert_allclose(found.projected(window[:, slice(*BASES)])[14:17], 0.0)  # unknown bases


@pytest.mark.parametrize("name", INTEGRATED)
def test_of_a_linear_objective_integrated_gradients_are_differences_of_weights(name, window, weights):
    options = {"references": 4} if name == "ig" else {"samples": 4}
    found = explain(name, toy_objectives.linear(weights), window, **options)
    inside = weights[:, slice(*BASES)]
    there = np.mean([(r[:, slice(*BASES)] * inside).sum(axis=0) for r in references(window, 4)], axis=0)
    assert_allclose(found.hypothetical, inside - there, rtol=1e-12, atol=1e-14)
    assert found.facts["completeness_error"] < 1e-12
    assert_allclose(found.arrays["se"].shape, (4, BASES[1] - BASES[0]))


def test_of_a_product_integrated_gradients_are_exact_in_one_step(window, weights):
    """The derivative of a product of two sums is linear along the line, so that its midpoint is its mean."""
    other = np.roll(weights, 5, axis=1)
    objective = toy_objectives.product(weights, other)
    one = explain("ig", objective, window, steps=1, references=3)
    many = explain("ig", objective, window, steps=7, references=3)
    assert_allclose(one.hypothetical, many.hypothetical, rtol=1e-10, atol=1e-10)
    want = np.zeros((4, BASES[1] - BASES[0]))
    for r in references(window, 3):
        middle = 0.5 * (window + r)
        g = (weights * (other * middle).sum() + other * (weights * middle).sum())[:, slice(*BASES)]
        want += (g - (g * r[:, slice(*BASES)]).sum(axis=0)) / 3
    assert_allclose(one.hypothetical, want, rtol=1e-10, atol=1e-12)
    assert one.facts["completeness_error"] < 1e-10
    assert abs(one.facts["difference"]) > 0.1


def test_saliency_of_a_product_and_of_a_maximum(window, weights):
    other = np.roll(weights, 5, axis=1)
    g = weights * (other * window).sum() + other * (weights * window).sum()
    found = explain("saliency", toy_objectives.product(weights, other), window, (0, LENGTH))
    assert_allclose(found.hypothetical, g - g.mean(axis=0), rtol=1e-12)
    best = int((weights * window).sum(axis=0).argmax())
    largest = explain("saliency", toy_objectives.maximum(weights), window, (0, LENGTH)).hypothetical
    assert_array_equal(np.flatnonzero(np.abs(largest).sum(axis=0)), [best])
    assert_allclose(largest[:, best], weights[:, best] - weights[:, best].mean())


@pytest.mark.parametrize("name", INTEGRATED)
def test_completeness_of_a_curved_objective(name, window, weights):
    """32 steps of the midpoint rule err by the third derivative / (24 K^2); random points by chance."""
    options = {"references": 2} if name == "ig" else {"samples": 400}
    found = explain(name, toy_objectives.smooth(0.3 * weights), window, **options)
    bound = 1e-3 if name == "ig" else 0.05
    assert 0.0 < found.facts["completeness_error"] < bound
    inside = window[:, slice(*BASES)]
    total = found.projected(inside).sum()
    assert_allclose(total, found.facts["difference"] + found.facts["completeness_delta"], rtol=1e-10)


@pytest.mark.parametrize("name", GRADIENT)
def test_what_does_not_count_gets_nothing(name, window, weights):
    """Dummy axiom: bases 40 to 50 have no weight."""
    held = weights.copy()
    held[:, 40:50] = 0.0
    found = explain(name, toy_objectives.smooth(0.3 * held), window)
    assert_array_equal(found.hypothetical[:, 24:34], np.zeros((4, 10)))
    assert np.abs(found.hypothetical).sum() > 1.0


@pytest.mark.parametrize("name", GRADIENT)
def test_equal_roles_get_equal_shares(name, window, weights):
    """Symmetry: two positions of the same base, of equal weights and, where there are references, equal in these."""
    codes = window[:, slice(*BASES)].argmax(axis=0)
    there = [r[:, slice(*BASES)].argmax(axis=0) for r in references(window, 1)]
    key = codes * 4 + there[0]
    first, second = next(
        (p, q) for p in range(20, 64) for q in range(p + 1, 64) if key[p] == key[q] and codes[p] != there[0][p]
    )
    held = 0.2 * weights
    held[:, BASES[0] + second] = held[:, BASES[0] + first]
    options = {"ig": {"references": 1}, "expected-gradients": {"samples": 1}}.get(name, {})
    found = explain(name, toy_objectives.smooth(held), window, **options).hypothetical
    assert_allclose(found[:, first], found[:, second], rtol=1e-9)


@pytest.mark.parametrize("name", ["ig", "smoothgrad", "expected-gradients"])
def test_chance_follows_its_seed(name, window, weights):
    objective = toy_objectives.product(weights, np.roll(weights, 3, axis=1))
    first, again, other = (explain(name, objective, window, seed=seed).hypothetical for seed in (1, 1, 2))
    assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


def test_smoothgrad_stays_on_one_hot_and_counts_its_samples(window, weights):
    seen = []
    objective = toy_objectives.linear(weights)
    derivative = objective.derivative
    objective.derivative = lambda x: (seen.append(x.copy()), derivative(x))[1]
    explain("smoothgrad", objective, window, samples=40, kept=0.7)
    assert len(seen) == 40
    for copy in seen:
        assert_array_equal(np.unique(copy), [0.0, 1.0])
        assert_array_equal(copy.sum(axis=0), window.sum(axis=0))
    known = window.any(axis=0)
    same = np.mean([(copy * window).sum(axis=0)[known].mean() for copy in seen])
    assert abs(same - 0.7) < 0.03  # composition is near uniform; 40 x 93 draws have a deviation of 0.0075
    assert_allclose(
        explain("smoothgrad", objective, window, kept=1.0).hypothetical,
        explain("saliency", objective, window).hypothetical,
    )


def test_a_target_that_does_not_change_is_said_to_be_none(window, weights):
    found = explain("ig", toy_objectives.linear(np.ones((4, LENGTH))), window)
    assert found.facts["completeness_error"] is None
    assert "hardly differ" in found.facts["note"]


def pairs(codes: np.ndarray) -> np.ndarray:
    return np.bincount(codes[:-1] * 4 + codes[1:], minlength=16)


def test_a_shuffle_keeps_dinucleotides_ends_and_unknown_bases():
    text = worlds.random_dna(700, 2)
    window = encode("N" * 5 + text + "NN" + text[:200] + "ACGT")
    found = shuffled(window, 3, 900, np.random.default_rng(0), bin_bp=256)
    assert_array_equal(found[:, :5], window[:, :5])
    assert_array_equal(found[:, 900:], window[:, 900:])
    assert_array_equal(found.sum(axis=0), window.sum(axis=0))
    for low, high in ((5, 259), (259, 515), (515, 705), (707, 771), (771, 900)):
        a, b = window[:, low:high].argmax(axis=0), found[:, low:high].argmax(axis=0)
        assert_array_equal(pairs(a), pairs(b))
        assert (a[0], a[-1]) == (b[0], b[-1])
        assert 0.5 < np.mean(a != b) < 0.9
    whole = slice(5, 705)
    assert_array_equal(pairs(window[:, whole].argmax(axis=0)), pairs(found[:, whole].argmax(axis=0)))


def test_shuffles_are_drawn_evenly():
    """ACAGA.. of 9 letters: every arrangement with these dinucleotides is drawn, each as often as the others."""
    codes = np.array([0, 1, 0, 2, 0, 3, 0, 1, 2])
    counts: dict[tuple[int, ...], int] = {}
    rng = np.random.default_rng(1)
    for _ in range(6000):
        found = tuple(dinucleotide_shuffle(codes, rng).tolist())
        counts[found] = counts.get(found, 0) + 1
    walks = every_walk(codes)
    assert counts.keys() == walks
    expected = 6000 / len(walks)
    assert max(abs(count - expected) for count in counts.values()) < 5 * np.sqrt(expected)


def every_walk(codes: np.ndarray) -> set[tuple[int, ...]]:
    """Every sequence with the same first letter and the same dinucleotides."""
    found: set[tuple[int, ...]] = set()

    def go(walk: list[int], left: np.ndarray) -> None:
        if len(walk) == len(codes):
            found.add(tuple(walk))
        for letter in range(4):
            if left[walk[-1] * 4 + letter]:
                rest = left.copy()
                rest[walk[-1] * 4 + letter] -= 1
                go([*walk, letter], rest)

    go([int(codes[0])], pairs(codes))
    return found


@pytest.mark.parametrize("text", ["A", "AC", "ACG", "AAAAAAAA", "ACACACAC"])
def test_what_has_one_arrangement_stays(text):
    codes = encode(text).argmax(axis=0)
    assert_array_equal(dinucleotide_shuffle(codes, np.random.default_rng(0)), codes)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("saliencyy", {}, "allowed: saliency, .*; did you mean saliency"),
        ("saliency", {"steps": 3}, "method 'saliency' has no option 'steps'; it has none"),
        ("ig", {"samples": 3}, "has no option 'samples'; its options are steps, references, bin_bp, seed"),
        ("ig", {"steps": 0}, "steps is 0"),
        ("ig", {"references": True}, "references is True"),
        ("smoothgrad", {"kept": 0.1}, "kept is 0.1"),
        ("expected-gradients", {"seed": -1}, "seed is -1"),
    ],
)
def test_what_no_method_has_is_refused(name, options, message):
    with pytest.raises(InputError, match=message):
        read_options(name, options)


def test_bases_outside_the_window_are_refused(window, weights):
    with pytest.raises(InputError, match="bases 90:120 do not lie in the window of 96"):
        explain("saliency", toy_objectives.linear(weights), window, (90, 120))
