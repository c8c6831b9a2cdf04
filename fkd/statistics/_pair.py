"""How sure we are of a mean: intervals and paired tests."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from fkd import _check
from fkd.statistics._numbers import row

ROUNDING = 16 * np.finfo(np.float64).eps  # of the larger score: what two differences are off by


class Interval(NamedTuple):
    """A mean, the deviation of the values (n − 1), and the bounds of the mean's interval.

    The last three are None for one value, from which no spread can be known.
    """

    mean: float
    deviation: float | None
    low: float | None
    high: float | None


class Paired(NamedTuple):
    """The mean difference of two paired samples, its interval, and the paired t-test's p-value.

    The last three are None for one pair. p is None too where all differences are the same, but for
    what rounding makes of them: 0.3 − 0.2 is not 0.5 − 0.4 to the last bit.
    """

    difference: float
    low: float | None
    high: float | None
    p: float | None


def interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Student's t interval of a mean, for values that are independent and about normal.

    Where a value is not finite, the mean is what arithmetic makes of it and nothing else is known:
    deviation and bounds are NaN. Raises ValueError for what are no numbers, for none at all, and
    for a confidence outside [0, 1).

    >>> [round(x, 4) for x in interval([1.0, 2.0, 3.0])]
    [2.0, 1.0, -0.4841, 4.4841]
    """
    x = row("interval", "values", values)
    _check.plain("interval", confidence=confidence)
    _check.share("interval", confidence=confidence)
    with np.errstate(invalid="ignore", over="ignore"):  # of values that are not finite, or huge
        mean = float(x.mean())
        if len(x) < 2:
            return Interval(mean, None, None, None)
        deviation = float(x.std(ddof=1)) if np.ptp(x) else 0.0  # of equal values a mean may be off
    half = float(stats.t.ppf((1 + confidence) / 2, len(x) - 1)) * deviation / len(x) ** 0.5
    return Interval(mean, deviation, mean - half, mean + half)


def paired(a: Sequence[float], b: Sequence[float], confidence: float = 0.95) -> Paired:
    """How `a` differs from `b`, pair by pair: the mean of a − b, its t interval, and p.

    Raises ValueError for samples of two lengths, and as `interval`.

    >>> result = paired([2.0, 3.0, 5.0], [1.0, 2.0, 3.0])
    >>> round(result.difference, 4), round(result.p, 4)
    (1.3333, 0.0572)
    """
    first, second = row("paired", "a", a), row("paired", "b", b)
    if len(first) != len(second):
        raise ValueError(
            f"paired: a and b must hold one number each for every pair, but they hold {len(first)} "
            f"and {len(second)}; give both for the same seeds"
        )
    _check.plain("paired", confidence=confidence)
    _check.share("paired", confidence=confidence)
    with np.errstate(invalid="ignore", over="ignore"):
        differences = first - second
        rounding = ROUNDING * max(np.abs(first).max(), np.abs(second).max())
        if np.ptp(differences) <= rounding < np.inf:
            differences[:] = differences[0]
        mean, deviation, low, high = interval(differences.tolist(), confidence)
        p = float(stats.ttest_rel(first, second).pvalue) if deviation else None
    return Paired(mean, low, high, p)
