"""Endings: what differs is found, to the last bit."""

import torch

from benchmarks.crashes.endings import Ending, differences


def test_every_difference_is_told():
    one = Ending({"a": {"b": 1, "c": [0.5]}}, {"x": torch.zeros(2), "y": torch.ones(1)})
    assert differences(one, one) == []
    other = Ending(
        {"a": {"b": 2, "c": [0.5]}, "d": None}, {"x": -torch.zeros(2), "z": torch.ones(1)}
    )
    assert differences(one, other) == [
        "results.a.b is 2, and not 1",
        "x has other numbers",  # 0 and -0 are equal, and not the same bits
        "y is only in the whole",
        "z is only in the killed run",
    ]
    wide = Ending(one.measured, {name: x.double() for name, x in one.tensors.items()})
    assert differences(one, wide) == ["x has other numbers", "y has other numbers"]


def test_a_number_that_is_none_is_the_same_as_itself():
    one = Ending({}, {"x": torch.tensor([float("nan")])})
    assert differences(one, Ending({}, {"x": torch.tensor([float("nan")])})) == []
