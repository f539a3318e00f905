"""Statistics against float64 loops, by hand, and by the laws they must keep."""

from __future__ import annotations

import numpy as np
import pytest
import toys
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from oracles import statistics as oracle

from borzoi_rt.backends.protocols import BinSums
from borzoi_rt.errors import InputError
from borzoi_rt.scoring.statistics import (
    STATISTICS,
    STRAND_ORDERS,
    canonical_names,
    describe_statistics,
    find_statistics,
    joining_of,
    score_pair,
    score_sums,
    undefined_scores,
)
from borzoi_rt.tracks import MergePlan

STRANDS = [(0, 1), (3, 2), (4, 4), (5, 5)]  # rows of toys.tracks(): cage, rna (crossed), dnase, chip
PLAN = MergePlan(np.array([first for first, _ in STRANDS]), np.array([second for _, second in STRANDS]))
NAMES = [(family, name) for family in STATISTICS for name in STATISTICS[family]]
# Sums are made in float64 on both sides and stored in float32, whose half step is 2^-24 of the value. The absolute part
# is for differences of nearly equal sums of up to 1e5: 1e5 * 2^-53 * bins.
TIGHT = {"rtol": 2.0**-23, "atol": 1e-9}


def coverage(*shape: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    ref = generator.gamma(0.5, 20.0, shape).astype(np.float32)
    alt = (ref * generator.uniform(0.8, 1.3, shape)).astype(np.float32)
    return ref, alt


def score(
    name: str, ref: np.ndarray, alt: np.ndarray, family: str = "hound", merge: MergePlan | None = None
) -> np.ndarray:
    statistics = find_statistics([name], family)
    return score_pair(ref, alt, statistics=statistics, strand_order=STRAND_ORDERS[family], merge=merge)[name]


def by_hand(name: str, ref: list[float], alt: list[float], family: str = "hound") -> float:
    arrays = [np.array(values, dtype=np.float32).reshape(1, 1, -1) for values in (ref, alt)]
    return float(score(name, *arrays, family=family)[0])


def test_the_oracle_and_the_package_name_the_same_statistics() -> None:
    assert {family: set(known) for family, known in STATISTICS.items()} == {
        family: set(known) for family, known in oracle.FAMILIES.items()
    }


@pytest.mark.parametrize(("pairs", "bins"), [(1, 1), (1, 7), (3, 32), (2, 2048)])
@pytest.mark.parametrize("merge", [None, PLAN], ids=["apart", "merged"])
@pytest.mark.parametrize(("family", "name"), NAMES)
def test_oracle(family: str, name: str, merge: MergePlan | None, pairs: int, bins: int) -> None:
    ref, alt = coverage(pairs, 6, bins, seed=bins)
    got = score(name, ref, alt, family, merge)
    assert got.dtype == np.float32
    assert_allclose(got, oracle.score(name, family, ref, alt, STRANDS if merge else None), **TIGHT)


@pytest.mark.parametrize("family", ["hound", "sad"])
def test_tracks_that_do_not_fit_one_block_are_scored_alike(family: str) -> None:
    """Eight tracks of 2^18 bins are worked on in more than one block; each must give what it gives alone."""
    ref, alt = coverage(1, 8, 2**18)
    merge = MergePlan(np.arange(7), np.array([0, 1, 2, 3, 4, 5, 7]))
    whole = score("SUM", ref, alt, family, merge)
    alone = [
        score("SUM", ref[:, [a, b]], alt[:, [a, b]], family, MergePlan(np.array([0]), np.array([int(a != b)])))[0]
        for a, b in zip(merge.first, merge.second, strict=True)
    ]
    assert_array_equal(whole, np.array(alone))


@pytest.mark.parametrize(
    ("name", "ref", "alt", "expected"),
    [
        ("SUM", [1, 2, 3], [0, 2, 0], -4.0),  # (0 + 2 + 0) - (1 + 2 + 3)
        ("logSUM", [0, 1, 3], [1, 1, 7], 2.0),  # (1 + 1 + 3) - (0 + 1 + 2)
        ("sqrtSUM", [4, 9], [16, 9], 2.0),  # (4 + 3) - (2 + 3)
        ("logSED", [1, 2, 0], [3, 4, 0], 1.0),  # log2(8) - log2(4)
        ("SAX", [5, 5, 5], [4, 7, 3], 2.0),  # |-1|, |2|, |-2|: the first of the two twos
        ("SAX", [5, 5, 5], [3, 7, 4], -2.0),
        ("D1", [1, 2, 3], [3, 0, 3], 4.0),  # 2 + 2 + 0
        ("D2", [1, 2, 3], [4, 6, 3], 5.0),  # sqrt(9 + 16)
        ("logD1", [0, 3], [3, 0], 4.0),  # |2 - 0| + |0 - 2|
        ("logD2", [0, 7], [15, 0], 5.0),  # sqrt(4^2 + 3^2)
        ("sqrtD1", [4, 9], [1, 16], 2.0),  # |1 - 2| + |4 - 3|
        ("sqrtD2", [0, 0], [9, 16], 5.0),  # sqrt(3^2 + 4^2)
        # ps = 2: P = (4, 4) / 8, Q = (6, 2) / 8; P - Q = (-1/4, 1/4), ln P/Q = (-ln 3/2, ln 2)
        ("JS", [2, 2], [4, 0], 0.5 * (0.25 * np.log(1.5) + 0.25 * np.log(2.0))),
        # ps = 1.5 (between 1 and 3): P = (2.5, 4.5) / 7, Q = (4.5, 2.5) / 7
        ("nD1", [1, 3], [3, 1], 4 / 7),
        ("nD2", [1, 3], [3, 1], np.sqrt(8) / 7),
        ("nDi", [1, 3], [3, 1], 2 / 7),
        ("nDi_signed", [1, 3], [3, 1], 2 / 7),  # more in the first bin
        ("nDi_signed", [3, 1], [1, 3], -2 / 7),
        ("DIFF_MEAN", [1, 2, 3], [0, 2, 1], -1.0),  # 1 - 2
        ("L2_DIFF_LOG1P", [0, 0], [np.expm1(3.0), np.expm1(4.0)], 5.0),  # sqrt(3^2 + 4^2)
        ("ACTIVE_MEAN", [1, 3], [5, 1], 3.0),
        ("ACTIVE_SUM", [4, 3], [5, 1], 7.0),
        ("LFC", [0, 0], [0.999, 0.999], np.log(1000.0)),  # (0.999 + 0.001) / 0.001
    ],
)
def test_by_hand(name: str, ref: list[float], alt: list[float], expected: float) -> None:
    assert by_hand(name, ref, alt) == pytest.approx(expected, rel=2.0**-22)


def test_families_join_strands_in_their_own_order() -> None:
    """One bin, strands 1 -> 3 and 3 -> 3: hound adds log ratios, sad takes the logarithm of the sum."""
    ref, alt = np.array([[[1.0], [3.0]]], np.float32), np.array([[[3.0], [3.0]]], np.float32)
    plan = MergePlan(np.array([0]), np.array([1]))
    assert score("logSUM", ref, alt, "hound", plan) == [1.0]  # (log2 4 - log2 2) + (log2 4 - log2 4)
    assert_allclose(score("logSUM", ref, alt, "sad", plan), np.log2(7 / 5), rtol=2.0**-23)  # log2(6 + 1) - log2(4 + 1)


@pytest.mark.parametrize("family", ["hound", "sad"])
@pytest.mark.parametrize("merge", [None, PLAN], ids=["apart", "merged"])
def test_swapped_alleles(family: str, merge: MergePlan | None) -> None:
    ref, alt = coverage(2, 6, 65)
    for name in oracle.SIGNED:
        assert_array_equal(score(name, alt, ref, family, merge), -score(name, ref, alt, family, merge))
    for name in oracle.SYMMETRIC:
        assert_array_equal(score(name, alt, ref, family, merge), score(name, ref, alt, family, merge))


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=9), st.floats(0, 3, width=32))
def test_bounds(profile: list[float], factor: float) -> None:
    """|SUM| <= D1 and D2 <= D1 <= sqrt(bins) D2, |SAX| <= D2, for any coverage."""
    alt = [value * (factor if number % 2 else 1.5) for number, value in enumerate(profile)]
    values = {name: by_hand(name, profile, alt) for name in ("SUM", "SAX", "D1", "D2")}
    slack = 1 + 1e-6  # each is rounded to float32
    assert abs(values["SUM"]) <= values["D1"] * slack
    assert values["D2"] <= values["D1"] * slack
    assert values["D1"] <= np.sqrt(len(profile)) * values["D2"] * slack
    assert abs(values["SAX"]) <= values["D2"] * slack


