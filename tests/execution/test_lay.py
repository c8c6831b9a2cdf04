"""However an ensemble lies on the hardware, it takes the same steps."""

import pytest
import torch
from small import assert_same, batches, rule
from torch import nn
from torch.utils._pytree import tree_map

from fkd import methods, optim
from fkd.data import Batch
from fkd.distillation import Gradient, distill, step
from fkd.ensemble import ensemble
from fkd.execution import Compile, Layout, Plan, lay
from fkd.model import functional


def plan(layout: Layout, compile: Compile = "none", chunk: int | None = None) -> Plan:
    return Plan(layout, chunk, compile, graph=0)


LAID = [
    (plan("loop"), 1),
    (plan("loop"), 4),
    pytest.param(plan("loop", "step"), 1, marks=pytest.mark.slow),
    (plan("loop", "step"), 4),
    (plan("vmap"), 4),
    (plan("vmap", chunk=3), 4),  # 3 members and one
    (plan("vmap", "step"), 2),
    # The same graph, which is compiled once for both.
    pytest.param(plan("vmap", "step", chunk=2), 4, marks=pytest.mark.slow),
]


@pytest.mark.plain
@pytest.mark.parametrize(("plan", "members"), LAID, ids=str)
def test_advancing_in_place_is_the_steps_whatever_the_plan(plan, members):
    one = rule(methods.kd() | methods.hint())
    run, advance = ensemble(one), lay(one, plan)
    torch._dynamo.reset()
    state, expected = run.init(range(members)), run.init(range(members))
    with torch._dynamo.config.patch(error_on_recompile=True):
        for batch in batches(3):
            metrics = advance(state, batch)
            expected, means = step(run, expected, batch)
            assert_same(metrics, means)
    assert_same(state, expected)


class Normed(nn.Sequential):
    def __init__(self):
        convs = [nn.Conv2d(channels, 4, 3, bias=False) for channels in (3, 4)]
        norms = [nn.BatchNorm2d(4) for _ in convs]
        super().__init__(
            convs[0], norms[0], nn.ReLU(), convs[1], norms[1], nn.Flatten(), nn.Linear(64, 3)
        )


@pytest.mark.plain
def test_compiled_no_weight_is_written_before_it_was_last_read():
    # The compiler of torch 2.11 reorders this step, unless it is told not to.
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(4, 3, 8, 8, generator=generator)
    batch = Batch(inputs, {"labels": torch.arange(4) % 3})
    one = distill(functional(Normed), methods.ce(), optim.sgd(0.1), batch)
    state, expected = (tree_map(doubled, ensemble(one).init(range(2))) for _ in range(2))
    lay(one, plan("vmap", "step"))(state, tree_map(doubled, batch))
    lay(one, plan("vmap"))(expected, tree_map(doubled, batch))
    assert_same(state, expected)


def doubled(leaf):
    return leaf.double() if leaf.is_floating_point() else leaf


@pytest.mark.parametrize("plan", [plan("loop"), plan("vmap"), plan("vmap", chunk=2)], ids=str)
def test_members_may_have_batches_of_their_own(plan):
    one = rule()
    (batch,) = batches(1)
    own = Batch(
        torch.stack([batch.inputs, batch.inputs.flip(0), batch.inputs.roll(1, 0)]),
        {name: torch.stack([x, x.flip(0), x.roll(1, 0)]) for name, x in batch.targets.items()},
    )
    run, advance = ensemble(one, order="own"), lay(one, plan, order="own")
    state, expected = run.init([0, 1, 2]), run.init([0, 1, 2])
    advance(state, own)
    assert_same(state, step(run, expected, own)[0])


def test_a_plan_that_has_something_left_to_choose_is_refused():
    for unsettled in (Plan(compile="step"), Plan(layout="loop")):
        with pytest.raises(ValueError, match=r"settle it with plan\.settle"):
            lay(rule(), unsettled)


def halved(gradient: Gradient) -> Gradient:
    halves = {name: value / 2 for name, value in gradient.params["student"].items()}
    return gradient._replace(params={"student": halves, "heads": {}})


@pytest.mark.parametrize("plan", [plan("loop"), plan("vmap")], ids=str)
def test_reduce_stands_between_the_two_halves(plan):
    one = rule()._replace(reduce=halved)
    run, (batch,) = ensemble(one), batches(1)
    state, expected = run.init([0, 1]), run.init([0, 1])
    lay(one, plan)(state, batch)
    assert_same(state, run.update(expected, halved(run.gradient(expected, batch))))


@pytest.mark.plain
def test_many_ensembles_can_be_compiled_in_one_process():
    batch = Batch(torch.ones(2, 4), {"labels": torch.tensor([0, 1])})
    torch._dynamo.reset()
    with torch._dynamo.config.patch(recompile_limit=1):
        for rate in (0.1, 0.2, 0.3):
            net = functional(lambda: nn.Linear(4, 2))
            one = distill(net, methods.ce(), optim.sgd(rate), batch)
            lay(one, plan("loop", "step"))(ensemble(one).init([0]), batch)


@pytest.mark.plain
def test_what_is_compiled_takes_batches_of_another_size_and_dtype():
    net = functional(lambda: nn.Linear(4, 2))
    large = Batch(torch.randn(6, 4), {"labels": torch.tensor([0, 1, 1, 0, 1, 0])})
    small = Batch(large.inputs[:3], {"labels": large.targets["labels"][:3].int()})
    one = distill(net, methods.ce(), optim.sgd(0.1), large)
    torch._dynamo.reset()
    compiled, eager = (lay(one, plan("loop", compile)) for compile in ("step", "none"))
    states = [ensemble(one).init([0]) for _ in range(2)]
    for batch in (large, small, large):
        metrics = compiled(states[0], batch)
        torch.testing.assert_close(metrics, eager(states[1], batch))
    torch.testing.assert_close(states[0], states[1])


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 16), nn.ReLU(), nn.Linear(16, 3))


@pytest.mark.plain
def test_a_student_in_bfloat16_learns_what_it_learns_in_float32():
    (batch,) = batches(1)
    batch = Batch(
        batch.inputs.float(),
        {name: x.float() if name != "labels" else x for name, x in batch.targets.items()},
    )
    losses = {}
    ways: list[tuple[torch.dtype, Compile]] = [(torch.float32, "none"), (torch.bfloat16, "step")]
    for dtype, compile in ways:
        net = functional(perceptron, dtype)
        one = distill(net, methods.kd(), optim.sgd(0.1), batch)
        state, metrics = ensemble(one).init([0, 1]), {}
        advance = lay(one, plan("loop", compile))
        for _ in range(20):
            metrics = advance(state, batch)
        assert {p.dtype for p in state.params["student"].values()} == {torch.float32}
        losses[dtype] = metrics["loss"]
    # bfloat16 keeps 8 bits: a loss of about 1 is known to some 2 % after its few sums
    torch.testing.assert_close(losses[torch.bfloat16], losses[torch.float32], rtol=0.05, atol=0)
