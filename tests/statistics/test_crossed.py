"""Seeds and images against statsmodels' table of a two-way analysis, and by hand."""

import numpy as np
import pytest
from pandas import DataFrame
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from fkd import statistics
from fkd.statistics import crossed

DRAWS = np.random.default_rng(0)
D = DRAWS.normal(size=(4, 1)) + 2 * DRAWS.normal(size=6) + DRAWS.normal(size=(4, 6))


def test_the_components_are_those_of_statsmodels_table():
    seeds, images = np.indices(D.shape)
    data = DataFrame({"d": D.ravel(), "seed": seeds.ravel(), "image": images.ravel()})
    squares = anova_lm(ols("d ~ C(seed) + C(image)", data).fit())["mean_sq"].to_numpy()
    result = crossed(D, np.zeros_like(D))
    expected = (squares[0] - squares[2]) / 6, (squares[1] - squares[2]) / 4, squares[2]
    assert (result.seeds, result.images, result.rest) == pytest.approx(expected)
    variance = (squares[0] + squares[1] - squares[2]) / 24
    parts = squares**2 / [3, 5, 15]
    degrees = (24 * variance) ** 2 / parts.sum()
    half = stats.t.ppf(0.975, degrees) * variance**0.5
    assert result.on_like_these == pytest.approx((D.mean() - half, D.mean() + half, degrees))


def _paired(a: np.ndarray, b: np.ndarray) -> statistics.Paired:
    return statistics.paired(a.mean(axis=1).tolist(), b.mean(axis=1).tolist())


def test_on_these_images_it_is_the_paired_test_of_the_seeds_means():
    b = DRAWS.normal(size=D.shape)
    result, expected = crossed(D, b), _paired(D, b)
    assert result.difference == pytest.approx(expected.difference)
    assert result.on_these == pytest.approx((expected.low, expected.high, 3.0))


def test_bits_are_numbers():
    a, b = DRAWS.uniform(size=(2, 5, 20)) < 0.7
    assert crossed(a, b) == crossed(a.astype(float), b.astype(float))


def test_images_that_do_not_matter_never_make_it_surer():
    x = np.array([[1.0, 2.0, 3.0], [5.0, 3.0, 4.0]])  # image means 3, 2.5, 3.5: below the rest's
    result = crossed(x, np.zeros_like(x))
    assert result.images < 0
    assert result.on_like_these == result.on_these


def test_components_by_hand():
    x = np.array([[1.0, 2.0, 3.0], [3.0, 4.0, 8.0]])  # mean squares 13.5, 6.5 and 1.5
    result = crossed(x, np.zeros_like(x))
    assert (result.seeds, result.images, result.rest) == pytest.approx((4.0, 2.5, 1.5))


def test_equal_answers_differ_by_nothing():
    same = np.ones((3, 4), dtype=bool)
    result = crossed(same, same)
    assert result.on_these[:2] == result.on_like_these[:2] == (0.0, 0.0)
