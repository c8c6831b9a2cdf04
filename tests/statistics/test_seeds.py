"""Stein's two stages by numbers worked by hand."""

import numpy as np
import pytest

from fkd import statistics
from fkd.statistics import seeds_needed, two_stage

PILOT = np.array([[1.0, 2.0, 3.0], [0.0, 4.0, 2.0]])  # deviations 1 and 2
T = 4.302653  # t(0.975, 2) of any table


def test_the_number_of_seeds_by_hand():
    assert seeds_needed(PILOT, 1.0) == 75  # (2 T)² = 74.05
    assert seeds_needed(PILOT[:1], 1.0) == 19  # T² = 18.5
    assert seeds_needed(PILOT, 100.0) == 3
    assert seeds_needed(PILOT, 1.0, max_seeds=20) == 20
    assert seeds_needed(np.ones((2, 4)), 1e-6) == 4  # no spread


@pytest.mark.parametrize("half_width", [0.1, 0.7, 3.0])
def test_the_interval_is_no_wider_than_was_asked_and_one_seed_fewer_would_not_do(half_width):
    number = seeds_needed(PILOT, half_width, max_seeds=10**6)
    widths = []
    for seeds in (number, number - 1):
        more = np.concatenate([PILOT, np.zeros((2, seeds - 3))], axis=1) if seeds >= 3 else PILOT
        mean, low, high = two_stage(more, 3)
        np.testing.assert_allclose(mean - low, high - mean)
        widths.append((high - low).max() / 2)
    assert widths[0] <= half_width * (1 + 1e-12)
    assert widths[1] > half_width or number == 3


def test_the_interval_by_hand():
    x = np.concatenate([PILOT, [[9.0], [6.0]]], axis=1)
    mean, low, high = two_stage(x, 3)
    np.testing.assert_allclose(mean, [15 / 4, 3.0])
    np.testing.assert_allclose(high - mean, [T / 2, 2 * T / 2], rtol=1e-6)
    np.testing.assert_allclose(mean - low, [T / 2, 2 * T / 2], rtol=1e-6)


def test_of_the_pilot_alone_it_is_the_paired_t_interval():
    mean, low, high = two_stage(PILOT, 3)
    for row, *bounds in zip(PILOT, mean, low, high, strict=True):
        paired = statistics.paired(row.tolist(), [0.0] * 3)
        assert bounds == pytest.approx(paired[:3])


def test_a_power_that_does_not_hang_on_the_variance():
    # Stein's title: the chance to see an effect of d is the same whatever the deviation is
    draws = np.random.default_rng(0)
    seen = {}
    for deviation in (4.0, 8.0):
        found = 0
        for _ in range(300):
            pilot = draws.normal(1.0, deviation, (1, 8))
            number = seeds_needed(pilot, 1.0, max_seeds=10**4)
            x = np.concatenate([pilot, draws.normal(1.0, deviation, (1, number - 8))], axis=1)
            found += two_stage(x, 8).low[0] > 0
        seen[deviation] = found / 300
    # the effect is the half width that was asked, so the mean is above it half of the time
    assert all(abs(share - 0.5) < 4 * 0.5 / 300**0.5 for share in seen.values()), seen


@pytest.mark.plain
def test_a_pilot_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"seeds_needed: max_seeds must be .* at least 3"):
        seeds_needed(PILOT, 1.0, max_seeds=2)
    with pytest.raises(ValueError, match=r"two_stage: pilot must be .* in \[2, 3\]"):
        two_stage(PILOT, 4)
    with pytest.raises(ValueError, match="seeds_needed: half_width must be above zero"):
        seeds_needed(PILOT, 0.0)
