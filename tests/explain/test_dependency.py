"""Dependency maps against toys whose maps can be written down, and against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
import toy_objectives as toys
import worlds
from command_line import caller, check_error
from numpy.testing import assert_allclose, assert_array_equal
from oracles import dependency as oracle

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.errors import InputError
from borzoi_rt.explain.attr_file import read_attributions
from borzoi_rt.explain.methods import METHODS, read_options
from borzoi_rt.model import open_model
from borzoi_rt.report.dependency import triangle
from borzoi_rt.sequence import encode

LENGTH, BASES = 18, (4, 12)


def explain(objective: object, window: np.ndarray, bases: tuple[int, int] = BASES, **options: object):
    return METHODS["dependency"].run(objective, window, bases, read_options("dependency", options))


@pytest.fixture(scope="module")
def window() -> np.ndarray:
    found = encode(worlds.random_dna(LENGTH, seed=5))
    found[:, 9] = 0  # an unknown base
    return found


@pytest.fixture(scope="module")
def weights() -> np.ndarray:
    return np.random.default_rng(7).normal(size=(3, 4, LENGTH))


@pytest.mark.parametrize("attribution", ["saliency", "ism"])
def test_of_a_linear_objective_only_the_diagonal_is_left(attribution, window, weights):
    found = explain(toys.linear(weights[0]), window, attribution=attribution)
    held, inside = found.arrays["dependency"], slice(*BASES)
    off = held - np.diag(np.diag(held))
    assert np.abs(off).max() < 1e-12
    corrected = weights[0][:, inside] - weights[0][:, inside].mean(axis=0)
    own = (corrected * window[:, inside]).sum(axis=0)
    known = window[:, inside].any(axis=0)
    # Sum over the four bases of |w_b - w_ref|: the base that is there adds nothing; at an unknown base all four count.
    want = np.abs(corrected - own).sum(axis=0) / np.where(known, 3.0, 4.0)
    assert_allclose(np.diag(held), want, rtol=1e-12)


def test_of_a_product_the_map_is_that_of_its_two_factors(window, weights):
    """(u x) (v x) with u and v on bases of their own: M[j, i] = |corrected u_j| times the mean |change of v at i|."""
    u, v = weights[0].copy(), weights[1].copy()
    u[:, 8:] = 0.0
    v[:, :8] = 0.0
    held = explain(toys.product(u, v), window).arrays["dependency"]
    first, last = np.arange(4, 8), np.array([8, 10, 11])  # 9 is unknown
    for j in first:
        for i in last:
            score = abs(u[window[:, j].argmax(), j] - u[:, j].mean())
            change = np.abs(v[:, i] - v[window[:, i].argmax(), i]).sum() / 3.0
            assert_allclose(held[j - 4, i - 4], score * change, rtol=1e-12)
    within = held[:4, :4] - np.diag(np.diag(held[:4, :4]))
    assert np.abs(within).max() < 1e-12  # bases of one factor do not depend on each other
    # An unknown base has no score to change, but what is put there changes those of the other factor.
    assert_array_equal(np.delete(held[5], 5), 0.0)
    assert held[:4, 5].min() > 0.0


@pytest.mark.parametrize("make", [toys.smooth, toys.maximum], ids=lambda make: make.__name__)
@pytest.mark.parametrize("attribution", ["saliency", "ism"])
def test_the_map_is_that_of_the_plain_loop(make, attribution, window, weights):
    objective = make(0.7 * weights[2])
    scores = {
        "saliency": oracle.input_times_gradient(objective.derivative),
        "ism": oracle.mutagenesis(objective.function),
    }[attribution]
    found = explain(objective, window, attribution=attribution)
    assert_allclose(found.arrays["dependency"], oracle.dependency(scores, window, *BASES), rtol=1e-9, atol=1e-12)
    other = METHODS[attribution].run(objective, window, BASES, read_options(attribution, {}))
    assert_allclose(found.hypothetical, other.hypothetical, rtol=1e-12, atol=1e-15)
    assert found.value == other.value


def test_what_it_takes_is_said_and_bounded(window, weights):
    for attribution, needed, noun in (
        ("saliency", 1 + 7 * 3 + 4, "gradients"),
        # Pairs of 25 substitutions at two bases each: of 25^2 all but those at one base (7 of 3^2, one of 4^2).
        ("ism", 1 + 25 + (625 - 7 * 9 - 16) // 2, "predictions"),
    ):
        objective = toys.linear(weights[0])
        asked = []
        objective.values = lambda sequences, held=objective, asked=asked: (
            asked.append(len(sequences)) or np.array([held.function(item.astype(np.float64)) for item in sequences])
        )
        found = explain(objective, window, attribution=attribution, max_passes=needed)
        assert found.facts == {"attribution": attribution, "substitutions": 25, noun: needed}
        assert objective.runs + sum(asked) == needed
        before = objective.runs
        with pytest.raises(InputError, match=f"take {needed} {noun}, max_passes is {needed - 1}"):
            explain(objective, window, attribution=attribution, max_passes=needed - 1)
        assert objective.runs == before


def test_what_is_no_option_is_refused():
    for options, message in (({"attribution": "ig"}, "allowed: saliency, ism"), ({"max_passes": 0}, "max_passes is 0")):
        with pytest.raises(InputError, match=message):
            read_options("dependency", options)
    method = METHODS["dependency"]
    assert method.needs_gradient(read_options("dependency", {}))
    assert not method.needs_gradient(read_options("dependency", {"attribution": "ism"}))


def test_the_triangle_is_the_mean_of_both_directions():
    found = triangle(np.array([[9.0, 1.0, 2.0], [3.0, 9.0, 4.0], [6.0, 8.0, 9.0]]))
    assert_array_equal(found.compressed(), [2.0, 4.0, 6.0])
    assert_array_equal(found.mask, [[True, False, False], [True, True, False], [True, True, True]])


def test_maps_from_the_command_line(tmp_path, monkeypatch, capsys, toy_bundle: Bundle, gradient_bundle: Bundle):
    call, fasta = (
        caller(monkeypatch, capsys),
        worlds.write_fasta(tmp_path / "t.fa", {"chr1": worlds.random_dna(6000, 9)}),
    )
    words = ["--fasta", fasta, "--region", "chr1:3,001-3,006", "--target", "log SUM", "--method", "dependency"]
    ended = call(
        "explain", *words, "--bundle", gradient_bundle.path, "--out", tmp_path / "a.h5", "--plot", tmp_path / "a.svg"
    )
    assert ended[0] == 0, ended
    held = read_attributions(tmp_path / "a.h5")
    with open_model(gradient_bundle, fasta=fasta) as model:
        made = model.explain("log SUM", "chr1:3,001-3,006", method="dependency")
    assert_allclose(held.arrays["dependency"][0], made.arrays["dependency"], rtol=1e-6)
    text = (tmp_path / "a.svg").read_text()
    assert ">bases apart<" in text
    assert ">change of the score of one by the other<" in text
    # Without gradient graphs saliency is refused, mutagenesis is not.
    plain = ["explain", *words, "--bundle", toy_bundle.path, "--out", tmp_path / "b.h5"]
    check_error(call(*plain), "has no gradient graphs")
    ended = call(*plain, "--attribution", "ism")
    assert ended[0] == 0, ended
    check_error(call(*plain, "--attribution", "ism", "--max-passes", 153), "take 154 predictions, max_passes is 153")
