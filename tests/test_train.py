"""The loop: the steps by hand, from any step on, and what it says of where it stands."""

import warnings
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice

import pytest
import torch
from execution.test_capture import pretend, run_by
from small import assert_same, batches, small
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from fkd import methods, optim
from fkd._random import Key
from fkd.data import Batch, Crop, Flip, MixUp, Resident, chain
from fkd.distillation import Distillation, Gradient, distill, step
from fkd.ensemble import Order, Seeds, member
from fkd.execution import Plan
from fkd.model import functional
from fkd.train import At, Students, train

EAGER = Plan(compile="none")


def source(batch_size: int = 4) -> Resident:
    """Ten examples: three steps an epoch at batch size 4."""
    (batch,) = batches(1, examples=10)
    return Resident(batch.inputs, batch.targets, batch_size=batch_size)


def rule(method: methods.Method | None = None, lr: float = 0.05) -> Distillation:
    example = source().read(torch.arange(4))
    optimizer = optim.sgd(lr, momentum=0.9)
    return distill(functional(small), method or methods.kd(), optimizer, example)


def last(run: Iterator[At]) -> At:
    *_, at = run
    return at


@pytest.mark.parametrize("order", ["shared", "own"])
def test_training_is_the_steps_by_hand(order: Order):
    one, data = rule(), source()
    run = train({"kd": Students(one, [7, 8])}, data, epochs=2, plan=EAGER, order=order)
    state, means = one.init(8), []
    ended = [copy_of(at) for at in run if at.epoch_ended]
    for epoch in range(2):
        losses = []
        for rows in data.feeds(8 if order == "own" else 0, epoch):
            state, metrics = step(one, state, data.read(rows))
            losses.append(metrics["loss"])
        means.append(torch.stack(losses).mean())
    assert_same(member(ended[-1].states["kd"], 1), state)
    assert_same(torch.stack([at.metrics["kd"]["loss"][1] for at in ended]), torch.stack(means))
    assert sorted(ended[0].metrics["kd"]) == ["ce", "kd", "loss"]


def test_a_member_has_its_weights_order_and_dropout_of_seeds_of_their_own():
    one, data = rule(methods.kd() | methods.hint()), source()
    seeds = [Seeds(7, 7, 7), Seeds(init=7, order=8, dropout=9)]
    of_each = last(train({"kd": Students(one, seeds)}, data, epochs=2, plan=EAGER, order="own"))
    of_one = last(train({"kd": Students(one, [7])}, data, epochs=2, plan=EAGER, order="own"))
    # One number for all sources is that seed's student, bit for bit.
    assert all(
        torch.equal(*leaves)
        for leaves in zip(
            tree_leaves(member(of_each.states["kd"], 0)),
            tree_leaves(member(of_one.states["kd"], 0)),
            strict=True,
        )
    )
    state = one.init(7)._replace(key=torch.tensor(9))
    for epoch in range(2):
        for rows in data.feeds(8, epoch):
            state, _ = step(one, state, data.read(rows))
    assert_same(member(of_each.states["kd"], 1), state)


def copy_of(at: At) -> At:
    states, sums = tree_map(torch.clone, (at.states, at.sums))
    return At(at.epoch, at.step, at.steps, states, sums, tree_map(torch.clone, at.diverged))


def test_it_says_where_it_stands_after_every_step():
    stands = [
        (at.epoch, at.step, at.steps, at.epoch_ended)
        for at in train({"kd": Students(rule(), [0])}, source(), epochs=2, plan=EAGER)
    ]
    assert stands == [(e, s, 3, s == 3) for e in (0, 1) for s in (1, 2, 3)]


@pytest.mark.parametrize("order", ["shared", "own"])
@pytest.mark.parametrize("layout", ["loop", "vmap"])
def test_a_run_that_was_stopped_anywhere_is_bit_for_bit_the_one_that_was_not(layout, order):
    # Small has dropout, and dropout inside its attention; hint has a head
    students = {"both": Students(rule(methods.kd() | methods.hint()), [3, 5], {"lr": [0.1, 0.2]})}
    go = partial(
        train, students, source(), epochs=3, plan=Plan(layout, compile="none"), order=order
    )
    whole = copy_of(last(go()))
    for steps in (1, 3, 4, 8):
        stopped = copy_of(next(islice(go(), steps - 1, None)))
        resumed = last(go(start=stopped))
        for one, other in zip(
            tree_leaves((resumed.states, resumed.sums, resumed.diverged)),
            tree_leaves((whole.states, whole.sums, whole.diverged)),
            strict=True,
        ):
            assert torch.equal(one, other)


