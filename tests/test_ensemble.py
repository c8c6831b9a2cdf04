"""A member of an ensemble is the same student as when it is trained alone."""

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from fkd import methods, optim
from fkd.distillation import Gradient, State, distill, step
from fkd.ensemble import ensemble, member, size, why_not_compile
from fkd.model import functional
from fkd.models import LightNN


def _batches(steps: int, size: int = 16):
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        images = torch.randn(size, 3, 32, 32, generator=generator)
        yield (
            images,
            {
                "labels": torch.randint(10, (size,), generator=generator),
                "logits": torch.randn(size, 10, generator=generator),
                "feature_map": torch.randn(size, 32, 8, 8, generator=generator),
            },
        )


def _rule(method: methods.Method | None = None, optimizer: optim.Optimizer | None = None):
    images, targets = next(_batches(1))
    return distill(
        functional(LightNN), method or methods.kd(), optimizer or optim.adam(1e-3), images, targets
    )


def _run(rule, state: State, steps: int) -> State:
    for images, targets in _batches(steps):
        state, _ = step(rule, state, images, targets)
    return state


def _assert_same(one: State | Gradient, other: State | Gradient, rtol: float, atol: float) -> None:
    for a, b in zip(tree_leaves(one), tree_leaves(other), strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=atol)


@pytest.mark.parametrize("layout", ["vmap", "loop"])
def test_a_member_of_eight_is_the_student_alone_after_twenty_steps_with_dropout(layout):
    # sgd, for Adam turns the rounding of a gradient near zero into a step of full size
    rule = _rule(methods.kd() | methods.hint(), optim.sgd(0.05, momentum=0.9))
    seeds = [11, 3, 5, 8, 0, 42, 7, 1]
    together = _run(ensemble(rule, layout=layout), ensemble(rule).init(seeds), 20)
    for k in (0, 3, 7):
        alone = _run(rule, rule.init(seeds[k]), 20)
        assert alone.buffers["student"]["classifier.2.dropout_count"] == 20
        _assert_same(member(together, k), alone, rtol=1e-3, atol=2e-5)


def test_a_member_is_the_student_alone_under_adam():
    rule = _rule()
    together = _run(ensemble(rule, layout="vmap"), ensemble(rule).init([4, 9]), 5)
    _assert_same(member(together, 1), _run(rule, rule.init(9), 5), rtol=1e-3, atol=1e-4)


def test_dropout_is_what_keeps_members_of_one_weight_apart():
    rule = _rule(methods.supervised())
    run = ensemble(rule)
    state = run.init([1, 2])
    params = state.params["student"]
    twins = {name: torch.stack([value[0]] * 2) for name, value in params.items()}
    state = state._replace(params={"student": twins, "heads": {}})
    ((images, targets),) = _batches(1)
    grads = run.gradient(state, images, targets).params["student"]["classifier.3.weight"]
    assert not torch.allclose(grads[0], grads[1])


@pytest.mark.parametrize("layout", ["vmap", "loop"])
def test_own_order_gives_each_member_its_own_batch(layout):
    rule = _rule()
    run = ensemble(rule, layout=layout, order="own")
    one, two = _batches(2)
    images = torch.stack([one[0], two[0]])
    targets = {name: torch.stack([one[1][name], two[1][name]]) for name in one[1]}
    both, _ = step(run, run.init([1, 2]), images, targets)
    for k, (x, y) in enumerate((one, two)):
        alone, _ = step(rule, rule.init(k + 1), x, y)
        _assert_same(member(both, k), alone, rtol=1e-3, atol=1e-4)


def test_members_take_their_own_hyperparameters():
    rule = _rule(optimizer=optim.sgd(0.1))
    run = ensemble(rule)
    table = {"lr": [0.1, 0.01], "kd.temperature": [1.0, 4.0]}
    state = _run(run, run.init([2, 2], table), 2)
    for k in range(2):
        alone = rule.init(2, {name: values[k] for name, values in table.items()})
        _assert_same(member(state, k), _run(rule, alone, 2), rtol=1e-4, atol=1e-5)
    assert size(state) == 2


@pytest.mark.plain
def test_compiled_equals_eager_and_does_not_compile_twice():
    rule = _rule(methods.kd() | methods.hint(), optim.sgd(0.05, momentum=0.9))
    torch._dynamo.reset()
    run = ensemble(rule, compile=True)
    start = run.init([0, 1, 2])
    with torch._dynamo.config.patch(error_on_recompile=True):
        compiled = _run(run, start, 4)
    _assert_same(compiled, _run(ensemble(rule), start, 4), rtol=1e-3, atol=2e-5)


@pytest.mark.plain
def test_the_vmapped_step_compiles_in_one_graph():
    rule = _rule(optimizer=optim.sgd(0.05))
    torch._dynamo.reset()
    run = ensemble(rule, layout="vmap", compile=True)
    start = run.init([0, 1])
    with torch._dynamo.config.patch(error_on_recompile=True):
        compiled = _run(run, start, 2)
    _assert_same(compiled, _run(ensemble(rule), start, 2), rtol=1e-3, atol=2e-5)


