"""Cases of the losses of relations among the examples of a batch."""

from laws import Case

CASES: dict[str, Case] = {}
