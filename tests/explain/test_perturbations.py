"""Methods that change bases and look: against sums that can be written down, all orders, and the axioms."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import toy_objectives
import worlds
from numpy.testing import assert_allclose, assert_array_equal

from borzoi_rt.errors import InputError
from borzoi_rt.explain.methods import METHODS, find_method, read_options
from borzoi_rt.explain.shuffles import shuffled
from borzoi_rt.explain.stretches import tiles_of
from borzoi_rt.sequence import encode

LENGTH, BASES = 96, (16, 80)
TILES = [(16, 36), (36, 56), (56, 76), (76, 80)]
STRETCHES = ("shuffle", "deletion", "occlusion", "shap", "lime")


def explain(name: str, objective: object, window: np.ndarray, bases: tuple[int, int] = BASES, **options: object):
    return find_method(name).run(objective, window, bases, read_options(name, options))


@pytest.fixture(scope="module")
def window() -> np.ndarray:
    text = worlds.random_dna(LENGTH, 4)
    return encode(text[:30] + "NNN" + text[33:])


@pytest.fixture(scope="module")
def weights() -> np.ndarray:
    return np.random.default_rng(8).normal(size=(4, LENGTH))


def per_tile(found, window: np.ndarray) -> np.ndarray:
    """Return the sum over each stretch of what is said of its bases."""
    projected = found.projected(window[:, slice(*BASES)])
    return np.array([projected[low - BASES[0] : high - BASES[0]].sum() for low, high in TILES])


def total(weights: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the weight of each stretch."""
    return np.array([(weights * x)[:, low:high].sum() for low, high in TILES])


def test_mutagenesis_of_a_linear_objective_is_the_corrected_gradient(window, weights):
    """The identities of conventions: mean4 equals corrected input times gradient, mean3 is 4/3 of it at the base."""
    objective = toy_objectives.linear(weights)
    four, three = (explain("ism", objective, window, convention=name) for name in ("mean4", "mean3"))
    inside, x = weights[:, slice(*BASES)], window[:, slice(*BASES)]
    known = x.any(axis=0)
    assert_allclose(four.hypothetical[:, known], (inside - inside.mean(axis=0))[:, known], atol=1e-13)
    assert_allclose(three.projected(x)[known], 4 / 3 * four.projected(x)[known], rtol=1e-10)
    effects = (inside - (inside * x).sum(axis=0)) * np.where(known, 1.0, 1.0)
    assert_allclose(four.arrays["effects"], effects, atol=1e-12)
    assert_array_equal(four.arrays["effects"][x == 1], 0.0)
    assert_allclose(four.hypothetical.sum(axis=0), 0.0, atol=1e-12)


def test_mutagenesis_is_the_plain_loop(window, weights):
    objective = toy_objectives.product(weights, np.roll(weights, 5, axis=1))
    found = explain("ism", objective, window, (28, 36)).arrays["effects"]
    for column, base in itertools.product(range(28, 36), range(4)):
        mutant = window.copy()
        mutant[:, column] = np.eye(4, dtype=np.uint8)[base]
        want = objective.values(mutant[None])[0] - objective.values(window[None])[0]
        assert found[base, column - 28] == want
    assert_array_equal(window, encode(worlds.random_dna(LENGTH, 4)) * window.any(axis=0))  # the window is as it was


def test_the_hybrid_ranks_and_scores_again(window, weights):
    objective = toy_objectives.smooth(0.5 * weights)
    exact = explain("ism", objective, window).arrays["effects"]
    found = explain("ism-hybrid", objective, window, recheck=40, sample=10)
    known = np.isfinite(found.arrays["effects_exact"])
    assert_array_equal(found.arrays["effects"][known], exact[known])
    there = window[:, slice(*BASES)] == 1
    again = known & ~there
    assert 40 <= again.sum() <= 50
    assert found.facts["rescored"] == again.sum()
    # The strongest by the approximation are among them, and it is right about the sign where it is small.
    plane = (objective.derivative(window.astype(float)) * 1.0)[:, slice(*BASES)]
    plane -= (plane * window[:, slice(*BASES)]).sum(axis=0)
    assert_allclose(found.arrays["effects_approximate"][~there], plane[~there], rtol=1e-10, atol=1e-14)
    limit = np.sort(np.abs(plane[~there]))[-40]
    assert known[(np.abs(plane) > limit) & ~there].all()
    assert_array_equal(found.arrays["effects"][~known], found.arrays["effects_approximate"][~known])
    assert 0.9 < found.facts["rank_correlation_of_sample"] <= 1.0
    assert 0.0 < found.facts["largest_error_of_sample"] < 1.0
    every = explain("ism-hybrid", objective, window, recheck=10_000)
    assert_allclose(every.hypothetical, explain("ism", objective, window).hypothetical, atol=1e-15)
    flat = explain("ism-hybrid", toy_objectives.linear(weights), window, recheck=1, sample=200)
    assert flat.facts["rank_correlation_of_sample"] == pytest.approx(1.0)
    assert flat.facts["largest_error_of_sample"] < 1e-9


