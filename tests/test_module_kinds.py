"""What works how: every kind of module is trained in each layout, and its table is the README's."""

import pytest
import torch
from module_kinds import KINDS, Kind
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from fkd import optim
from fkd.data import Batch
from fkd.distillation import Distillation, State, distill, step
from fkd.ensemble import ensemble
from fkd.execution import Compile, Layout, Plan, lay
from fkd.methods import Term
from fkd.model import functional, outputs_like

SEEDS = [3, 5]
COMPILE = torch.compile


def squared(student: Tensor, target: Tensor) -> Tensor:
    return (student - target).square().flatten(1).mean(1)


def students(kind: Kind) -> tuple[Distillation, Batch]:
    model, inputs = functional(lambda: kind.build().double()), kind.inputs()
    logits = outputs_like(model, inputs, train=True)["logits"]
    target = torch.linspace(-1, 1, logits.numel(), dtype=torch.float64).reshape(logits.shape)
    batch = Batch(inputs, {"logits": target})
    method = {"squared": Term(squared)}
    return distill(model, method, optim.sgd(0.1, momentum=0.9), batch), batch


def trained(run: Distillation, batch: Batch, layout: Layout, compile: Compile = "none") -> State:
    state = ensemble(run).init(SEEDS)
    advance = lay(run, Plan(layout=layout, compile=compile))
    for _ in range(2):
        advance(state, batch)
    return state


def alone(run: Distillation, batch: Batch) -> State:
    """The same of each student by itself, stacked."""
    return tree_map(lambda *leaves: torch.stack(leaves), *[one(run, batch, s) for s in SEEDS])


def one(run: Distillation, batch: Batch, seed: int) -> State:
    state = run.init(seed)
    for _ in range(2):
        state, _ = step(run, state, batch)
    return state


def assert_near(state: State, expected: State) -> None:
    for value, right in zip(tree_leaves(state), tree_leaves(expected), strict=True):
        torch.testing.assert_close(value, right, rtol=0, atol=1e-9)


# Operators that torch runs member by member under vmap: right, and no faster than a loop.
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
@pytest.mark.parametrize("name", KINDS)
def test_a_member_of_every_layout_is_the_student_alone(name):
    kind = KINDS[name]
    run, batch = students(kind)
    expected = alone(run, batch)
    first, after = run.init(SEEDS[0]).params["student"], expected.params["student"]
    assert any(not torch.equal(first[key], after[key][0]) for key in first)
    layouts: list[Layout] = ["loop"] if kind.vmap else ["loop", "vmap"]
    for layout in layouts:
        assert_near(trained(run, batch, layout), expected)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.vmap])
def test_what_vmap_cannot_do_it_does_not(name):
    run, batch = students(KINDS[name])
    with pytest.raises(RuntimeError, match=r"vmap|Batching rule"):
        trained(run, batch, "vmap")


def not_generated(function, *, options, **rest):
    """`torch.compile` as `lay` asks for it, but what it has captured and differentiated runs as it
    is: to generate code would take 20 seconds a kind."""
    return COMPILE(function, backend="aot_eager", **rest)


@pytest.mark.slow
@pytest.mark.plain
@pytest.mark.parametrize("name", KINDS)
def test_the_compiler_takes_the_step_whole_or_not_at_all(name, monkeypatch):
    monkeypatch.setattr(torch, "compile", not_generated)
    torch._dynamo.reset()
    kind = KINDS[name]
    run, batch = students(kind)
    if kind.compiled:
        with pytest.raises(ValueError, match="the step cannot be compiled"):
            trained(run, batch, "loop", "step")
        return
    assert_near(trained(run, batch, "loop", "step"), alone(run, batch))
