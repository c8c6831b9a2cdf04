"""How numbers are told: a share in %, or another number in its unit; bounds and p-values."""

import math

NOTHING = "–"  # where nothing is known


def number(value: float | None, sign: str = "", factor: float = 100, places: int = 2) -> str:
    """A share in percent, or another number so many times as large; `sign` may be `+`.

    >>> number(0.5), number(0.5, "+"), number(-0.25, "+", 1, 4), number(None)
    ('50.00', '+50.00', '-0.2500', '–')
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{factor * value:{sign}.{places}f}"


def bounds(
    low: float | None, high: float | None, sign: str = "", factor: float = 100, places: int = 2
) -> str:
    """An interval, each end as `number` tells it.

    >>> bounds(0.1, 0.2), bounds(0.1, 0.2, "+"), bounds(None, None)
    ('[10.00, 20.00]', '[+10.00, +20.00]', '–')
    """
    if low is None or high is None:
        return NOTHING
    return f"[{number(low, sign, factor, places)}, {number(high, sign, factor, places)}]"


def p_value(p: float | None) -> str:
    """A p-value to three places.

    >>> p_value(0.25), p_value(0.0009), p_value(None)
    ('0.250', '<0.001', '–')
    """
    if p is None or math.isnan(p):
        return NOTHING
    return "<0.001" if p < 0.001 else f"{p:.3f}"