def test_tiles():
    assert tiles_of(BASES, 20) == TILES


@pytest.mark.parametrize("name", ["occlusion", "shuffle", "shap"])
def test_of_a_linear_objective_a_stretch_counts_its_weight(name, window, weights):
    objective, options = toy_objectives.linear(weights), {} if name == "occlusion" else {"samples": 4, "seed": 3}
    found = explain(name, objective, window, tile_bp=20, **options)
    if name == "occlusion":
        gone = np.zeros(len(TILES))
    elif name == "shuffle":
        gone = np.mean(
            [
                [
                    total(weights, shuffled(window, *tile, np.random.default_rng([3, number, sample])))[number]
                    for number, tile in enumerate(TILES)
                ]
                for sample in range(4)
            ],
            axis=0,
        )
    else:
        gone = np.mean(
            [total(weights, shuffled(window, *BASES, np.random.default_rng([3, pair]))) for pair in (0, 0, 1, 1)],
            axis=0,
        )
    assert_allclose(per_tile(found, window), total(weights, window) - gone, atol=1e-10)
    assert_allclose(np.unique(found.arrays["effect"]), np.unique(total(weights, window) - gone), atol=1e-10)
    assert found.facts["stretches"] == 4


def test_a_deletion_moves_both_sides_towards_the_gap(window):
    """Of 5 bases, the left side moves by 2 and the right by 3."""
    seen: list[np.ndarray] = []
    objective = toy_objectives.ToyObjective(LENGTH, lambda x: (seen.append(x.copy()), 0.0)[1], lambda x: x)
    explain("deletion", objective, window, (40, 45), tile_bp=5)
    changed = seen[-1].astype(np.uint8)
    assert_array_equal(changed[:, 2:42], window[:, :40])
    assert_array_equal(changed[:, 42:93], window[:, 45:])
    assert not changed[:, :2].any()
    assert not changed[:, 93:].any()


