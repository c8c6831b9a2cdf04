"""Torch's anomaly detection has nothing to tell of a loss: where a NaN would be dropped none is
computed, so that whoever looks for their own NaN does not find ours."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fkd import losses
from losses import test_absent
from losses.sized import arguments, size_of


def _zeros(x: Tensor) -> None:
    x[:] = 0


def _a_row_of_zeros(x: Tensor) -> None:
    x[1] = 0


def _equal_rows(x: Tensor) -> None:
    x[1] = x[0]


def _rows_all_equal(x: Tensor) -> None:
    x[:] = x[0].clone()


def _of_one_number(x: Tensor) -> None:
    x[:] = 0.3


def _as_it_is(x: Tensor) -> None:
    pass


@pytest.mark.parametrize(
    "degenerate", [_zeros, _a_row_of_zeros, _equal_rows, _rows_all_equal, _of_one_number, _as_it_is]
)
@pytest.mark.parametrize("name", losses.__all__)
def test_no_nan_is_computed_of_a_batch_that_tells_little(name, degenerate: Callable):
    tensors = arguments(name, 6, 5, size_of(name))
    sides = [x for x in tensors if x.startswith(("student", "teacher")) and "negative" not in x]
    for key in sides:
        degenerate(tensors[key])
    alike = [tensors[key].clone() for key in sides]
    equal = tensors | dict(zip(sides, alike[: len(sides) // 2] * 2, strict=False))
    for values in (tensors, equal):
        leaves = [x.clone().requires_grad_(x.is_floating_point()) for x in values.values()]
        with torch.autograd.set_detect_anomaly(True):
            getattr(losses, name)(*leaves).sum().backward()


@pytest.mark.parametrize("name", test_absent.FINITE)
def test_no_nan_is_computed_of_a_class_that_the_teacher_rules_out(name):
    tensors = arguments(name, 6, 4)
    tensors["teacher"][:, 1] = -torch.inf
    leaves = [x.clone().requires_grad_(x.is_floating_point()) for x in tensors.values()]
    temperature = torch.tensor(2.0, requires_grad=True)
    with torch.autograd.set_detect_anomaly(True):
        getattr(losses, name)(*leaves, temperature=temperature).sum().backward()
