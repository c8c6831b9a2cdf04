"""What several teachers told, in words and in tables."""

import numpy as np
from compare.test_teachers import BY_HAND, above, runs

from fkd.compare import Teachers
from fkd.compare.failure import Failure
from fkd.compare.presentation import teachers_table


def drawn(teacher: float, mean: float = 0.05) -> np.ndarray:
    draws = np.random.default_rng(0)
    by_teacher = teacher * np.array([[-1.0], [0.0], [0.0], [1.0]])
    return mean + by_teacher + draws.normal(0, 0.001, (4, 8))


def test_a_difference_that_teachers_do_not_change_is_told_of_teachers_like_these():
    told = above(drawn(0.001))
    _, _, like = told.over("kd")
    low, high = (f"{100 * bound:.1f}" for bound in like[:2])
    assert teachers_table.sentence(told) == (
        f"kd is 5.0 points above ce with teachers like these four, between {low} and {high}."
    )


def test_a_difference_that_teachers_do_change_is_told_of_these_alone():
    text = teachers_table.sentence(above(-drawn(0.08)))
    assert text.startswith(
        "kd cannot be told from ce with teachers like these four; kd is 5.0 points below ce with "
        "these alone, between "
    )


def test_of_many_methods_the_bounds_hold_at_once():
    base = np.full((4, 8), 0.5)
    accuracy = {"ce": base, "kd": base + drawn(0.001), "hint": base + drawn(0.08)}
    told = Teachers.of(runs(accuracy))
    _, _, like = told.over("kd", confidence=0.975)  # Bonferroni's of two
    text = teachers_table.sentence(told)
    assert (
        f"between {100 * like.low:.1f} and {100 * like.high:.1f} simultaneously; hint cannot be"
        in text
    )
    assert text.endswith(" simultaneously.")


def test_what_has_no_spread_is_not_told_apart():
    told = above(np.full((2, 3), 0.02))
    assert teachers_table.sentence(told) == (
        "kd cannot be told from ce with teachers like these two; 3 seeds with the same means are "
        "too few to tell how sure kd's is."
    )
    del told.accuracy["ce"]
    assert teachers_table.sentence(told) == "No difference from ce is known with every teacher."
    told.accuracy.clear()
    assert "nothing can be concluded" in teachers_table.markdown(told)


def test_the_tables_tell_points():
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in teachers_table.markdown(above(BY_HAND)).splitlines()
        if line.startswith("|")
    ]
    assert ["ce", "50.00", "", "", ""] in rows
    assert ["kd", "54.00", "+4.00"] in [row[:3] for row in rows]
    assert ["42", "75.00", "50.00", "52.00"] in rows and ["43", "75.00", "50.00", "56.00"] in rows
    assert [row[1:3] for row in rows if row[0] == "kd − ce"] == [
        ["teacher", "2.71"],  # √(22 / 3), of the record's tests
        ["seed", "1.73"],
        ["rest", "1.41"],
    ]


def test_a_reason_of_many_lines_is_one_item():
    told = above(BY_HAND)
    told.failed["hint"] = Failure("error", "it fell\n\n" + "and " * 200)
    lines = teachers_table.markdown(told).splitlines()
    (item,) = [line for line in lines if line.startswith("- ")]
    assert item.startswith("- hint failed: it fell and and ") and item.endswith("and …")