def exact_shapley(objective, window: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return Shapley values by all orders of the four stretches."""
    found = np.zeros(len(TILES))
    for order in itertools.permutations(range(len(TILES))):
        held = reference.copy()
        before = objective.values(held[None])[0]
        for tile in order:
            low, high = TILES[tile]
            held[:, low:high] = window[:, low:high]
            after = objective.values(held[None])[0]
            found[tile] += (after - before) / math.factorial(len(TILES))
            before = after
    return found


@pytest.mark.parametrize("make", ["product", "maximum", "smooth"])
def test_kernel_and_orders_give_shapley_values(make, window, weights):
    other = np.roll(weights, 5, axis=1)
    objective = {
        "product": toy_objectives.product(weights, other),
        "maximum": toy_objectives.maximum(weights),
        "smooth": toy_objectives.smooth(0.3 * weights),
    }[make]
    found = explain("shap", objective, window, tile_bp=20, sampling="kernel", samples=14)  # all of 2^4 - 2
    reference = shuffled(window, *BASES, np.random.default_rng([0, 1, 0]))
    assert_allclose(per_tile(found, window), exact_shapley(objective, window, reference), rtol=1e-8, atol=1e-9)
    orders = explain("shap", objective, window, tile_bp=20, samples=600)
    # By orders every pair has a reference of its own: the mean over many is compared, within five standard errors.
    references = [shuffled(window, *BASES, np.random.default_rng([0, pair])) for pair in range(300)]
    want = np.mean([exact_shapley(objective, window, item) for item in references], axis=0)
    error = orders.arrays["effect_se"][[tile[0] - BASES[0] for tile in TILES]]
    assert (np.abs(per_tile(orders, window) - want) <= 5 * error + 1e-12).all()


@pytest.mark.parametrize("options", [{"samples": 7}, {"samples": 9, "sampling": "kernel", "tile_bp": 4}])
def test_shapley_values_add_up_whatever_the_number_of_samples(options, window, weights):
    objective = toy_objectives.product(weights, np.roll(weights, 5, axis=1))
    found = explain("shap", objective, window, **{"tile_bp": 20, **options})
    assert abs(found.facts["completeness_delta"]) < 1e-9 * abs(found.facts["difference"])
    assert_allclose(found.projected(window[:, slice(*BASES)]).sum(), found.facts["difference"], rtol=1e-9)
    assert abs(found.facts["difference"]) > 0.1


def test_one_stretch_has_all_of_the_difference(window, weights):
    objective = toy_objectives.smooth(0.3 * weights)
    for sampling in ("kernel", "permutation"):
        found = explain("shap", objective, window, tile_bp=500, sampling=sampling)
        assert_allclose(found.arrays["effect"][0], found.facts["difference"], rtol=1e-9)


def test_lime_finds_the_weights_of_a_linear_objective(window):
    """One weight a stretch on G and C alone: a shuffle keeps their number but for chance of its ends; R2 is 1."""
    weights = np.zeros((4, LENGTH))
    objective = toy_objectives.ToyObjective(
        LENGTH,
        lambda x: float(
            sum(
                (number + 1) * (x[:, low:high] == window[:, low:high]).all() for number, (low, high) in enumerate(TILES)
            )
        ),
        lambda x: weights,
    )
    found = explain("lime", objective, window, tile_bp=20, samples=300, ridge=1e-6)
    effects = found.arrays["effect"][[tile[0] - BASES[0] for tile in TILES]]
    assert_allclose(effects[:3], [1.0, 2.0, 3.0], atol=0.05)
    assert found.facts["r2_held_out"] > 0.95
    shrunk = explain("lime", objective, window, tile_bp=20, samples=300, ridge=1e4)
    assert np.abs(shrunk.arrays["effect"]).max() < 0.1


@pytest.mark.parametrize("name", ["ism", *STRETCHES])
def test_what_does_not_count_gets_nothing(name, window, weights):
    """Dummy axiom; a regression finds little, and nothing in the limit."""
    held = weights.copy()
    held[:, 36:56] = 0.0
    options = {"ism": {}, "deletion": {"tile_bp": 20}}.get(name, {"tile_bp": 20})
    if name == "lime":
        options["samples"] = 1500
    found = explain(name, toy_objectives.smooth(0.3 * held), window, **options).hypothetical
    if name == "deletion":
        return  # what is deleted moves all the rest
    bound = 0.1 * np.abs(found).max() if name == "lime" else 1e-12
    assert np.abs(found[:, 20:40]).max() <= bound
    assert np.abs(found).max() > 1e-3


@pytest.mark.parametrize("name", ["shuffle", "shap", "lime"])
def test_chance_follows_its_seed(name, window, weights):
    objective = toy_objectives.product(weights, np.roll(weights, 3, axis=1))
    first, again, other = (
        explain(name, objective, window, tile_bp=20, samples=6, seed=seed).hypothetical for seed in (1, 1, 2)
    )
    assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-6


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ism", {"convention": "mean2"}, "allowed: mean4, mean3"),
        ("ism-hybrid", {"recheck": 0}, "recheck is 0"),
        ("ism-hybrid", {"convention": "none"}, "allowed: mean4, mean3"),
        ("ism", {"tile_bp": 3}, "has no option 'tile_bp'"),
        ("occlusion", {"tile_bp": 0}, "tile_bp is 0"),
        ("shap", {"sampling": "all"}, "allowed: permutation, kernel"),
        ("lime", {"ridge": -1.0}, "ridge is -1.0"),
        ("shuffle", {"seed": -1}, "seed is -1"),
    ],
)
def test_what_is_no_option_is_refused(name, options, message):
    with pytest.raises(InputError, match=message):
        read_options(name, options)


def test_only_gradients_need_a_gradient():
    assert {name for name, method in METHODS.items() if not method.gradient} == {"ism", "deeplift", *STRETCHES}
    assert [name for name, method in METHODS.items() if method.approximate] == ["ism-hybrid"]
