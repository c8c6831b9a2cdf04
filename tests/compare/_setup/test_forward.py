"""What a forward pass takes: numbers worked by hand, and which method's step is how much more."""

import pytest
import torch
from compare.small_comparisons import Narrow, Wide, trained_elsewhere, vectors
from torch import Tensor, nn

from fkd import methods, optim
from fkd.compare import Comparison
from fkd.compare._setup.forward import (
    BYTES_PER_OPERATOR,
    FLOPS_PER_BYTE,
    Forward,
    forward,
    relative_work,
)
from fkd.data import Batch
from fkd.distillation import Distillation, distill
from fkd.methods import Term
from fkd.model import functional


def layered() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.Sigmoid())


def of_layered(examples: int = 5) -> tuple[Distillation, Batch]:
    batch = Batch(torch.ones(examples, 4), {"labels": torch.zeros(examples, dtype=torch.int64)})
    return distill(functional(layered), methods.ce(), optim.sgd(0.1), batch), batch


def test_what_autograd_keeps_by_hand():
    kept = forward(*of_layered()).kept
    # The sigmoid [5, 8] and cross-entropy's log-softmax [5, 8], beside a few numbers an example.
    assert 2 * 5 * 8 * 4 <= kept <= 2 * 5 * 8 * 4 + 5 * 3 * 8


def mean_of_outputs(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.mean(1)


@pytest.mark.parametrize("examples", [5, 50])
def test_the_work_of_a_pass_by_hand(examples):
    _, batch = of_layered(examples)
    plain = {"mean": Term(mean_of_outputs, target="labels")}
    one = distill(functional(layered), plain, optim.sgd(0.1), batch)
    work = forward(one, batch).work
    product = 2 * examples * 4 * 8 / FLOPS_PER_BYTE  # the only arithmetic that is counted
    # The layer reads inputs, weight and bias and writes its outputs; sigmoid and mean read these.
    moved = 4 * (examples * 4 + 4 * 8 + 8 + examples * 8 * 4 + examples)
    # These three, and what takes the mean over examples and weighs it, of a few numbers each.
    rest = work - product - moved
    operators = round(rest / BYTES_PER_OPERATOR)
    assert 4 <= operators <= 12
    assert 0 <= rest - operators * BYTES_PER_OPERATOR <= 12 * 4 * (examples + 3)


def _sum(logits: Tensor) -> Tensor:
    return logits.sum()


def _curved(logits: Tensor, labels: Tensor) -> Tensor:
    return torch.func.vmap(torch.func.grad(_sum))(logits).sum(1) + logits.sum(1)


def test_a_loss_with_derivatives_of_its_own_is_no_fault():
    chosen = {"curved": {"curved": Term(_curved, target="labels")}}
    made = Comparison(Wide, Narrow, chosen, vectors(), teacher_state=trained_elsewhere())
    assert made.results.baseline == "curved"
    _, batch = of_layered()
    told = forward(distill(functional(layered), chosen["curved"], optim.sgd(0.1), batch), batch)
    assert told.kept == 0 and told.work > 0


def test_the_work_of_methods_is_relative():
    each = {"ce": Forward(0, 2.0), "kd": Forward(0, 6.0)}
    assert relative_work(each | {"mine": Forward(9, 0.0)}) == {"ce": 0.5, "kd": 1.5, "mine": 1.0}
    assert relative_work({"mine": Forward(0, 0.0)}) == {"mine": 1.0}


def test_steps_that_do_more_are_more_work():
    chosen = {"ce": methods.ce(), "kd": methods.kd(), "rkd": methods.rkd(layer="hidden")}
    made = Comparison(Wide, Narrow, chosen, vectors(), teacher_state=trained_elsewhere())
    work = made._run.rounds.work
    assert work["ce"] < work["kd"] < work["rkd"]
