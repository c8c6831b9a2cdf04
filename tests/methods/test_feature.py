"""Methods of layers: the tutorial's weights, and others'."""

import pytest
import torch
import torch.nn.functional as F
from small import assert_same
from torch import Tensor, nn

from fkd import methods, optim
from fkd.data import Batch
from fkd.distillation import distill, step
from fkd.ensemble import ensemble
from fkd.execution import Plan, lay
from fkd.methods import Context
from fkd.model import functional
from fkd.models import DeepNN
from methods.total import total


def test_the_tutorials_weights_are_the_defaults():
    for name, method in (("cosine", methods.cosine()), ("hint", methods.hint())):
        assert {key: term.weight for key, term in method.items()} == {name: 0.25, "ce": 0.75}


def test_logits_has_the_zoos_weight_of_the_mean_over_elements():
    student, teacher = torch.randn(2, 6, 3)
    value = total(methods.logits(), student, teacher)
    torch.testing.assert_close(value, 0.1 * F.mse_loss(student, teacher))


def test_mgd_has_the_authors_weight_of_the_sum_over_elements():
    student, teacher = torch.randn(2, 6, 4, 3, 3)
    term = methods.mgd()["mgd"]
    value = term.weight * term.loss(student, teacher).mean()
    expected = 7e-5 * F.mse_loss(student, teacher, reduction="sum") / 6
    torch.testing.assert_close(value, expected)


def test_srd_has_twice_the_logarithm_and_kl():
    method = methods.srd()
    assert {name: term.weight for name, term in method.items()} == {"srd": 2, "srd-kl": 1, "ce": 1}
    student, teacher = torch.randn(2, 6, 4)
    s, t = (F.batch_norm(x, None, None, training=True, eps=1e-30) for x in (student, teacher))
    expected = (s - t).pow(4).sum().div(6).log()
    torch.testing.assert_close(method["srd"].loss(student, teacher), expected.expand(6))


def test_srrl_has_the_mean_over_features_and_that_over_logits():
    own, given, own_logits, given_logits = (torch.randn(6, n) for n in (4, 4, 3, 3))
    term = methods.srrl()["srrl"]
    value = term.weight * term.loss(own, given, own_logits, given_logits).mean()
    expected = F.mse_loss(own, given) + F.mse_loss(own_logits, given_logits)
    torch.testing.assert_close(value, expected)


class Maps(nn.Module):
    """Gives its inputs as a map [4, 6, 6], scaled, and as tokens with a class token."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4, 1, 1))
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        large = self.scale * x
        tokens = torch.cat([torch.full_like(x[:, :, 0, :1], 9.0), large.flatten(2)], 2).mT
        return {"logits": self.head(large.mean((2, 3))), "large": large, "tokens": tokens}


def _batch(*shape: int) -> Batch:
    torch.manual_seed(0)
    labels = torch.tensor([0, 1, 2, 0, 1])
    target = torch.randn(5, *shape, dtype=torch.float64)
    inputs = torch.randn(5, 4, 6, 6, dtype=torch.float64)
    return Batch(inputs, {"labels": labels, "theirs": target})


@pytest.mark.parametrize("side", [3, 12], ids=["student larger", "teacher larger"])
def test_a_hint_of_another_size_is_that_of_the_smaller_one(side):
    batch = _batch(7, side, side)
    method = methods.hint(layer="large", teacher_layer="theirs")
    one = distill(functional(lambda: Maps().double()), method, optim.sgd(0.1), batch)
    whole = ensemble(one)
    states = [whole.init([0, 1]) for _ in range(2)]
    head = one.init(0).params["heads"]["hint"]
    _, metrics = step(one, one.init(0), batch)
    small = min(side, 6)
    student, target = (
        F.adaptive_avg_pool2d(x, small) for x in (batch.inputs, batch.targets["theirs"])
    )
    expected = F.mse_loss(F.conv2d(student, head["weight"], head["bias"], padding=1), target)
    torch.testing.assert_close(metrics["hint"], expected, rtol=1e-12, atol=0)
    for _ in range(2):
        alike = [
            lay(one, Plan(layout, compile="none"))(state, batch)
            for layout, state in zip(("vmap", "loop"), states, strict=True)
        ]
        assert_same(*alike)


def _simkd(target: list[int], layer: str, teacher: nn.Module) -> nn.Module:
    shapes = {"large": torch.Size([4, 6, 6]), "tokens": torch.Size([37, 4])}
    targets = {"theirs": torch.Size(target)}
    context = Context(teacher=teacher, outputs=shapes, targets=targets)
    return methods.wrapped(Maps, methods.simkd(layer=layer, teacher_layer="theirs"), context)()


class Last(nn.Module):
    """A teacher whose classifier reads the average of a map of seven channels."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(7, 3)


@pytest.mark.parametrize(("side", "joined"), [(3, 3), (6, 6), (12, 6)])
def test_simkds_map_is_of_the_smaller_size_and_ends_in_the_teachers_classifier(side, joined):
    x, teacher = torch.randn(5, 4, 6, 6), Last()
    torch.manual_seed(1)
    module = _simkd([7, side, side], "large", teacher).eval()
    torch.manual_seed(1)
    twin = _simkd([7, side, side], "tokens", teacher).eval()
    outputs = module(x)
    assert outputs["projected"].shape == (5, 7, joined, joined)
    torch.testing.assert_close(outputs["logits"], teacher.fc(outputs["projected"].mean((2, 3))))
    # tokens of the same numbers are the same map, without their class token
    torch.testing.assert_close(twin(x)["projected"], outputs["projected"])
    # and so it is wherever the teacher averages
    inside = nn.Module()
    inside.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), teacher.fc)
    torch.manual_seed(1)
    module = _simkd([7, side, side], "large", inside).eval()
    torch.testing.assert_close(module(x), outputs)


@pytest.mark.plain
def test_simkd_refuses_what_its_classifier_does_not_read():
    with pytest.raises(ValueError, match=r"takes 2048 features, .* the map \(32, 6, 6\)"):
        _simkd([32, 8, 8], "large", DeepNN(3))
    with pytest.raises(ValueError, match=r"simkd: the teacher's classifier reads a map"):
        _simkd([36, 7], "large", Last())
    with pytest.raises(ValueError, match=r"simkd: student's output 'late' is not known; choose"):
        _simkd([7, 6, 6], "late", Last())
    with pytest.raises(ValueError, match=r"outputs is needed of the context"):
        methods.wrapped(Maps, methods.simkd(), Context(teacher=Last()))()
