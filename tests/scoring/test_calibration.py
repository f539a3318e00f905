"""Quantiles, phred and exceedance against counting, the laws that they keep, and what a null holds for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import toys
from numpy.testing import assert_allclose, assert_array_equal
from oracles import calibration as oracle

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.errors import InputError
from borzoi_rt.genome.variants import Variant
from borzoi_rt.scoring.calibration import (
    CALIBRATION_EXTRAS,
    Calibration,
    Null,
    calibration_key,
    check_count,
    null_notes,
    ranks,
    rows_of,
)
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.results import RegionScores, ScoredVariant
from borzoi_rt.scoring.selection import select_rows
from borzoi_rt.scoring.spec import read_specs

ROWS = 5
EFFECTS = ScoreOptions(stats=("SUM", "D2", "ACTIVE_SUM@center:101"))
SIGNED, SIZE, ACTIVITY = EFFECTS.specs


def null_values(count: int, *, signed: bool, seed: int = 0) -> np.ndarray:
    """Float32 (variants, rows): one row with many ties, one of a single value, one on one side of 0 alone."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(count, ROWS)).astype(np.float32)
    values[:, 1] = np.round(values[:, 1])
    values[:, 2] = 0.25
    values[:, 3] = np.abs(values[:, 3])
    return values if signed else np.abs(values)


def scores_to_ask(null: np.ndarray) -> np.ndarray:
    """Null values themselves, what lies between and beyond them, zero, and what is no number."""
    edge = np.float32(1.5) * np.abs(null).max(axis=0)
    rows = [*null[:7], null.min(axis=0), null.max(axis=0), edge, -edge, 0 * edge, 0.3 + 0 * edge, -0.3 + 0 * edge]
    return np.stack([*rows, np.full(ROWS, np.nan), np.full(ROWS, np.inf)]).astype(np.float32)


@pytest.mark.parametrize("spec", [SIGNED, SIZE, ACTIVITY], ids=lambda spec: spec.name)
@pytest.mark.parametrize("count", [1, 2, 20, 501])
def test_against_counting(spec: Any, count: int) -> None:
    signed = spec is SIGNED
    given = null_values(count, signed=signed)
    null = Null.of(spec, given)
    assert (null.count, null.signed, null.kind) == (count, signed, "activity" if spec is ACTIVITY else "effect")
    asked = scores_to_ask(given) if signed else np.abs(scores_to_ask(given))
    for scores in asked:
        found = null.compare(scores)
        want = [
            oracle.standing(float(score), given[:, row].tolist(), signed=signed) for row, score in enumerate(scores)
        ]
        for number, name in enumerate(CALIBRATION_EXTRAS):
            got, expected = found[name], np.array([item[number] for item in want])
            assert_array_equal(np.isnan(got), np.isnan(expected), err_msg=f"{name} of {scores}")
            assert_allclose(got, expected, rtol=2e-6, atol=1e-7, err_msg=f"{name} of {scores}")


def test_laws() -> None:
    """Beyond every null value there is an exceedance and no percentile; a turned null turns the quantile."""
    given = null_values(300, signed=True)[:, [0, 4]]
    null, turned = Null.of(SIGNED, given), Null.of(SIGNED, -given)
    for score in (0.1, -2.0, 0.0, given.max() * 1.01, given.min() * 2):
        scores = np.full(2, score, dtype=np.float32)
        found, other = null.compare(scores), turned.compare(-scores)
        assert_allclose(found["quantile"], -other["quantile"], atol=1e-6)
        for name in ("phred", "vs_null_max"):
            assert_array_equal(found[name], other[name])
    far = null.compare(np.full(2, 100.0, dtype=np.float32))
    assert np.isnan(far["quantile"]).all()
    assert np.isnan(far["phred"]).all()
    assert (far["vs_null_max"] > 10).all()
    edge = null.compare(given.max(axis=0))
    assert_allclose(edge["vs_null_max"], 1.0)
    assert_allclose(edge["phred"], 10 * np.log10(300), rtol=1e-6)
    order = np.array([null.compare(np.full(2, x, np.float32))["quantile"] for x in np.linspace(-1.5, 1.5, 40)])
    assert (np.diff(order, axis=0) >= 0).all()
    assert -1 < order.min() < order.max() < 1


