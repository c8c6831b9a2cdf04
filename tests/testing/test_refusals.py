"""Every wrong temperature alone breaks the law, and so does a refusal without a name."""

import math

import pytest
from torch import Tensor

from fkd.testing import check
from testing.test_laws import CASE, TEMPERED, distance

# The typed pass checks a shape that a strategy takes at one element, which `random` chooses.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")


@pytest.mark.parametrize("taken", [0, 0.0, -1.0, math.nan, math.inf])
def test_a_loss_that_takes_one_wrong_temperature_breaks_the_law(taken):
    def loss(student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
        if not 0 < temperature < math.inf and str(temperature) != str(taken):
            raise ValueError(f"temperature must be above zero, but it is {temperature}")
        return distance(student, teacher)

    with pytest.raises(AssertionError, match="temperature must raise ValueError"):
        check(loss, TEMPERED, "temperatures_not_above_zero_are_refused")


def test_whole_numbers_are_to_be_refused_by_the_students_name():
    def loss(student: Tensor, teacher: Tensor) -> Tensor:
        if not student.is_floating_point():
            raise ValueError("an argument must be floating-point")
        return distance(student, teacher)

    with pytest.raises(AssertionError, match="the message must name student, but it is: an arg"):
        check(loss, CASE._replace(refuses=True), "whole_numbers_are_refused_as_student")
