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


def test_rows_of_numpys_are_as_good_as_lists():
    a, b = [0.5, 0.25, 0.75], [0.5, 0.5, 0.25]
    assert statistics.interval(np.array(a)) == statistics.interval(a)  # type: ignore[arg-type]
    assert statistics.paired(np.array(a), np.array(b)) == statistics.paired(a, b)  # type: ignore[arg-type]


@pytest.mark.plain
def test_a_confidence_that_is_one_but_for_rounding_is_refused():
    with pytest.raises(ValueError, match="mean_ranks: confidence must be below 1"):
        statistics.mean_ranks(np.ones((2, 2)), 1 - 2**-53)
    with pytest.raises(ValueError, match="mean_ranks: confidence must be a number of Python's"):
        statistics.mean_ranks(np.ones((2, 2)), torch.tensor(0.9))  # type: ignore[arg-type]
    assert statistics.mean_ranks(np.ones((2, 2)), 0.0).critical_difference == 0
    assert statistics.seeds_needed(np.full((1, 2), 1e99), 1e-30, max_seeds=7) == 2
    assert statistics.seeds_needed(np.array([[1e99, -1e99]]), 1e-30, max_seeds=7) == 7
