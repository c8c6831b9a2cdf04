"""What `train` refuses of a teacher that is asked live, and of a state to go on from."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fkd import methods, optim
from fkd.data import Batch, Resident
from fkd.distillation import Distillation, distill
from fkd.execution import Plan
from fkd.methods import Method
from fkd.model import functional
from fkd.optim import Optimizer
from fkd.train import At, Students, train

X, Y = torch.linspace(-1, 1, 18).reshape(6, 3), torch.arange(6) % 2
SOURCE = Resident(X, {"labels": Y}, batch_size=2)
EAGER = Plan(layout="loop", compile="none")


def linear(width: int = 4) -> nn.Module:
    return nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, 2))


def rule(method: Method, optimizer: Optimizer, width: int = 4) -> Distillation:
    batch = Batch(X, {"labels": Y, "logits": torch.zeros(6, 2)})
    return distill(functional(lambda: linear(width)), method, optimizer, batch)


def says(outputs: Any) -> Callable[[Tensor], Any]:
    return lambda x: outputs


NET = linear().eval()


@pytest.mark.plain
@pytest.mark.parametrize("order", ["shared", "own"])
@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        (NET, "tensors by name, .* but it gave a tensor; fkd.teachers.teacher_of_module"),
        (says(None), "but it gave a NoneType for"),
        (says({"logits": (X,)}), "but it gave a tuple for 'logits'"),
        (lambda x: {"logits": NET(x), "labels": NET(x)}, "gives 'labels', which are the source's"),
    ],
)
def test_a_teacher_that_gives_no_tensors_by_names_of_its_own_is_refused(teacher, message, order):
    students = {"kd": Students(rule(methods.kd(), optim.sgd(0.1)), [1, 2])}
    with pytest.raises(ValueError, match=message):
        list(train(students, SOURCE, epochs=1, teacher=teacher, order=order, plan=EAGER))


def test_what_a_teacher_gives_may_be_any_mapping():
    students = {"kd": Students(rule(methods.kd(), optim.sgd(0.1)), [1, 2])}
    losses = [
        list(train(students, SOURCE, epochs=1, teacher=teacher, plan=EAGER))[-1].metrics["kd"]
        for teacher in (lambda x: OrderedDict(logits=NET(x)), lambda x: {"logits": NET(x)})
    ]
    assert torch.equal(losses[0]["loss"], losses[1]["loss"])


def ended(one: Distillation) -> At:
    *_, at = train({"kd": Students(one, [1, 2])}, SOURCE, epochs=1, plan=EAGER)
    return at


@pytest.mark.plain
@pytest.mark.parametrize(
    ("method", "optimizer", "width", "message"),
    [
        (methods.ce() | {"more": methods.ce()["ce"]}, optim.sgd(0.1), 4, "more.weight'. it has no"),
        (methods.ce(), optim.adam(), 4, r"state.optimizer.* it has none"),
        (methods.ce(), optim.sgd(0.1), 5, r"0.weight'. it has \(4, 3\), and they \(5, 3\)"),
    ],
)
def test_a_state_of_other_students_is_refused_before_the_first_step(
    method, optimizer, width, message
):
    students = {"kd": Students(rule(method, optimizer, width), [1, 2])}
    start = ended(rule(methods.ce(), optim.sgd(0.1)))
    with pytest.raises(ValueError, match=message):
        train(students, SOURCE, epochs=2, start=start, plan=EAGER)


@pytest.mark.plain
def test_a_state_that_holds_more_than_the_students_is_refused_before_the_first_step():
    """Momentum would be dropped in silence."""
    start = ended(rule(methods.ce(), optim.sgd(0.1, momentum=0.9)))
    students = {"kd": Students(rule(methods.ce(), optim.sgd(0.1)), [1, 2])}
    with pytest.raises(ValueError, match=r"it has \(.*\), and they none; give the model"):
        train(students, SOURCE, epochs=2, start=start, plan=EAGER)


def test_the_numbers_of_a_start_are_those_that_go_on():
    one = rule(methods.ce(), optim.sgd(0.1))
    start = ended(one)
    students = {"kd": Students(one, [1, 2], {"lr": [9.0, 9.0]})}
    *_, at = train(students, SOURCE, epochs=2, start=start, plan=EAGER)
    torch.testing.assert_close(at.states["kd"].hyper["lr"], torch.full((2,), 0.1))
