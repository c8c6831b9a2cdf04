"""How many seeds a difference needs: Stein's two stages."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from fkd import _check
from fkd.statistics._numbers import level, table


class Intervals(NamedTuple):
    """The mean difference of each method, and the bounds of its interval."""

    mean: Float[np.ndarray, " methods"]
    low: Float[np.ndarray, " methods"]
    high: Float[np.ndarray, " methods"]


def seeds_needed(
    pilot_differences: Float[np.ndarray, "methods pilot"],
    half_width: float,
    confidence: float = 0.95,
    max_seeds: int = 1000,
) -> int:
    """How many seeds in all let every method's difference be known to `half_width`.

    n = max(n₀, ⌈(t s / half_width)²⌉) with the n₀ seeds of the pilot, the largest deviation s of a
    method's differences in it, and t the quantile of Student's t with n₀ − 1 degrees of freedom;
    but `max_seeds` where that is less. `half_width` has the unit of the differences. `two_stage`
    gives the intervals that go with it, which are no wider unless `max_seeds` was reached, and then
    say how wide they are. `confidence` is that of each method's interval: for m methods at once
    give 1 − (1 − confidence) / m.

    Stein, "A two-sample test for a linear hypothesis whose power is independent of the variance"
    (1945), Section 2. Raises ValueError for fewer than two seeds, numbers that are not finite, a
    `half_width` that is not above zero, and a `max_seeds` below the pilot's seeds.

    >>> pilot = np.array([[1.0, 2.0, 3.0], [0.0, 4.0, 2.0]])  # deviations 1 and 2; t is 4.303
    >>> seeds_needed(pilot, 1.0), seeds_needed(pilot, 5.0), seeds_needed(pilot, 1.0, max_seeds=50)
    (75, 3, 50)
    """
    x = table("seeds_needed", "pilot_differences", pilot_differences, "methods seeds", (1, 2))
    _check.plain("seeds_needed", half_width=half_width)
    _check.positive("seeds_needed", half_width=half_width)
    level("seeds_needed", confidence)
    pilot = x.shape[1]
    _check.count("seeds_needed", pilot, max_seeds=max_seeds)
    ratio = _t(confidence, pilot) * float(x.std(axis=1, ddof=1).max()) / half_width
    return max(pilot, math.ceil(min(ratio * ratio, max_seeds)))


def two_stage(
    differences: Float[np.ndarray, "methods seeds"], pilot: int, confidence: float = 0.95
) -> Intervals:
    """The intervals after `seeds_needed`: of the first `pilot` seeds the variance, of all the mean.

    mean ± t s / √n, with the deviation s of the pilot and t of its degrees of freedom. The number
    of seeds n hangs on the pilot's variances alone, which say nothing of the means, so for normal
    differences the level is exact, for each method, however n was bounded. A t interval from the
    variance of all n would be too narrow: n is large where the pilot's variance was.

    For skewed differences the level does not hold: after a pilot of 8 seeds, 95 % intervals of
    exponential and lognormal ones miss 11 and 18 % of the time (`benchmarks/coverage.py`).

    Stein (1945), Section 2. Raises ValueError as `seeds_needed`, and for a pilot of fewer than two
    seeds, or of more than there are.

    >>> mean, low, high = two_stage(np.array([[1.0, 2.0, 3.0, 2.0]]), pilot=3)
    >>> [round(float(x[0]), 4) for x in (mean, low, high)]
    [2.0, -0.1513, 4.1513]
    """
    x = table("two_stage", "differences", differences, "methods seeds", (1, 2))
    _check.count("two_stage", 2, x.shape[1], pilot=pilot)
    level("two_stage", confidence)
    half = _t(confidence, pilot) * x[:, :pilot].std(axis=1, ddof=1) / x.shape[1] ** 0.5
    mean = x.mean(axis=1)
    return Intervals(mean, mean - half, mean + half)


def _t(confidence: float, seeds: int) -> float:
    return float(stats.t.ppf((1 + confidence) / 2, seeds - 1))
