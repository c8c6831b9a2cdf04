"""What a choice is worth, by numbers worked by hand and by simulation."""

import numpy as np
import pytest

from fkd import statistics
from fkd.statistics import epoch_choice, setting_choice

# Settings by seeds: seed 0 chooses the first, seed 1 the second, seed 2 the first.
VALIDATION = np.array([[9.0, 4.0, 7.0], [5.0, 8.0, 6.0]])
TEST = np.array([[6.0, 5.0, 6.0], [4.0, 5.0, 8.0]])


def test_the_choice_of_a_setting_by_hand():
    result = setting_choice(VALIDATION, TEST)
    assert result.chosen == 0
    # validation − test is [3 −1 1; 1 3 −2]; the chosen 3, 3, 1; the mean of all 2, 1, −1/2
    assert result.optimism == pytest.approx(statistics.paired([3.0, 3.0, 1.0], [2.0, 1.0, -0.5]))
    # the chosen on the test set 6, 5, 6, a setting at random 5, 5, 7
    assert result.worth == pytest.approx(statistics.paired([6.0, 5.0, 6.0], [5.0, 5.0, 7.0]))
    assert result.optimism_of_mean == pytest.approx(1.0 - 2.5 / 3)


def test_of_settings_that_are_alike_the_choice_is_optimistic_and_worth_nothing():
    draws = np.random.default_rng(0)
    result = setting_choice(*draws.normal(size=(2, 5, 4000)))
    largest = 1.16296  # the mean of the largest of five normal numbers, of tables
    low, high = result.optimism.low, result.optimism.high
    assert low is not None and high is not None
    assert abs(result.optimism.difference - largest) < 2 * (high - low)
    assert abs(result.worth.difference) < 4 / 4000**0.5


def test_the_interval_of_the_optimism_covers_it():
    draws, missed = np.random.default_rng(1), 0
    for _ in range(500):
        low, high = setting_choice(*draws.normal(size=(2, 5, 8))).optimism[1:3]
        assert low is not None and high is not None
        missed += not low <= 1.16296 <= high
    assert abs(missed - 25) < 4 * (500 * 0.05 * 0.95) ** 0.5


def test_the_choice_of_an_epoch_by_hand():
    curves = np.array([[0.1, 0.2, 0.3], [0.6, 0.5, 0.7], [0.5, 0.7, 0.4], [0.5, 0.6, 0.5]])
    result = epoch_choice(curves)
    assert result.each == pytest.approx(statistics.paired([0.6, 0.7, 0.7], [0.5, 0.6, 0.5]))
    assert result.best == 1
    assert result.of_mean == pytest.approx(0.6 - 1.6 / 3)


def test_the_last_epoch_may_be_the_best():
    result = epoch_choice(np.array([[0.1, 0.1, 0.2], [0.2, 0.2, 0.3]]))
    assert result.each.difference == result.of_mean == 0 and result.best == 1
