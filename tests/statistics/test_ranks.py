"""Ranks over tasks against Demšar's worked example, SciPy and tables."""

import numpy as np
import pytest
from scipy import stats

from fkd.statistics import mean_ranks

# Demšar (2006), Table 6: AUC of C4.5 alone and with m, cf, and both, on 14 data sets.
AUC = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
)


def test_the_ranks_and_the_critical_difference_of_demsars_example():
    result = mean_ranks(AUC)
    np.testing.assert_allclose(result.mean, [3.143, 2.000, 2.893, 1.964], atol=5e-4)
    assert result.critical_difference == pytest.approx(1.25, abs=5e-3)
    assert mean_ranks(AUC, 0.9).critical_difference == pytest.approx(1.12, abs=5e-3)
    assert result.p < 0.05


@pytest.mark.parametrize("digits", [0, 1, 9])  # with many ties, with some, with none
def test_friedman_is_scipys(digits):
    x = np.random.default_rng(0).normal(size=(8, 4)).round(digits)
    chi = stats.friedmanchisquare(*x.T).statistic
    result = mean_ranks(x)
    assert result.f == pytest.approx(7 * chi / (8 * 3 - chi))
    assert result.p == pytest.approx(stats.f.sf(result.f, 3, 21))
    assert result.mean.sum() == pytest.approx(10)


def test_nemenyis_quantiles_are_those_of_the_papers_table():
    # Demšar (2006), Table 5(a): q at 0.05 for 2, 3, 5 and 10 methods
    for methods, q in ((2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)):
        x = np.random.default_rng(1).normal(size=(6, methods))
        expected = q * (methods * (methods + 1) / 36) ** 0.5
        assert mean_ranks(x).critical_difference == pytest.approx(expected, rel=4e-4)


def test_tasks_that_agree_and_tasks_that_tie():
    agree = mean_ranks(np.tile([0.3, 0.2, 0.1], (4, 1)))
    assert agree.mean.tolist() == [1, 2, 3] and agree.f == np.inf and agree.p == 0
    tie = mean_ranks(np.ones((4, 3)))
    assert tie.mean.tolist() == [2, 2, 2] and tie.f == 0 and tie.p == 1
