"""What vmap cannot run is told with its layer and reason, and laid out one by one instead."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from small import assert_same
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from fkd import methods, optim
from fkd.data import Batch, Resident
from fkd.distillation import Distillation, distill, step
from fkd.ensemble import Order, ensemble, member, stack
from fkd.execution import Advance, Plan, lay, why_not_vmap
from fkd.model import functional
from fkd.models import named
from fkd.train import Students, train

SETTLE = Plan.settle


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 4, batch_first=True)
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.lstm(x)[0][:, -1])


class Block(nn.Module):
    """Doubled where the batch asks for it, by one way or the other."""

    def __init__(self, way: str):
        super().__init__()
        self.way, self.fc = way, nn.Linear(15, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc(x)
        if self.way == "branch":
            return x * 2 if x.mean() > 0 else x
        if self.way == "item":
            return x * (1 + (x.mean() > 0).item())
        return x + x[x.sum(1) > 0].sum(0)


def _sequential(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers).double()


BUILDS: dict[str, tuple[Callable[[], nn.Module], str | None]] = {
    "plain": (lambda: _sequential(nn.Flatten(), nn.Linear(15, 2)), None),
    "momentum=None": (
        lambda: _sequential(nn.BatchNorm1d(5, momentum=None), nn.Flatten(), nn.Linear(15, 2)),
        r"layer '0' \(BatchNorm1d\): .*calling \.item\(\) on a Tensor",
    ),
    "spectral_norm": (
        lambda: _sequential(
            nn.Flatten(), nn.utils.parametrizations.spectral_norm(nn.Linear(15, 2))
        ),
        r"layer '1\.parametrizations\.weight\.0' \(_SpectralNorm\): Batching rule not implemented",
    ),
    "branch": (
        lambda: _sequential(nn.Flatten(), Block("branch")),
        r"layer '1' \(Block\): .*data-dependent control flow",
    ),
    "item": (
        lambda: _sequential(nn.Flatten(), Block("item")),
        r"layer '1' \(Block\): .*calling \.item\(\) on a Tensor",
    ),
    "mask": (
        lambda: _sequential(nn.Flatten(), Block("mask")),
        r"layer '1' \(Block\): .*dynamic shape",
    ),
}


def examples() -> Batch:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(8, 5, 3, generator=draw, dtype=torch.float64)
    return Batch(x, {"labels": torch.tensor([0, 1] * 4)})


def rule(name: str) -> Distillation:
    return distill(functional(BUILDS[name][0]), methods.ce(), optim.sgd(0.125), examples())


@pytest.mark.parametrize("order", ["shared", "own"])
@pytest.mark.parametrize("name", BUILDS)
def test_the_layer_and_the_reason_are_told(name: str, order: Order):
    one, expected = rule(name), BUILDS[name][1]
    state = ensemble(one).init([0, 1, 2])
    batch = examples() if order == "shared" else stack([examples()] * 3)
    before = ensemble(one).init([0, 1, 2])
    reason = why_not_vmap(one, state, batch, order)
    if expected is None:
        assert reason is None
    else:
        assert reason is not None
        with pytest.raises(ValueError, match=expected):
            raise ValueError(reason)
    assert_same(state, before)


def test_it_is_tried_with_the_layers_of_an_ensemble_but_for_kernels_of_its_own(monkeypatch):
    """On a GPU torch's own BatchNorm has no rule where channels lie last."""
    seen = []

    def noted(*arguments: Any, **named: Any) -> Tensor:
        seen.append("batch_norm")
        return torch.nn.functional.batch_norm(*arguments, **named)

    layers = "fkd.execution._ensemble_layers"
    monkeypatch.setattr(f"{layers}.batch_norm", noted)
    monkeypatch.setattr(f"{layers}.conv2d", lambda *_: seen.append("conv2d"))
    batch = Batch(torch.rand(4, 1, 5, 5).double(), {"labels": torch.tensor([0, 1] * 2)})
    net = functional(lambda: _sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten()))
    one = distill(net, methods.ce(), optim.sgd(0.125), batch)
    assert why_not_vmap(one, ensemble(one).init([0, 1]), batch) is None
    assert seen == ["batch_norm"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu_batch_norm_keeps_no_ensemble_from_vmap():
    """Where channels lie last, as normalised images have them."""
    images = torch.rand(4, 8, 8, 3, device="cuda").movedim(-1, 1)
    batch = Batch(images, {"labels": torch.tensor([0, 1] * 2, device="cuda")})
    net = functional(named("resnet8", 2))
    one = distill(net, methods.ce(), optim.sgd(0.125), batch)
    state = tree_map(lambda leaf: leaf.cuda(), ensemble(one).init([0, 1]))
    assert why_not_vmap(one, state, batch) is None


def _branching(gradient: Any, state: Any, params: Any, hyper: Any) -> tuple[Any, Any]:
    small = gradient["student"]["1.bias"].norm() < 1e9
    return params if small else gradient, state


def test_what_stops_it_outside_a_layer_is_told_too():
    optimizer = optim.Optimizer({}, lambda params: (), _branching)
    net = functional(BUILDS["plain"][0])
    one = distill(net, methods.ce(), optimizer, examples())
    reason = why_not_vmap(one, ensemble(one).init([0]), examples())
    assert reason is not None and reason.startswith("the loss, its gradient or the update: vmap: ")


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_an_lstm_is_taken_a_member_at_a_time_and_is_the_student_alone():
    """torch warns that it has no batching rule, and is right nevertheless."""
    net = functional(lambda: Recurrent().double())
    one = distill(net, methods.ce(), optim.sgd(0.125), examples())
    run = ensemble(one)
    assert why_not_vmap(one, run.init([0, 1]), examples()) is None
    state, _ = step(run, run.init([0, 1]), examples())
    for k in range(2):
        assert_same(member(state, k), step(one, one.init(k), examples())[0])


def _settled(layout: str) -> Callable[..., Plan]:
    """As on a GPU, whose choice is vmap."""
    return lambda self, *_: replace(self, layout=layout, compile="none", graph=0)


def _settled_on_a_gpu(self: Plan, device: torch.device, steps: int, members: int) -> Plan:
    return replace(SETTLE(self, torch.device("cuda"), steps, members), graph=0)


def _laid(layouts: list[str], distillation: Distillation, plan: Plan, **options: Any) -> Advance:
    layouts.append(plan.layout)
    return lay(distillation, plan, **options)


def test_a_member_is_alone_whoever_trains_beside_it_but_not_with_others_elsewhere(monkeypatch):
    batch, layouts = examples(), []
    source = Resident(batch.inputs, batch.targets, batch_size=4)
    one = rule("plain")
    students = {
        "two": Students(one, [1, 2]),
        "alone": Students(one, [1]),
        "one of two": Students(one, [1], members=2),
    }
    monkeypatch.setattr(Plan, "settle", _settled_on_a_gpu)
    monkeypatch.setattr("fkd.train.lay", partial(_laid, layouts))
    *_, at = train(students, source, epochs=2)
    assert layouts == ["vmap", "loop", "vmap"]
    for name in students:
        assert_same(member(at.states[name], 0), member(at.states["alone"], 0))


@pytest.mark.parametrize("order", ["shared", "own"])
def test_auto_takes_the_loop_by_itself_for_those_who_need_it(monkeypatch, order: Order):
    batch = examples()
    source = Resident(batch.inputs, batch.targets, batch_size=4)
    students = {name: Students(rule(name), [1, 2]) for name in ("plain", "branch")}
    go = partial(train, students, source, epochs=2, order=order)
    *_, expected = go(plan=Plan("loop", compile="none"))
    monkeypatch.setattr(Plan, "settle", _settled("vmap"))
    *_, at = go(plan=Plan())
    assert_same(at.states, expected.states)
    assert {name: plan.layout for name, plan in at.plans.items()} == {
        "plain": "vmap",
        "branch": "loop",
    }


def test_vmap_by_demand_is_refused_with_the_way_out():
    batch = examples()
    source = Resident(batch.inputs, batch.targets, batch_size=4)
    students = {"mine": Students(rule("momentum=None"), [1, 2])}
    with pytest.raises(
        ValueError,
        match=r"train: vmap cannot run the students 'mine': layer '0' \(BatchNorm1d\): .*; "
        r"use Plan\(layout='loop'\)",
    ):
        train(students, source, epochs=1, plan=Plan("vmap", compile="none"))
