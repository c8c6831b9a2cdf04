"""Many methods at once against SciPy, statsmodels and every flip written out."""

from itertools import product

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from fkd.statistics import against_baseline, best_set, holm, paired

DRAWS = np.random.default_rng(0)
DIFFERENCES = DRAWS.normal([[0.0], [0.4], [1.0], [2.0]], 1.0, (4, 7))


def _holm(p: np.ndarray) -> np.ndarray:
    return np.asarray(multipletests(p, method="holm")[1])


def _t(x: np.ndarray) -> np.ndarray:
    return x.mean(axis=1) / stats.sem(x, axis=1)


def _exact(x: np.ndarray) -> float:
    return float(
        stats.permutation_test((x,), np.mean, permutation_type="samples", n_resamples=10**6).pvalue
    )


def test_p_and_the_bounds_are_those_of_the_paired_test():
    result = against_baseline(DIFFERENCES)
    for method, x in enumerate(DIFFERENCES):
        expected = paired(x.tolist(), [0.0] * 7, 1 - 0.05 / 4)
        told = result.mean[method], result.low[method], result.high[method], result.p[method]
        assert told == pytest.approx(expected)


def test_seeds_without_a_difference_count_as_such():
    x = np.array([[0.0, 1.0, 2.0, 1.0, 0.0, 3.0, 0.0]])
    result = against_baseline(x)
    assert result.p[0] == pytest.approx(stats.ttest_rel(x[0], np.zeros(7)).pvalue)
    assert result.adjusted[0] == pytest.approx(_exact(x[0]))


def test_one_method_alone_is_the_permutation_test_of_scipy():
    x = DIFFERENCES[2:3]
    assert against_baseline(x).adjusted[0] == pytest.approx(_exact(x[0]))


def test_the_step_down_by_every_flip_written_out():
    flips = [np.abs(_t(DIFFERENCES * signs)) for signs in product([1.0, -1.0], repeat=7)]
    observed = np.abs(_t(DIFFERENCES))
    expected, before, left = np.empty(4), 0.0, [0, 1, 2, 3]
    for method in np.argsort(-observed):
        p = np.mean([t[left].max() >= observed[method] - 1e-9 for t in flips])
        before = expected[method] = max(before, p)
        left.remove(method)
    np.testing.assert_allclose(against_baseline(DIFFERENCES).adjusted, expected, rtol=1e-12)


def test_random_flips_come_near_to_all_and_are_the_seeds():
    x = np.random.default_rng(1).normal(0.3, 1.0, (3, 13))
    once, again = against_baseline(x, seed=1), against_baseline(x, seed=1)
    assert once.adjusted.tolist() == again.adjusted.tolist()
    one = against_baseline(x[:1], seed=2).adjusted[0]
    assert abs(one - _exact(x[0])) < 4 * 0.5 / 9999**0.5
    # it counts what was seen among the flips, so it is never zero (Phipson and Smyth, 2010)
    assert against_baseline(x + 100, flips=99).adjusted.min() == 1 / 100


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_that_of_statsmodels(seed):
    p = np.random.default_rng(seed).uniform(size=9) ** 4
    np.testing.assert_allclose(holm(p), _holm(p), rtol=1e-12)


def test_holm_of_the_differences_is_of_their_paired_tests():
    result = against_baseline(DIFFERENCES)
    np.testing.assert_allclose(result.holm, _holm(result.p))


def test_differences_without_spread_prove_nothing():
    result = against_baseline(np.array([[0.0] * 6, [0.5] * 6, [1.0, 2, 1, 2, 1, 3]]))
    assert result.adjusted[0] == result.p[0] == result.p[1] == result.holm[1] == 1
    assert result.adjusted[1] == 2 / 64  # all signs equal: no more than the flips can tell
    assert (result.low[1], result.high[1]) == (0.5, 0.5)


def test_differences_that_rounding_alone_tells_apart_have_no_spread():
    scores = np.array([0.3, 0.5, 0.8]), np.array([0.2, 0.4, 0.7])
    result = against_baseline(np.stack([scores[0] - scores[1], [0.1, 0.1, 0.1 + 1e-9]]))
    assert result.p[0] == 1 and result.p[1] < 1e-9


def test_a_unit_changes_nothing():
    whole, scaled = against_baseline(DIFFERENCES), against_baseline(DIFFERENCES * 1e-90)
    assert whole.adjusted.tolist() == scaled.adjusted.tolist()
    np.testing.assert_allclose(whole.p, scaled.p)


def test_the_best_by_every_flip_written_out():
    scores = np.random.default_rng(2).normal([[0.0], [0.2], [1.5]], 1.0, (3, 6))
    result = best_set(scores)
    for method in range(3):
        others = np.delete(scores, method, axis=0) - scores[method]
        flips = [_t(others * signs).max() for signs in product([1.0, -1.0], repeat=6)]
        expected = np.mean(np.array(flips) >= _t(others).max() - 1e-9)
        assert result.p[method] == pytest.approx(expected)
    assert result.among.tolist() == (result.p > 0.05).tolist()


def test_who_is_best_in_each_seed_is_the_best_from_five_seeds_on():
    for seeds in (4, 5):
        scores = np.stack([np.arange(seeds) + 0.1 * np.arange(seeds) % 0.3 + k for k in (0.0, 5.0)])
        scores[1, 0] += 1
        assert best_set(scores).among.tolist() == [seeds == 4, True]


def test_a_method_between_two_is_left_out_from_six_seeds_on():
    for seeds in (5, 6):
        noise = np.array([[1.0, -1, 1, -1, 1, -1], [-1, -1, 1, 1, 0, 0], [0, 1, 0, -1, 1, 0]])
        scores = np.array([[10.0], [6.0], [-20.0]]) + noise[:, :seeds]
        assert best_set(scores).among.tolist() == [True, seeds == 5, False]


def test_equal_methods_are_all_among_the_best():
    result = best_set(np.tile([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], (3, 1)))
    assert result.among.all() and (result.p == 1).all()


def test_a_difference_that_is_the_same_at_all_seeds_tells_nothing_of_the_best():
    # as `against_baseline` has it: 8 seeds that each say exactly a half more
    scores = np.stack([np.full(8, 0.5), np.full(8, 1.0)])
    assert best_set(scores).among.all() and (best_set(scores).p == 1).all()
    assert against_baseline(scores[1:] - scores[:1]).p.tolist() == [1.0]
    noise = np.array([0.0, 0.1, 0.0, 0.1, 0.1, 0.0, 0.0, 0.1])
    assert best_set(np.stack([scores[0], scores[1], 2 + noise])).among.tolist() == [
        False,
        False,
        True,
    ]


@pytest.mark.plain
def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"best_set: scores must be .* at least 2 methods"):
        best_set(DIFFERENCES[:1])
    for p in ([0.5, 1.5], [-0.5, 0.5]):
        with pytest.raises(ValueError, match="holm: p must lie in"):
            holm(np.array(p))
    with pytest.raises(ValueError, match="against_baseline: flips must be a whole number in"):
        against_baseline(DIFFERENCES, flips=0)
