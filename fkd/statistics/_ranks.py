"""Methods by their ranks over tasks."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from fkd.statistics._numbers import level, table


class Ranks(NamedTuple):
    """Each method's average rank, 1 the best; Friedman's test in Iman and Davenport's form; and by
    how much two average ranks must differ for their methods to be told apart."""

    mean: Float[np.ndarray, " methods"]
    f: float
    p: float
    critical_difference: float


def mean_ranks(scores: Float[np.ndarray, "tasks methods"], confidence: float = 0.95) -> Ranks:
    """How methods rank over tasks; `scores` are better where they are higher.

    Equal scores share their ranks. With N tasks, k methods and Friedman's χ², corrected for ties,

        F = (N − 1) χ² / (N (k − 1) − χ²)    with k − 1 and (k − 1)(N − 1) degrees of freedom

    and the critical difference is Nemenyi's, q √(k (k + 1) / (6 N)), with q the quantile of the
    studentized range of k means, of infinite degrees of freedom, over √2. It is of all pairs at
    once, for many tasks; with fewer than 10 it is rough. Tasks, not seeds, are what is drawn: give
    each task's mean over its seeds. F is infinite where all tasks agree, and 0 where every method
    ties in each.

    Demšar, "Statistical comparisons of classifiers over multiple data sets" (2006), Section 3.2.2;
    Iman and Davenport, "Approximations of the critical region of the Friedman statistic" (1980).
    Raises ValueError for fewer than two tasks or methods, and numbers that are not finite.

    >>> scores = np.array([[0.9, 0.8, 0.7], [0.6, 0.5, 0.4], [0.8, 0.9, 0.7], [0.3, 0.2, 0.1]])
    >>> result = mean_ranks(scores)
    >>> result.mean.tolist(), round(result.f, 4), round(result.critical_difference, 4)
    ([1.25, 1.75, 3.0], 13.0, 1.6572)
    """
    x = table("mean_ranks", "scores", scores, "tasks methods", (2, 2))
    level("mean_ranks", confidence)
    tasks, methods = x.shape
    ranks = stats.rankdata(-x, axis=1)
    mean = ranks.mean(axis=0)
    between = tasks * float(np.square(mean - (methods + 1) / 2).sum())
    within = float(np.square(ranks - (methods + 1) / 2).sum()) / (tasks * (methods - 1))
    chi = between / within if within else 0.0  # with ties; without, within is k (k + 1) / 12
    room = tasks * (methods - 1) - chi
    agree = room <= 1e-9 * tasks * methods  # but for rounding
    f = float("inf") if agree else (tasks - 1) * chi / room
    p = float(stats.f.sf(f, methods - 1, (methods - 1) * (tasks - 1)))
    q = float(stats.studentized_range.ppf(confidence, methods, np.inf)) / 2**0.5
    return Ranks(mean, f, p, q * (methods * (methods + 1) / (6 * tasks)) ** 0.5)
