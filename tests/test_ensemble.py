"""A member of an ensemble is the same student as when it is trained alone."""

import pytest
import torch
from small import assert_same, batches, rule, steps_of
from torch import nn

from fkd import methods, optim
from fkd.data import Batch
from fkd.distillation import distill, step
from fkd.ensemble import Seeds, ensemble, member, seeds_of, size, stack
from fkd.model import functional


def test_a_member_of_four_is_the_student_alone_with_every_kind_of_dropout():
    one = rule(methods.kd() | methods.hint())
    seeds = [11, 3, 5, 8]
    together = steps_of(ensemble(one), ensemble(one).init(seeds), 10)
    assert together.buffers["student"]["norm.num_batches_tracked"].tolist() == [10] * 4
    for k in (0, 3):
        assert_same(member(together, k), steps_of(one, one.init(seeds[k]), 10))


def test_a_member_is_the_student_alone_under_adam():
    one = rule(optimizer=optim.adam())
    together = steps_of(ensemble(one), ensemble(one).init([4, 9]), 3)
    alone = steps_of(one, one.init(9), 3)
    torch.testing.assert_close(member(together, 1), alone, rtol=1e-5, atol=1e-7)


def test_dropout_is_what_keeps_members_of_one_weight_apart():
    one = rule(methods.ce())
    run = ensemble(one)
    state = run.init([1, 2])
    params = state.params["student"]
    twins = {name: torch.stack([value[0]] * 2) for name, value in params.items()}
    state = state._replace(params={"student": twins, "heads": {}})
    gradient = run.gradient(state, next(batches(1))).params["student"]["classifier.weight"]
    assert not torch.allclose(gradient[0], gradient[1])


def test_own_order_gives_each_member_its_own_batch():
    one = rule()
    run = ensemble(one, order="own")
    first, second = batches(2)
    both = Batch(
        torch.stack([first.inputs, second.inputs]),
        {name: torch.stack([first.targets[name], second.targets[name]]) for name in first.targets},
    )
    state, _ = step(run, run.init([1, 2]), both)
    for k, batch in enumerate((first, second)):
        alone, _ = step(one, one.init(k + 1), batch)
        assert_same(member(state, k), alone)


def test_a_seed_of_each_source_gives_the_weights_of_one_and_the_dropout_of_another():
    run = ensemble(rule(methods.kd() | methods.hint()))
    plain = run.init([3, 5])
    state = run.init([Seeds(init=3, order=9, dropout=5), Seeds(5, 5, 5)])
    assert_same(member(state, 0), member(plain, 0)._replace(key=torch.tensor(5)))
    assert_same(member(state, 1), member(plain, 1))


def test_members_take_their_own_hyperparameters():
    one = rule(optimizer=optim.sgd(0.1))
    run = ensemble(one)
    table = {"lr": [0.1, 0.01], "kd.temperature": [1.0, 4.0]}
    state = steps_of(run, run.init([2, 2], table), 2)
    assert size(state) == 2
    for k in range(2):
        alone = one.init(2, {name: values[k] for name, values in table.items()})
        assert_same(member(state, k), steps_of(one, alone, 2))


def test_the_loss_of_members_is_that_of_each():
    one = rule()
    run, (batch,) = ensemble(one), batches(1)
    state = run.init([1, 2])
    total, (_, means) = run.loss(state.params, state, batch)
    for k in range(2):
        alone = one.init(k + 1)
        expected, (_, others) = one.loss(alone.params, alone, batch)
        assert_same(total[k], expected)
        assert_same(means["kd"][k], others["kd"])


def test_inputs_may_be_any_tree_of_tensors():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Linear(3, 2), nn.Embedding(5, 2)

        def forward(self, inputs):
            return self.left(inputs["numbers"]) + self.right(inputs["words"][0])

    inputs = {"numbers": torch.ones(4, 3), "words": (torch.tensor([0, 1, 2, 4]),)}
    batch = Batch(inputs, {"labels": torch.tensor([0, 1, 0, 1])})
    one = distill(functional(Two), methods.ce(), optim.sgd(0.1), batch)
    run = ensemble(one)
    state, _ = step(run, run.init([1, 2]), batch)
    alone, _ = step(one, one.init(2), batch)
    torch.testing.assert_close(member(state, 1), alone)


def test_bad_arguments_are_refused():
    one = rule()
    with pytest.raises(ValueError, match="no seeds were given"):
        ensemble(one).init([])
    with pytest.raises(
        ValueError, match="'lr' must have one value a member, but there are 1 values"
    ):
        ensemble(one).init([1, 2], {"lr": [0.1]})


@pytest.mark.plain
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: member({"w": torch.ones(3, 2)}, 3), r"no member 3, for a leaf .* is \(3, 2\)"),
        (lambda: member({"w": torch.ones(3, 2), "b": torch.ones(())}, 0), r"a leaf .* is \(\)"),
        (lambda: stack([]), "stack: there are no trees; give at least one"),
        (lambda: stack("ab"), "stack: trees must be a "),
        (lambda: seeds_of("mine", 2**32), "mine: seed must be a whole number"),
        (lambda: seeds_of("mine", Seeds(0, -1, 0)), "mine: seed of order must be a whole number"),
        (lambda: ensemble(rule()).init([1, 2], {"lr": "ab"}), "hyperparameter 'lr' must be a "),
    ],
)
def test_members_trees_and_seeds_that_are_none_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.plain
@pytest.mark.parametrize("seed", [-1, 2**32, 2**64, 0.5, True])
def test_a_seed_of_more_than_32_bits_is_refused(seed):
    # 2³² would be the student of seed 0
    one = rule()
    for init in (one.init, lambda seed: ensemble(one).init([0, seed])):
        with pytest.raises(ValueError, match=r"seed must be a whole number in \[0, 2\*\*32\)"):
            init(seed)
    assert one.init(2**32 - 1).key == 2**32 - 1


@pytest.mark.plain
def test_an_unknown_order_is_refused():
    with pytest.raises(ValueError, match="order 'mine' is not known; choose from shared, own"):
        ensemble(rule(), order="mine")  # type: ignore[arg-type]
