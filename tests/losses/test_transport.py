"""The loss of moved probability against NumPy, a linear program, and numbers worked by hand."""

import math

import numpy as np
import pytest
import torch
from oracles import differences, logit_pair, softmax
from scipy.optimize import linprog
from torch import Tensor

from fkd import losses
from fkd.testing import Case, strategies


def _with_cost(arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The arguments and a cost of their classes, of which none is zero: a bound of what it is."""
    classes = torch.arange(arguments[0].shape[-1], dtype=torch.float64)
    return *arguments, ((classes[:, None] - 2 * classes).abs() + 1) / 8


CASES = {
    "wkd_l": Case(
        strategies.labelled_logit_pairs().map(_with_cost),
        {
            "gamma": strategies.temperatures(),
            "temperature": strategies.temperatures(),
            "regularization": strategies.eighths(1),
        },
        shift=True,
        leading=True,
        mask=True,
        unbatched=1,
    ),
}
LABELS = torch.tensor([0, 1, 2, 3, 4, 0, 1])


def _cost() -> Tensor:
    """Of five classes, another way than back."""
    generator = torch.Generator().manual_seed(1)
    return torch.rand(5, 5, generator=generator, dtype=torch.float64)


def _plan(q: np.ndarray, p: np.ndarray, cost: np.ndarray, eta: float, iterations: int):
    kernel = np.exp(-cost / eta)
    u = v = np.full(len(q), 1 / len(q))
    for _ in range(iterations):
        v = p / (kernel.T @ u)
        u = q / (kernel @ v)
    return u[:, None] * kernel * v


def _wkd_l(
    s, t, cost, gamma=600.0, temperature=8.0, regularization=0.05, iterations=10
) -> np.ndarray:
    """Each example by itself, the label's class cut out of logits and cost."""
    values = []
    for z, w, y in zip(s, t, LABELS.tolist(), strict=True):
        q, p = (softmax(np.delete(x, y) / temperature) for x in (z, w))
        others = np.delete(np.delete(cost, y, 0), y, 1)
        moved = (_plan(q, p, others, regularization, iterations) * others).sum()
        values.append(-softmax(w)[y] * np.log(softmax(z)[y]) + gamma * moved)
    return np.array(values)


@pytest.mark.parametrize(
    "numbers",
    [
        {},
        {"gamma": 2.0, "temperature": 1.0, "regularization": 0.5, "iterations": 3},
        {"gamma": 1.0, "temperature": 3.0, "regularization": 0.25, "iterations": 1},
    ],
)
def test_the_value_and_its_gradients_are_numpys(numbers):
    (student, teacher), cost = logit_pair(), _cost()

    def loss(s, t, cost):
        return losses.wkd_l(s, t, LABELS, cost, **numbers)

    expected = torch.from_numpy(_wkd_l(student.numpy(), teacher.numpy(), cost.numpy(), **numbers))
    torch.testing.assert_close(loss(student, teacher, cost), expected)
    every = torch.func.grad(lambda s, t, c: loss(s, t, c).sum(), argnums=(0, 1, 2))
    by_differences = (
        differences(lambda s: _wkd_l(s, teacher.numpy(), cost.numpy(), **numbers), student),
        differences(lambda t: _wkd_l(student.numpy(), t, cost.numpy(), **numbers), teacher),
        differences(lambda c: _wkd_l(student.numpy(), teacher.numpy(), c, **numbers), cost),
    )
    torch.testing.assert_close(every(student, teacher, cost), by_differences, atol=2e-4, rtol=1e-5)


def test_with_little_regularization_it_is_the_linear_programs_least_cost():
    (student, teacher), cost = logit_pair(), _cost()
    cost.fill_diagonal_(0.0)
    numbers = {"gamma": 1.0, "temperature": 2.0, "regularization": 0.002, "iterations": 20_000}
    with torch.no_grad():
        value = losses.wkd_l(student[:1], teacher[:1], LABELS[:1], cost, **numbers)
    q, p = (softmax(x[0, 1:].numpy() / 2) for x in (student, teacher))
    rows, columns = np.kron(np.eye(4), np.ones(4)), np.kron(np.ones(4), np.eye(4))
    least = linprog(
        cost[1:, 1:].flatten().numpy(),
        A_eq=np.concatenate([rows, columns]),
        b_eq=np.concatenate([q, p]),
    ).fun
    right = -teacher[0].softmax(0)[0] * student[0].log_softmax(0)[0]
    # no plan has more entropy than log 16, so it costs at most that times η above the least
    assert -1e-6 < value.item() - right.item() - least < 0.002 * math.log(16)


def test_what_is_moved_by_hand():
    # the other classes are even for the student, and the teacher's second has all: a half is moved
    student, teacher = torch.zeros(1, 3), torch.tensor([[0.0, -math.inf, 0.0]])
    cost = torch.tensor([[0.0, 2.4, 2.4], [2.4, 0.0, 0.5], [2.4, 0.7, 0.0]])
    value = losses.wkd_l(student, teacher, torch.tensor([0]), cost, gamma=4.0)
    torch.testing.assert_close(value, torch.tensor([0.5 * math.log(3) + 4 * 0.5 * 0.5]))


def test_at_equal_logits_a_cost_is_left_and_the_label_still_pulls():
    (student, _), cost = logit_pair(), _cost().fill_diagonal_(0.0)
    right = losses.wkd_l(student, student, LABELS, cost, gamma=0.0)
    assert (losses.wkd_l(student, student, LABELS, cost) > right).all()
    p, log_p = (f(student, -1)[torch.arange(7), LABELS] for f in (torch.softmax, torch.log_softmax))
    torch.testing.assert_close(right, -p * log_p)


def test_of_two_classes_the_other_has_all_and_its_own_cost():
    logits, cost = torch.tensor([[1.0, 3.0]]), torch.tensor([[0.0, 2.4], [2.4, 0.25]])
    moved = losses.wkd_l(0 * logits, logits, torch.tensor([0]), cost, gamma=2.0)
    right = losses.wkd_l(0 * logits, logits, torch.tensor([0]), cost, gamma=0.0)
    torch.testing.assert_close(moved - right, torch.tensor([0.5]))


def test_where_one_side_has_the_label_alone_nothing_is_moved():
    alone, other = torch.tensor([[0.0, -math.inf, -math.inf]]), torch.tensor([[0.0, 2.0, 1.0]])
    for sides in ((alone, other), (other, alone), (alone, alone)):
        gradients, value = torch.func.grad_and_value(
            lambda s, t: losses.wkd_l(s, t, torch.tensor([0]), 1 - torch.eye(3)).sum(), (0, 1)
        )(*sides)
        right = -sides[1].softmax(-1)[0, 0] * sides[0].log_softmax(-1)[0, 0]
        torch.testing.assert_close(value, right)
        assert all(x.isfinite().all() for x in gradients)


@pytest.mark.parametrize("size", [40.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_large_logits_and_far_classes_have_finite_values_and_gradients(size, dtype):
    student, teacher = ((size * x).to(dtype) for x in logit_pair())
    for cost, iterations in ((_cost(), 10), (17 * _cost(), 70)):  # of e⁻³⁰⁰ and less
        numbers = {"temperature": 1.0, "iterations": iterations}
        both = torch.func.grad_and_value(
            lambda s, cost=cost, numbers=numbers: losses.wkd_l(
                s, teacher, LABELS, cost, **numbers
            ).sum()
        )(student)
        assert all(part.isfinite().all() for part in both)


def test_the_cost_of_classes_is_by_their_alignment():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(4, 6, 3, generator=generator, dtype=torch.float64)
    x = (features - features.mean(1, keepdim=True)).numpy()
    kernels = [rows @ rows.T for rows in x]
    norms = [np.linalg.norm(k) for k in kernels]
    alignment = np.array([[(k * m).sum() for m in kernels] for k in kernels])
    expected = 1 - np.exp(-2 * (1 - alignment / np.outer(norms, norms)))
    cost = losses.class_cost(features, sharpness=2.0)
    torch.testing.assert_close(cost, torch.from_numpy(expected), atol=1e-12, rtol=1e-12)
    assert (cost >= 0).all()
    features[1] = 0.1  # of which the mean of six is not 0.1 in float64
    alone = losses.class_cost(features)[1]
    torch.testing.assert_close(alone, torch.full((4,), 1 - math.exp(-1), dtype=torch.float64))


def test_of_far_classes_less_is_moved_than_must_be():
    (student, teacher), cost = logit_pair(), _cost().fill_diagonal_(0.0)
    moved = [
        losses.wkd_l(student, teacher, LABELS, size * cost, gamma=1.0, temperature=1.0)
        - losses.wkd_l(student, teacher, LABELS, size * cost, gamma=0.0, temperature=1.0)
        for size in (1.0, 40.0)
    ]
    assert (moved[1] < 25 * moved[0]).all()


@pytest.mark.plain
def test_costs_that_do_not_fit_are_refused():
    logits, labels = torch.zeros(2, 3), torch.tensor([0, 2])
    with pytest.raises(ValueError, match=r"cost must be \[classes, classes\] of the student's 3"):
        losses.wkd_l(logits, logits, labels, torch.zeros(3, 4))
    with pytest.raises(ValueError, match=r"cost must be zero or more and finite, but it goes from"):
        losses.wkd_l(logits, logits, labels, -torch.eye(3))
    with pytest.raises(ValueError, match="iterations"):
        losses.wkd_l(logits, logits, labels, torch.eye(3), iterations=0)


@pytest.mark.plain
@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3, 2), (4, 0, 3)])
def test_features_of_classes_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match="class_cost: features must"):
        losses.class_cost(torch.zeros(shape))
