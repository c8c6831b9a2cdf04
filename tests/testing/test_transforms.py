"""A target of its own for each member alone breaks the law of members."""

import pytest
from torch import Tensor

from fkd.testing import check
from testing.test_laws import CASE, distance

# The typed pass checks a shape that a strategy takes at one element, which `random` chooses.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")


def test_a_loss_that_branches_on_its_target_breaks_the_law_of_members():
    def loss(student: Tensor, teacher: Tensor) -> Tensor:
        return distance(student, teacher) * (2 if teacher.sum() > 0 else 1)

    with pytest.raises(AssertionError, match="loss breaks the law vmap_equals_a_loop"):
        check(loss, CASE, "vmap_equals_a_loop")
