"""Many methods at once: what holds for all of them together, and which may be the best."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from fkd import _check
from fkd.statistics._numbers import level, table

EXACT = 12  # seeds; of so many, all 4,096 flips are tried
TIE = 1e-9  # cosines that differ by rounding alone are equal
SAME = 1e-12  # of the largest; differences that are so near are one but for their scores' rounding
MOST = 10**6  # flips


class Many(NamedTuple):
    """Each method's mean difference, its bounds, which hold for all at once, and p: its own paired
    t-test's, and that adjusted for all by max-t over sign flips, and by Holm."""

    mean: Float[np.ndarray, " methods"]
    low: Float[np.ndarray, " methods"]
    high: Float[np.ndarray, " methods"]
    p: Float[np.ndarray, " methods"]
    adjusted: Float[np.ndarray, " methods"]
    holm: Float[np.ndarray, " methods"]


class Best(NamedTuple):
    """Whether each method is among those that cannot be told from the best, and p of being it."""

    among: Bool[np.ndarray, " methods"]
    p: Float[np.ndarray, " methods"]


def against_baseline(
    differences: Float[np.ndarray, "methods seeds"],
    confidence: float = 0.95,
    flips: int = 9999,
    seed: int = 0,
) -> Many:
    """All methods against the baseline at once: [methods, seeds] differences from it, paired.

    `adjusted` is the step-down p-value by max-t: methods in the order of |t|, each against the
    largest |t| of itself and those after it, where the signs of whole seeds are flipped. A flip
    takes one seed's differences of all methods together, so what methods share is kept. All 2ⁿ
    flips are tried for n ≤ 12 seeds, else `flips` random ones by `seed`, and the differences as
    they are. If each seed's differences have the law of their negatives where there is no effect,
    the chance of any false claim is at most the level that p is held against, for any number of
    seeds and methods. No p is below 2¹⁻ⁿ: five seeds cannot reach 0.05, and six can.

    `low` and `high` are mean ± t s / √n with t the quantile of Student's t at 1 − (1 − confidence)
    / (2 methods): Bonferroni's bound on the quantile of max |t|, which holds for normal differences
    whatever their correlation. Where methods share half of their variance, as through one baseline,
    some bound misses 4 to 6 % of the time in the table of `benchmarks/coverage.py`, so little is
    given away. The quantile of max |t| over sign flips of what is left when the mean is taken away
    would be too small for few seeds: of 3 methods and 4 seeds it misses 9 % of the time.

    For skewed differences neither holds: of ten methods and 8 seeds at 95 %, exponential and
    lognormal ones give false claims by max-t 10 and 23 % of the time, and a bound that misses 12
    and 25 % (`benchmarks/coverage.py`). Differences of two methods whose scores have one law are
    not skewed, however skewed the scores are.

    A method whose differences are all the same, but for rounding, has no spread, so p and holm are
    1, and the bounds are its mean.

    Westfall and Young, "Resampling-based multiple testing" (1993), Algorithm 2.8; Romano and Wolf,
    "Exact and approximate stepdown methods for multiple hypothesis testing" (2005), Section 3; for
    random flips Phipson and Smyth, "Permutation p-values should never be zero" (2010); for Holm's,
    `holm`. Raises ValueError for fewer than two seeds, numbers that are not finite, and flips
    outside [1, 10⁶].

    >>> differences = np.array([[1.0, 2, 2, 3, 2, 2], [0.5, -1, 1, -0.5, 0.2, -0.3]])
    >>> result = against_baseline(differences)
    >>> result.adjusted.round(4).tolist(), result.holm.round(4).tolist()
    ([0.0312, 1.0], [0.0011, 0.9573])
    """
    where = "against_baseline"
    x = table(where, "differences", differences, "methods seeds", (1, 2))
    level(where, confidence)
    signs = _signs(where, x.shape[1], flips, seed)
    methods, seeds = x.shape
    mean, deviation = x.mean(axis=1), x.std(axis=1, ddof=1)
    t = float(stats.t.isf((1 - confidence) / (2 * methods), seeds - 1))
    half = t * deviation / seeds**0.5
    units = _units(x)
    cosines = np.abs(units.sum(axis=1)) / seeds**0.5
    p = _p(cosines, seeds)
    p[_alike(x)] = 1.0
    adjusted = _step_down(cosines, np.abs(signs @ units.T) / seeds**0.5)
    return Many(mean, mean - half, mean + half, p, adjusted, holm(p))


