"""The average of the weights against torch.optim.swa_utils, in every layout and from a file."""

from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from execution.test_capture import pretend, run_by
from small import assert_same
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils._pytree import tree_leaves, tree_map

from fkd import checkpoint, methods, optim
from fkd.data import Batch, Resident
from fkd.distillation import Distillation, State, average_of, distill, step, student_of
from fkd.ensemble import ensemble, member
from fkd.evaluate import predict_members
from fkd.execution import Plan, lay
from fkd.model import Tensors, functional
from fkd.optim import AverageState
from fkd.train import Students, train

STEPS, DECAY = 5, 0.75  # exact in float32
NUMBERS: dict[str, Any] = {"lr": 0.125, "momentum": 0.5, "weight_decay": 0.25}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.unused = nn.Linear(2, 2)
        self.body = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.norm(self.body(x)).tanh())


def net() -> nn.Module:
    return Net().double()


def batch(number: int) -> Batch:
    draw = torch.Generator().manual_seed(number)
    x = torch.randn(6, 3, generator=draw, dtype=torch.float64)
    return Batch(x, {"labels": torch.randint(2, (6,), generator=draw)})


def rule(optimizer: optim.Optimizer | None = None) -> Distillation:
    optimizer = optimizer or optim.averaged(optim.sgd(**NUMBERS), DECAY)
    return distill(functional(net), methods.ce(), optimizer, batch(0))


def trained(run: Distillation, state: State, steps: int = STEPS) -> State:
    for number in range(steps):
        state, _ = step(run, state, batch(number))
    return state


def by_torch(seed: int, decay: float = DECAY) -> tuple[Any, Any]:
    """The averaged model, in evaluation mode, and the last one."""
    torch.manual_seed(seed)
    model = net().train()
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))
    optimizer = torch.optim.SGD(model.parameters(), **NUMBERS)
    for number in range(STEPS):
        examples = batch(number)
        optimizer.zero_grad()
        F.cross_entropy(model(examples.inputs), examples.targets["labels"]).backward()
        optimizer.step()
        average.update_parameters(model)
    return average.module.eval(), model.eval()


def assert_are(tensors: tuple[Tensors, Tensors], params: nn.Module, buffers: nn.Module) -> None:
    expected = {name: value.detach() for name, value in params.named_parameters()}
    assert_same(tensors, (expected, dict(buffers.named_buffers())))


def test_the_average_is_torchs_and_the_last_ones_are_those_without_it():
    run = rule()
    state = trained(run, run.init(3))
    average, model = by_torch(3)
    assert_are(average_of(state), average, model)
    assert_are(student_of(state), model, model)
    plain = rule(optim.sgd(**NUMBERS))
    assert_same(state.params, trained(plain, plain.init(3)).params)


def test_members_may_have_decays_of_their_own():
    run = ensemble(rule())
    state = trained(run, run.init([3, 5], {"ema_decay": [0.5, 0.875]}))
    for k, (seed, decay) in enumerate([(3, 0.5), (5, 0.875)]):
        average, model = by_torch(seed, decay)
        assert_are(member(average_of(state), k), average, model)


PLANS = [
    Plan("loop", compile="none", graph=0),
    Plan("vmap", compile="none", graph=0),
    Plan("vmap", chunk=2, compile="none", graph=0),
]


@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_in_every_layout_the_average_is_torchs(plan):
    advance, state = lay(rule(), plan), ensemble(rule()).init([3, 5, 7])
    for number in range(STEPS):
        advance(state, batch(number))
    for k, seed in enumerate([3, 5, 7]):
        average, model = by_torch(seed)
        assert_are(member(average_of(state), k), average, model)


@pytest.mark.plain
def test_an_update_with_an_average_compiles_whole():
    run = ensemble(rule())
    compiled = torch.compile(run.update, fullgraph=True, backend="aot_eager")
    state = run.init([3, 5])
    for number in range(STEPS):
        state = compiled(state, run.gradient(state, batch(number)))
    assert_are(member(average_of(state), 1), *by_torch(5))


def test_steps_in_a_graph_keep_the_average(monkeypatch):
    (x, targets), plan = batch(0), Plan("loop", compile="none")
    source = Resident(x, targets, batch_size=2)
    go = partial(train, {"ce": Students(rule(), [3, 5])}, source, epochs=2)
    *_, plain = go(plan=plan)
    monkeypatch.setattr("fkd.train.runner", partial(run_by, pretend))
    monkeypatch.setattr(Plan, "settle", lambda *_: Plan("loop", None, "none", 2))
    *_, captured = go(plan=plan)
    assert_same(average_of(captured.states["ce"]), average_of(plain.states["ce"]))


def test_a_run_goes_on_from_a_file_with_its_average(tmp_path):
    run = rule()
    state = run.init(3)
    for number in range(STEPS):
        checkpoint.save(tmp_path / "x.pt", state)
        state = checkpoint.load(tmp_path / "x.pt", like=run.init(0))
        state, _ = step(run, state, batch(number))
    assert_are(average_of(state), *by_torch(3))
    names = checkpoint.read(tmp_path / "x.pt")
    assert "optimizer.mean.student.fc.weight" in names
    assert "optimizer.mean.student.unused.weight" not in names  # it is never moved


def test_the_average_starts_as_a_copy():
    state = rule().init(3)
    before = tree_map(torch.clone, state.params)
    assert isinstance(state.optimizer, AverageState)
    for leaf in tree_leaves(state.optimizer.mean):
        leaf.zero_()
    assert_same(state.params, before)


def test_members_are_evaluated_by_their_average_beside_their_last_weights():
    run = ensemble(rule())
    state = trained(run, run.init([3, 5]))
    examples = batch(9)
    source = Resident(examples.inputs, examples.targets, batch_size=4)
    last = predict_members(functional(net), state, source)
    mean = predict_members(functional(net), state, source, average=True)
    for k, seed in enumerate([3, 5]):
        average, model = by_torch(seed)
        average.load_state_dict(dict(model.named_buffers()), strict=False)
        assert_same(last[k], model(examples.inputs).detach())
        assert_same(mean[k], average(examples.inputs).detach())


def test_what_keeps_no_average_or_cannot_is_refused():
    plain = rule(optim.sgd())
    with pytest.raises(ValueError, match=r"keeps no average.*optim\.averaged\(optimizer\)"):
        average_of(plain.init(0))
    for decay in (-0.5, 1.0, float("nan")):
        with pytest.raises(ValueError, match=r"averaged: decay must lie in \[0, 1\)"):
            optim.averaged(optim.sgd(), decay)
    with pytest.raises(ValueError, match=r"init: ema_decay must lie in \[0, 1\), but it is 1.5"):
        rule().init(0, {"ema_decay": 1.5})
    with pytest.raises(ValueError, match="averaged: the optimizer has a number 'ema_decay'"):
        optim.averaged(optim.averaged(optim.sgd()))
    with pytest.raises(ValueError, match=r"let averaged\(\) stand outermost"):
        optim.chain(optim.clip_by_norm(1.0), optim.averaged(optim.sgd()))


@pytest.mark.plain
def test_what_is_no_optimizer_and_a_decay_in_a_tensor_are_refused():
    with pytest.raises(ValueError, match="averaged: optimizer must be"):
        optim.averaged(optim.sgd)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="averaged: decay must be a number of Python's"):
        optim.averaged(optim.sgd(), torch.tensor(0.9))  # pyright: ignore[reportArgumentType]
