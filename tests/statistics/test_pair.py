"""Intervals and paired tests against SciPy and numbers worked by hand."""

import numpy as np
import pytest
from scipy import stats

from fkd import statistics


def test_the_interval_by_hand():
    # deviation of 1..5 is sqrt(2.5); t(0.975, 4) = 2.776 in any table
    result = statistics.interval([1.0, 2.0, 3.0, 4.0, 5.0])
    half = 2.776445 * 2.5**0.5 / 5**0.5
    assert result.mean == 3
    assert result.deviation == pytest.approx(2.5**0.5)
    assert (result.low, result.high) == pytest.approx((3 - half, 3 + half))


def test_the_interval_covers_the_mean_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(3.0, 2.0, (1000, 5))
    results = [statistics.interval(row.tolist(), confidence=0.9) for row in draws]
    bounds = [(r.low, r.high) for r in results if r.low is not None and r.high is not None]
    covered = sum(low <= 3.0 <= high for low, high in bounds)
    assert abs(covered - 900) < 4 * (1000 * 0.9 * 0.1) ** 0.5


def test_the_paired_test_is_scipys():
    a, b = [0.71, 0.69, 0.74, 0.70], [0.70, 0.66, 0.72, 0.70]
    result, expected = statistics.paired(a, b), stats.ttest_rel(a, b)
    bounds = expected.confidence_interval(0.95)
    assert result.difference == pytest.approx(np.mean(a) - np.mean(b))
    assert result.p == pytest.approx(expected.pvalue)
    assert (result.low, result.high) == pytest.approx((bounds.low, bounds.high))


def test_what_one_seed_cannot_tell_is_none():
    assert statistics.interval([0.5]) == (0.5, None, None, None)
    assert statistics.paired([0.5], [0.25]) == (0.25, None, None, None)
    assert statistics.paired([0.5, 0.5], [0.25, 0.25]) == (0.25, 0.25, 0.25, None)


@pytest.mark.parametrize(
    "a, b",
    [
        ([0.3, 0.5, 0.8], [0.2, 0.4, 0.7]),
        ([0.1] * 3, [0.0] * 3),
        ([0.3 - 0.2, 0.1, 0.1], [0.0] * 3),  # rounded as numbers of one side's size are
    ],
)
def test_differences_that_rounding_alone_tells_apart_are_the_same(a, b):
    # 0.3 - 0.2, 0.5 - 0.4 and 0.8 - 0.7 are three numbers, and so is the mean of three 0.1
    result = statistics.paired(a, b)
    assert (result.difference, result.p) == (pytest.approx(0.1), None)
    assert result.low == result.high == result.difference
    assert statistics.interval([0.1] * 3).deviation == 0


def test_differences_above_rounding_are_scipys():
    a, b = [0.3, 0.5, 0.8], [0.2, 0.4, 0.7 + 1e-9]
    assert statistics.paired(a, b).p == pytest.approx(stats.ttest_rel(a, b).pvalue)


def test_samples_of_two_lengths_are_no_pairs():
    # NumPy would compare each of the one with the single other
    for a, b in (([0.1, 0.2, 0.3], [0.1]), ([0.1], [0.1, 0.2]), ([0.1, 0.2], [0.1, 0.2, 0.3])):
        with pytest.raises(ValueError, match="paired: a and b must hold one number each"):
            statistics.paired(a, b)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_of_values_that_are_not_finite_nothing_but_the_mean_is_known(value):
    mean, *others = statistics.interval([0.5, value, 0.25])
    np.testing.assert_equal(others, [np.nan] * 3)
    np.testing.assert_equal(mean, np.mean([0.5, value, 0.25]))
    difference, *others = statistics.paired([0.5, value], [0.25, 0.5])
    np.testing.assert_equal(others, [np.nan] * 3)
    assert not np.isfinite(difference)


def test_a_difference_that_overflows_is_infinite_and_nothing_else_is_known():
    difference, *others = statistics.paired([1e308, 1.0], [-1e308, 0.0])
    assert difference == np.inf
    np.testing.assert_equal(others, [np.nan] * 3)


@pytest.mark.plain
@pytest.mark.parametrize("confidence", [-0.1, 1.0, 95, "0.9"])
def test_a_confidence_that_is_no_share_is_refused(confidence):
    with pytest.raises(ValueError, match="interval: confidence must"):
        statistics.interval([1.0, 2.0], confidence)
    with pytest.raises(ValueError, match="paired: confidence must"):
        statistics.paired([1.0, 2.0], [3.0, 1.0], confidence)


@pytest.mark.plain
@pytest.mark.parametrize("values", [[], ["1", "2"], [[1.0], [2.0]], [True, False], "12", 3.0])
def test_what_are_no_numbers_are_refused(values):
    with pytest.raises(ValueError, match="interval: values must"):
        statistics.interval(values)
