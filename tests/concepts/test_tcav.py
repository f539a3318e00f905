"""Concept vectors and their test against numbers that are known: a linear layer, a known direction, chance."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

pytest.importorskip("sklearn")

from borzoi_rt.concepts.chance import bonferroni, two_sided
from borzoi_rt.concepts.tcav import Pooled, tcav
from borzoi_rt.concepts.vectors import VECTORS, fit_vector
from borzoi_rt.errors import InputError

UNITS = 6


def layer(seed: int, shift: np.ndarray, repeats: int = 10, examples: int = 40) -> Pooled:
    """A layer of noise in which the concept is a step along ``shift``."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((3, repeats, examples, UNITS))
    return Pooled(noise[0] + shift, noise[1], noise[2])


def unit(seed: int) -> np.ndarray:
    found = np.random.default_rng(seed).standard_normal(UNITS)
    return found / np.sqrt(found @ found)


@pytest.mark.parametrize("kind", VECTORS)
def test_a_known_direction_is_found(kind):
    truth = unit(1)
    held = layer(2, 5.0 * truth, repeats=5, examples=600)
    vector = fit_vector(held.present[0], held.absent[0], kind)
    assert vector.direction @ truth > 0.99
    assert_allclose(vector.direction @ vector.direction, 1.0)
    assert vector.accuracy(held.present[1], held.absent[1]) > 0.97
    other = fit_vector(held.absent[0], held.present[0], kind)  # labels exchanged: the other way
    assert_allclose(other.direction, -vector.direction, atol=1e-3)


@pytest.mark.parametrize("kind", VECTORS)
@pytest.mark.parametrize(("sign", "score", "says"), [(1.0, 1.0, "raises"), (-1.0, 0.0, "lowers")])
def test_of_a_linear_target_the_score_is_one_or_zero(kind, sign, score, says):
    """S = w . sum over p of A[p]: the derivative of every input is w, and a concept along w raises S."""
    weight = unit(3)
    found = tcav(layer(4, 5.0 * sign * weight, repeats=20), np.tile(weight, (7, 1)), kind=kind, tests=3)
    assert found.found.scores.tolist() == [score] * 20
    assert (found.says, found.significant) == (says, True)
    assert_allclose(found.p_bonferroni, min(1.0, 3 * found.p_value))
    assert found.found.mean_slope * sign > 0.9  # of a vector along the slope


def test_units_of_other_scales_do_not_decide_what_is_told_apart():
    """Accuracy is the same in any units; so is the score of the movement, but not of weights, which is no movement."""
    truth, scale = unit(1), 10.0 ** np.arange(-3, 3)
    held = layer(5, 5.0 * truth)
    scaled = Pooled(held.present * scale, held.absent * scale, held.other * scale)
    for kind in ("logistic", "difference"):
        plain, other = (tcav(one, slopes[None], kind=kind) for one, slopes in ((held, truth), (scaled, truth / scale)))
        if kind == "logistic":
            assert_allclose(other.found.accuracies, plain.found.accuracies)
        else:
            assert_allclose(other.found.scores, plain.found.scores)


def test_no_concept_is_told_from_chance():
    """Of 40 concepts that are noise, few are below 0.05; with Bonferroni, and an accuracy that counts, none."""
    slopes = np.random.default_rng(6).standard_normal((9, UNITS)) + 3.0 * unit(7)
    found = [tcav(layer(100 + seed, np.zeros(UNITS)), slopes, kind="ridge", tests=40) for seed in range(40)]
    assert sum(one.p_value <= 0.05 for one in found) <= 6
    assert not any(one.significant for one in found)
    assert_allclose(np.mean([one.found.scores.mean() for one in found]), 0.5, atol=0.1)
    assert_allclose(np.mean([one.found.accuracies.mean() for one in found]), 0.5, atol=0.02)


def test_a_concept_that_the_target_does_not_see_says_nothing():
    """Told apart with certainty, but at right angles to the slope, whose sign is then chance."""
    along, across = np.eye(UNITS)[0], np.eye(UNITS)[1]
    found = tcav(layer(8, 5.0 * across, repeats=20), along[None])
    assert found.told_apart
    assert (found.says, 0.1 < found.found.scores.mean() < 0.9) == ("nothing", True)


def test_two_sided_by_hand():
    one, other = np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([2.0, 3.0, 4.0, 5.0, 6.0])
    assert_allclose(two_sided(one, other), 0.346594, rtol=1e-5)  # t = -1, 8 degrees of freedom
    assert two_sided(np.ones(5), np.ones(5)) == 1.0
    assert_allclose(two_sided(np.ones(5), np.zeros(5)), 2 / 252)
    assert_allclose(two_sided(one, one + 1e6), 2 / 252)  # no less than an exchange of labels
    assert (bonferroni(0.02, 3), bonferroni(0.5, 3)) == (0.06, 1.0)


def test_what_says_nothing_is_refused():
    held = layer(9, unit(1))
    with pytest.raises(InputError, match="input 1: the target has no slope"):
        tcav(held, np.stack([unit(1), np.zeros(UNITS)]))
    with pytest.raises(InputError, match=r"\(inputs, 6\) is needed"):
        tcav(held, np.ones((2, 5)))
    with pytest.raises(InputError, match="no unit of the layer differs"):
        fit_vector(np.ones((4, 3)), np.ones((4, 3)))
    with pytest.raises(InputError, match="vector 'svm' is unknown"):
        fit_vector(held.present[0], held.absent[0], "svm")
    with pytest.raises(InputError, match="5 or more of 2 or more"):
        Pooled(*np.zeros((3, 4, 2, 6)))
