"""What a picture can hold: whatever the numbers and the names, it is drawn."""

import textwrap
from collections.abc import Sequence

import numpy as np

LARGEST = 1e9  # of numbers that an axis can hold beside others
LONGEST = 40  # characters of a name that leave room for the picture


def percent(shares: Sequence[float | None] | Sequence[Sequence[float | None]]) -> np.ndarray:
    """Shares in %; NaN, which is not drawn, for what no axis can hold.

    >>> percent([0.5, None, float("inf")])
    array([50., nan, nan])
    """
    values = 100 * np.array(shares, dtype=float)
    return np.where(np.abs(values) < LARGEST, values, np.nan)


def name(text: str) -> str:
    """A name in one line, and no longer than there is room.

    >>> name("mine\\nand yours")
    'mine and yours'
    """
    return lines(text, LONGEST, 1)


def lines(text: str, width: int, most: int) -> str:
    """A text in at most so many lines of a width, with … for the rest.

    >>> lines("the loss became infinite", 12, 2)
    'the loss\\nbecame …'
    """
    readable = text.encode(errors="backslashreplace").decode()
    return "\n".join(textwrap.wrap(readable, width, max_lines=most, placeholder=" …"))
