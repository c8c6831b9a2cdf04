"""Losses of logits against torch.nn.functional, NumPy and numbers worked by hand."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fkd import losses


def _pair(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = 3 * torch.randn(2, 7, 5, generator=generator, dtype=torch.float64)
    return student, teacher


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_cross_entropy_is_torchs(smoothing):
    student, _ = _pair()
    labels = torch.tensor([0, 1, 2, 3, 4, 0, 1])
    expected = F.cross_entropy(student, labels, label_smoothing=smoothing, reduction="none")
    actual = losses.cross_entropy(student, labels, label_smoothing=smoothing)
    torch.testing.assert_close(actual, expected)


def test_cross_entropy_by_hand():
    # softmax([ln 3, 0]) = [3/4, 1/4]
    value = losses.cross_entropy(torch.tensor([[math.log(3), 0.0]] * 2), torch.tensor([0, 1]))
    torch.testing.assert_close(value, torch.tensor([math.log(4 / 3), math.log(4)]))


@pytest.mark.parametrize("temperature", [0.5, 1, 2.0, 10.0])
def test_kl_divergence_is_torchs(temperature):
    student, teacher = _pair()
    log_q, log_p = (
        F.log_softmax(student / temperature, -1),
        F.log_softmax(teacher / temperature, -1),
    )
    expected = temperature**2 * F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(-1)
    torch.testing.assert_close(
        losses.kl_divergence(student, teacher, temperature=temperature), expected
    )


@pytest.mark.parametrize("temperature", [0.5, 1, 2.0, 10.0])
def test_soft_cross_entropy_is_numpys(temperature):
    student, teacher = _pair()
    q, p = (_softmax(x.numpy() / temperature) for x in (student, teacher))
    expected = torch.from_numpy(-(temperature**2) * (p * np.log(q)).sum(-1))
    torch.testing.assert_close(
        losses.soft_cross_entropy(student, teacher, temperature=temperature), expected
    )


def test_soft_cross_entropy_by_hand():
    # p = [1/4, 3/4] at T = 2 and q uniform: 4 ln 2
    teacher = torch.tensor([[0.0, 2 * math.log(3)]])
    value = losses.soft_cross_entropy(torch.zeros(1, 2), teacher, temperature=2.0)
    torch.testing.assert_close(value, torch.tensor([4 * math.log(2)]))


@pytest.mark.parametrize("name", ["kl_divergence", "soft_cross_entropy"])
def test_the_students_gradient_is_t_times_q_minus_p(name):
    student, teacher = _pair()
    gradient = torch.func.grad(lambda s: getattr(losses, name)(s, teacher, temperature=3.0).sum())(
        student
    )
    q, p = (_softmax(x.numpy() / 3.0) for x in (student, teacher))
    torch.testing.assert_close(gradient, torch.from_numpy(3.0 * (q - p)))


def test_a_teacher_with_a_probability_of_zero_has_the_limit():
    student = torch.zeros(1, 3)
    teacher = torch.tensor([[0.0, 0.0, -math.inf]])
    torch.testing.assert_close(
        losses.kl_divergence(student, teacher), torch.tensor([math.log(3 / 2)])
    )


def test_half_precision_logits_of_ten_thousand():
    student = torch.tensor([[1e4, 0.0], [0.0, 1e4]], dtype=torch.float16)
    value = losses.kl_divergence(student, student.flip(0), temperature=4.0)
    torch.testing.assert_close(value, torch.tensor([40000.0, 40000.0], dtype=torch.float16))


def test_labels_outside_the_classes_are_refused():
    with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
        losses.cross_entropy(torch.zeros(1, 3), torch.tensor([3]))


@pytest.mark.plain
def test_wrong_axes_and_dtypes_are_refused():
    with pytest.raises(ValueError, match=r"teacher must be \[batch classes\], but it is \(2,\)"):
        losses.kl_divergence(torch.zeros(1, 2), torch.zeros(2))
    with pytest.raises(ValueError, match="labels must hold whole numbers"):
        losses.cross_entropy(torch.zeros(1, 2), torch.zeros(1))
    with pytest.raises(ValueError, match=r"label_smoothing must lie in \[0, 1\], but it is 2"):
        losses.cross_entropy(torch.zeros(1, 2), torch.tensor([0]), label_smoothing=2)
