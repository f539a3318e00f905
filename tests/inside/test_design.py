"""Design: laws of the search on functions that can be written down, and the planted motif in a designed promoter."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest
import toy_objectives
import worlds
from command_line import caller, check_error

from borzoi_rt.demo import grammar
from borzoi_rt.demo.packaged import packaged_bundle
from borzoi_rt.errors import InputError
from borzoi_rt.inside.design import DesignOptions, design
from borzoi_rt.sequence import decode, encode

LENGTH, BASES = 40, (5, 35)
RNG = np.random.default_rng(3)
WEIGHTS = RNG.normal(size=(4, LENGTH))
WINDOW = encode("".join(RNG.choice(list("ACGT"), LENGTH)))


def linear() -> toy_objectives.ToyObjective:
    return toy_objectives.linear(WEIGHTS)


@pytest.mark.parametrize("guide", ["exact", "gradient"])
@pytest.mark.parametrize("goal", ["raise", "lower"])
def test_greedy_finds_the_optimum_of_a_linear_function(guide: str, goal: str) -> None:
    """The K largest gains over positions, a position once: the best sequence within K substitutions."""
    sign = 1.0 if goal == "raise" else -1.0
    there = (WEIGHTS * WINDOW).sum(axis=0)
    gains = np.sort((sign * (WEIGHTS - there)).max(axis=0)[slice(*BASES)])[::-1]
    objective = linear()
    for edits in (1, 7, 40):
        best = gains[:edits][gains[:edits] > 0].sum()
        options = DesignOptions(edits=edits, guide=guide, goal=goal)
        found = design(objective, WINDOW, BASES, options, guide=objective if guide == "gradient" else None)
        assert found.value == pytest.approx(there.sum() + sign * best, abs=1e-12)
        values = [found.start, *(step.after for step in found.steps)]
        assert (sign * np.diff(values) > 0).all()
        assert [step.before for step in found.steps] == values[:-1]
        changed = np.flatnonzero((found.window != WINDOW).any(axis=0))
        assert len(changed) == len(found.steps) <= edits
        assert BASES[0] <= changed.min() <= changed.max() < BASES[1]


def test_a_beam_finds_what_needs_two_substitutions() -> None:
    """Two halves that are worth something together alone, and one base that is worth less: greedy takes that."""
    window = encode("A" * LENGTH)

    def value(x: np.ndarray) -> float:
        return float(5.0 * x[1, 10] * x[1, 11] + x[2, 20] + 0.01 * x[3, 10])

    objective = toy_objectives.ToyObjective(LENGTH, value, lambda x: np.zeros((4, LENGTH)))
    greedy = design(objective, window, BASES, DesignOptions(edits=2))
    beam = design(objective, window, BASES, DesignOptions(edits=2, search="beam", beam=100))
    assert (greedy.value, beam.value) == (pytest.approx(1.01), pytest.approx(5.0))
    assert {step.column for step in beam.steps} == {10, 11}
    narrow = design(objective, window, BASES, DesignOptions(edits=2, search="beam", beam=1))
    assert narrow.value == greedy.value


def test_constraints_are_kept() -> None:
    fixed = np.zeros(30, dtype=bool)
    fixed[:12] = True
    options = DesignOptions(edits=15, gc=(0.45, 0.55), forbid=("TTT", "CNG"))
    window = encode(decode(WINDOW)[:3] + "ACATACATACATAC" + decode(WINDOW)[17:])
    found = design(linear(), window, BASES, options, fixed=fixed)
    text = decode(found.window)
    assert 0.45 <= sum(text[slice(*BASES)].count(base) for base in "GC") / 30 <= 0.55
    around = text[BASES[0] - 2 : BASES[1] + 2]
    assert not any(around[at : at + 3] in ("TTT", "AAA") for at in range(len(around) - 2))
    assert not any(around[at] == "C" and around[at + 2] == "G" for at in range(len(around) - 2))
    assert np.array_equal(found.window[:, :17], window[:, :17])
    free = design(linear(), window, BASES, DesignOptions(edits=15))
    assert free.value > found.value  # they cost something, so that they were not idle
    assert found.gc[1] == pytest.approx(sum(text[slice(*BASES)].count(base) for base in "GC") / 30)


def test_constraints_that_cannot_be_met_are_told() -> None:
    with pytest.raises(InputError, match="not met within 2 edits"):
        design(linear(), encode("A" * LENGTH), BASES, DesignOptions(edits=2, gc=(0.5, 0.6)))


def test_the_seed_decides_what_chance_proposes() -> None:
    options = DesignOptions(edits=4, candidates=5, seed=1)
    one, again = (design(linear(), WINDOW, BASES, options) for _ in range(2))
    other = design(linear(), WINDOW, BASES, replace(options, seed=2))
    assert np.array_equal(one.window, again.window)
    assert not np.array_equal(one.window, other.window)
    assert one.predicted == 1 + 5 * 4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"search": "all"}, "search 'all' is unknown"),
        ({"edits": 0}, "edits is 0"),
        ({"gc": (0.6, 0.4)}, "gc is"),
        ({"forbid": ("AXT",)}, "forbidden word 'AXT'"),
        ({"forbid": ("NNN",)}, "forbidden word 'NNN'"),
    ],
)
def test_options_that_are_wrong_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        DesignOptions(**options)  # type: ignore[arg-type]


def test_nothing_that_may_change_is_refused() -> None:
    with pytest.raises(InputError, match="no base may change"):
        design(linear(), WINDOW, BASES, fixed=np.ones(30, dtype=bool))
    with pytest.raises(InputError, match="belong together"):
        design(linear(), WINDOW, BASES, DesignOptions(guide="gradient"))


def nearest(text: str, motif: str) -> int:
    """Fewest mismatches of a motif, either strand."""
    both = (motif, grammar.reverse_complement(motif))
    return min(
        sum(a != b for a, b in zip(text[at : at + len(motif)], word, strict=True))
        for word in both
        for at in range(len(text) - len(motif) + 1)
    )
