"""Experiments with motifs against what can be counted."""

from __future__ import annotations

import numpy as np
import pytest
import toy_objectives
import worlds
from numpy.testing import assert_allclose, assert_array_equal

from borzoi_rt.errors import InputError
from borzoi_rt.explain.experiments import ablate, marginalize, space
from borzoi_rt.sequence import decode, encode

LENGTH = 40
BACKGROUNDS = np.stack([encode(worlds.random_dna(LENGTH, seed)) for seed in (1, 2, 3)])


def counting(pattern: str) -> toy_objectives.ToyObjective:
    """Return how far the first copy of a pattern is from the start, -1 where there is none."""
    return toy_objectives.ToyObjective(
        LENGTH, lambda x: float(decode(x.astype(np.uint8)).find(pattern)), lambda x: np.zeros_like(x)
    )


def test_a_motif_is_put_into_the_middle_or_where_it_is_asked():
    found = marginalize(counting("TTTTTTTTT"), BACKGROUNDS, "TTTTTTTTT")
    assert_array_equal(found.before, [-1, -1, -1])
    assert found.after.shape == (3,)
    # 40 // 2 - 9 // 2 = 16, less what is T before it.
    texts = [worlds.random_dna(LENGTH, seed)[:16] for seed in (1, 2, 3)]
    assert_array_equal(found.after, [16 - (len(text) - len(text.rstrip("T"))) for text in texts])
    assert_array_equal(marginalize(counting("GATTACAGATTACA"), BACKGROUNDS, "GATTACAGATTACA", start=3).after, [3, 3, 3])


def test_the_effect_on_a_linear_objective_is_the_motif_s_weight():
    weights = np.random.default_rng(0).normal(size=(4, LENGTH))
    found = marginalize(toy_objectives.linear(weights), BACKGROUNDS, "ACGT", start=10)
    want = (weights[:, 10:14] * encode("ACGT")).sum() - (weights[:, 10:14] * BACKGROUNDS[:, :, 10:14]).sum(axis=(1, 2))
    assert_allclose(found.after - found.before, want, rtol=1e-12)


def test_motifs_at_distances():
    first, second = "ACACACACGG", "TTGGTTGGTT"
    gaps = np.array([[0], [3], [7]])
    where = [space(counting(motif), BACKGROUNDS, [first, second], gaps, start=2).after for motif in (first, second)]
    assert_array_equal(where[0], np.full((3, 3), 2))
    assert_array_equal(where[1], np.tile([12, 15, 19], (3, 1)))

    # Without a start the whole arrangement is in the middle: 40 // 2 - (20 + gap) // 2.
    where = [space(counting(motif), BACKGROUNDS, [first, second], gaps).after for motif in (first, second)]
    assert_array_equal(where[0], np.tile([10, 9, 7], (3, 1)))
    assert_array_equal(where[1], np.tile([20, 22, 24], (3, 1)))


def test_motifs_lie_in_the_bases_that_are_asked():
    motif = "ACACACACGG"
    # 12 of them from 5 on: 5 + 12 // 2 - 10 // 2.
    assert_array_equal(marginalize(counting(motif), BACKGROUNDS, motif, bases=(5, 17)).after, [6, 6, 6])
    with pytest.raises(InputError, match="are 10 bases, and there is room for 9; give more bases"):
        marginalize(counting(motif), BACKGROUNDS, motif, bases=(5, 14))


def test_an_n_of_a_motif_leaves_what_is_there():
    weights = np.random.default_rng(1).normal(size=(4, LENGTH))
    found = marginalize(toy_objectives.linear(weights), BACKGROUNDS, "ANNGT", start=20)
    changed = BACKGROUNDS.copy()
    for column, letter in ((20, "A"), (23, "G"), (24, "T")):
        changed[:, :, column] = encode(letter)[:, 0]
    assert_allclose(found.after, (weights * changed).sum(axis=(1, 2)), rtol=1e-12)


def test_bases_are_shuffled_and_nothing_else():
    weights = np.zeros((4, LENGTH))
    weights[:, :10] = weights[:, 30:] = 1.7
    found = ablate(toy_objectives.linear(weights), BACKGROUNDS, (10, 30), samples=6)
    assert found.after.shape == (3, 6)
    assert_allclose(found.after, np.repeat(found.before[:, None], 6, axis=1), rtol=1e-12)
    inside = np.random.default_rng(0).normal(size=(4, LENGTH))
    first, again, other = (
        ablate(toy_objectives.linear(inside), BACKGROUNDS, (10, 30), samples=6, seed=seed).after for seed in (0, 0, 1)
    )
    assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-6
    assert np.abs(np.diff(first, axis=1)).max() > 1e-6


def test_what_does_not_fit_is_refused():
    objective = counting("A")
    for call, message in (
        (lambda: marginalize(objective, BACKGROUNDS, "ACGT", start=38), "do not lie in the window"),
        (lambda: marginalize(objective, BACKGROUNDS, "ACRT"), "motif 'ACRT' is not made of"),
        (lambda: marginalize(objective, BACKGROUNDS, ""), "is not made of"),
        (lambda: space(objective, BACKGROUNDS, ["A", "C"], np.zeros((2, 2))), "spacing has shape"),
        (lambda: space(objective, BACKGROUNDS, ["A", "C"], np.array([[-1]])), "spacing has shape"),
        (lambda: ablate(objective, BACKGROUNDS, (30, 50)), "do not lie in the window"),
        (lambda: ablate(objective, BACKGROUNDS, (3, 5), samples=0), "samples is 0"),
    ):
        with pytest.raises(InputError, match=message):
            call()
