"""How numbers are told: a share in %, or another number in its unit; bounds and p-values."""

import math
from typing import NamedTuple

from fkd.compare._difference import has_width
from fkd.statistics import Interval

NOTHING = "–"  # where nothing is known


class Unit(NamedTuple):
    """What a number is told in, by how much it is multiplied for that, and its places."""

    name: str
    factor: float
    places: int


POINTS, NATS = Unit("points", 100, 2), Unit("nats", 1, 4)


def number(value: float | None, sign: str = "", unit: Unit = POINTS) -> str:
    """A share in percent, or another number in its unit; `sign` may be `+`.

    >>> number(0.5), number(0.5, "+"), number(-0.25, "+", NATS), number(None)
    ('50.00', '+50.00', '-0.2500', '–')
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{unit.factor * value:{sign}.{unit.places}f}"


def bounds(low: float | None, high: float | None, sign: str = "", unit: Unit = POINTS) -> str:
    """An interval, each end as `number` tells it, where anything is known.

    >>> bounds(0.1, 0.2), bounds(0.1, 0.2, "+"), bounds(None, None), bounds(0.1, 0.1)
    ('[10.00, 20.00]', '[+10.00, +20.00]', '–', '–')
    """
    if low is None or high is None or not has_width(low, high):
        return NOTHING
    ends = number(low, sign, unit), number(high, sign, unit)
    return NOTHING if ends == (NOTHING, NOTHING) else f"[{', '.join(ends)}]"


def with_spread(one: Interval, unit: Unit = POINTS) -> str:
    """A mean and the deviation about it, where that is known.

    >>> from fkd.statistics import interval
    >>> with_spread(interval([0.5, 0.6])), with_spread(interval([0.5]))
    ('55.00 ± 7.07', '50.00')
    """
    spread = "" if one.deviation is None else f" ± {number(one.deviation, '', unit)}"
    return number(one.mean, "", unit) + spread


def p_value(p: float | None) -> str:
    """A p-value to three places.

    >>> p_value(0.25), p_value(0.0009), p_value(None)
    ('0.250', '<0.001', '–')
    """
    if p is None or math.isnan(p):
        return NOTHING
    return "<0.001" if p < 0.001 else f"{p:.3f}"