@pytest.mark.parametrize(("family", "name"), [key for key in NAMES if key[1] not in oracle.ACTIVITY])
def test_equal_alleles_score_exactly_zero(family: str, name: str) -> None:
    ref, _ = coverage(2, 6, 33)
    assert_array_equal(score(name, ref, ref.copy(), family, PLAN), np.zeros(len(PLAN)))


@pytest.mark.parametrize(("family", "name"), NAMES)
def test_slicing_tracks_commutes_with_scoring(family: str, name: str) -> None:
    ref, alt = coverage(2, 6, 33)
    kept = np.array([5, 3, 2])
    sliced = score(name, ref[:, kept], alt[:, kept], family, MergePlan(np.array([0, 1]), np.array([0, 2])))
    assert_array_equal(sliced, score(name, ref, alt, family, PLAN)[[3, 1]])


@pytest.mark.parametrize("name", sorted(STATISTICS["hound"]))
def test_repeated_pairs_change_nothing_and_order_is_irrelevant(name: str) -> None:
    ref, alt = coverage(2, 6, 33)
    assert_allclose(score(name, ref[[0, 0]], alt[[0, 0]]), score(name, ref[:1], alt[:1]), rtol=2.0**-23)
    assert_allclose(score(name, ref[::-1], alt[::-1]), score(name, ref, alt), rtol=2.0**-23)


