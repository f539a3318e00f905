"""Several methods side by side: agreement by hand, and a directory of what each said."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import toy_objectives as toys
import worlds
from command_line import check_error
from numpy.testing import assert_allclose, assert_array_equal

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.errors import InputError
from borzoi_rt.explain.agreement import agreement, mean_known, pearson, spearman, top_jaccard, top_overlap
from borzoi_rt.explain.attr_file import read_attributions
from borzoi_rt.explain.compare import chosen_methods
from borzoi_rt.explain.costs import Counted
from borzoi_rt.explain.methods import METHODS, read_options
from borzoi_rt.model import Model, open_model

TEXT = worlds.random_dna(6000, seed=31)


def plain(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's correlation as its definition has it."""
    left, right = one - one.mean(), other - other.mean()
    return float((left * right).sum() / np.sqrt((left**2).sum() * (right**2).sum()))


def mean_ranks(values: np.ndarray) -> np.ndarray:
    """How many are smaller, and half of those that are equal."""
    return np.array([np.sum(values < value) + 0.5 * np.sum(values == value) for value in values])


def test_correlations_are_those_of_their_definitions():
    rng = np.random.default_rng(1)
    one, other = rng.normal(size=50), rng.integers(0, 4, 50).astype(np.float64)
    assert_allclose(pearson(one, other), plain(one, other), rtol=1e-12)
    assert_allclose(spearman(one, other), plain(mean_ranks(one), mean_ranks(other)), rtol=1e-12)
    assert spearman(one, one**3) == pytest.approx(1.0)
    assert pearson(one, np.ones(50)) is None
    assert spearman(one, np.ones(50)) is None
    assert pearson(one[:2], other[:2]) is None


def test_overlap_of_the_strongest_positions():
    one = np.zeros(40)
    one[[3, 9]] = [-5.0, 4.0]
    other = np.zeros(40)
    other[[3, 20]] = [1.0, -2.0]
    assert top_overlap(one, one) == 1.0
    assert top_overlap(one, other) == 0.5  # of two positions, 3 is among both
    assert top_overlap(one, other, share=0.01) == 0.0  # at least one: 3 here, 20 there
    assert top_overlap(one, np.zeros(40)) is None
    # Four positions tie for two chairs: each half, whether they are compared with themselves or with the two.
    tied = np.zeros(40)
    tied[[3, 9, 10, 11]] = 1.0
    assert top_overlap(tied, tied) == 1.0
    assert top_overlap(one, tied) == 0.5
    with pytest.raises(InputError, match="share is 0"):
        top_overlap(one, other, share=0.0)
    assert agreement(one, other)["top_overlap"] == 0.5
    assert top_jaccard(one, one, share=0.05) == 1.0
    assert top_jaccard(one, other, share=0.05) == pytest.approx(1 / 3)  # 3 of {3, 9, 20}
    assert top_jaccard(one, tied, share=0.05) == pytest.approx(1 / 3)  # halves: 1 of 3
    wide, moved = np.arange(300.0), np.arange(300.0)
    moved[[298, 7]] = moved[[7, 298]]
    assert top_jaccard(wide, moved) == 0.5  # of 1 %: {297, 298, 299} and {297, 299, 7 or 296}: 2 of 4
    assert top_jaccard(one, np.zeros(40)) is None
    assert mean_known([None, 1.0, 2.0]) == 1.5
    assert mean_known([None]) is None


@pytest.mark.parametrize(
    ("name", "given", "forward", "gradient", "tower"),
    [
        ("saliency", {}, 1, 1, 0),
        ("ism", {}, 1 + 3 * 6, 0, 0),
        # Every reference has its points, and its value and that of the sequence are asked for.
        ("ig", {"steps": 4, "references": 2}, 2 * 4 + 3, 2 * 4, 0),
        ("occlusion", {"tile_bp": 2}, 1 + 3, 0, 0),
        ("ism-hybrid", {"recheck": 2, "sample": 1}, None, 1, 18),
    ],
)
def test_passes_are_counted(name, given, forward, gradient, tower):
    rng = np.random.default_rng(2)
    window = np.eye(4, dtype=np.uint8)[:, rng.integers(0, 4, 20)]
    for strands in (1, 2):
        counted = Counted(toys.linear(rng.normal(size=(4, 20))), strands=strands)
        METHODS[name].run(counted, window, (5, 11), read_options(name, given))
        assert counted.passes["gradient"] == gradient * strands
        assert counted.passes["tower"] == tower * strands
        assert forward is None or counted.passes["forward"] == forward * strands


def test_an_option_goes_to_the_methods_that_have_it():
    shap, lime, ism = chosen_methods(["shap", "lime", "ism"], {"tile_bp": 16, "samples": 7, "ridge": None})
    assert (shap.options.tile_bp, shap.options.samples, lime.options.tile_bp, lime.options.ridge) == (16, 7, 16, 1.0)
    assert ism.options.convention == "mean4"
    for names, given, message in (
        (["ism"], {}, "methods are ism; name two or more"),
        (["ism", "ism"], {}, "each once"),
        (["ism", "saliency"], {"steps": 3}, "none of the methods ism, saliency has an option 'steps'"),
        (["ism", "salience"], {}, "did you mean saliency"),
    ):
        with pytest.raises(InputError, match=message):
            chosen_methods(names, given)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("compare")
    bed = folder / "two.bed"
    bed.write_text("chr1\t3000\t3012\tone\nchr1\t3100\t3112\ttwo\n")
    return SimpleNamespace(folder=folder, bed=bed, fasta=worlds.write_fasta(folder / "toy.fa", {"chr1": TEXT}))


