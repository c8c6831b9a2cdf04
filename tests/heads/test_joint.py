"""Joint heads: what they give to their losses, what is trained in them, and what is not."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fkd import heads

SMALL, LARGE = torch.Size([4, 6, 6]), torch.Size([8, 6, 6])


def _maps(batch: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(batch, *SMALL, generator=generator),
        torch.randn(batch, *LARGE, generator=generator),
    )


def test_vids_variance_starts_at_five_and_is_trained():
    head = heads.Variational(SMALL, LARGE)
    given = head(*_maps())
    torch.testing.assert_close(given["variance"], torch.full((8,), 5.0))
    assert given["variance"].requires_grad
    assert given["student"].shape == (3, *LARGE)


def test_ctkds_temperature_is_within_its_bounds_and_its_gradient_is_reversed():
    head = heads.Temperature(torch.Size([10]), torch.Size([10]))
    given = head(torch.zeros(2, 10), torch.zeros(2, 10))
    expected = 1 + 20 * torch.sigmoid(torch.ones(()))
    torch.testing.assert_close(given["temperature"].detach(), expected)
    (gradient,) = torch.autograd.grad(given["temperature"], head.theta)
    share = torch.sigmoid(torch.ones(()))
    torch.testing.assert_close(gradient, -20 * share * (1 - share))


def test_wkds_cost_is_of_the_angles_between_the_teachers_last_weights():
    last = nn.Linear(2, 3)
    last.weight = nn.Parameter(torch.tensor([[1.0, 0.0], [0.0, 7.0], [5.0, 0.0]]))
    teacher = nn.Sequential(nn.Linear(4, 2), nn.ReLU(), last)
    shapes = torch.Size([3]), (torch.Size([3]), torch.Size([]))
    head = heads.Interrelations(*shapes, teacher=teacher)
    far = 1 - math.exp(-1)
    expected = torch.tensor([[0.0, far, 0.0], [far, 0.0, far], [0.0, far, 0.0]])
    given = head(torch.zeros(2, 3), torch.ones(2, 3), torch.tensor([0, 1]))
    torch.testing.assert_close(given["cost"], expected)
    assert list(given) == ["student", "teacher", "labels", "cost"]
    own = heads.Interrelations(*shapes, cost=1 - torch.eye(3))
    assert torch.equal(own.cost, 1 - torch.eye(3))


@pytest.mark.plain
def test_a_teacher_without_a_row_for_each_class_has_no_cost():
    shapes = torch.Size([3]), (torch.Size([3]), torch.Size([]))
    with pytest.raises(ValueError, match="of 3 classes, but it has 2; give cost"):
        heads.Interrelations(*shapes, teacher=nn.Linear(4, 2))
    with pytest.raises(ValueError, match="of 3 classes, but it has no linear layer; give cost"):
        heads.Interrelations(*shapes, teacher=nn.ReLU())
    with pytest.raises(ValueError, match="Interrelations: give cost, or the teacher"):
        heads.Interrelations(*shapes)


def test_fts_factor_carries_no_gradient_and_is_rebuilt_to_the_map():
    head = heads.Factors(SMALL, LARGE)
    given = head(*_maps())
    assert given["student"].shape == given["teacher"].shape == (3, 4, 6, 6)
    assert not given["teacher"].requires_grad
    assert given["rebuilt"].shape == given["map"].shape
    F.mse_loss(given["rebuilt"], given["map"]).backward()
    assert all(p.grad is not None for p in head.encoder.parameters())
    assert all(p.grad is None for p in head.translator.parameters())


def test_ofds_margin_is_the_mean_negative_response_over_the_batches():
    head = heads.Margin(SMALL, LARGE)
    student, teacher = _maps(8)
    means = []
    for part in (teacher[:4], teacher[4:]):
        negative = [channel[channel < 0].mean() for channel in part.transpose(0, 1)]
        means.append(torch.stack(negative))
        given = head(student[:4], part)
    torch.testing.assert_close(given["margin"], (means[0] + means[1]) / 2)


def test_ofds_margin_may_be_given():
    margin = -torch.arange(8.0)
    head = heads.Margin(SMALL, LARGE, margin)
    assert torch.equal(head(*_maps())["margin"], margin)


class Last(nn.Module):
    """A teacher whose classifier reads the average of a map, behind dropout."""

    def __init__(self, width: int):
        super().__init__()
        self.fc = nn.Sequential(nn.Dropout(0.5), nn.Linear(width, 3))


def test_srrls_classifier_is_the_teachers_frozen_and_evaluated():
    teacher, (student, map) = Last(8), _maps()
    head = heads.SoftmaxRegression(SMALL, LARGE, teacher=teacher)
    given = head(student, map)
    linear = teacher.fc[1]
    torch.testing.assert_close(given["teacher"], map.mean((2, 3)))
    torch.testing.assert_close(given["teacher_logits"], linear(map.mean((2, 3))))
    own = head.connector(student).mean((2, 3))
    assert (own >= 0).all()
    torch.testing.assert_close(given["student"], own)
    torch.testing.assert_close(given["student_logits"], linear(own))
    trained = [name for name, x in head.named_parameters() if x.requires_grad]
    assert trained and all(name.startswith("connector.") for name in trained)
    given["student_logits"].square().sum().backward()
    slope = next(head.connector.parameters()).grad
    assert slope is not None and slope.abs().max() > 0
    assert linear.weight.requires_grad and teacher.training  # of the teacher nothing is changed


def test_srrls_classifier_may_read_the_map_flattened():
    teacher, (student, map) = Last(8 * 36), _maps()
    given = heads.SoftmaxRegression(SMALL, LARGE, teacher=teacher)(student, map)
    torch.testing.assert_close(given["teacher"], map.flatten(1))
    torch.testing.assert_close(given["teacher_logits"], teacher.fc[1](map.flatten(1)))


class Inside(nn.Module):
    """The teacher `Last`, with the average inside its classifier."""

    def __init__(self, last: Last):
        super().__init__()
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), *last.fc)


def test_srrl_is_the_same_wherever_the_teacher_averages():
    teacher, sides = Last(8), _maps()
    given = []
    for one in (teacher, Inside(teacher)):
        torch.manual_seed(0)
        given.append(heads.SoftmaxRegression(SMALL, LARGE, teacher=one)(*sides))
    torch.testing.assert_close(*given)


def test_reviews_levels_are_fused_from_below():
    shapes = (
        (torch.Size([4, 6, 6]), torch.Size([5, 3, 3])),
        (torch.Size([8, 6, 6]), torch.Size([9, 3, 3])),
    )
    head = heads.Fusion(*shapes, width=7).eval()
    maps = [torch.randn(2, *shape) for side in shapes for shape in side]
    given = head(*maps)
    assert {name: tuple(x.shape[1:]) for name, x in given.items()} == {
        "student_0": (8, 6, 6), "teacher_0": (8, 6, 6),
        "student_1": (9, 3, 3), "teacher_1": (9, 3, 3),
    }  # fmt: skip
    deeper = [maps[0], maps[1] + 1, *maps[2:]]
    assert not torch.allclose(head(*deeper)["student_0"], given["student_0"])
    shallower = [maps[0] + 1, *maps[1:]]
    torch.testing.assert_close(head(*shallower)["student_1"], given["student_1"])
