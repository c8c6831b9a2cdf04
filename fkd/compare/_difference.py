"""How far methods are from the baseline, each by itself and all at once: from numbers by seed."""

from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from fkd.statistics import Bounds, against_baseline, holm, interval, two_stage

LEVEL = 0.05  # that a p-value for all at once is held against
ROUNDING = 1e-6  # of what was computed in float32: numbers that differ by less are the same


class Difference(NamedTuple):
    """By how much a method's mean is above the baseline's, in the metric's own unit.

    `low` and `high` bound it by itself, `joint_low` and `joint_high` hold for all methods at once,
    and `images` is on images like these. `p` is of the method by itself, `adjusted` and `holm` are
    held against a level for all. What cannot be known is None; the mean of what is not all finite
    is NaN.
    """

    mean: float
    low: float | None = None
    high: float | None = None
    joint_low: float | None = None
    joint_high: float | None = None
    p: float | None = None
    adjusted: float | None = None
    holm: float | None = None
    images: Bounds | None = None

    @property
    def told(self) -> bool:
        """Whether the method can be told from the baseline: zero lies outside of the bounds that
        hold for all at once. Of differences without a spread nothing is known."""
        if self.p is None or self.joint_low is None or self.joint_high is None:
            return False
        return self.joint_low > 0 or self.joint_high < 0

    @property
    def at_odds(self) -> bool:
        """Whether the bounds that hold for all at once tell the method from the baseline, and the
        p-value that is adjusted for all does not."""
        return self.told and self.adjusted is not None and self.adjusted > LEVEL

    @property
    def images_told(self) -> Bounds | None:
        """The interval on images like these, where that by itself tells anything."""
        known = self.low is not None and self.high is not None and has_width(self.low, self.high)
        return self.images if known else None

    def on_images(self, bounds: Bounds) -> "Difference":
        """With the interval on images like these, which is never surer than that by itself: of two
        stages the latter may be the wider one."""
        assert self.low is not None and self.high is not None
        low, high = min(bounds.low, self.low), max(bounds.high, self.high)
        return self._replace(images=bounds._replace(low=low, high=high))

    def to_json(self) -> dict[str, Any]:
        """By name, as results.json holds it."""
        return self._asdict() | {"images": None if self.images is None else self.images._asdict()}


def in_one_stage(x: np.ndarray, confidence: float) -> list[Difference]:
    """Of differences [methods, seeds]: Student's t by itself, and `against_baseline` for all."""
    many, varies = against_baseline(x, confidence), _varies(x)
    own = [interval(row.tolist(), confidence) for row in x]
    return [
        Difference(
            mean=own[k].mean,
            low=own[k].low,
            high=own[k].high,
            joint_low=float(many.low[k]),
            joint_high=float(many.high[k]),
            p=float(many.p[k]) if varies[k] else None,
            adjusted=float(many.adjusted[k]) if varies[k] else None,
            holm=float(many.holm[k]) if varies[k] else None,
        )
        for k in range(len(x))
    ]


def in_two_stages(x: np.ndarray, pilot: int, confidence: float) -> list[Difference]:
    """Of differences [methods, seeds] whose first seeds were a pilot: `two_stage`, by itself and at
    1 − (1 − confidence) / methods for all; p is of the t in it, and adjusted by Holm."""
    own = two_stage(x, pilot, confidence)
    joint = two_stage(x, pilot, 1 - (1 - confidence) / len(x))
    first = x[:, :pilot]
    varies, spread = _varies(first), first.std(axis=1, ddof=1)
    t = np.divide(own.mean * x.shape[1] ** 0.5, spread, out=np.zeros_like(spread), where=varies)
    p = 2 * stats.t.sf(np.abs(t), pilot - 1)
    adjusted = holm(p)
    return [
        Difference(
            mean=float(own.mean[k]),
            low=float(own.low[k]),
            high=float(own.high[k]),
            joint_low=float(joint.low[k]),
            joint_high=float(joint.high[k]),
            p=float(p[k]) if varies[k] else None,
            adjusted=float(adjusted[k]) if varies[k] else None,
            holm=float(adjusted[k]) if varies[k] else None,
        )
        for k in range(len(x))
    ]


def surely_above(x: np.ndarray, pilot: int, confidence: float) -> bool:
    """Of differences [methods, seeds] in two stages: whether one is above zero, which is said of
    none with a chance of `confidence` where none is. A row without a spread tells nothing."""
    level = max(1 - 2 * (1 - confidence) / len(x), 0.0)  # one-sided, so twice as much is left out
    low = two_stage(x, pilot, level).low
    return bool((low[_varies(x[:, :pilot])] > 0).any())


def has_width(low: float, high: float) -> bool:
    """Whether an interval tells anything: one without a width comes from numbers that are all the
    same, which show no spread and are too few to say that there is none.

    >>> has_width(-0.1, 0.2), has_width(0.1, 0.1)
    (True, False)
    """
    return not 0 <= high - low < ROUNDING


def without_rounding(x: np.ndarray) -> np.ndarray:
    """Differences [..., seeds] with their mean in place of each where rounding alone parts them."""
    same = np.ptp(x, axis=-1, keepdims=True) < ROUNDING
    return np.where(same, x.mean(axis=-1, keepdims=True), x)


def _varies(x: np.ndarray) -> np.ndarray:
    return np.ptp(x, axis=1) >= ROUNDING
