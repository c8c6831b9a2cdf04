"""Every precision alone breaks a law of all, and so does each of the extremes."""

import math

import pytest
import torch
from torch import Tensor

from fkd.testing import check
from testing.test_laws import CASE, distance

# The typed pass checks a shape that a strategy takes at one element, which `random` chooses.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")


@pytest.mark.parametrize(
    ("law", "dtype"),
    [
        ("one_finite_value_each", torch.float16),
        ("one_finite_value_each", torch.bfloat16),
        ("one_finite_value_each", torch.float32),
        ("one_finite_value_each", torch.float64),
        ("lower_precision_stays_near_float64", torch.float16),
        ("lower_precision_stays_near_float64", torch.bfloat16),
        ("lower_precision_stays_near_float64", torch.float32),
    ],
)
def test_a_loss_that_fails_in_one_precision_breaks_the_law(law, dtype):
    def loss(student: Tensor, teacher: Tensor) -> Tensor:
        return distance(student, teacher) + (math.nan if student.dtype == dtype else 0.0)

    with pytest.raises(AssertionError, match=f"loss breaks the law {law}"):
        check(loss, CASE, law)


def of_exponentials(student: Tensor, teacher: Tensor) -> Tensor:
    return (student.exp() - teacher.exp()).abs().sum(-1)  # large logits overflow


def over_the_students_size(student: Tensor, teacher: Tensor) -> Tensor:
    return (student - teacher).abs().sum(-1) / student.norm(dim=-1)  # zeros have none


def with_a_kink(student: Tensor, teacher: Tensor) -> Tensor:
    return (student - teacher).square().sum(-1).sqrt()  # at equality it has no gradient


def _apart(pair: tuple[Tensor, ...]) -> bool:
    """Whether no row is one of zeros, and none of the student's is the teacher's."""
    student, teacher = pair
    return all(bool((x != 0).any(-1).all()) for x in (student, teacher, student - teacher))


@pytest.mark.parametrize("loss", [of_exponentials, over_the_students_size, with_a_kink])
def test_each_of_three_extremes_breaks_the_law(loss):
    law = "extreme_and_empty_rows_stay_finite"
    with pytest.raises(AssertionError, match=f"{loss.__name__} breaks the law {law}"):
        check(loss, CASE._replace(inputs=CASE.inputs.filter(_apart)), law)


def below_and_above(student: Tensor, teacher: Tensor) -> Tensor:
    return 10 * (student - teacher).sum(-1).sin()


@pytest.mark.parametrize(("low", "high", "side"), [(None, 5.0, "above"), (-5.0, None, "below")])
def test_either_bound_alone_breaks_the_law(low, high, side):
    law = "values_keep_to_their_bounds"
    with pytest.raises(AssertionError, match=f"{law}.*\n{side} "):
        check(below_and_above, CASE._replace(low=low, high=high), law)
    check(below_and_above, CASE._replace(low=low and -10.0, high=high and 10.0), law)


def test_a_row_of_zeros_has_no_direction_to_be_equal_in():
    def loss(student: Tensor, teacher: Tensor) -> Tensor:
        return 1 - torch.nn.functional.cosine_similarity(student, teacher)

    assert loss(torch.zeros(1, 2), torch.zeros(1, 2)) == 1
    check(loss, CASE, "zero_at_equality")
