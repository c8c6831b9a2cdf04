"""What varies: the variance of each source in a small factorial run."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from fkd import _check
from fkd.statistics._numbers import level, table

REST = "rest"


class Component(NamedTuple):
    """The variance that comes from one source, the bounds of its interval, and its mean square with
    its degrees of freedom."""

    variance: float
    low: float
    high: float
    mean_square: float
    degrees: int


def components(
    values: Float[np.ndarray, "..."], sources: Sequence[str], confidence: float = 0.95
) -> dict[str, Component]:
    """The variance of each source, by name, and of the `rest`: [levels of each source] → variances.

    One run was made with each combination of the sources' levels, which are random draws, and
    values = mean + effect of each source's level + rest. With the mean square M of a source of a
    levels (a − 1 degrees of freedom) among N values, and M_rest of all that is left,

        rest = M_rest,    source = (M − M_rest) a / N

    unbiased, and told as they are where they are negative, as that of a source without effect is
    about half of the time. The rest holds what a repetition varies and how sources act on each
    other. Of two sources that makes no bias; of more, where two act on each other, a part of that
    is in both of their variances too.

    The rest's interval is exact for normal effects: (N′ M_rest / χ² quantiles). A source's is
    Williams' and Tukey's, with half of 1 − confidence on each side:

        (M − M_rest F_high) a / (N χ²_high / (a − 1))   to the same with F_low and χ²_low

    It holds at least 1 − 2 (1 − confidence) and about `confidence`, for normal effects: of three
    sources with four levels each, 95 % intervals of exponential and lognormal ones miss 16 and 20 %
    of the time, and the rest's 28 and 60 % (`benchmarks/coverage.py`), which more levels do not
    mend. Bounds may be negative, which says that no variance was seen. With two levels the upper
    bound is some thousand times the variance: four or more are worth their price.

    Searle, Casella and McCulloch, "Variance Components" (1992), Sections 4.3 and 4.4; Williams, "A
    confidence interval for variance components" (1962). Raises ValueError for fewer than two
    sources, fewer than two levels of one, numbers that are not finite, and names that do not fit.

    >>> values = np.array([[1.0, 2.0, 3.0], [3.0, 4.0, 8.0]])
    >>> result = components(values, ["init", "order"])
    >>> {name: round(component.variance, 4) for name, component in result.items()}
    {'init': 4.0, 'order': 2.5, 'rest': 1.5}
    """
    _check.words("components", sources=sources)
    if len(sources) < 2 or len({*sources, REST}) <= len(sources):
        raise ValueError(
            f"components: sources must be two names or more, each once and none {REST!r}, but they "
            f"are {_check.shown(sources)}"
        )
    axes = " ".join(["levels"] * len(sources))
    x = table("components", "values", values, axes, [2] * len(sources))
    level("components", confidence)
    tails = (1 + confidence) / 2, (1 - confidence) / 2  # which give the bound below and above
    left, degrees_left = x - x.mean(), x.size - 1
    squares: list[tuple[float, int]] = []
    for axis, levels in enumerate(x.shape):
        others = tuple(other for other in range(x.ndim) if other != axis)
        effect = x.mean(axis=others, keepdims=True) - x.mean()
        left, degrees_left = left - effect, degrees_left - (levels - 1)
        square = float(np.square(effect).sum()) * x.size / levels / (levels - 1)
        squares.append((square, levels - 1))
    rest = float(np.square(left).sum()) / degrees_left
    result = {}
    for name, (square, degrees) in zip(sources, squares, strict=True):
        share = (degrees + 1) / x.size
        above = [square - rest * float(stats.f.ppf(q, degrees, degrees_left)) for q in tails]
        low, high = (share * a / _spread(q, degrees) for a, q in zip(above, tails, strict=True))
        result[name] = Component((square - rest) * share, low, high, square, degrees)
    low, high = (rest / _spread(q, degrees_left) for q in tails)
    return result | {REST: Component(rest, low, high, rest, degrees_left)}


def _spread(q: float, degrees: int) -> float:
    """The quantile of a mean square of variance one."""
    return float(stats.chi2.ppf(q, degrees)) / degrees
