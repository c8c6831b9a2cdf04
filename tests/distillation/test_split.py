"""A split batch is the whole one; what could not be split is refused at the door."""

import threading
from collections.abc import Callable
from functools import partial

import pytest
import torch
from small import CLASSES, Small, batches, small
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from fkd import losses, methods, optim
from fkd.data import Batch
from fkd.distillation import Distillation, distill, step
from fkd.methods import Context, Method, Term
from fkd.model import functional
from fkd.split import Split, together

LOCK = threading.Lock()  # modules are built by torch's own generators, one after the other
EXAMPLES = 7


def rule(method: Method, build: Callable[[], nn.Module], split: Split | None) -> Distillation:
    optimizer = optim.sgd(0.05, momentum=0.9)
    batch, build = next(batches(1, EXAMPLES)), methods.wrapped(build, method, Context())
    with LOCK:
        return distill(functional(build), method, optimizer, batch, split=split)


def steps(method: Method, build: Callable[[], nn.Module], split: Split | None) -> list[Tensor]:
    """The state after three steps and the metrics of each."""
    one = rule(method, build, split)
    with LOCK:
        state = one.init(5)
    leaves: list[Tensor] = []
    for batch in batches(3, EXAMPLES):
        state, metrics = step(one, state, batch)
        leaves += tree_leaves(metrics)
    return leaves + tree_leaves(state)


@pytest.mark.parametrize("parts", [2, 3])
@pytest.mark.parametrize("name", ["kd", "hint", "rkd", "pkt", "dml"])
def test_a_step_of_a_split_batch_is_that_of_the_whole(name, parts):
    method = methods.METHODS[name]()
    expected = steps(method, small, None)
    for leaves in together(parts, partial(steps, method, small)):
        for value, other in zip(leaves, expected, strict=True):
            torch.testing.assert_close(value, other, rtol=1e-12, atol=1e-12)


def test_a_mask_counts_over_the_whole_batch():
    logits = torch.randn(5, 4, CLASSES, dtype=torch.float64)
    kept = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0]]) > 0
    batch = Batch(
        torch.randn(5, 4, 6, dtype=torch.float64),
        {"logits": logits, "labels": torch.zeros(5, 4, dtype=torch.int64), "kept": kept},
    )
    net = functional(lambda: nn.Linear(6, CLASSES).double())
    method = methods.kd(mask="kept")

    def gradient(split: Split | None) -> Tensor:
        with LOCK:
            one = distill(net, method, optim.sgd(), batch, split=split)
            state = one.init(0)
        return one.gradient(state, batch).params["student"]["weight"]

    shares = together(2, gradient)
    torch.testing.assert_close(shares[0] + shares[1], gradient(None), rtol=1e-12, atol=1e-14)


def dropping(student: torch.Size, target: torch.Size) -> nn.Module:
    return nn.Sequential(nn.Linear(student[0], target[0]), nn.Dropout(0.5))


@pytest.mark.parametrize("whole", [True, False])
def test_what_a_head_draws_goes_by_the_examples_number_in_the_whole_batch(whole):
    """Of a term of the whole batch each part runs the head for all of it, from the first on."""
    matched = Term(losses.squared_error, "hidden", "hidden", head=dropping, whole=whole)
    expected = steps({"mine": matched}, small, None)
    for leaves in together(2, partial(steps, {"mine": matched}, small)):
        for value, other in zip(leaves, expected, strict=True):
            torch.testing.assert_close(value, other, rtol=1e-12, atol=1e-12)


def test_metrics_are_the_whole_batchs_on_every_part():
    expected = steps(methods.kd(), small, None)[:3]
    for leaves in together(2, partial(steps, methods.kd(), small)):
        torch.testing.assert_close(leaves[:3], expected, rtol=1e-12, atol=1e-12)


class Mixing(Small):
    """It takes the batch's mean away, which no part has."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return super().forward(x - x.mean(0))


class Counting(Small):
    """Its buffer is a mean over the examples, which nothing that it gives shows."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        self.seen = x.mean()
        return super().forward(x)


class CountingHead(nn.Linear):
    """The same of a head."""

    def __init__(self, student: torch.Size, target: torch.Size):
        super().__init__(student[0], target[0])
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, input: Tensor) -> Tensor:
        self.seen = input.mean()
        return super().forward(input)


class Pulling(Small):
    """Only its gradient is of the whole batch."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        outputs = super().forward(x)
        mean = outputs["logits"].mean(0)
        return outputs | {"logits": outputs["logits"] * (1 + mean - mean.detach())}


def double(student: type[nn.Module]) -> nn.Module:
    return student().double()


def by_batch(student: Tensor, teacher: Tensor) -> Tensor:
    return (student - student.mean(0) - teacher).square().mean(-1)


@pytest.mark.plain
def test_what_cannot_be_split_is_refused_at_the_door():
    split = Split(0, 2, torch.clone)
    for student, what in ((Mixing, ""), (Counting, "buffer seen"), (Pulling, "the gradient by")):
        with pytest.raises(ValueError, match=rf"cannot be split: {what}.* mixes the examples"):
            rule(methods.kd(), partial(double, student), split)
    head = Term(losses.squared_error, "hidden", "hidden", head=CountingHead)
    with pytest.raises(ValueError, match=r"cannot be split: buffer mine\.seen"):
        rule({"mine": head}, small, split)
    wrong = {"mine": Term(by_batch, whole=False)}
    with pytest.raises(ValueError, match="this batch cannot be split"):
        rule(wrong, small, split)


def test_an_unknown_loss_is_taken_for_one_of_the_whole_batch():
    assert Term(by_batch).is_whole and not Term(losses.kl_divergence).is_whole
    method = {"mine": Term(by_batch)}
    expected = steps(method, small, None)
    for leaves in together(2, partial(steps, method, small)):
        for value, other in zip(leaves, expected, strict=True):
            torch.testing.assert_close(value, other, rtol=1e-12, atol=1e-12)
