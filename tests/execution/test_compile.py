"""The compiler is tried, and its failure told in a line; what it cannot take goes on without."""

from collections.abc import Callable

import pytest
import torch
from small import assert_same
from torch import Tensor, nn

from fkd import methods, optim
from fkd.data import Batch, Resident
from fkd.distillation import Distillation, distill
from fkd.ensemble import ensemble
from fkd.execution import Plan, _compile, lay, why_not_compile
from fkd.execution._compile import Compiled
from fkd.model import functional
from fkd.train import Students, train


@pytest.mark.plain
def test_the_compiler_is_tried_and_its_failure_told(monkeypatch):
    assert why_not_compile(torch.device("cpu")) is None

    def broken(*_, **__):
        raise RuntimeError("no C++ compiler\nand much more")

    monkeypatch.setattr(torch, "compile", broken)
    assert why_not_compile(torch.device("cpu")) == "no C++ compiler"


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2).double()

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc(x)
        return x * 2 if x.mean() > 0 else x


def _examples() -> Batch:
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return Batch(x, {"labels": torch.tensor([0, 1] * 3)})


def _rule(build: Callable[[], nn.Module]) -> Distillation:
    return distill(functional(build), methods.ce(), optim.sgd(0.125), _examples())


@pytest.mark.plain
@pytest.mark.parametrize("reduced", [False, True])
def test_a_step_that_the_compiler_cannot_take_goes_on_without_it_where_it_may(reduced):
    torch._dynamo.reset()
    one, plan = _rule(Branching), Plan("loop", compile="step", graph=0)
    if reduced:
        one = one._replace(reduce=lambda gradient: gradient)
    state, expected = ensemble(one).init([0, 1]), ensemble(one).init([0, 1])
    advance = lay(one, plan, fall_back=True)
    plain = lay(one, Plan("loop", compile="none", graph=0))
    assert advance.plan == plan and plain.plan.compile == "none"
    with pytest.warns(UserWarning, match="goes on without: .*Data-dependent branching"):
        metrics = advance(state, _examples())
    assert_same(metrics, plain(expected, _examples()))
    assert_same(advance(state, _examples()), plain(expected, _examples()))  # and warns no more
    assert_same(state, expected)
    assert advance.plan == plain.plan  # what happened, and not what was asked for


@pytest.mark.plain
def test_compilation_by_demand_is_refused_with_the_reason():
    torch._dynamo.reset()
    one = _rule(Branching)
    advance = lay(one, Plan("loop", compile="step", graph=0))
    state, before = ensemble(one).init([0]), ensemble(one).init([0])
    with pytest.raises(ValueError, match=r"cannot be compiled: .*Data-dependent.*; use Plan"):
        advance(state, _examples())
    assert_same(state, before)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 2, batch_first=True).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(x[:, None])[0][:, 0]


@pytest.mark.plain
def test_the_compiler_runs_a_step_whose_python_it_cannot_read():
    torch._dynamo.reset()
    one, batch = _rule(Recurrent), _examples()
    state, expected = ensemble(one).init([0, 1]), ensemble(one).init([0, 1])
    advance = lay(one, Plan("loop", compile="step", graph=0))
    plain = lay(one, Plan("loop", compile="none", graph=0))
    for _ in range(2):
        assert_same(advance(state, batch), plain(expected, batch))
    assert_same(state, expected)
    assert advance.plan == Plan("loop", compile="step", graph=0)


@pytest.mark.plain
def test_a_tensor_beside_the_inputs_is_read_anew_at_each_call():
    torch._dynamo.reset()
    factor, seen = torch.ones(()), []

    def scaled(x: Tensor) -> Tensor:
        if not torch.compiler.is_compiling():
            seen.append(x)
        return x * factor

    function, x = Compiled(scaled), torch.arange(3.0)
    assert torch.equal(function(x), x)
    factor.fill_(2.0)
    assert torch.equal(function(x), 2 * x)
    assert function.is_read and not seen


@pytest.mark.plain
def test_a_torch_without_what_running_takes_reads(monkeypatch):
    monkeypatch.setattr(_compile, "_can_be_run", lambda: False)
    torch._dynamo.reset()
    function = Compiled(lambda x: 2 * x)
    assert function.is_read and torch.equal(function(torch.ones(2)), torch.full((2,), 2.0))


@pytest.mark.plain
def test_training_falls_back_where_the_plan_left_it_open():
    torch._dynamo.reset()
    batch = _examples()
    source = Resident(batch.inputs, batch.targets, batch_size=3)
    # Four steps of two members, which pay no compilation, but those of all processes do.
    students = {"ce": Students(_rule(Branching), [0, 1], members=1000)}
    with pytest.warns(UserWarning, match="goes on without"):
        *_, at = train(students, source, epochs=2, plan=Plan("loop"))
    *_, expected = train(students, source, epochs=2, plan=Plan("loop", compile="none"))
    assert_same(at.states, expected.states)
    assert at.plans == expected.plans == {"ce": Plan("loop", compile="none", graph=0)}
    with pytest.raises(ValueError, match="the step cannot be compiled"):
        next(train(students, source, epochs=2, plan=Plan("loop", compile="step")))


@pytest.mark.plain
def test_an_error_that_is_not_the_compilers_stays_what_it_is():
    def wrong(*_):
        raise RuntimeError("out of memory")

    function = Compiled(lambda x: x, lambda x: x)
    function.run = wrong
    with pytest.raises(RuntimeError, match="out of memory"):
        function(torch.ones(1))