def test_going_on_from_the_end_takes_no_step():
    students = {"kd": Students(rule(), [0])}
    end = last(train(students, source(), epochs=1, plan=EAGER))
    assert list(train(students, source(), epochs=1, plan=EAGER, start=end)) == []


@pytest.mark.parametrize("order", ["shared", "own"])
def test_a_member_of_a_sweep_is_the_student_alone_with_those_numbers(order: Order):
    hyper = {"lr": [0.1, 0.1, 0.3, 0.3], "kd.temperature": [1.0, 1.0, 4.0, 4.0]}
    together = {"kd": Students(rule(), [5, 6] * 2, hyper)}
    swept = last(train(together, source(), epochs=2, plan=EAGER, order=order))
    for k, (lr, temperature) in enumerate([(0.1, 1.0), (0.3, 4.0)]):
        alone = {"kd": Students(rule(methods.kd(temperature=temperature), lr), [5, 6])}
        end = last(train(alone, source(), epochs=2, plan=EAGER, order=order))
        for name, values in end.metrics["kd"].items():
            assert_same(swept.metrics["kd"][name][2 * k : 2 * k + 2], values)


def spoiled(calls: list[int], gradient: Gradient) -> Gradient:
    """The fifth gradient of the second member is no number."""
    calls.append(1)
    if len(calls) == 5:
        bias = gradient.params["student"]["classifier.bias"].clone()
        bias[1] = float("nan")
        gradient.params["student"]["classifier.bias"] = bias
    return gradient


def test_a_loss_that_is_not_finite_is_a_fact_and_stops_nobody():
    one = rule()

    def go(reduce: Callable[[Gradient], Gradient] | None = None) -> Iterator[At]:
        students = {"kd": Students(one._replace(reduce=reduce), [4, 9])}
        return train(students, source(), epochs=3, plan=EAGER)

    stands = [at.diverged["kd"].tolist() for at in go(partial(spoiled, []))]
    assert stands == [[-1, -1]] * 5 + [[-1, 5]] * 4  # the update of step 4 spoils the loss of 5
    at, alone = last(go(partial(spoiled, []))), last(go())
    assert at.metrics["kd"]["loss"][1].isnan()
    assert_same(at.metrics["kd"]["loss"][0], alone.metrics["kd"]["loss"][0])


def pair() -> dict[str, Students]:
    return {
        "kd": Students(rule(), [5, 6, 7]),
        "ce": Students(rule(methods.ce()), [5, 6], {"lr": [0.01, 0.02]}),
    }


