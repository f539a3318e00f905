"""The check of maps: planted agreement is found, chance and distance alone are not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from borzoi_rt.errors import InputError
from borzoi_rt.genome.intervals import Interval
from borzoi_rt.inside.activations import Layer
from borzoi_rt.inside.check import agreement, check_map_of, holding, recovery, spread


class Weighted:
    """A target that counts, in every position of 32 bp, bases that differ from the first window, times its weight."""

    def __init__(self, window: np.ndarray, weights: np.ndarray) -> None:
        self.first, self.weights = window, weights
        self.seen: list[int] = []

    @property
    def length(self) -> int:
        return self.first.shape[1]

    def values(self, sequences: np.ndarray) -> np.ndarray:
        found = []
        for sequence in sequences:
            changed = (sequence != self.first).any(axis=0).reshape(-1, 32).sum(axis=1)
            self.seen += np.flatnonzero(changed).tolist()
            found.append(-float((changed > 0) @ self.weights))
        return np.array(found)


LAYER = Layer("tokens", 1, 128, 32)


def random_window(seed: int = 0) -> np.ndarray:
    letters = np.random.default_rng(seed).integers(0, 4, 4096)
    return (letters == np.arange(4)[:, None]).astype(np.uint8)


def test_a_map_of_the_effects_agrees_and_others_do_not():
    rng, window = np.random.default_rng(3), random_window()
    weights = rng.exponential(size=128)
    objective = Weighted(window, weights)
    how = {"near": np.array([60]), "count": 64, "signed": True}
    found = check_map_of(objective, window, LAYER, weights + 9.0, **how)  # the level of a map means nothing
    assert found.agrees
    assert found.p_value < 0.002
    assert found.correlation > 0.8
    turned = check_map_of(objective, window, LAYER, -weights, **how)
    assert turned.correlation < -0.8
    assert not turned.agrees
    other = Weighted(window, -weights)
    assert check_map_of(other, window, LAYER, weights, **{**how, "signed": False}).agrees
    assert not check_map_of(other, window, LAYER, weights, **how).agrees
    # Of 128 positions 64 are changed, each alone and as a whole: every score and effect is of the same one.
    assert 60 <= len(set(objective.seen)) <= 64
    assert found.positions == 64
    chance = [check_map_of(objective, window, LAYER, rng.permutation(weights), **how).agrees for _ in range(40)]
    assert sum(chance) <= 6  # one of twenty is expected; more than six happen once in two hundred times


def test_falling_with_distance_alone_is_no_agreement():
    """Map and effect both fall with the distance from position 60, and have nothing else in common."""
    rng, window = np.random.default_rng(4), random_window()
    fall = 1.0 / (1.0 + np.abs(np.arange(128) - 60.0)) ** 2
    near, found = np.array([60]), []
    for seed in range(12):
        objective = Weighted(window, fall * rng.uniform(0.5, 2.0, 128))
        scores = fall * rng.uniform(0.5, 2.0, 128)
        found.append(check_map_of(objective, window, LAYER, scores, near=near, signed=True, count=96, seed=seed))
        plain = np.corrcoef(np.argsort(np.argsort(scores)), np.argsort(np.argsort(objective.weights)))[0, 1]
        assert plain > 0.8
    assert abs(np.mean([one.correlation for one in found])) < 0.1
    assert sum(one.agrees for one in found) <= 3


def test_ranks_within_classes_by_hand():
    scores, effects = np.array([1.0, 2.0, 30.0, 10.0, 20.0, 5.0]), np.array([1.0, 2.0, 5.0, 5.0, 6.0, 0.0])
    distance = np.array([1, 1, 4, 6, 5, 9])  # classes 1, 1, 3, 3, 3, and 4, which is alone and says nothing
    # Ranks less their mean: scores -1/2, 1/2, 1, -1, 0; effects -1/2, 1/2, -1/2, -1/2, 1; distance 0, 0, -1, 1, 0.
    # A line takes all of the scores' in the second class, and of the effects' nothing.
    found = agreement(scores, effects, distance, np.random.default_rng(0))
    assert_allclose(found.correlation, 0.5 / np.sqrt(0.5 * 2.0))
    assert found.classes == 2
    even = agreement(np.ones(6), effects, distance, np.random.default_rng(0))
    assert (even.correlation, even.p_value, even.agrees) == (0.0, 1.0, False)


def test_known_features_are_found_or_not():
    rng = np.random.default_rng(1)
    scores, known = rng.normal(size=200) * 0.1, np.zeros(200, dtype=bool)
    known[[20, 21, 90, 150]] = True
    scores[known] = [-3.0, 2.0, 4.0, -5.0]
    found = recovery(scores, known, near=np.array([100]))
    assert (found.auroc, found.recovers, found.known, found.positions) == (1.0, True, 4, 200)
    assert recovery(scores + 7.0, known, near=np.array([100])) == found
    verdicts = []
    for seed in range(12):
        others = np.random.default_rng(seed).normal(size=200)
        found = recovery(others, known, near=np.array([100]))
        far = np.abs(others - np.median(others))
        want = (far[known][:, None] > far[~known][None]).mean()
        assert_allclose(found.auroc, want)
        verdicts.append(found.recovers)
    assert sum(verdicts) <= 3
    # Features that lie near where distance is counted from are no finding of a map that falls with distance.
    near = np.abs(np.arange(200) - 100) < 8
    found = recovery(1.0 / (1 + np.abs(np.arange(200) - 100.0)), near, near=np.array([100]))
    assert found.auroc == 1.0
    assert not found.recovers
    with pytest.raises(InputError, match="0 of 200 positions hold a feature"):
        recovery(scores, np.zeros(200, dtype=bool), near=np.array([1]))


def test_positions_that_hold_an_interval():
    layer = Layer("tokens", 1, 6, 32, 64)  # positions begin at base 64 of the window
    intervals = [Interval("chr1", 1095, 1097), Interval("chr2", 1000, 9000), Interval("chr1", 1250, 9000)]
    assert_array_equal(holding(layer, 1000, "chr1", intervals), [True, True, False, False, False, True])
    assert not holding(layer, 1000, "chr1", [Interval("chr1", 0, 1064)]).any()


def test_positions_are_spread_over_classes():
    classes = np.array([0] + [1] * 3 + [2] * 40)
    chosen = spread(classes, 12, np.random.default_rng(0))
    assert_array_equal(np.bincount(classes[chosen]), [1, 3, 8])
    assert_array_equal(chosen, np.unique(chosen))
    assert len(spread(classes, 100, np.random.default_rng(0))) == 44


def test_too_few_positions_are_refused():
    window = random_window()
    with pytest.raises(InputError, match="check is of 4 positions; 8 or more are needed"):
        check_map_of(
            Weighted(window, np.ones(128)), window, LAYER, np.ones(128), near=np.array([1]), signed=True, count=4
        )
