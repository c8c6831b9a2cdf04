"""A factorial lays its levels out as it says, and finds a planted effect where it was planted."""

from itertools import permutations, product

import numpy as np
import pytest
import torch
from compare.small_comparisons import EAGER, Wide, trained_elsewhere, vectors
from torch import Tensor, nn

from fkd import methods, optim
from fkd.compare import Factorial, Variance, compare
from fkd.ensemble import Seeds


def test_a_members_seeds_are_those_of_a_table_by_hand():
    plan = Factorial(("dropout", "teacher", "init"), levels=2)
    assert plan.seeds == [
        Seeds(init=0, order=0, dropout=0),
        Seeds(init=1, order=0, dropout=0),
        Seeds(init=0, order=0, dropout=1),
        Seeds(init=1, order=0, dropout=1),
    ]
    assert plan.teacher_seeds(42) == [42, 43]
    assert Factorial(("teacher",), levels=3).seeds == [Seeds(0, 0, 0)]


@pytest.mark.parametrize("sources", list(permutations(["init", "order", "teacher"])))
def test_numbers_are_arranged_by_the_level_of_each_source(sources):
    plan = Factorial(sources, levels=3)
    # A number that tells the levels that it was measured at.
    rows = [[100 * t + 10 * s.order + s.init for s in plan.seeds] for t in range(3)]
    arranged = plan.arranged(np.array(rows, dtype=np.float64))
    for levels in product(range(3), repeat=3):
        at = dict(zip(sources, levels, strict=True))
        assert arranged[levels] == 100 * at["teacher"] + 10 * at["order"] + at["init"]


def test_too_many_members_are_refused_with_the_arithmetic():
    with pytest.raises(ValueError, match=r"11 levels of 3 sources are 11\^3 = 1,331 members of"):
        Factorial(("init", "order", "dropout"), levels=11)
    assert len(Factorial(("init", "order", "dropout", "teacher"), levels=10).seeds) == 1000
    with pytest.raises(ValueError, match=r"arranged: values must be \[teachers, members\], \(1, 9"):
        Factorial(("init", "order"), levels=3).arranged(np.ones((1, 8)))


class Zero(nn.Module):
    """A student that begins the same whatever its seed, without dropout: only the order of its
    batches can make it another."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(4, 2)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": self.last(x)}


def test_an_effect_of_the_order_alone_is_found_in_the_order_and_nowhere_else():
    plan = Factorial(("init", "order"), levels=3)
    # Steps so large that the last batches count most.
    options = {"optimizer": optim.sgd(3.0), "plan": EAGER, "teacher_state": trained_elsewhere()}
    chosen = {"ce": methods.ce(), "kd": methods.kd(weight=8.0)}
    run = compare(Wide, Zero, chosen, vectors(), seeds=plan.seeds, order="own", epochs=1, **options)
    variance = Variance.of(plan, [run])
    for parts in (variance.of_method("ce"), variance.of_difference("kd")):
        assert parts["order"].variance > 1e-5
        assert parts["init"].mean_square == parts["rest"].variance == 0
    # No interval over members that share seeds is told anywhere.
    assert run.accuracy("ce").low is None and run.factorial
    with pytest.raises(ValueError, match=r"^dropout: no student draws random numbers in its steps"):
        dropout = Factorial(("dropout", "order"), levels=2).seeds
        compare(Wide, Zero, chosen, vectors(), seeds=dropout, order="own", epochs=1, **options)


@pytest.mark.plain
def test_members_with_seeds_of_their_own_order_do_not_share_one():
    with pytest.raises(ValueError, match=r"^order: order must be 'own' where members have a seed"):
        seeds = Factorial(["order"]).seeds
        compare(Wide, Zero, {"ce": methods.ce()}, vectors(), seeds=seeds, order="shared")


def test_a_factorials_members_are_those_of_their_seeds_alone():
    plan, options = Factorial(("init", "order"), levels=2), {"epochs": 2, "plan": EAGER}
    state = {"teacher_state": trained_elsewhere(), "order": "own"}
    chosen = {"kd": methods.kd()}

    def student() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.1), nn.Linear(8, 2))

    whole = compare(Wide, student, chosen, vectors(), seeds=plan.seeds, **state, **options)
    # The first of all has the same number for every source: it is that seed's student.
    alone = compare(Wide, student, chosen, vectors(), seeds=[0, 7], **state, **options)
    losses = [run.methods["kd"].last("loss") for run in (whole, alone)]
    torch.testing.assert_close(losses[0][0], losses[1][0], rtol=1e-6, atol=1e-6)
    assert len(set(losses[0])) == 4
