"""Accuracy of the demo: each formula against its definition, written slowly, and the law of the intervals."""

from __future__ import annotations

import numpy as np
import pytest

from borzoi_rt.demo.accuracy import Estimate, auroc, average_precision, correlation, estimate, same_sign
from borzoi_rt.errors import InputError


def samples() -> list[tuple[np.ndarray, np.ndarray]]:
    """Scores with and without ties, and labels: rare, common, one of a class."""
    generator = np.random.default_rng(11)
    found = []
    for size, share in ((2, 0.5), (7, 0.3), (40, 0.1), (41, 0.9)):
        for levels in (1, 2, 5, 10**6):
            labels = generator.random(size) < share
            labels[:2] = True, False
            found.append((generator.integers(-levels, levels, size).astype(np.float64) / 3, labels))
    return found


def slow_average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """Sum over thresholds of precision times the rise of recall."""
    total, before = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        called = [bool(label) for score, label in zip(scores, labels, strict=True) if score >= threshold]
        recall = sum(called) / sum(labels)
        total += sum(called) / len(called) * (recall - before)
        before = recall
    return total


@pytest.mark.parametrize(("scores", "labels"), samples())
def test_auroc_counts_pairs(scores: np.ndarray, labels: np.ndarray) -> None:
    pairs = [(1.0 if a > b else 0.5 if a == b else 0.0) for a in scores[labels] for b in scores[~labels]]
    assert auroc(scores, labels) == pytest.approx(sum(pairs) / len(pairs), abs=1e-14)


@pytest.mark.parametrize(("scores", "labels"), samples())
def test_average_precision_sums_the_curve(scores: np.ndarray, labels: np.ndarray) -> None:
    want = slow_average_precision(scores, labels)
    assert average_precision(scores, labels) == pytest.approx(want, abs=1e-14)
    assert average_precision(scores[::-1], labels[::-1]) == pytest.approx(want, abs=1e-14)


def test_figures_that_can_be_counted() -> None:
    # Pairs (positive, negative): 3>2, 3>1, 1<2, 1=1 -> (1 + 1 + 0 + 0.5) / 4
    assert auroc([3.0, 1.0, 2.0, 1.0], [True, True, False, False]) == 2.5 / 4
    # At 3 one of one, at 1 two of four: 1 * 1/2 + 1/2 * 1/2
    assert average_precision([3.0, 1.0, 2.0, 1.0], [True, True, False, False]) == 0.75
    assert same_sign([1.0, -2.0, 0.0, 3.0], [2.0, -1.0, 1.0, -1.0]) == 0.5


@pytest.mark.parametrize("measure", [auroc, average_precision])
@pytest.mark.parametrize("label", [True, False])
def test_one_class_has_no_curve(measure: object, label: bool) -> None:
    assert callable(measure)
    with pytest.raises(InputError, match="one of each is needed"):
        measure([1.0, 2.0], [label, label])


def test_correlation_is_pearsons() -> None:
    x, y = np.random.default_rng(3).normal(size=(2, 50))
    assert correlation(x, x + y) == pytest.approx(np.corrcoef(x, x + y)[0, 1], abs=1e-14)
    for flat in (np.ones(50), np.full(50, np.nan)):
        with pytest.raises(InputError, match="no correlation"):
            correlation(x, flat)


def mean(values: np.ndarray) -> float:
    return float(values.mean())


def test_the_interval_is_that_of_theory() -> None:
    """Of a mean of independent values: +/- 1.96 standard errors; 4000 draws give the ends to about 4 %."""
    values = np.random.default_rng(1).normal(size=400)
    found = estimate(mean, values, groups=np.arange(400), resamples=4000)
    reach = 1.959964 * values.std() / np.sqrt(len(values))
    assert found.value == values.mean()
    assert [found.low, found.high] == pytest.approx([values.mean() - reach, values.mean() + reach], abs=0.08 * reach)


def test_what_repeats_in_a_group_counts_once() -> None:
    """Nine copies of each value, in a group, say no more than one; as if independent they would give a third."""
    values = np.random.default_rng(2).normal(size=100)
    one = estimate(mean, values, groups=np.arange(100))
    grouped = estimate(mean, np.tile(values, 9), groups=np.tile(np.arange(100), 9))
    apart = estimate(mean, np.tile(values, 9), groups=np.arange(900))
    assert [grouped.low, grouped.high] == pytest.approx([one.low, one.high], abs=1e-12)
    assert (apart.high - apart.low) / (one.high - one.low) == pytest.approx(1 / 3, rel=0.15)


def test_intervals_hold_the_true_value_as_often_as_they_say() -> None:
    """AUROC of normal scores 1 apart is Phi(1 / sqrt 2) = 0.7602; 95 % of 200 intervals, +/- 4 standard errors."""
    generator = np.random.default_rng(4)
    labels = np.repeat([True, False], 50)
    held = 0
    for number in range(200):
        found = estimate(
            auroc, generator.normal(size=100) + labels, labels, groups=np.arange(100), resamples=200, seed=number
        )
        held += found.low <= 0.760250 <= found.high
    assert 0.88 <= held / 200 <= 1.0


def test_the_same_seed_draws_the_same() -> None:
    values = np.arange(30.0)
    labels = np.arange(30) % 15 == 0  # in one draw of eight there is none
    first = estimate(auroc, values, labels, groups=np.arange(30), resamples=50)
    assert first == estimate(auroc, values, labels, groups=np.arange(30), resamples=50)
    assert first != estimate(auroc, values, labels, groups=np.arange(30), resamples=50, seed=8)
    assert np.isfinite([first.low, first.high]).all()


def test_a_sample_without_the_statistic_is_refused() -> None:
    with pytest.raises(InputError, match="one of each"):
        estimate(auroc, [1.0, 2.0], [True, True], groups=[0, 1])


def test_an_estimate_reads_as_value_and_interval() -> None:
    assert str(Estimate(0.95333, 0.931, 0.9721)) == "0.953 [0.93, 0.97]"
