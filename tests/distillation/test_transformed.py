"""A step that transforms its batch is the step of the batch that was transformed before."""

from functools import partial
from typing import Any

import pytest
import torch
from small import assert_same
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from fkd import methods, optim
from fkd.data import Batch, Normalize, Resident
from fkd.distillation import distill
from fkd.distillation._transformed import transformed
from fkd.ensemble import Order
from fkd.execution import Plan
from fkd.execution._compile import Compiled
from fkd.model import functional
from fkd.train import Students, train


def last(run):
    *_, at = run
    return at


def double(inputs, key):
    assert key is None
    return 2 * inputs


def test_loss_and_gradient_see_what_the_transform_makes():
    labels = {"labels": torch.tensor([0, 2])}
    raw = Batch(torch.randn(2, 4, generator=torch.Generator().manual_seed(0)), labels)
    shown = Batch(2 * raw.inputs, labels)
    model = functional(lambda: torch.nn.Linear(4, 3))
    plain = distill(model, methods.ce(), optim.sgd(0.1), shown)
    late, state = transformed(plain, double), plain.init(0)
    expected = plain.gradient(state, shown)
    assert all(map(torch.equal, tree_leaves(late.gradient(state, raw)), tree_leaves(expected)))
    total, _ = late.loss(state.params, state, raw)
    assert total.equal(plain.loss(state.params, state, shown)[0])
    assert late.update is plain.update and late.init is plain.init


@pytest.mark.parametrize("order", ["shared", "own"])
def test_what_is_compiled_normalises_the_images_that_it_reads(order: Order, monkeypatch):
    seen = []

    def ask(inputs: Tensor) -> dict[str, Tensor]:
        return {"logits": inputs.flatten(1)}

    class Uncompiled(Compiled):
        def __call__(self, *inputs: Any) -> Any:
            _, batch = inputs
            seen.append(batch.inputs.dtype)
            return self.function(*inputs)

    images = torch.randint(256, (6, 1, 4, 4), generator=torch.Generator().manual_seed(0)).byte()
    normalize = Normalize((0.4,), (0.3,))
    data = Resident(images, {"labels": torch.arange(6) % 3}, batch_size=3, transform=normalize)
    model = functional(lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 3)))
    one = distill(model, methods.ce(), optim.sgd(0.1), next(data.in_order(3)))
    go = partial(train, {"ce": Students(one, [3, 5])}, data, epochs=1, order=order)
    expected = last(go(plan=Plan("vmap", compile="none")))
    monkeypatch.setattr("fkd.execution._lay.Compiled", Uncompiled)
    assert_same(last(go(plan=Plan("vmap", compile="step"))).states, expected.states)
    assert set(seen) == {torch.uint8}
    seen.clear()
    last(go(plan=Plan("vmap", compile="step"), teacher=ask))
    assert set(seen) == {torch.float32}  # which a teacher is asked about


@pytest.mark.parametrize("order", ["shared", "own"])
def test_what_normalisation_refuses_is_told_at_the_door_as_without_the_compiler(order: Order):
    images = torch.zeros(6, 1, 4, 4, dtype=torch.uint8)
    normalize = Normalize((0.4,) * 3, (0.3,) * 3)
    data = Resident(images, {"labels": torch.arange(6) % 3}, batch_size=3, transform=normalize)
    example = Batch(images.float(), {"labels": torch.arange(6) % 3})
    model = functional(lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 3)))
    students = {"ce": Students(distill(model, methods.ce(), optim.sgd(0.1), example), [3, 5])}
    with pytest.raises(ValueError, match=r"^Normalize: images must have 3 channels"):
        train(students, data, epochs=1, order=order, plan=Plan("vmap", compile="step"))