@pytest.fixture(scope="module")
def model(gradient_bundle: Bundle, desk: SimpleNamespace) -> Iterator[Model]:
    with open_model(gradient_bundle, fasta=desk.fasta) as opened:
        yield opened


def test_from_python_each_method_says_what_it_says_alone(model, tmp_path):
    made = model.explain_compare(
        "log SUM", "chr1:3,001-3,012", methods=("saliency", "ism", "ig"), options={"steps": 2, "references": 1}
    )
    assert list(made.methods) == list(made.explanations) == ["saliency", "ism", "ig"]
    for name, options in (("saliency", None), ("ism", None), ("ig", {"steps": 2, "references": 1})):
        alone = model.explain("log SUM", "chr1:3,001-3,012", method=name, options=options)
        assert_array_equal(made.explanations[name].hypothetical, alone.hypothetical)
        assert_array_equal(made.methods[name].maps[0], alone.projected)
        assert made.methods[name].passes == alone.passes
    one, other = made.methods["saliency"].maps[0], made.methods["ism"].maps[0]
    agreed = made.agreement("saliency", "ism")
    assert_allclose(agreed["pearson"], plain(one, other), rtol=1e-12)
    assert agreed == made.agreement("ism", "saliency")
    table = {line["method"]: line for line in made.table()}
    assert table["ism"]["forward_passes"] == 37
    assert table["ig"]["completeness_error"] == made.explanations["ig"].facts["completeness_error"]
    assert table["saliency"]["completeness_error"] is None
    assert table["saliency"]["pearson_ism"] == agreed["pearson"]
    assert all(line["processor_s"] > 0.0 for line in table.values())
    made.plot(tmp_path / "compare.svg")
    text = (tmp_path / "compare.svg").read_text()
    assert text.count(">saliency: 1 forward, 1 gradient passes") == 1
    assert ">ism: 37 forward passes" in text


def test_unknown_bases_do_not_count(model):
    made = model.explain_compare("SUM", "chr1:3,001-3,012", methods=("saliency", "occlusion"), options={"tile_bp": 3})
    before = made.agreement("saliency", "occlusion")
    for name in ("saliency", "occlusion"):
        made.methods[name].maps[0] = np.append(made.methods[name].maps[0], 0.0)
    made.letters[0] += "N"
    assert made.agreement("saliency", "occlusion") == before
    made.letters[0] = made.letters[0][:-1] + "A"
    assert made.agreement("saliency", "occlusion") != before


def test_from_the_command_line(call, desk, gradient_bundle, model):
    out = desk.folder / "compared"
    words = ["--bed", desk.bed, "--target", "log SUM", "--bundle", gradient_bundle.path, "--fasta", desk.fasta]
    code, stdout, err = call("explain", "compare", "--methods", "saliency,ism", *words, "--rc", "--out", out)
    assert code == 0, err
    assert sorted(path.name for path in out.iterdir()) == [
        *("compare.json", "compare.png", "compare.tsv", "ism.h5", "saliency.h5"),
    ]
    assert out.stat().st_mode & 0o777 == 0o755
    assert stdout == (out / "compare.tsv").read_text()
    lines = {line["method"]: line for line in csv.DictReader(stdout.splitlines(), delimiter="\t")}
    assert [line["forward_passes"] for line in lines.values()] == ["4", "148"]  # two rows on two strands
    assert [line["gradient_passes"] for line in lines.values()] == ["4", "0"]
    maps = {}
    for name in ("saliency", "ism"):
        alone = desk.folder / f"{name}.h5"
        ended = call("explain", "--method", name, *words, "--rc", "--out", alone)
        assert ended[0] == 0
        held, compared = read_attributions(alone), read_attributions(out / f"{name}.h5")
        assert held.about == compared.about
        for key, values in held.arrays.items():
            assert_array_equal(values, compared.arrays[key])
        maps[name] = held.projected
    document = json.loads((out / "compare.json").read_text())
    rows = [row["agreement"][0] for row in document["rows"]]
    assert [row["name"] for row in document["rows"]] == ["one", "two"]
    for row, one, other in zip(rows, maps["saliency"], maps["ism"], strict=True):
        assert row["methods"] == ["saliency", "ism"]
        assert_allclose(row["pearson"], plain(one, other), rtol=1e-5)
    mean = np.mean([row["pearson"] for row in rows])
    assert_allclose(document["agreement"][0]["pearson"], mean, rtol=1e-12)
    assert_allclose(float(lines["ism"]["pearson_saliency"]), mean, rtol=1e-5)


def test_a_wrong_call_leaves_nothing(call, desk, gradient_bundle, toy_bundle):
    full = desk.folder / "full"
    full.mkdir()
    (full / "mine").touch()
    region = ["--region", "chr1:3,001-3,012"]
    for bundle, out, words, message in (
        (gradient_bundle, "wrong", [*region, "--methods", "ism,shap", "--steps", 3], "has an option 'steps'"),
        (gradient_bundle, "wrong", ["--methods", "ism,shap"], "give one of --region"),
        (gradient_bundle, "full", [*region, "--methods", "ism,shap"], "is not an empty directory"),
        (toy_bundle, "wrong", [*region, "--methods", "occlusion,saliency"], "has no gradient graphs"),
    ):
        given = ["--bundle", bundle.path, "--fasta", desk.fasta, "--out", desk.folder / out]
        check_error(call("explain", "compare", *given, *words), message)
    assert not [path for path in desk.folder.iterdir() if "wrong" in path.name]
    assert [path.name for path in full.iterdir()] == ["mine"]
    assert Path(desk.bed).exists()