@pytest.mark.parametrize("name", sorted(STATISTICS["hound"]))
def test_hound_rows_are_made_of_unmerged_scores(name: str) -> None:
    ref, alt = coverage(1, 6, 33)
    apart = score(name, ref, alt).astype(np.float64)
    first, second = apart[PLAN.first], apart[PLAN.second]
    joined = np.hypot(first, second) if name in oracle.ROOT_OF_SQUARES else first + second
    expected = np.where(PLAN.first == PLAN.second, first, joined)
    # The unmerged scores were rounded to float32 before they were joined, so cancelling strands need an absolute part.
    assert_allclose(score(name, ref, alt, merge=PLAN), expected, rtol=1e-6, atol=1e-6 * np.abs(apart).max())


def test_sums_are_linear_so_both_families_agree_on_them() -> None:
    ref, alt = coverage(1, 6, 129)
    assert_allclose(score("SUM", ref, alt, "hound", PLAN), score("SAD", ref, alt, "sad", PLAN), rtol=1e-6, atol=1e-6)


def test_the_plan_of_these_tests_is_that_of_the_track_table() -> None:
    plan = toys.tracks().merge_plan()
    assert list(zip(plan.first, plan.second, strict=True)) == STRANDS


def test_nan_stays_in_its_track() -> None:
    ref, alt = coverage(1, 3, 9)
    alt[0, 1, 4] = np.nan
    assert_array_equal(np.isnan(score("logSUM", ref, alt)), [False, True, False])


@pytest.mark.parametrize("name", sorted(STATISTICS["hound"]))
def test_the_order_of_strands_is_what_makes_the_families(name: str) -> None:
    ref, alt = coverage(2, 6, 33)
    known = {"statistics": find_statistics([name], "hound"), "merge": PLAN}
    for family, order in (("hound", "after"), ("sad", "before")):
        want = score(name, ref, alt, family, PLAN)
        assert_array_equal(score_pair(ref, alt, strand_order=order, **known)[name], want)
        # The order that is given counts, whatever the family's own.
        assert_array_equal(score_pair(ref, alt, strand_order=order, **known)[name], want)