WEIGHT = torch.randn(48, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def seen_by_teacher(seen: list[int], inputs: Tensor) -> dict[str, Tensor]:
    seen.append(len(inputs))
    return {"logits": inputs.flatten(1) @ WEIGHT}


@pytest.mark.parametrize("order", ["shared", "own"])
def test_side_by_side_with_a_live_teacher_is_alone_with_its_outputs_looked_up(order: Order):
    seen = []
    data, teacher = source(), partial(seen_by_teacher, seen)
    together = last(train(pair(), data, epochs=2, plan=EAGER, teacher=teacher, order=order))
    # three steps an epoch of one batch of four for all, or of one for each of the five
    assert seen == ([4] * 6 if order == "shared" else [12, 8] * 6)
    known = data.with_targets(teacher(data.inputs))
    for name, students in pair().items():
        alone = last(train({name: students}, known, epochs=2, plan=EAGER, order=order))
        assert_same(together.metrics[name], alone.metrics[name])
        assert_same(together.states[name], alone.states[name])


def soft(student: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy against probabilities."""
    return -(target * student.log_softmax(-1)).sum(-1)


def augmented() -> Resident:
    plain = Resident(source().inputs, {"labels": source().targets["labels"]}, batch_size=4)
    return plain.augmented(chain(Crop(1), Flip()), MixUp(classes=3))


def mixed_rule() -> Distillation:
    data, key = augmented(), Key(torch.tensor(0), torch.tensor(0))
    batch = data.read(torch.arange(4), key)
    batch = Batch(batch.inputs, batch.targets | {"logits": torch.zeros(4, 3).double()})
    method = methods.kd() | {"ce": methods.Term(soft, target="labels")}
    return distill(functional(small), method, optim.sgd(0.05), batch)


def shown_to_teacher(seen: list[Tensor], inputs: Tensor) -> dict[str, Tensor]:
    seen.append(inputs.clone())
    return {"logits": inputs.flatten(1) @ WEIGHT}


@pytest.mark.parametrize("order", ["shared", "own"])
def test_students_and_teacher_see_one_augmented_and_mixed_batch(order: Order):
    seen = []
    data, one, teacher = augmented(), mixed_rule(), partial(shown_to_teacher, seen)
    run = train(
        {"kd": Students(one, [7, 8])}, data, epochs=2, plan=EAGER, teacher=teacher, order=order
    )
    end = last(run)
    for member_, seed in enumerate([7, 8]):
        state, number = one.init(seed), 0
        for epoch in range(2):
            read_by = seed if order == "own" else 0
            for rows in data.feeds(read_by, epoch):
                batch = data.read(rows, Key(torch.tensor(read_by), torch.tensor(number)))
                shown = seen[number] if order == "shared" else seen[number].chunk(2)[member_]
                assert torch.equal(shown, batch.inputs)
                targets = batch.targets | {"logits": batch.inputs.flatten(1) @ WEIGHT}
                state, _ = step(one, state, Batch(batch.inputs, targets))
                number += 1
        assert_same(member(end.states["kd"], member_), state)
    assert not torch.equal(seen[0], seen[3])


@pytest.mark.parametrize("order", ["shared", "own"])
def test_an_augmented_run_that_was_stopped_is_the_one_that_was_not(order: Order):
    students = {"ce": Students(mixed_rule(), [3, 5])}
    teacher = partial(seen_by_teacher, [])
    go = partial(train, students, augmented(), epochs=2, plan=EAGER, teacher=teacher, order=order)
    whole = copy_of(last(go()))
    resumed = last(go(start=copy_of(next(islice(go(), 3, None)))))
    pairs = zip(tree_leaves(resumed.states), tree_leaves(whole.states), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_a_seeds_augmentation_is_its_own_and_the_same_under_each_method():
    one, seen = mixed_rule(), []
    go = partial(train, source=augmented(), epochs=1, plan=EAGER)
    go = partial(go, teacher=partial(shown_to_teacher, seen))
    seeds = [4, Seeds(init=4, order=9, dropout=4)]
    students = {"kd": Students(one, seeds), "more": Students(one, seeds[1:])}
    together = copy_of(last(go(students, order="own")))
    both, more = seen[0::2], seen[1::2]
    for k, order_seed in enumerate([4, 9]):
        seen.clear()
        # What all read of one order, where the seed is that of the order.
        alone = last(go({"kd": Students(one, [4])}, order_seed=order_seed))
        assert_same(member(together.states["kd"], k), member(alone.states["kd"], 0))
        assert all(
            torch.equal(two.chunk(2)[k], batch) for two, batch in zip(both, seen, strict=True)
        )
    assert all(map(torch.equal, more, seen))


def test_augmentations_of_each_member_are_the_same_in_every_layout(monkeypatch):
    students = {"kd": Students(mixed_rule(), [3, 5])}
    go = partial(train, students, augmented(), epochs=1, order="own")
    go = partial(go, teacher=partial(seen_by_teacher, []))
    loop, wide = (copy_of(last(go(plan=Plan(x, compile="none")))) for x in ("loop", "vmap"))
    monkeypatch.setattr("fkd.train.runner", partial(run_by, pretend))
    graph = last(go(plan=Plan("loop", compile="none")))
    assert_same(wide.states, loop.states)
    assert_same(graph.states, loop.states)


def by_number(calls: list[Key], inputs: Tensor, key: Key | None = None) -> Tensor:
    """Which vmap cannot run."""
    if key is None:
        return inputs
    calls.append(key)
    return inputs * (1 + (int(key.seed) + int(key.step)) % 3)


@pytest.mark.parametrize(("layout", "tried"), [("loop", 1), ("vmap", 1 + 2)])
def test_what_vmap_cannot_read_is_read_by_one_member_after_the_other(layout, tried):
    calls, one = [], rule(methods.ce())
    data = Resident(source().inputs, {"labels": source().targets["labels"]}, batch_size=4)
    go = partial(train, source=data.augmented(partial(by_number, calls)), epochs=2)
    go = partial(go, plan=Plan(layout, compile="none"))
    both = copy_of(last(go({"ce": Students(one, [3, 5])}, order="own")))
    # Once to find out, and then for each of two members in each of six steps.
    assert len(calls) == tried + 2 * 6
    for k, seed in enumerate([3, 5]):
        alone = last(go({"ce": Students(one, [seed])}, order_seed=seed))
        assert_same(member(both.states["ce"], k), member(alone.states["ce"], 0))


def refused(inputs: Tensor, key: Key | None = None) -> Tensor:
    if key is not None:
        raise LookupError("mine")
    return inputs


@pytest.mark.parametrize("layout", ["loop", "vmap"])
def test_an_error_of_the_sources_own_comes_as_it_is(layout):
    data = Resident(source().inputs, {"labels": source().targets["labels"]}, batch_size=4)
    plan, students = Plan(layout, compile="none"), {"ce": Students(rule(methods.ce()), [3, 5])}
    with pytest.raises(LookupError, match=r"^mine$"):
        next(train(students, data.augmented(refused), epochs=1, plan=plan, order="own"))


def test_what_makes_no_sense_is_refused_before_the_first_step():
    students = {"kd": Students(rule(), [1, 2])}
    with pytest.raises(ValueError, match="epochs must be a whole number of at least 1"):
        train(students, source(), epochs=0)
    with pytest.raises(ValueError, match="there are no students; give at least one"):
        train({}, source(), epochs=1)
    at = next(train(students, source(), epochs=1, plan=EAGER))
    with pytest.raises(ValueError, match=r"state of 1 members for 'kd', but it holds {'kd': 2}"):
        train({"kd": Students(rule(), [1])}, source(), epochs=1, start=at)
    with pytest.raises(ValueError, match="epochs of 3 steps, but this source has 2"):
        train(students, source(batch_size=5), epochs=1, start=at)
    with pytest.raises(ValueError, match="at least one"):
        train({"kd": Students(rule(), [])}, source(), epochs=1)


def test_the_states_are_views_of_one_run_and_are_written_over():
    run = train({"kd": Students(rule(), [1])}, source(), epochs=1, plan=EAGER)
    first, second = next(run), next(run)
    assert first.states["kd"].step.data_ptr() == second.states["kd"].step.data_ptr()


def test_any_source_will_do():
    class Doubled:
        """Another's source, its inputs doubled."""

        def __init__(self, source: Resident):
            self.source = source
            self.examples, self.batch_size = source.examples, source.batch_size
            self.device, self.feeds = source.device, source.feeds

        def read(self, feed, key=None) -> Batch:
            batch = self.source.read(feed, key)
            return Batch(2 * batch.inputs, batch.targets)

        def in_order(self, batch_size):
            raise NotImplementedError

        def digest(self) -> str:
            return self.source.digest()

        def to(self, device):
            return self

        def batched(self, batch_size):
            return self

    students = {"kd": Students(rule(), [1])}
    ours = last(train(students, Doubled(source()), epochs=1, plan=EAGER))
    doubled = Resident(2 * source().inputs, source().targets, batch_size=4)
    theirs = last(train(students, doubled, epochs=1, plan=EAGER))
    assert_same(ours.states, theirs.states)


@pytest.mark.plain
def test_seeds_are_any_sequence():
    students = {"kd": Students(rule(), deque([3, 5]))}
    assert next(train(students, source(), epochs=1, order="own", plan=EAGER)).step == 1


def test_a_seed_of_the_order_is_refused_where_the_order_is_shared():
    with pytest.raises(ValueError, match="order must be 'own' where members have a seed of it"):
        train({"kd": Students(rule(), [Seeds(0, 1, 0)])}, source(), epochs=1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("order", ["shared", "own"])
def test_a_gpu_is_waited_for_by_no_step(order: Order):
    data, students = source(1).to("cuda"), {"kd": Students(rule(), [3, 5])}
    plan = Plan("vmap", compile="none", graph=2)
    run = train(students, data, epochs=1, plan=plan, order=order)
    next(run)  # captured
    try:
        with warnings.catch_warnings(action="ignore"):  # torch calls the mode a prototype
            torch.cuda.set_sync_debug_mode("error")
        assert [at.step for at in islice(run, 4)] == [4, 6, 8, 10]
    finally:
        torch.cuda.set_sync_debug_mode("default")
