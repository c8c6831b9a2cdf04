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
from fkd.execution import Layout, Plan, lay
from fkd.methods import Term
from fkd.model import functional, outputs_like

SEEDS = [3, 5]


def squared(student: Tensor, target: Tensor) -> Tensor:
    return (student - target).square().flatten(1).mean(1)


def students(kind: Kind) -> tuple[Distillation, Batch]:
    model, inputs = functional(lambda: kind.build().double()), kind.inputs()
    logits = outputs_like(model, inputs, train=True)["logits"]
    target = torch.linspace(-1, 1, logits.numel(), dtype=torch.float64).reshape(logits.shape)
    batch = Batch(inputs, {"logits": target})
    method = {"squared": Term(squared)}
    return distill(model, method, optim.sgd(0.1, momentum=0.9), batch), batch


def trained(run: Distillation, batch: Batch, layout: Layout) -> State:
    state = ensemble(run).init(SEEDS)
    advance = lay(run, Plan(layout=layout, compile="none"))
    for _ in range(2):
        advance(state, batch)
    return state


def one(run: Distillation, batch: Batch, seed: int) -> State:
    state = run.init(seed)
    for _ in range(2):
        state, _ = step(run, state, batch)
    return state


# Operators that torch runs member by member under vmap: right, and no faster than a loop.
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
@pytest.mark.parametrize("name", KINDS)
def test_a_member_of_every_layout_is_the_student_alone(name):
    kind = KINDS[name]
    run, batch = students(kind)
    alone = [one(run, batch, seed) for seed in SEEDS]
    first = run.init(SEEDS[0]).params["student"]
    assert any(not torch.equal(first[key], alone[0].params["student"][key]) for key in first)
    expected = tree_map(lambda *leaves: torch.stack(leaves), *alone)
    for layout in ("loop", *([] if kind.vmap else ["vmap"])):
        for value, right in zip(
            tree_leaves(trained(run, batch, layout)), tree_leaves(expected), strict=True
        ):
            torch.testing.assert_close(value, right, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.vmap])
def test_what_vmap_cannot_do_it_does_not(name):
    run, batch = students(KINDS[name])
    with pytest.raises(RuntimeError, match=r"vmap|Batching rule"):
        trained(run, batch, "vmap")


@pytest.mark.slow
@pytest.mark.plain
@pytest.mark.parametrize("name", KINDS)
def test_the_compiler_traces_the_step_whole_or_not_at_all(name):
    kind = KINDS[name]
    run, batch = students(kind)
    state = run.init(0)
    torch._dynamo.reset()
    compiled = torch.compile(run.gradient, fullgraph=True, backend="eager")
    if kind.compiled:
        with pytest.raises(torch._dynamo.exc.TorchDynamoException):
            compiled(state, batch)
        return
    expected, outputs = run.gradient(state, batch), compiled(state, batch)
    for value, right in zip(tree_leaves(outputs), tree_leaves(expected), strict=True):
        torch.testing.assert_close(value, right, rtol=0, atol=1e-9)
