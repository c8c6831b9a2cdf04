"""What is no table of finite numbers is refused in words that say what to do."""

import numpy as np
import pytest
import torch

from fkd import statistics

CALLS = {
    "seeds_needed: pilot_differences": lambda x: statistics.seeds_needed(x, 1.0),
    "two_stage: differences": lambda x: statistics.two_stage(x, 2),
    "against_baseline: differences": statistics.against_baseline,
    "best_set: scores": statistics.best_set,
    "crossed: a": lambda x: statistics.crossed(x, x),
    "components: values": lambda x: statistics.components(x, ["init", "order"]),
    "mean_ranks: scores": statistics.mean_ranks,
    "setting_choice: validation": lambda x: statistics.setting_choice(x, x),
    "epoch_choice: curves": statistics.epoch_choice,
}


@pytest.mark.plain
@pytest.mark.parametrize("begins", CALLS)
@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([[1.0, 2.0], [3.0, 4.0]], "but it is .* a list"),
        (np.ones((2, 1)), "with at least 2 .* but it has 1; give more"),
        (np.ones(3), r"but its shape is \(3,\)"),
        (np.ones((2, 2), dtype=complex), "its dtype complex128"),
        (np.array([[1.0, np.nan], [0.0, 1.0]]), "some are not; leave out what diverged"),
        (np.full((2, 2), 1e101), "at most 1e\\+100 in size"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(begins, values, why):
    with pytest.raises(ValueError, match=f"{begins} must be an array .*{why}"):
        CALLS[begins](values)


@pytest.mark.plain
@pytest.mark.parametrize(
    ("begins", "axis"),
    [
        ("best_set: scores", "methods"),
        ("crossed: a", "seeds"),
        ("components: values", "levels"),
        ("mean_ranks: scores", "tasks"),
        ("setting_choice: validation", "settings"),
    ],
)
def test_a_table_of_one_row_is_refused_where_two_are_compared(begins, axis):
    why = f"with at least 2 {axis}, but it has 1; give more"
    with pytest.raises(ValueError, match=f"{begins} must be an array .*{why}"):
        CALLS[begins](np.ones((1, 2)))


@pytest.mark.plain
@pytest.mark.parametrize(
    ("begins", "axis"),
    [
        ("seeds_needed: pilot_differences", "methods"),
        ("two_stage: differences", "methods"),
        ("against_baseline: differences", "methods"),
        ("epoch_choice: curves", "epochs"),
    ],
)
def test_a_table_of_no_row_is_refused(begins, axis):
    with pytest.raises(ValueError, match=f"{begins} must .*with at least 1 {axis}, but it has 0"):
        CALLS[begins](np.ones((0, 2)))


X = np.array([[1.0, 2.0], [3.0, 5.0]])
CONFIDENT = {
    "seeds_needed": lambda level: statistics.seeds_needed(X, 1.0, level),
    "two_stage": lambda level: statistics.two_stage(X, 2, level),
    "against_baseline": lambda level: statistics.against_baseline(X, level),
    "best_set": lambda level: statistics.best_set(X, level),
    "crossed": lambda level: statistics.crossed(X, X, level),
    "components": lambda level: statistics.components(X, ["init", "order"], level),
    "mean_ranks": lambda level: statistics.mean_ranks(X, level),
    "setting_choice": lambda level: statistics.setting_choice(X, X, level),
    "epoch_choice": lambda level: statistics.epoch_choice(X, level),
}


@pytest.mark.plain
@pytest.mark.parametrize("name", CONFIDENT)
def test_a_confidence_that_is_no_share_is_refused_by_the_name_of_who_was_asked(name):
    for level in (-0.1, 1.0, 1 - 2**-53, 95, "0.9", torch.tensor(0.9)):
        with pytest.raises(ValueError, match=f"{name}: confidence must"):
            CONFIDENT[name](level)


@pytest.mark.plain
def test_two_tables_of_two_shapes_are_refused():
    a, b = np.ones((2, 3)), np.ones((2, 2))
    for call, names in ((statistics.crossed, "a and b"), (statistics.setting_choice, "validation")):
        with pytest.raises(
            ValueError, match=f"{names}.* must have one shape.*nothing is broadcast"
        ):
            call(a, b)


@pytest.mark.plain
def test_whole_numbers_and_float32_are_numbers():
    x = np.array([[1, 2, 4], [3, 1, 2]])
    for dtype in (np.int64, np.uint8, np.float32):
        assert statistics.mean_ranks(x.astype(dtype)).mean.tolist() == [2.0, 2.5, 1.5]


@pytest.mark.plain
def test_rows_of_numpys_are_as_good_as_lists():
    a, b = [0.5, 0.25, 0.75], [0.5, 0.5, 0.25]
    assert statistics.interval(np.array(a)) == statistics.interval(a)  # type: ignore[arg-type]
    assert statistics.paired(np.array(a), np.array(b)) == statistics.paired(a, b)  # type: ignore[arg-type]


def test_no_confidence_and_a_half_width_next_to_nothing_are_numbers():
    assert statistics.mean_ranks(np.ones((2, 2)), 0.0).critical_difference == 0
    assert statistics.seeds_needed(np.full((1, 2), 1e99), 1e-30, max_seeds=7) == 2
    assert statistics.seeds_needed(np.array([[1e99, -1e99]]), 1e-30, max_seeds=7) == 7
