"""All parts in one process: what they sum, and what becomes of an error."""

import pytest
import torch

from fkd.split import Split, together


def test_sums_meet_in_order():
    def two(split: Split) -> list[float]:
        first = split.sum(torch.tensor(float(split.part)))
        second = split.sum(first * (split.part + 1))
        return [first.item(), second.item()]

    assert together(3, two) == [[3.0, 18.0]] * 3


def test_what_one_part_raises_ends_all_and_is_raised():
    def fail(split: Split) -> None:
        if split.part == 1:
            raise KeyError("mine")
        split.sum(torch.ones(1))

    with pytest.raises(KeyError, match="mine"):
        together(3, fail)