def holm(p: Float[np.ndarray, " methods"]) -> Float[np.ndarray, " methods"]:
    """Holm's adjusted p-values: with p in order, the largest so far of (m − i) p[i], at most 1.

    The chance of any false claim is at most the level that they are held against, however the tests
    depend on each other. Holm, "A simple sequentially rejective multiple test procedure" (1979),
    Section 2. Raises ValueError for none, and for what does not lie in [0, 1].

    >>> holm(np.array([0.01, 0.04, 0.03])).round(4).tolist()
    [0.03, 0.06, 0.06]
    """
    values = table("holm", "p", p, "methods", (1,))
    if values.min() < 0 or values.max() > 1:
        raise ValueError(f"holm: p must lie in [0, 1], but it is {_check.shown(p)}")
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def best_set(
    scores: Float[np.ndarray, "methods seeds"],
    confidence: float = 0.95,
    flips: int = 9999,
    seed: int = 0,
) -> Best:
    """The methods that cannot be told from the best; `scores` are better where they are higher.

    For each method, p is that of the largest t of any other's paired difference from it, over sign
    flips of whole seeds as in `against_baseline`. It is among the best where p > 1 − confidence: no
    other is surely above it. Multiple comparisons with the best are just these comparisons of each
    with all others: the set misses a method that is truly best with a chance of at most
    1 − confidence, and no level is split among the methods, since that concerns one method alone.
    A model confidence set would need a bootstrap that few seeds do not bear. p is never below 2⁻ⁿ:
    of four seeds or fewer every method is among the best at 95 %, for nothing is known; and nothing
    is of a difference that is the same at all seeds, but for rounding, as there. A method
    that is far below the one asked about costs power, since a flip of all signs puts it far above:
    one that lies between it and the best is left out from six seeds on, not from five.

    The level holds for skewed scores too, as far as all have one law, for then their differences
    are symmetric.

    Hsu, "Constrained simultaneous confidence intervals for multiple comparisons with the best"
    (1984), Section 2, with the sign flips of Romano and Wolf (2005) for normal scores of one
    variance there. Raises ValueError for fewer than two methods or seeds, and else as
    `against_baseline`.

    >>> scores = np.array([[5.0, 6, 7, 6, 5, 7], [5.5, 5.8, 7.1, 6, 5, 7], [1, 2, 3, 2, 1, 3]])
    >>> best_set(scores).among.tolist()
    [True, True, False]
    """
    x = table("best_set", "scores", scores, "methods seeds", (2, 2))
    level("best_set", confidence)
    signs = _signs("best_set", x.shape[1], flips, seed)
    p = np.empty(len(x))
    for method, own in enumerate(x):
        above = np.delete(x, method, axis=0) - own
        units = np.where(_alike(above)[:, None], 0.0, _units(above))
        largest = units.sum(axis=1).max()
        p[method] = ((signs @ units.T).max(axis=1) >= largest - TIE).mean()
    return Best(p > 1 - confidence, p)


def _alike(x: Float[np.ndarray, "methods seeds"]) -> Bool[np.ndarray, " methods"]:
    """Whether a row's numbers are all the same, but for rounding."""
    return np.ptp(x, axis=1) <= SAME * np.abs(x).max(axis=1)


def _units(x: Float[np.ndarray, "methods seeds"]) -> Float[np.ndarray, "methods seeds"]:
    """Each row in length one, or zero. With c the cosine between a row and the ones, t is
    c √((n − 1) / (1 − c²)): it grows with c, which needs no deviation that may be zero."""
    scale = np.abs(x).max(axis=1, keepdims=True)
    x = np.divide(x, scale, out=np.zeros_like(x), where=scale > 0)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, length, out=np.zeros_like(x), where=length > 0)


def _p(cosines: Float[np.ndarray, " methods"], seeds: int) -> Float[np.ndarray, " methods"]:
    """Of the paired t-test, two-sided: c² has the law of Beta(1/2, (n − 1) / 2)."""
    return stats.beta.sf(cosines**2, 0.5, (seeds - 1) / 2)


def _signs(where: str, seeds: int, flips: int, seed: int) -> Float[np.ndarray, "flips seeds"]:
    """All flips, or random ones after that which flips nothing."""
    _check.count(where, 1, MOST, flips=flips)
    _check.seed(where, seed=seed)
    if seeds <= EXACT:
        bits = np.arange(2**seeds)[:, None] >> np.arange(seeds) & 1
    else:
        bits = np.random.default_rng(seed).integers(0, 2, (flips + 1, seeds))
        bits[0] = 0
    return 1.0 - 2.0 * bits


def _step_down(
    cosines: Float[np.ndarray, " methods"], flipped: Float[np.ndarray, "flips methods"]
) -> Float[np.ndarray, " methods"]:
    order = np.argsort(-cosines, kind="stable")
    largest = np.maximum.accumulate(flipped[:, order[::-1]], axis=1)[:, ::-1]
    p = (largest >= cosines[order] - TIE).mean(axis=0)
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p)
    return adjusted
