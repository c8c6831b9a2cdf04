"""Sweeps: how the grid is laid out, chosen from and told."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fkd.compare import sweep

GRID = [{"lr": 1.0}, {"lr": 2.0}, {"lr": 3.0}]


def test_the_grid_has_every_setting_of_the_names_that_a_method_has():
    swept = {"lr": (1.0, 2.0), "kd.weight": (3.0, 4.0)}
    assert sweep.settings(swept, ["lr", "kd.weight"]) == [
        {"lr": 1.0, "kd.weight": 3.0},
        {"lr": 1.0, "kd.weight": 4.0},
        {"lr": 2.0, "kd.weight": 3.0},
        {"lr": 2.0, "kd.weight": 4.0},
    ]
    assert sweep.settings(swept, ["ce.weight", "lr"]) == [{"lr": 1.0}, {"lr": 2.0}]
    assert sweep.settings(swept, ["ce.weight"]) == [{}]


def test_every_setting_has_every_seed():
    seeds, hyper = sweep.members([{"lr": 1.0, "w": 3.0}, {"lr": 2.0, "w": 3.0}], (7, 9))
    assert seeds == [7, 9, 7, 9]
    assert hyper == {"lr": [1.0, 1.0, 2.0, 2.0], "w": [3.0] * 4}


def test_the_setting_with_the_most_right_is_chosen():
    choice = sweep.choose(GRID, [0.5, 0.5, 0.9, 0.5, 0.6, 0.6], [True] * 6, 10)
    assert choice.chosen == 1
    assert choice.best.hyper == {"lr": 2.0}
    assert sweep.members_of(choice) == slice(2, 4)
    assert [setting.hyper for setting in choice.settings] == GRID
    assert choice.settings[2].validation_accuracy == [0.6, 0.6]


def test_tests_of_all_members_stand_with_their_settings():
    choice = sweep.choose(GRID, [0.5, 0.5, 0.9, 0.5, 0.6, 0.6], [True] * 6, 10)
    told = sweep.with_tests(choice, [0.1, 0.2, 0.3, 0.4, 0.5, None])
    assert [one.test_accuracy for one in told.settings] == [[0.1, 0.2], [0.3, 0.4], [0.5, None]]
    assert told.chosen == choice.chosen
    assert all(one.test_accuracy is None for one in choice.settings)


def test_of_equals_the_first_is_chosen():
    # 0 + 7 and 3 + 4 of 10 examples, which as sums of float32 numbers are not equal
    accuracy = torch.tensor([0.1, 0.1, 0.0, 0.7, 0.3, 0.4]).tolist()
    assert sum(accuracy[4:6]) > sum(accuracy[2:4])
    assert sweep.choose(GRID, accuracy, [True] * 6, 10).chosen == 1


@pytest.mark.parametrize("lost", [0.9, float("nan")])
def test_a_setting_with_a_seed_that_is_not_finite_is_never_chosen(lost):
    finite = [True, True, True, False, True, True]
    choice = sweep.choose(GRID, [0.1, 0.1, 0.9, lost, 0.3, 0.3], finite, 10)
    assert choice.chosen == 2
    assert choice.settings[1].validation_accuracy == [0.9, None]
    assert choice.settings[1].diverged and not choice.best.diverged
    with pytest.raises(FloatingPointError, match="each of 3 settings has a seed that is not"):
        sweep.choose(GRID, [0.5] * 3, [False] * 3, 10)


def test_an_accuracy_that_is_no_number_is_never_the_best():
    accuracy = [0.1, 0.1, 0.9, float("nan"), 0.3, 0.3]
    assert sweep.choose(GRID, accuracy, [True] * 6, 10).chosen == 2


MEMBERS = st.tuples(st.floats(0, 1) | st.sampled_from([math.nan, math.inf]), st.booleans())


@given(st.integers(1, 3).flatmap(lambda n: st.lists(MEMBERS, min_size=3 * n, max_size=3 * n)))
def test_only_a_setting_that_is_finite_is_chosen(members):
    accuracy, finite = zip(*members, strict=True)
    seeds = len(members) // 3
    rows = [members[k * seeds : (k + 1) * seeds] for k in range(3)]
    whole = [all(fine and math.isfinite(value) for value, fine in row) for row in rows]
    if not any(whole):
        with pytest.raises(FloatingPointError):
            sweep.choose(GRID, accuracy, finite, 100)
        return
    pairs = zip(rows, whole, strict=True)
    right = [sum(round(100 * v) for v, _ in row) if fine else -1 for row, fine in pairs]
    assert sweep.choose(GRID, accuracy, finite, 100).chosen == right.index(max(right))


@pytest.mark.parametrize(
    ("values", "best", "edge"),
    [((1.0, 2.0, 3.0), 0, True), ((2.0, 3.0, 1.0), 0, False), ((1.0, 2.0), 0, False)],
)
def test_a_choice_at_the_edge_of_three_or_more_values_is_told(values, best, edge):
    accuracy = [0.5 + 0.4 * (k == best) for k in range(len(values))]
    grid = sweep.settings({"lr": values}, ["lr"])
    choice = sweep.choose(grid, accuracy, [True] * len(grid), 10)
    first, *warnings = sweep.tell("kd", choice)
    assert first == f"kd: lr {values[0]:g}: validation 90.00 %, the best of {len(values)} settings"
    assert len(warnings) == edge
    assert not edge or warnings[0].startswith("kd: lr 1 is at the edge of the swept 1 to 3")
