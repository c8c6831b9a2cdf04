"""A logit of −inf is a class of probability zero, and leaves every gradient finite."""

import inspect
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from fkd import losses
from losses.sized import arguments

TEMPERED = [
    name
    for name in losses.__all__
    if "temperature" in inspect.signature(getattr(losses, name)).parameters
    # of maps and embeddings, and of no teacher
    and name not in ("channel_wise_divergence", "crd", "info_nce", "sdd", "tf_kd")
]
INFINITE = ("adaptive_kl_divergence", "reverse_kl_divergence")
FINITE = [name for name in TEMPERED if name not in INFINITE]


def _without_one_each(teacher: Tensor) -> Tensor:
    index = torch.arange(len(teacher)) % teacher.shape[1]
    teacher[torch.arange(len(teacher)), index] = -math.inf
    return teacher


def _without_one_for_all(teacher: Tensor) -> Tensor:
    teacher[:, 1] = -math.inf
    return teacher


def _with_one_alone(teacher: Tensor) -> Tensor:
    teacher[:, 1:] = -math.inf
    return teacher


def _tensors(name: str) -> dict[str, Tensor]:
    tensors = arguments(name, 6, 4)
    return {k: x.double() if x.is_floating_point() else x for k, x in tensors.items()}


def _gradients(name: str, tensors: dict[str, Tensor]) -> tuple[Tensor, ...]:
    """The value's sum, and its gradients to student, teacher and temperature."""
    others = list(tensors.values())[2:]

    def total(student: Tensor, teacher: Tensor, temperature: Tensor) -> Tensor:
        return getattr(losses, name)(student, teacher, *others, temperature=temperature).sum()

    both = torch.func.grad_and_value(total, argnums=(0, 1, 2))
    temperature = torch.tensor(2.0, dtype=tensors["student"].dtype)
    gradients, value = both(tensors["student"], tensors["teacher"], temperature)
    return value, *gradients


@pytest.mark.parametrize("absent", [_without_one_each, _without_one_for_all, _with_one_alone])
@pytest.mark.parametrize("name", FINITE)
def test_classes_that_the_teacher_rules_out_leave_all_gradients_finite(name, absent):
    tensors = _tensors(name)
    absent(tensors["teacher"])
    results = _gradients(name, tensors)
    assert all(x.isfinite().all() for x in results)
    assert (results[2][tensors["teacher"].isneginf()] == 0).all()


@pytest.mark.parametrize("absent", [_without_one_each, _without_one_for_all])
@pytest.mark.parametrize(
    "name",
    # those that do not compare with the mean of all logits, or of what is left of a class's
    [x for x in FINITE if x not in ("norm_kd", "standardized_kl_divergence", "dist_intra")],
)
def test_a_class_that_the_teacher_rules_out_is_the_limit_of_a_small_logit(name, absent):
    tensors, limits = _tensors(name), _tensors(name)
    absent(tensors["teacher"])
    limits["teacher"] = tensors["teacher"].clamp(min=-1e12)
    torch.testing.assert_close(_gradients(name, tensors), _gradients(name, limits))


@pytest.mark.parametrize(
    "name",
    [
        "adaptive_kl_divergence",
        "alpha_beta_divergence",
        "dkd",
        "jensen_shannon",
        "kl_divergence",
        "nkd",
        "norm_kd",
        "reverse_kl_divergence",
        "rld",
        "skewed_kl_divergence",
        "skewed_reverse_kl_divergence",
        "soft_cross_entropy",
        "standardized_kl_divergence",
        "top_k_kl_divergence",
        "total_variation",
        "wsld",
    ],
)
def test_a_class_that_neither_side_has_changes_nothing(name):
    tensors, wider = _tensors(name), _tensors(name)
    none = torch.full((6, 1), -math.inf, dtype=torch.float64)
    for side in ("student", "teacher"):
        wider[side] = torch.cat([wider[side], none], -1)
    value, student, teacher, temperature = _gradients(name, wider)
    results = (value, student[:, :-1], teacher[:, :-1], temperature)
    torch.testing.assert_close(results, _gradients(name, tensors))
    assert (student[:, -1] == 0).all()
    assert (teacher[:, -1] == 0).all()


def test_positions_that_the_teacher_rules_out_leave_all_gradients_finite():
    name = "channel_wise_divergence"
    tensors, limits = (arguments(name, 2, 3, (2, 2)) for _ in range(2))
    tensors["teacher"][..., 1] = -math.inf
    limits["teacher"][..., 1] = -1e12
    torch.testing.assert_close(_gradients(name, tensors), _gradients(name, limits))


def test_a_class_that_the_teacher_rules_out_in_some_cells_leaves_all_gradients_finite():
    tensors, limits = (arguments("sdd", 2, 3, (2, 2)) for _ in range(2))
    tensors["teacher"][:, 1, 0] = -math.inf
    limits["teacher"][:, 1, 0] = -1e12
    results = _gradients("sdd", tensors)
    assert all(x.isfinite().all() for x in results)
    torch.testing.assert_close(results, _gradients("sdd", limits))


def test_reverse_kl_is_infinite_where_the_student_has_a_class_that_the_teacher_rules_out():
    teacher = torch.tensor([[0.0, -math.inf], [0.0, 1.0]])
    value = losses.reverse_kl_divergence(torch.zeros(2, 2), teacher)
    assert value.isinf().tolist() == [True, False]


def test_standardised_logits_leave_an_absent_class_out_of_mean_and_deviation():
    student, teacher = np.array([1.0, 4.0, 0.0]), np.array([3.0, 1.0])
    z_s = (student - student.mean()) / student.std(ddof=1)
    z_t = (teacher - teacher.mean()) / teacher.std(ddof=1)
    q, p = (np.exp(z / 2) / np.exp(z / 2).sum() for z in (z_s, z_t))
    expected = 4 * (p * np.log(p / q[:2])).sum()
    absent = np.append(teacher, -math.inf)
    value = losses.standardized_kl_divergence(
        torch.from_numpy(student[None]), torch.from_numpy(absent[None]), temperature=2.0
    )
    assert value.item() == pytest.approx(expected)