def test_ranks_are_those_of_a_search() -> None:
    random = np.random.default_rng(3)
    for count in (1, 2, 3, 64, 65):
        values = np.sort(random.integers(0, 9, size=(ROWS, count)).astype(np.float32), axis=1)
        for score in (-1.0, 0.0, 4.0, 4.5, 8.0, 9.0):
            scores = np.full(ROWS, score, dtype=np.float32)
            for strict, side in ((True, "left"), (False, "right")):
                want = [np.searchsorted(row, score, side=side) for row in values]
                assert_array_equal(ranks(values, scores, strict=strict), want)


def test_values_that_are_no_numbers_are_left_out_of_a_null() -> None:
    given = null_values(40, signed=True)
    given[3, 0], given[7, 4] = np.nan, np.inf
    assert Null.of(SIGNED, given).count == 38


def test_too_few_and_equal_values_are_told() -> None:
    null = Null.of(SIGNED, null_values(99, signed=True))
    with pytest.raises(
        InputError, match=r"SUM: 99 null values of 120 variants, at least 100 are needed; .* lower min_count"
    ):
        check_count("SUM", null, 100, 120)
    check_count("SUM", null, 99, 120)
    notes = null_notes("NULL", {"SUM": null}, [f"t{row}" for row in range(ROWS)])
    assert notes == [
        "NULL: null values of SUM are all the same for 1 tracks, first t2; these have no quantile",
        "NULL: null values of SUM lie on one side of 0 for 1 tracks, first t3; the sign of their quantiles is not that "
        "of the score",
    ]
    tied = replace(null, values=null.values[:2])
    (note,) = null_notes("NULL", {"SUM": tied}, ["t0", "t1"])
    assert "of the null values of SUM in one track equal another" in note
    assert null_notes("NULL", {"SUM": replace(null, values=null.values[:1])}, ["t0"]) == []
    one = replace(null, values=np.array([[1, 1, 2, 3], [1, 2, 3, 4]], dtype=np.float32))
    assert one.ties == 0.5, "two of four values of the first row"


@pytest.mark.parametrize("sign", [1, -1])
def test_a_null_on_one_side_of_0_is_told(sign: int) -> None:
    """There the middle of the null is not 0: a quantile of one sign may belong to a score of the other."""
    (spec,) = read_specs(("SUM",), "hound")
    values = np.sort(sign * np.arange(1, 101, dtype=np.float32))
    null = Null.of(spec, np.stack([values, values - values.mean()], axis=1))
    (note,) = null_notes("NULL", {"SUM": null}, ["t0", "t1"])
    assert "lie on one side of 0 for 1 tracks, first t0; the sign of their quantiles is not that of the score" in note
    assert np.sign(null.compare(np.float32([sign * 2.5, 0.1]))["quantile"][0]) == -sign
    assert null_notes("NULL", {"D2": replace(null, signed=False)}, ["t0", "t1"]) == []


@pytest.fixture(scope="module")
def calibration(toy_bundle: Bundle) -> Calibration:
    chosen = EFFECTS.resolved(toy_bundle.info)
    rows = select_rows(toys.tracks(), chosen).rows
    random = np.random.default_rng(1)
    nulls = {spec.name: Null.of(spec, random.normal(size=(50, len(rows))).astype("f4")) for spec in chosen.specs}
    return Calibration("NULL", calibration_key([toy_bundle], chosen, "cpu"), rows_of(rows), nulls, "genome", "genes")


