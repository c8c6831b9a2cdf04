"""How numbers are told: shares in %, losses in nats, bounds and p-values."""

import math
from collections.abc import Callable

NOTHING = "–"  # where nothing is known


def percent(share: float | None, sign: bool = False) -> str:
    """A share in %, or a difference of two in points.

    >>> percent(0.5), percent(0.5, sign=True), percent(None)
    ('50.00', '+50.00', '–')
    """
    if share is None or not math.isfinite(share):
        return NOTHING
    return f"{100 * share:{'+' if sign else ''}.2f}"


def nats(loss: float | None, sign: bool = False) -> str:
    """A loss, or a difference of two.

    >>> nats(0.5), nats(-0.5, sign=True), nats(float("nan"))
    ('0.5000', '-0.5000', '–')
    """
    if loss is None or not math.isfinite(loss):
        return NOTHING
    return f"{loss:{'+' if sign else ''}.4f}"


def bounds(
    low: float | None,
    high: float | None,
    sign: bool = False,
    tell: Callable[[float | None, bool], str] = percent,
) -> str:
    """An interval, told as its mean is.

    >>> bounds(0.1, 0.2), bounds(0.1, 0.2, sign=True), bounds(None, None)
    ('[10.00, 20.00]', '[+10.00, +20.00]', '–')
    """
    if low is None or high is None:
        return NOTHING
    return f"[{tell(low, sign)}, {tell(high, sign)}]"


def p_value(p: float | None) -> str:
    """A p-value to three places.

    >>> p_value(0.25), p_value(0.0009), p_value(None)
    ('0.250', '<0.001', '–')
    """
    if p is None or math.isnan(p):
        return NOTHING
    return "<0.001" if p < 0.001 else f"{p:.3f}"
