"""What the loss does not reach is left alone, as torch.optim leaves what has no gradient."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small import assert_same
from torch import Tensor, nn

from fkd import losses, methods, optim
from fkd.data import Batch
from fkd.distillation import Distillation, State, distill, step
from fkd.ensemble import ensemble, member
from fkd.execution import Plan, lay
from fkd.methods import Term
from fkd.model import functional

STEPS = 4
SIZES: dict[str, Any] = {"lr": 0.125, "weight_decay": 0.25}  # exact in float32


class Partly(nn.Module):
    """A classifier that `hidden` does not need, a layer that nobody calls, and one that may be."""

    def __init__(self, numbers: bool = False):
        super().__init__()
        self.unused = nn.Linear(3, 3)
        self.body = nn.Linear(3, 4, bias=False)  # BatchNorm takes a bias away
        self.norm = nn.BatchNorm1d(4)
        self.classifier = nn.Linear(4, 2)
        self.numbers = numbers

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        hidden = self.norm(self.body(x)).tanh()
        if self.numbers and float(x.sum()) > 1e9:  # it cannot run on the meta device
            hidden = hidden * 2
        return {"logits": self.classifier(hidden), "hidden": hidden}


def batch(seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    x, hidden = (torch.randn(6, n, generator=generator, dtype=torch.float64) for n in (3, 4))
    return Batch(x, {"labels": torch.tensor([0, 1] * 3), "hidden": hidden})


HIDDEN: methods.Method = {"x": Term(losses.squared_error, "hidden", "hidden")}
Make = Callable[[], optim.Optimizer]
CASES: dict[str, tuple[Make, Callable[..., torch.optim.Optimizer]]] = {
    "sgd": (
        partial(optim.sgd, momentum=0.5, nesterov=True, **SIZES),
        partial(torch.optim.SGD, momentum=0.5, nesterov=True, **SIZES),
    ),
    "adamw": (partial(optim.adamw, **SIZES), partial(torch.optim.AdamW, **SIZES)),
}


def rule(name: str, method: methods.Method = HIDDEN, **options: bool) -> Distillation:
    optimizer = optim.chain(optim.clip_by_norm(0.5), CASES[name][0]())
    return distill(functional(lambda: Partly(**options).double()), method, optimizer, batch())


def by_torch(name: str, seed: int, method: methods.Method = HIDDEN) -> nn.Module:
    torch.manual_seed(seed)
    model = Partly().double().train()
    optimizer = CASES[name][1](model.parameters())
    for number in range(STEPS):
        x, targets = batch(number)
        outputs = model(x)
        loss = (outputs["hidden"] - targets["hidden"]).square().mean()
        if method is not HIDDEN:
            loss = F.cross_entropy(outputs["logits"], targets["labels"])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
    return model


def trained(run: Distillation, state: State) -> State:
    for number in range(STEPS):
        state, _ = step(run, state, batch(number))
    return state


def assert_is(state: State, model: nn.Module) -> None:
    expected = {name: value.detach() for name, value in model.named_parameters()}
    assert_same(state.params["student"], expected)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("method", [HIDDEN, methods.ce()], ids=["hidden", "ce"])
@pytest.mark.parametrize("numbers", [False, True])
def test_steps_are_torchs_where_the_loss_reaches_a_part(name, method, numbers):
    one = rule(name, method, numbers=numbers)
    start = one.init(3)
    state = trained(one, start)
    assert_is(state, by_torch(name, 3, method))
    alone = ["unused.weight", "unused.bias"]
    if method is HIDDEN:
        alone += ["classifier.weight", "classifier.bias"]
    for parameter, value in state.params["student"].items():
        assert torch.equal(value, start.params["student"][parameter]) == (parameter in alone)


@pytest.mark.parametrize("name", CASES)
def test_members_are_torchs_one_by_one(name):
    run = ensemble(rule(name))
    state = trained(run, run.init([3, 5]))
    for k, seed in enumerate([3, 5]):
        assert_is(member(state, k), by_torch(name, seed))


@pytest.mark.plain
@pytest.mark.parametrize(
    "plan",
    [
        Plan("loop", compile="none", graph=0),
        Plan("vmap", compile="none", graph=0),
        pytest.param(Plan("loop", compile="step", graph=0), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_every_plan_leaves_the_same_alone(plan):
    torch._dynamo.reset()
    one = rule("adamw")
    advance, state = lay(one, plan), ensemble(one).init([3, 5])
    for number in range(STEPS):
        advance(state, batch(number))
    assert_is(member(state, 1), by_torch("adamw", 5))


@pytest.mark.plain
def test_a_step_that_leaves_some_alone_compiles_whole():
    run = ensemble(rule("adamw"))
    compiled = torch.compile(run.update, fullgraph=True, backend="aot_eager")
    state = run.init([3, 5])
    for number in range(STEPS):
        state = compiled(state, run.gradient(state, batch(number)))
    assert_is(member(state, 1), by_torch("adamw", 5))


def test_the_optimizers_state_holds_what_is_reached_alone():
    one = distill(functional(lambda: Partly().double()), HIDDEN, optim.adam(), batch())
    _, adam, _ = one.init(0).optimizer
    reached = ["body.weight", "norm.bias", "norm.weight"]
    assert sorted(adam.mean["student"]) == reached


def test_where_all_is_reached_the_optimizer_is_the_one_given():
    small = functional(lambda: nn.Linear(3, 2).double())
    one = distill(small, methods.ce(), optim.adamw(), batch())
    state = one.init(0)
    assert_same(state.optimizer, optim.adamw().init(state.params))


def test_an_example_batch_on_the_meta_device_will_do():
    examples = batch()
    like = Batch(
        examples.inputs.to("meta"), {name: x.to("meta") for name, x in examples.targets.items()}
    )
    optimizer = optim.chain(optim.clip_by_norm(0.5), CASES["adamw"][0]())
    one = distill(functional(lambda: Partly().double()), HIDDEN, optimizer, like)
    assert_is(trained(one, one.init(3)), by_torch("adamw", 3))


class Detached(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(3, 2).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).detach()


def test_a_loss_that_reaches_no_parameter_is_refused():
    with pytest.raises(ValueError, match="the loss reaches no parameter, neither of the student"):
        distill(functional(Detached), methods.ce(), optim.sgd(), batch())


def test_in_inference_mode_no_parameter_is_reached_and_the_error_says_so():
    of_two = functional(lambda: nn.Linear(3, 2).double())
    with torch.inference_mode(), pytest.raises(ValueError, match=r"torch\.inference_mode off"):
        distill(of_two, methods.ce(), optim.sgd(), batch())


class Spectral(nn.Module):
    """A filter in the frequencies, whose weights are complex."""

    def __init__(self):
        super().__init__()
        self.filter = nn.Parameter(torch.randn(2, dtype=torch.complex128))
        self.body = nn.Linear(3, 2).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.body(torch.fft.irfft(torch.fft.rfft(x) * self.filter, n=3))


COMPLEX: dict[str, Make] = {
    "scale_by_adam": optim.adamw,
    "clip_by_value": lambda: optim.chain(optim.clip_by_value(1.0), optim.sgd()),
    "scale_by_adam: ": lambda: optim.averaged(optim.lamb()),
}


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_parameters_are_refused_at_the_door_by_name(name):
    message = rf"{name}.*student\.filter is torch\.complex128.*torch\.view_as_real"
    with pytest.raises(ValueError, match=message):
        distill(functional(Spectral), methods.ce(), COMPLEX[name](), batch())


def test_complex_parameters_with_sgd_are_torchs():
    optimizer = optim.chain(optim.clip_by_norm(0.5), optim.sgd(momentum=0.5, **SIZES))
    one = distill(functional(Spectral), methods.ce(), optimizer, batch())
    state = trained(one, one.init(3))
    torch.manual_seed(3)
    model = Spectral()
    theirs = torch.optim.SGD(model.parameters(), momentum=0.5, **SIZES)
    for number in range(STEPS):
        x, targets = batch(number)
        theirs.zero_grad()
        F.cross_entropy(model(x), targets["labels"]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        theirs.step()
    assert_is(state, model)


TREE = {"a": {"x": 1, "y": 2}, "b": 3}


@pytest.mark.plain
def test_leaves_are_merged_where_the_tree_has_them_and_nowhere_else():
    assert optim.merge(TREE, {"a": {"y": 4}}) == {"a": {"x": 1, "y": 4}, "b": 3}
    for few in ({"c": 3}, {"a": 3}, {"b": {"x": 1}}, {"a": {"z": 1}}):
        with pytest.raises(ValueError, match="merge: few must hold leaves of the tree alone"):
            optim.merge(TREE, few)
    for tree, few in ((3, {}), (TREE, [3])):
        with pytest.raises(ValueError, match=r"merge: (tree|few) must be a dict"):
            optim.merge(tree, few)


@pytest.mark.plain
def test_what_is_no_optimizer_no_paths_and_no_dict_is_refused():
    for optimizer, paths in ((3, frozenset()), (optim.sgd(), [("a",)]), (optim.sgd(), {"a"})):
        with pytest.raises(ValueError, match=r"only: (optimizer|paths) must be"):
            optim.only(optimizer, paths)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="only: path must be a tuple"):
        optim.only(optim.sgd(), frozenset({"a"}))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="by_path: tree must be a dict"):
        optim.by_path(3)
