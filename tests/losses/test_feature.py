"""Losses of features against torch.nn.functional and numbers worked by hand."""

import math

import torch
import torch.nn.functional as F

from fkd import losses


def _maps() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 6, 4, 3, 2, generator=generator, dtype=torch.float64)
    return student, teacher


def test_squared_error_is_torchs():
    student, teacher = _maps()
    expected = F.mse_loss(student, teacher)
    torch.testing.assert_close(losses.squared_error(student, teacher).mean(), expected)


def test_squared_error_by_hand():
    value = losses.squared_error(
        torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[1.0, 5.0], [1.0, 1.0]])
    )
    torch.testing.assert_close(value, torch.tensor([4.5, 1.0]))


def test_cosine_distance_is_torchs():
    student, teacher = (x.flatten(1) for x in _maps())
    expected = F.cosine_embedding_loss(
        student, teacher, torch.ones(len(student), dtype=torch.float64), reduction="none"
    )
    torch.testing.assert_close(losses.cosine_distance(student, teacher), expected)


def test_cosine_distance_takes_maps_as_one_row_an_example():
    student, teacher = _maps()
    torch.testing.assert_close(
        losses.cosine_distance(student, teacher),
        losses.cosine_distance(student.flatten(1), teacher.flatten(1)),
    )


def test_cosine_distance_by_hand():
    student = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    teacher = torch.tensor([[1.0, 1.0], [0.0, 2.0], [-3.0, 0.0]])
    torch.testing.assert_close(
        losses.cosine_distance(student, teacher), torch.tensor([1 - math.sqrt(0.5), 1.0, 2.0])
    )


def test_cosine_distance_of_a_dead_layer_is_one_with_a_small_gradient():
    gradient, value = torch.func.grad_and_value(
        lambda s: losses.cosine_distance(s, torch.ones(1, 4)).sum()
    )(torch.zeros(1, 4))
    assert value == 1
    assert gradient.abs().max() <= 1


def test_cosine_distance_of_rows_whose_squares_overflow_or_vanish():
    row = torch.tensor([[3.0, 4.0]])
    for size in (1e-30, 1e30):
        value = losses.cosine_distance(row * size, row.flip(-1))
        torch.testing.assert_close(value, torch.tensor([1 - 24 / 25]))
