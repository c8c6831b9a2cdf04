"""Rounding puts no value below zero."""

import math

import pytest
import torch

from fkd import losses
from fkd.losses._numeric import not_negative
from losses.sized import arguments, size_of


@pytest.mark.parametrize("name", [name for name in losses.__all__ if name not in ("srd", "vid")])
@pytest.mark.parametrize("distance", [0.0, 1e-7, 1e-5, 1e-3])
def test_no_value_is_below_zero_beside_equality(name, distance):
    # where rounding is larger than the value
    tensors = arguments(name, 64, 16, size_of(name))
    for key in [key for key in tensors if key.startswith("teacher")]:
        near = tensors[key.replace("teacher", "student")]
        tensors[key] = near + distance * tensors[key]
    assert (getattr(losses, name)(*tensors.values()) >= 0).all()


def test_a_number_held_at_zero_keeps_its_gradient():
    x = torch.tensor([-1e-7, 0.0, 2.0, math.inf])
    value = not_negative(x)
    assert value.tolist() == [0.0, 0.0, 2.0, math.inf]
    gradient = torch.func.grad(lambda x: (3 * not_negative(x)).sum())(x)
    assert gradient.tolist() == [3.0, 3.0, 3.0, 3.0]
