"""Names of the user's in a sentence."""

from collections.abc import Sequence


def line(name: str) -> str:
    """A name in one line.

    >>> line("mine\\nand yours")
    'mine and yours'
    """
    return " ".join(name.split())


def listed(names: Sequence[str]) -> str:
    """Names in a line: `a`, `a and b`, `a, b and c`.

    >>> listed(["ce", "kd", "hint"]), listed([])
    ('ce, kd and hint', '')
    """
    *most, last = map(line, names) if names else [""]
    return f"{', '.join(most)} and {last}" if most else last