@pytest.mark.parametrize("order", ["after", "before"])
def test_sums_over_bins_follow_the_order_of_strands(order: str) -> None:
    """SUM of two strands, made of their sums or of the sum of both; logSED tells the orders apart."""
    ref, alt = np.array([[[1.0], [3.0]]], np.float32), np.array([[[3.0], [3.0]]], np.float32)
    plan = MergePlan(np.array([0]), np.array([1]))
    rows = [ref[0], alt[0]] if order == "after" else [ref[0].sum(0, keepdims=True), alt[0].sum(0, keepdims=True)]
    sums = [np.stack([row.sum(-1).astype(np.float64)] * 3) for row in rows]
    pair = BinSums(sums[0], sums[1], sums[0], sums[0], sums[0][0])
    statistics = find_statistics(["SUM", "logSED"], "hound")
    got = score_sums([pair], statistics=statistics, strand_order=order, merge=plan)
    want = score_pair(ref, alt, statistics=statistics, strand_order=order, merge=plan)
    assert got["SUM"] == want["SUM"] == [2.0]
    assert got["logSED"] == want["logSED"] == pytest.approx(1.0 if order == "after" else np.log2(7 / 5), rel=2.0**-23)


def test_an_unknown_order_of_strands_is_refused() -> None:
    ref, alt = coverage(1, 2, 3)
    known = {"statistics": find_statistics(["SUM"], "hound")}
    with pytest.raises(InputError, match="strand_order 'last' is unknown; allowed: after, before"):
        score_pair(ref, alt, strand_order="last", **known)


@pytest.mark.parametrize(
    ("ref", "alt", "expected"),
    [
        # 25th percentile of R is 0 in all of these. P = (0, 0, 0, 1), Q = (0, 0, 0, 1): only the height changed.
        ([0, 0, 0, 4], [0, 0, 0, 8], 0.0),
        # P = (0, 0, 1/2, 1/2), Q = (0, 0, 1/4, 3/4): (1/4 ln 2 + 1/4 ln 3/2) / 2
        ([0, 0, 2, 2], [0, 0, 1, 3], 0.125 * (np.log(2.0) + np.log(1.5))),
        ([0, 0, 0, 4], [0, 0, 1, 3], np.inf),  # Q reaches a bin that P does not
        ([0, 0, 1, 3], [0, 0, 0, 4], np.inf),
        ([0, 0, 0, 0], [0, 0, 0, 0], np.nan),  # no profile
        ([0, 0, 0, 0], [0, 0, 0, 1], np.nan),
        ([0, 0, 0, 1], [0, 0, 0, 0], np.nan),
    ],
)
def test_divergence_of_empty_bins(ref: list[float], alt: list[float], expected: float) -> None:
    assert by_hand("JS", ref, alt) == pytest.approx(expected, rel=2.0**-22, nan_ok=True)
    assert oracle.FAMILIES["hound"]["JS"](ref, alt) == pytest.approx(expected, nan_ok=True)


def test_scores_without_a_finite_value_are_counted() -> None:
    """Row 0 is sound, row 1 has negative coverage, row 2 none at all, row 3 a sum beyond float32."""
    ref = np.array([[[1, 2], [-1e-3, 2], [0, 0], [3e38, 3e38]]], np.float32)
    alt = np.array([[[2, 2], [1, 2], [0, 0], [0, 0]]], np.float32)
    statistics = find_statistics(["SUM", "sqrtSUM", "logSUM", "JS"], "hound")
    scores = score_pair(ref, alt, statistics=statistics)
    assert undefined_scores(scores) == {"SUM": 1, "sqrtSUM": 1, "JS": 1}  # rows 3, 1 and 2
    assert undefined_scores({name: values[:1] for name, values in scores.items()}) == {}


@pytest.mark.parametrize(
    ("given", "family", "spelled"),
    [
        (["logsed"], "hound", ("logSED",)),
        (["LOGSUM", "sax", "js"], "hound", ("logSUM", "SAX", "JS")),
        (["logSED", "logsed"], "hound", ("logSED", "logSED")),
        (["sadlog", "LogJS"], "sad", ("SADlog", "logJS")),
    ],
)
def test_case_does_not_matter(given: list[str], family: str, spelled: tuple[str, ...]) -> None:
    assert canonical_names(given, family) == spelled
    assert list(find_statistics(given, family)) == list(dict.fromkeys(spelled))


@pytest.mark.parametrize("family", sorted(STATISTICS))
def test_names_differ_by_more_than_case(family: str) -> None:
    assert len({name.casefold() for name in STATISTICS[family]}) == len(STATISTICS[family])


