"""Every wrong temperature alone breaks the law."""

import math

import pytest
from torch import Tensor

from fkd.testing import check
from testing.test_laws import TEMPERED, distance

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
