"""Losses of correlations of logits against NumPy and numbers worked by hand."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from oracles import differences

from fkd import losses
from fkd.testing import Case, strategies

TEMPERATURE = {"temperature": strategies.temperatures()}
LARGEST = 2 * 8.0**2  # of T² (1 − correlation), at the highest temperature drawn
CASES = {
    "batch_correlation": Case(
        strategies.logit_pairs(batch=2),
        TEMPERATURE,
        high=5.0,  # the largest batch drawn
        divergence=True,
        shift=True,
        symmetric=True,
        whole=True,
        relation=True,
        power=0,
    ),
    "class_correlation": Case(
        strategies.logit_pairs(),
        TEMPERATURE,
        divergence=True,
        shift=True,
        symmetric=True,
        whole=True,
        per_class=True,
        power=0,
    ),
    "dist_inter": Case(
        # a row that is constant has no standard deviation to divide by: a jump
        strategies.uneven(strategies.logit_pairs()),
        TEMPERATURE,
        high=LARGEST,
        divergence=True,
        shift=True,
        symmetric=True,
        power=2,
    ),
    "dist_intra": Case(
        strategies.scattered_logit_pairs(),
        TEMPERATURE,
        high=LARGEST,
        divergence=True,
        shift=True,
        symmetric=True,
        whole=True,
        relation=True,
        per_class=True,
        power=2,
    ),
}

NAMES = ["dist_inter", "dist_intra", "class_correlation", "batch_correlation"]


def _pair(batch: int = 7, classes: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    pair = 3 * torch.randn(2, batch, classes, generator=generator, dtype=torch.float64)
    student, teacher = pair
    return student, teacher


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _inter(q, p, temperature):
    each = [np.corrcoef(a, b)[0, 1] for a, b in zip(q, p, strict=True)]
    return temperature**2 * (1 - np.array(each))


FORMULAS: dict[str, Callable[..., np.ndarray]] = {
    "dist_inter": _inter,
    "dist_intra": lambda q, p, temperature: _inter(q.T, p.T, temperature),
    "class_correlation": lambda q, p, temperature: ((q.T @ q - p.T @ p) ** 2).sum(-1),
    "batch_correlation": lambda q, p, temperature: ((q @ q.T - p @ p.T) ** 2).sum(-1),
}


@pytest.mark.parametrize("temperature", [0.5, 1, 4.0])
@pytest.mark.parametrize("name", NAMES)
def test_the_value_and_its_gradients_are_numpys(name, temperature):
    student, teacher = _pair()

    def loss(s, t):
        return getattr(losses, name)(s, t, temperature=temperature)

    def formula(s, t):
        return FORMULAS[name](_softmax(s / temperature), _softmax(t / temperature), temperature)

    expected = torch.from_numpy(formula(student.numpy(), teacher.numpy()))
    torch.testing.assert_close(loss(student, teacher), expected)
    both = torch.func.grad(lambda s, t: loss(s, t).sum(), argnums=(0, 1))(student, teacher)
    by_differences = (
        differences(lambda s: formula(s, teacher.numpy()), student),
        differences(lambda t: formula(student.numpy(), t), teacher),
    )
    torch.testing.assert_close(both, by_differences, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "gram"),
    [("class_correlation", lambda x: x.T @ x), ("batch_correlation", lambda x: x @ x.T)],
)
def test_the_mean_is_the_published_frobenius_norm(name, gram):
    student, teacher = _pair()
    q, p = (_softmax(x.numpy() / 4.0) for x in (student, teacher))
    difference = gram(q) - gram(p)
    expected = np.linalg.norm(difference, "fro") ** 2 / len(difference)
    assert getattr(losses, name)(student, teacher).mean().item() == pytest.approx(expected)


def test_class_correlation_of_one_example_by_hand():
    # q = [1/2, 1/2] and p = [3/4, 1/4]: q'q - p'p = [[-5, 1], [1, 3]] / 16
    teacher = torch.tensor([[3.0, 1.0]]).log()
    value = losses.class_correlation(torch.zeros(1, 2), teacher, temperature=1.0)
    torch.testing.assert_close(value, torch.tensor([26.0, 10.0]) / 256)


def test_dist_intra_by_hand():
    # the second class's shares are [1/2, 2/3, 3/4] and [2/3, 1/2, 2/3]; centred and times 36,
    # [-5, 1, 4] and [2, -4, 2]: their product is -6, their squares add up to 42 and 24
    student = torch.tensor([[1.0, 1.0], [1.0, 2.0], [1.0, 3.0]]).log()
    teacher = torch.tensor([[1.0, 2.0], [1.0, 1.0], [1.0, 2.0]]).log()
    expected = 1 + 6 / math.sqrt(42 * 24)
    torch.testing.assert_close(losses.dist_intra(student, teacher), torch.tensor([expected] * 2))


@pytest.mark.parametrize("name", ["dist_inter", "dist_intra"])
@pytest.mark.parametrize("level", [0.0, 0.1, 1e4])
def test_a_constant_side_has_no_correlation_and_a_gradient_of_size_t(name, level):
    _, teacher = (x.float() for x in _pair())
    gradient, value = torch.func.grad_and_value(
        lambda s: getattr(losses, name)(s, teacher, temperature=4.0).mean()
    )(torch.full((7, 5), level))
    torch.testing.assert_close(value, torch.tensor(16.0))
    assert 0 < gradient.abs().max() <= 4


def test_examples_that_agree_up_to_a_constant_have_no_spread():
    _, teacher = _pair(batch=3)
    row = torch.tensor([0.1, 0.7, -0.3, 2.0, 1.0])
    value = losses.dist_intra(torch.stack([row] * 3), teacher.float(), temperature=3.0)
    torch.testing.assert_close(value, torch.full((5,), 9.0))
    whole = torch.tensor([0.0, 1.0, 3.0, 2.0, 1.0])
    moved = torch.stack([whole, whole + 5, whole - 2])
    value = losses.dist_intra(moved, teacher.float(), temperature=3.0)
    torch.testing.assert_close(value, torch.full((5,), 9.0))


def test_a_nearly_uniform_student_loses_no_digits():
    # as the logits go to zero, so does the softmax's curvature: the logits' own correlation is left
    student, teacher = _pair()
    tiny = losses.dist_inter((1e-6 * student).float(), teacher.float())
    p = _softmax(teacher.numpy())
    each = [np.corrcoef(a, b)[0, 1] for a, b in zip(student.numpy(), p, strict=True)]
    expected = 1 - torch.tensor(each, dtype=torch.float32)
    torch.testing.assert_close(tiny, expected, atol=1e-5, rtol=1e-5)


def test_a_class_whose_probabilities_underflow_keeps_its_correlation():
    student, teacher = _pair(classes=3)
    far = torch.tensor([0.0, 0.0, 200.0])
    value = losses.dist_intra((student - far).float(), (teacher - far).float())
    q, p = (_softmax(x.numpy() - far.double().numpy()) for x in (student, teacher))
    expected = torch.from_numpy(_inter(q.T, p.T, 1.0)).float()
    torch.testing.assert_close(value, expected, atol=1e-4, rtol=1e-4)


def test_a_class_that_no_example_has_is_uncorrelated_with_a_finite_gradient():
    student, teacher = _pair(classes=3)
    absent = torch.full((7, 1), -math.inf, dtype=torch.float64)
    gradient, value = torch.func.grad_and_value(
        lambda s: losses.dist_intra(torch.cat([s, absent], -1), torch.cat([teacher, absent], -1))[
            :3
        ].sum()
    )(student)
    torch.testing.assert_close(value, losses.dist_intra(student, teacher).sum())
    expected = torch.func.grad(lambda s: losses.dist_intra(s, teacher).sum())(student)
    torch.testing.assert_close(gradient, expected)
    both = losses.dist_intra(torch.cat([student, absent], -1), torch.cat([teacher, absent], -1))
    assert both[3] == 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("size", [10.0, 1e4])
def test_large_logits_have_finite_values_and_gradients(name, dtype, size):
    student, teacher = (x.clamp(-6, 6).mul(size).to(dtype) for x in _pair())
    both = torch.func.grad_and_value(
        lambda *x: getattr(losses, name)(*x, temperature=1.0).sum(), argnums=(0, 1)
    )
    gradients, value = both(student, teacher)
    assert value.isfinite()
    assert all(x.isfinite().all() for x in gradients)


@pytest.mark.parametrize("name", ["class_correlation", "batch_correlation"])
def test_autocast_leaves_the_matrices_in_float32(name):
    student, teacher = (x.float() for x in _pair())
    with torch.autocast("cpu", torch.bfloat16):
        value = getattr(losses, name)(student, teacher)
    torch.testing.assert_close(value, getattr(losses, name)(student, teacher))


@pytest.mark.plain
@pytest.mark.parametrize("name", NAMES)
def test_leading_axes_are_the_callers_to_flatten(name):
    student, teacher = torch.randn(2, 3, 4, 5)
    message = rf"{name}: student must be \[batch classes\], but it is \(3, 4, 5\); .* flattening"
    with pytest.raises(ValueError, match=message):
        getattr(losses, name)(student, teacher)
    getattr(losses, name)(student.flatten(0, -2), teacher.flatten(0, -2))
