"""Variance components against statsmodels' tables, and by hand."""

import numpy as np
import pytest
from pandas import DataFrame
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from fkd.statistics import components

X = np.array([[1.0, 2.0, 3.0], [3.0, 4.0, 8.0]])  # mean squares 13.5, 6.5 and 1.5


def test_two_sources_by_hand():
    result = components(X, ["init", "order"])
    assert [c.variance for c in result.values()] == pytest.approx([4.0, 2.5, 1.5])
    assert [c.mean_square for c in result.values()] == pytest.approx([13.5, 6.5, 1.5])
    assert [c.degrees for c in result.values()] == [1, 2, 2]
    # of any tables: F(1, 2) at 0.975 is 38.506 and χ²(1) 5.0239; χ²(2) 7.3778 and 0.050636
    assert result["init"].low == pytest.approx((13.5 - 1.5 * 38.5063) / 3 / 5.02389, rel=1e-5)
    assert (result["rest"].low, result["rest"].high) == pytest.approx(
        (3 / 7.37776, 3 / 0.0506356), rel=1e-5
    )


def test_four_sources_are_those_of_statsmodels_table():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 2))
    names = ["init", "order", "dropout", "teacher"]
    levels = {name: index.ravel() for name, index in zip(names, np.indices(x.shape), strict=True)}
    formula = "x ~ " + " + ".join(f"C({name})" for name in names)
    table = anova_lm(ols(formula, DataFrame({"x": x.ravel(), **levels})).fit())
    result = components(x, names)
    assert list(result) == [*names, "rest"]
    squares = [component.mean_square for component in result.values()]
    assert squares == pytest.approx(table["mean_sq"].to_list())
    assert [c.degrees for c in result.values()] == table["df"].to_list()
    for name, size in zip(names, x.shape, strict=True):
        expected = (result[name].mean_square - squares[-1]) * size / x.size
        assert result[name].variance == pytest.approx(expected)


def test_a_source_without_effect_is_told_below_zero():
    result = components(np.array([[1.0, 2.0], [2.0, 1.0]]), ["init", "order"])
    assert result["init"].variance == result["order"].variance == -0.5
    assert result["init"].low < result["init"].high < 0


def test_the_bounds_go_through_zero_where_the_test_of_f_does():
    # the interval begins above zero just where F of the source is above its quantile
    draws = np.random.default_rng(1)
    for _ in range(50):
        x = draws.normal(size=(3, 1)) + draws.normal(size=(3, 5))
        result = components(x, ["init", "order"])
        f = result["init"].mean_square / result["rest"].mean_square
        assert (result["init"].low > 0) == (f > stats.f.ppf(0.975, 2, 8))


def test_a_level_more_of_one_source_changes_no_name():
    assert list(components(np.ones((2, 2)), ("a", "b"))) == ["a", "b", "rest"]


@pytest.mark.plain
@pytest.mark.parametrize("sources", [["init"], ["init", "init"], ["init", "rest"], ["a", 3], "ab"])
def test_names_that_do_not_fit_are_refused(sources):
    with pytest.raises(ValueError, match=r"components: .*sources"):
        components(X, sources)
