"""What breaks the law of members: a branch on a target of one's own, a wrong rule of one's own."""

from typing import Any

import pytest
import torch
from torch import Tensor

from fkd.testing import check
from testing.test_laws import CASE, distance

# The typed pass checks a shape that a strategy takes at one element, which `random` chooses.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")


class Shared(torch.autograd.Function):
    """The distance, with a rule for vmap that gives all members the first one's."""

    @staticmethod
    def forward(student: Tensor, teacher: Tensor) -> Tensor:
        return distance(student, teacher)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Tensor) -> tuple[Tensor, int]:
        sides = zip(args, in_dims, strict=True)
        one = [x if axis is None else x.select(axis, 0) for x, axis in sides]
        return distance(*one).expand(info.batch_size, -1), 0


def test_a_loss_that_branches_on_its_target_breaks_the_law_of_members():
    def loss(student: Tensor, teacher: Tensor) -> Tensor:
        return distance(student, teacher) * (2 if teacher.sum() > 0 else 1)

    with pytest.raises(AssertionError, match="loss breaks the law vmap_equals_a_loop"):
        check(loss, CASE, "vmap_equals_a_loop")


def test_a_loss_that_gives_members_the_values_of_another_breaks_the_law_of_members():
    def loss(student: Tensor, teacher: Tensor) -> Tensor:
        value = Shared.apply(student, teacher)
        assert isinstance(value, Tensor)
        return value

    with pytest.raises(AssertionError, match="loss breaks the law vmap_equals_a_loop"):
        check(loss, CASE, "vmap_equals_a_loop")