def fitted(calibration: Calibration, bundle: Bundle, provider: str = "cpu", **choices: Any) -> Calibration:
    chosen = ScoreOptions.for_family(**{"stats": ("SUM",), **choices}).resolved(bundle.info)
    rows = select_rows(toys.tracks(), chosen).rows
    return calibration.fitted(calibration_key([bundle], chosen, provider), chosen.specs, rows)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"rc": True}, "NULL: was made with other choices: rc False there, True here; calibrate as you score"),
        ({"shifts": (0, 1)}, r"shifts \[0\] there, \[0, 1\] here"),
        ({"family": "sad"}, "family 'hound' there, 'sad' here"),
        ({"indel": "none"}, "indel 'stitch' there, 'none' here"),
        ({"squash": "old"}, "squash 'new' there, 'old' here"),
        ({"merge_strands": False}, "merge_strands True there, False here"),
        ({"provider": "cuda"}, "provider 'cpu' there, 'cuda' here"),
        ({"stats": ("SUM", "D1")}, "NULL: has no null of D1, but of SUM, D2, ACTIVE_SUM@center:101"),
        ({"stats": ("SUM@center:101",)}, "has no null of SUM@center:101"),
    ],
)
def test_what_does_not_fit_is_named(
    calibration: Calibration, toy_bundle: Bundle, choices: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        fitted(calibration, toy_bundle, **choices)


def test_models_that_differ_are_named(calibration: Calibration, toy_bundle: Bundle) -> None:
    other = replace(toy_bundle, sha256="f" * 64)
    with pytest.raises(InputError, match=rf"bundle {toy_bundle.sha256[:12]} there, ffffffffffff here"):
        fitted(calibration, other)
    chosen = EFFECTS.resolved(toy_bundle.info)
    both = [calibration_key(pair, chosen, "cpu") for pair in ([toy_bundle, other], [other, toy_bundle])]
    assert both[0] == both[1], "members have no order"
    with pytest.raises(InputError, match=rf"bundle {toy_bundle.sha256[:12]} there, {toy_bundle.sha256[:12]} \+ ffff"):
        calibration.fitted(both[0], chosen.specs, select_rows(toys.tracks(), chosen).rows)
    half = replace(toy_bundle, info=replace(toy_bundle.info, precision="fp16"))
    with pytest.raises(InputError, match="precision 'fp32' there, 'fp16' here"):
        fitted(calibration, half)


def test_what_changes_no_value_of_a_null_is_free(calibration: Calibration, toy_bundle: Bundle) -> None:
    free: dict[str, Any] = {"ref_policy": "flip", "max_n_fraction": 0.5, "with_alleles": True}
    assert list(fitted(calibration, toy_bundle, **free).nulls) == ["SUM"]
    assert calibration.notes("genome", "genes") == []
    assert len(calibration.notes("another", "more genes")) == 2


def test_tracks_commute(calibration: Calibration, toy_bundle: Bundle) -> None:
    """Some tracks are compared with their own nulls; one that the null lacks is named."""
    scores = np.random.default_rng(2).normal(size=len(calibration.rows)).astype("f4")
    whole = calibration.apply(scored(scores))
    some = fitted(calibration, toy_bundle, tracks="chip,cage+")
    where = [calibration.rows.index(row) for row in some.rows]
    assert where == [3, 0]
    part = some.apply(scored(scores[where]))
    for name in CALIBRATION_EXTRAS:
        assert_array_equal(part.regions[0].extras[name]["SUM"], whole.regions[0].extras[name]["SUM"][where])
    with pytest.raises(InputError, match=r"has no null of track 'cage\+/-' \(3 of 4 are missing\)"):
        fitted(replace(calibration, rows=calibration.rows[3:]), toy_bundle)


def scored(values: np.ndarray) -> ScoredVariant:
    region = RegionScores("window", ".", {"SUM": values}, extras={"score_sd": {"SUM": values}})
    return ScoredVariant(0, 0, Variant("chr1", 5, "A", "C"), "ok", regions=(region,))


def test_other_columns_are_kept(calibration: Calibration) -> None:
    found = calibration.apply(scored(np.ones(4, dtype="f4")))
    assert list(found.regions[0].extras) == ["score_sd", *CALIBRATION_EXTRAS]


def test_choices_for_other_scores_are_free(toy_bundle: Bundle) -> None:
    """A null of many scores is one of each: what genes or sites alone heed is no matter to others."""
    stats = ("SUM", "logSED@exons", "COVR@pas", "JUNC@splice")
    chosen = ScoreOptions.for_family(stats=stats, bin_rule="half").resolved(toy_bundle.info)
    rows = select_rows(toys.tracks(), chosen).rows
    random = np.random.default_rng(1)
    nulls = {spec.name: Null.of(spec, random.normal(size=(50, len(rows))).astype("f4")) for spec in chosen.specs}
    held = Calibration("NULL", calibration_key([toy_bundle], chosen, "cpu"), rows_of(rows), nulls, "genome")
    assert list(fitted(held, toy_bundle, stats=("SUM",)).nulls) == ["SUM"]
    assert list(fitted(held, toy_bundle, stats=("JUNC@splice",), tracks="chip").nulls) == ["JUNC@splice"]
    for choices, message in (
        ({"stats": ("SUM", "logSED@exons")}, "bin_rule 'half' there, 'overlap' here"),
        ({"stats": ("COVR@pas",), "tracks": "chip"}, "tracks None there, 'chip' here"),
        ({"stats": ("JUNC@splice",), "site_pseudo": 1.0}, "site_pseudo 50.0 there, 1.0 here"),
    ):
        with pytest.raises(InputError, match=message):
            fitted(held, toy_bundle, **choices)