@pytest.mark.plain
def test_many_ensembles_can_be_compiled_in_one_process():
    images, targets = torch.ones(2, 4), {"labels": torch.tensor([0, 1])}
    torch._dynamo.reset()
    with torch._dynamo.config.patch(recompile_limit=1):
        for rate in (0.1, 0.2, 0.3):
            net = functional(lambda: nn.Linear(4, 2))
            rule = distill(net, methods.supervised(), optim.sgd(rate), images, targets)
            run = ensemble(rule, compile=True)
            step(run, run.init([0]), images, targets)


@pytest.mark.plain
@pytest.mark.parametrize(
    ("layout", "compile", "members", "chunk"),
    [
        ("loop", False, 8, None),
        ("loop", True, 1, None),
        ("loop", True, 8, None),
        ("vmap", False, 1, None),
        ("vmap", False, 8, 3),  # 3, 3 and 2 members
        ("vmap", True, 8, None),
        ("vmap", True, 8, 4),
    ],
)
def test_advancing_in_place_is_the_steps_whatever_the_layout(layout, compile, members, chunk):
    rule = _rule(methods.kd(), optim.sgd(0.01))
    run = ensemble(rule, layout=layout, compile=compile, chunk=chunk)
    start = run.init(range(members))
    expected, metrics = start, {}
    for images, targets in _batches(3):
        expected, metrics = step(ensemble(rule, layout="loop"), expected, images, targets)
    state, found = run.init(range(members)), {}
    for images, targets in _batches(3):
        found = run.advance(state, images, targets)
    _assert_same(state, expected, rtol=1e-3, atol=2e-5)
    for name, values in metrics.items():
        torch.testing.assert_close(found[name], values, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("order", ["shared", "own"])
def test_members_in_chunks_have_the_gradients_of_all_at_once(order):
    rule = _rule(methods.kd(), optim.sgd(0.01))
    whole, chunks = (ensemble(rule, layout="vmap", order=order, chunk=n) for n in (None, 2))
    state, (images, targets) = whole.init([0, 1, 2]), next(_batches(1))
    if order == "own":
        images = torch.stack([images, images.flip(0), images.roll(1, 0)])
        targets = {k: torch.stack([x, x.flip(0), x.roll(1, 0)]) for k, x in targets.items()}
    given = (state, images, targets)
    _assert_same(chunks.gradient(*given), whole.gradient(*given), rtol=1e-3, atol=2e-5)


@pytest.mark.plain
def test_a_student_in_bfloat16_learns_what_it_learns_in_float32():
    images, targets = next(_batches(1))
    losses = {}
    for dtype in (torch.float32, torch.bfloat16):
        rule = distill(functional(LightNN, dtype), methods.kd(), optim.sgd(0.1), images, targets)
        run = ensemble(rule, compile=True)
        state, metrics = run.init([0, 1]), {}
        for _ in range(20):
            metrics = run.advance(state, images, targets)
        assert {leaf.dtype for leaf in tree_leaves(state.params)} == {torch.float32}
        losses[dtype] = metrics["loss"]
    torch.testing.assert_close(losses[torch.bfloat16], losses[torch.float32], rtol=0.05, atol=0)


def test_batchnorm_under_vmap_is_batchnorm():
    def build():
        layers = (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(3600, 10))
        return nn.Sequential(*layers)

    images, targets = next(_batches(1))
    rule = distill(functional(build), methods.kd(), optim.sgd(0.01), images, targets)
    together = _run(ensemble(rule, layout="vmap"), ensemble(rule).init([0, 1]), 3)
    alone = _run(rule, rule.init(1), 3)
    assert together.buffers["student"]["1.num_batches_tracked"].tolist() == [3, 3]
    _assert_same(member(together, 1), alone, rtol=1e-3, atol=1e-4)


def test_bad_arguments_are_refused():
    rule = _rule()
    with pytest.raises(ValueError, match="no seeds were given"):
        ensemble(rule).init([])
    with pytest.raises(
        ValueError, match="'lr' must have one value a member, but there are 1 values"
    ):
        ensemble(rule).init([1, 2], {"lr": [0.1]})
    with pytest.raises(ValueError, match="chunk must be above zero"):
        ensemble(rule, chunk=0)


@pytest.mark.plain
def test_unknown_layouts_and_orders_are_refused():
    with pytest.raises(
        ValueError, match="layout 'rows' is not known; choose from auto, vmap, loop"
    ):
        ensemble(_rule(), layout="rows")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="order 'mine' is not known; choose from shared, own"):
        ensemble(_rule(), order="mine")  # type: ignore[arg-type]


@pytest.mark.plain
def test_the_compiler_is_tried_and_its_failure_told(monkeypatch):
    assert why_not_compile(torch.device("cpu")) is None

    def broken(*_, **__):
        raise RuntimeError("no C++ compiler\nand much more")

    monkeypatch.setattr(torch, "compile", broken)
    assert why_not_compile(torch.device("cpu")) == "no C++ compiler"
