"""Labels that share an example out among the classes."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from fkd import losses
from fkd.testing import Case, laws, strategies


def _pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    student, other = 3 * torch.randn(2, 7, 5, generator=generator, dtype=torch.float64)
    return student, other


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_cross_entropy_of_soft_labels_is_torchs(smoothing):
    student, labels = _pair()
    labels = labels.softmax(-1)
    expected = F.cross_entropy(student, labels, label_smoothing=smoothing, reduction="none")
    actual = losses.cross_entropy(student, labels, label_smoothing=smoothing)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_pixels_is_torchs_with_the_classes_last(smoothing):
    generator = torch.Generator().manual_seed(0)
    student, other = torch.randn(2, 2, 5, 3, 4, generator=generator, dtype=torch.float64)
    for labels, ours in (
        (other.softmax(1), other.softmax(1).movedim(1, -1)),
        (other.argmax(1), other.argmax(1)),
    ):
        expected = F.cross_entropy(student, labels, label_smoothing=smoothing, reduction="none")
        actual = losses.cross_entropy(student.movedim(1, -1), ours, label_smoothing=smoothing)
        torch.testing.assert_close(actual, expected)


def test_the_gradient_is_q_minus_the_smoothed_label():
    student, labels = _pair()
    labels = labels.softmax(-1)
    gradient = torch.func.grad(
        lambda s: losses.cross_entropy(s, labels, label_smoothing=0.1).sum()
    )(student)
    torch.testing.assert_close(gradient, student.softmax(-1) - (0.9 * labels + 0.1 / 5))


def test_soft_labels_of_zeros_and_ones_are_numbers():
    student, labels = _pair()[0], torch.tensor([0, 1, 2, 3, 4, 0, 1])
    torch.testing.assert_close(
        losses.cross_entropy(student, F.one_hot(labels, 5).double(), label_smoothing=0.1),
        losses.cross_entropy(student, labels, label_smoothing=0.1),
    )


def soft(student: torch.Tensor, labels: torch.Tensor, **hyper: Any) -> torch.Tensor:
    return losses.cross_entropy(student, labels, **hyper)


# It is not unchanged when a constant is added to the target, which is no logits.
SOFT = Case(
    strategies.soft_labelled_logits(),
    {"label_smoothing": strategies.shares()},
    leading=True,
    mask=True,
    smooth=1,
)
test_cross_entropy_of_soft_labels = pytest.mark.plain(
    pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")(
        laws(soft, SOFT)
    )
)


@pytest.mark.parametrize("labels", [torch.tensor([0]), torch.tensor([[1.0, 0.0]])])
@pytest.mark.parametrize("smoothing", [0, 0.0, torch.tensor(0.0)])
def test_cross_entropy_of_a_class_that_the_student_has_not_is_that_of_the_others(labels, smoothing):
    gradient, value = torch.func.grad_and_value(
        lambda s: losses.cross_entropy(s, labels, label_smoothing=smoothing).sum()
    )(torch.tensor([[3.0, -math.inf]]))
    assert value == 0
    assert gradient.tolist() == [[0.0, 0.0]]
    absent = torch.tensor([[3.0, -math.inf]])
    assert losses.cross_entropy(absent, labels, label_smoothing=0.1).tolist() == [math.inf]