@pytest.mark.parametrize("family", sorted(STATISTICS))
def test_descriptions_are_of_every_statistic_and_say_what_is_signed(family: str) -> None:
    described = describe_statistics(family)
    assert [entry.name for entry in described] == list(STATISTICS[family])
    ref, alt = coverage(1, 1, 33)
    for entry in described:
        assert "\n" not in entry.formula + entry.summary
        assert entry.formula
        assert entry.summary
        forth, back = score(entry.name, ref, alt, family), score(entry.name, alt, ref, family)
        if entry.name == "nDi_signed":  # the pseudo-count is of REF, so that only the sign turns
            assert forth * back < 0
        else:
            assert (forth == -back and forth != 0) if entry.signed else (forth > 0 and back > 0)
    with pytest.raises(InputError, match="family 'gene' is unknown"):
        describe_statistics("gene")


@pytest.mark.parametrize(
    ("names", "family", "message"),
    [
        (["SUM", "logSUMM"], "hound", "did you mean logSUM"),
        (["logSDE"], "hound", "did you mean logSED"),
        (["lgsed"], "hound", "did you mean logSED"),
        (["logSEDs"], "sad", "did you mean logSED"),
        (["SAD"], "hound", "not in family 'hound'.*SAD is of family 'sad', like SUM here but for the order of strands"),
        (["sadLOG"], "hound", "SADlog is of family 'sad', like logSED here"),
        (["logJS"], "hound", "not in family 'hound'.*logJS is of family 'sad'$"),
        ([], "sad", "choose from"),
        (["SUM"], "gene", "allowed: hound, sad"),
    ],
)
def test_unknown_names_are_refused(names: list[str], family: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_statistics(names, family)


def test_which_strand_is_stronger() -> None:
    """Scores of the pairs (0, 1) and (3, 2): -3 and 2, 1 and 1; the unstranded track 4 has no strands."""
    alt = np.zeros((1, 5, 1), dtype=np.float32)
    alt[0, :, 0] = [-3, 2, 1, 1, 7]
    merge = MergePlan(np.array([0, 3, 4]), np.array([1, 2, 4]))
    stronger: dict[str, np.ndarray] = {}
    known = {"statistics": find_statistics(["SUM", "D2"], "hound"), "merge": merge, "stronger": stronger}
    found = score_pair(np.zeros_like(alt), alt, **known)
    assert_array_equal(found["SUM"], [-1, 2, 7])
    assert {name: values.tolist() for name, values in stronger.items()} == {"SUM": [1, 0, 0], "D2": [1, 0, 0]}
    stronger.clear()
    score_pair(np.zeros_like(alt), alt, strand_order="before", **known)
    assert stronger == {}, "strands that are joined first cannot be told apart"


@pytest.mark.parametrize("order", ["after", "before"])
@pytest.mark.parametrize(("family", "name"), NAMES)
def test_what_is_said_of_a_pair_of_strands_is_what_is_computed(family: str, name: str, order: str) -> None:
    ref, alt = coverage(1, 2, 33, seed=3)
    alt[:, 0] *= 2.0  # one strand rises and the other falls
    alt[:, 1] *= 0.4
    pair = MergePlan(np.array([0]), np.array([1]))
    (found,) = score_pair(ref, alt, statistics=find_statistics([name], family), strand_order=order, merge=pair)[name]
    one, other = score(name, ref, alt, family).astype(np.float64)
    (added,) = score(name, ref[:, :1] + ref[:, 1:], alt[:, :1] + alt[:, 1:], family)
    words = joining_of(f"{name}@span:64", family, order)
    kinds = {"the score of the added": added, "the sum of": one + other, "the root of": np.hypot(one, other)}
    (said,) = [kind for kind in kinds if words.startswith(kind)]
    assert_allclose(found, kinds[said], rtol=1e-5, atol=1e-4)
    if said == "the sum of":
        assert ("not the score of their added" in words) == (abs(found - added) > 1e-4 * abs(added))
    of_gene = joining_of(f"{name}@exons", family, order)
    assert of_gene == f"the score of the strand that the gene lies on; for a gene without strand {words}"
