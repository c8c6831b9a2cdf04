"""Either side alone breaks a law of what changes nothing."""

import pytest
import torch
from torch import Tensor

from fkd.testing import check
from testing.test_laws import CASE

# The typed pass checks a shape that a strategy takes at one element, which `random` chooses.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")


def to_centred(student: Tensor, teacher: Tensor) -> Tensor:
    return (student - (teacher - teacher.mean(-1, keepdim=True))).square().sum(-1)


def to_unit(student: Tensor, teacher: Tensor) -> Tensor:
    return (student - torch.nn.functional.normalize(teacher, dim=-1)).square().sum(-1)


def to_length(student: Tensor, teacher: Tensor) -> Tensor:
    return (student[:, 0] - teacher.norm(dim=-1)).square()


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("one", "case", "law"),
    [
        (to_centred, CASE._replace(shift=True), "a_shift_of_the_logits_changes_nothing"),
        (to_unit, CASE._replace(scale=True), "a_scale_of_the_features_changes_nothing"),
        (to_length, CASE._replace(rotation=True), "a_rotation_of_the_embeddings_changes_nothing"),
    ],
)
def test_a_loss_that_keeps_an_invariance_on_one_side_alone_breaks_the_law(one, case, law, turned):
    def loss(student: Tensor, teacher: Tensor) -> Tensor:
        return one(teacher, student) if turned else one(student, teacher)

    with pytest.raises(AssertionError, match=f"loss breaks the law {law}"):
        check(loss, case, law)
