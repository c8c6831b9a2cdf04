"""Losses that change logits before they compare them, against NumPy and numbers worked by hand."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oracles import assert_numpys, kl, logit_pair, softmax

from fkd import losses
from fkd.testing import Case, strategies

TEMPERATURE = {"temperature": strategies.temperatures()}
LOGITS = {"shift": True, "leading": True, "mask": True}
# a row that is constant has no standard deviation to divide by: a jump
UNEVEN = strategies.uneven(strategies.logit_pairs())
CASES = {
    # no slope to the teacher, and a jump where its likeliest class is another
    "hard_cross_entropy": Case(strategies.logit_pairs(), {}, **LOGITS, smooth=0),
    "norm_kd": Case(UNEVEN, TEMPERATURE, divergence=True, **LOGITS),
    "standardized_kl_divergence": Case(UNEVEN, TEMPERATURE, divergence=True, **LOGITS, scale=True),
    "ttm": Case(strategies.logit_pairs(), {"gamma": strategies.eighths(2)}, **LOGITS),
    "wttm": Case(strategies.logit_pairs(), {"gamma": strategies.eighths(2)}, **LOGITS),
}


def _standardized(s, t, temperature):
    s, t = ((x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True, ddof=1) for x in (s, t))
    return temperature**2 * kl(softmax(t / temperature), softmax(s / temperature))


def _norm(s, t, temperature):
    own, teachers = (temperature * x.std(-1, keepdims=True, ddof=1) for x in (s, t))
    return teachers[..., 0] ** 2 * kl(softmax(t / teachers), softmax(s / own))


def _ttm(s, t, gamma):
    powers = softmax(t) ** gamma
    return kl(powers / powers.sum(-1, keepdims=True), softmax(s))


def _wttm(s, t, gamma):
    return (softmax(t) ** gamma).sum(-1) * _ttm(s, t, gamma)


FORMULAS: dict[str, tuple[Callable[..., np.ndarray], str]] = {
    "standardized_kl_divergence": (_standardized, "temperature"),
    "norm_kd": (_norm, "temperature"),
    "ttm": (_ttm, "gamma"),
    "wttm": (_wttm, "gamma"),
}


@pytest.mark.parametrize("number", [0.25, 1, 3.0])
@pytest.mark.parametrize("name", FORMULAS)
def test_a_loss_and_its_gradients_are_numpys(name, number):
    oracle, keyword = FORMULAS[name]

    def loss(s, t):
        return getattr(losses, name)(s, t, **{keyword: number})

    def formula(s, t):
        return oracle(s, t, number)

    assert_numpys(loss, formula, atol=1e-5)


def test_hard_labels_are_torchs_cross_entropy_with_the_teachers_answers():
    student, teacher = logit_pair()
    value = losses.hard_cross_entropy(student, teacher)
    expected = F.cross_entropy(student, teacher.argmax(-1), reduction="none")
    torch.testing.assert_close(value, expected)
    both = torch.func.grad(lambda s, t: losses.hard_cross_entropy(s, t).sum(), argnums=(0, 1))
    own, teachers = both(student, teacher)
    torch.testing.assert_close(own, student.softmax(-1) - F.one_hot(teacher.argmax(-1), 5))
    assert (teachers == 0).all()


def test_of_classes_that_are_equally_likely_the_first_is_the_hard_label():
    student = torch.tensor([[1.0, 3.0]]).log()
    value = losses.hard_cross_entropy(student, torch.zeros(1, 2))
    torch.testing.assert_close(value, torch.tensor([math.log(4)]))


def test_standardized_logits_of_any_size_but_zero_have_one_value():
    teacher = torch.tensor([[3.0, 1.0, 0.0]])
    student = torch.tensor([[1.0, 2.0, 4.0]])
    expected = losses.standardized_kl_divergence(student, teacher)
    for size in (1e-30, 1e-3, 1e30):
        actual = losses.standardized_kl_divergence(student * size, teacher)
        torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("level", [0.0, 0.9, 1e4])  # the mean of three 0.9 is not 0.9 in float32
def test_equal_logits_are_standardized_to_zeros_with_a_gradient_of_size_one(level):
    teacher = torch.tensor([[1.0, -1.0, 0.0]])  # its z is itself: std is 1
    gradient, value = torch.func.grad_and_value(
        lambda s: losses.standardized_kl_divergence(s, teacher, temperature=1.0).sum()
    )(torch.full((1, 3), level))
    p = F.softmax(teacher, -1)
    torch.testing.assert_close(value, math.log(3) + (p * p.log()).sum())
    # as if std were 1 / sqrt(2), the norm of the centred logits being taken as one
    torch.testing.assert_close(gradient, math.sqrt(2) * (1 / 3 - p))


def test_norm_kd_weighs_an_example_by_the_teachers_variance():
    student, teacher = logit_pair()
    standardized = losses.standardized_kl_divergence(student, teacher, temperature=3.0)
    value = losses.norm_kd(student, teacher, temperature=3.0)
    torch.testing.assert_close(value, teacher.var(-1) * standardized)


def test_norm_kd_of_equal_logits_is_finite():
    level, other = torch.full((1, 3), 7.0), torch.tensor([[1.0, 2.0, 4.0]])
    for student, teacher in ((level, other), (other, level), (level, level)):
        gradient, value = torch.func.grad_and_value(
            lambda s, teacher=teacher: losses.norm_kd(s, teacher).sum()
        )(student)
        assert gradient.isfinite().all() and value.isfinite()
        assert (value == 0) == (teacher is level)


def test_norm_kd_leaves_an_absent_class_out_of_the_variance():
    student, teacher = np.array([1.0, 4.0]), np.array([3.0, 1.0])
    absent = [torch.from_numpy(np.append(x, -math.inf)[None]) for x in (student, teacher)]
    value = losses.norm_kd(*absent, temperature=2.0)
    assert value.item() == pytest.approx(_norm(student[None], teacher[None], 2.0).item())


@pytest.mark.parametrize("name", ["ttm", "wttm"])
def test_a_student_whose_logits_are_the_power_is_at_zero(name):
    _, teacher = logit_pair()
    gradient, value = torch.func.grad_and_value(
        lambda s: getattr(losses, name)(s, teacher, gamma=0.3).sum()
    )(0.3 * teacher + 5)
    torch.testing.assert_close(value, torch.zeros_like(value), atol=1e-12, rtol=0)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-12, rtol=0)


def test_a_power_of_one_is_kl_divergence_and_has_no_weight():
    student, teacher = logit_pair()
    expected = losses.kl_divergence(student, teacher)
    torch.testing.assert_close(losses.ttm(student, teacher, gamma=1.0), expected)
    torch.testing.assert_close(losses.wttm(student, teacher, gamma=1.0), expected)


@pytest.mark.parametrize("gamma", [0.1, 0.5])
def test_the_weight_of_wttm_lies_between_a_certain_and_a_uniform_teachers(gamma):
    student, teacher = logit_pair()
    for scale, expected in ((0.0, 5 ** (1 - gamma)), (1e6, 1.0)):
        sides = student, scale * teacher
        weight = losses.wttm(*sides, gamma=gamma) / losses.ttm(*sides, gamma=gamma)
        torch.testing.assert_close(weight, torch.full_like(weight, expected))
    weight = losses.wttm(student, teacher, gamma=gamma) / losses.ttm(student, teacher, gamma=gamma)
    assert ((weight > 1) & (weight < 5 ** (1 - gamma))).all()


@pytest.mark.parametrize("name", ["ttm", "wttm"])
def test_a_class_that_the_teacher_rules_out_leaves_the_gradients_finite(name):
    student, teacher = logit_pair()
    teacher[:, 1] = -math.inf
    loss = torch.func.grad(
        lambda s, t, gamma: getattr(losses, name)(s, t, gamma=gamma).sum(), argnums=(0, 1, 2)
    )
    gamma = torch.tensor(0.4, dtype=torch.float64)
    results = loss(student, teacher, gamma)
    assert all(x.isfinite().all() for x in results)
    torch.testing.assert_close(results, loss(student, teacher.clamp(min=-1e12), gamma))


@pytest.mark.parametrize("name", [*FORMULAS, "hard_cross_entropy"])
@pytest.mark.parametrize("size", [40.0, 1e4])
def test_large_logits_have_finite_values_and_gradients(name, size):
    student, teacher = (x.float() * size for x in logit_pair())
    both = torch.func.grad_and_value(lambda s: getattr(losses, name)(s, teacher).sum())(student)
    assert all(part.isfinite().all() for part in both)


@pytest.mark.plain
@pytest.mark.parametrize("name", ["ttm", "wttm"])
def test_a_power_that_is_not_above_zero_is_refused(name):
    with pytest.raises(ValueError, match=f"{name}: gamma must be above zero"):
        getattr(losses, name)(torch.zeros(1, 2), torch.zeros(1, 2), gamma=0.0)
